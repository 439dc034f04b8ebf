"""A compiler for loops that run only their own copies of the functions that they call.

numba links a copy of every function that a compiled loop calls into the loop, and optimises it once more there. The
copies are weak symbols: of all those of a process, the one that was loaded first is called. In the process that
compiles a loop that is the function as it was compiled by itself, in one that reads the loop from numba's cache it is
the loop's copy, or that of another loop. These differ in the last digits, as ``fastmath`` lets each be optimised in
another way. Here copies are local to their loop, so that compiled, cached and in any company it is the same code.
"""

from typing import Any

from llvmlite.binding import Linkage
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import LoweringPass, register_pass
from numba.core.typed_passes import AnnotateTypes


class OwnPartsLibrary(JITCodeLibrary):
    """Machine code of a loop in which the copies of what it calls are local."""

    def _optimize_final_module(self) -> None:
        """Optimise the loop with all that is linked into it, then keep other code from replacing the copies."""
        super()._optimize_final_module()
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage == Linkage.linkonce_odr:
                function.linkage = Linkage.internal


@register_pass(mutates_CFG=False, analysis_only=False)
class UseOwnParts(LoweringPass):
    """Give the function that is being compiled a library of its own kind, which lowering then fills."""

    _name = "use_own_parts"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        """Do what numba's own lowering does where there is no library yet."""
        state.library = OwnPartsLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return True


class OwnPartsCompiler(CompilerBase):
    """numba's compiler, except that a function calls its own copies of what it calls."""

    def define_pipelines(self) -> list[Any]:
        """All passes of numba's, and one before lowering."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(UseOwnParts, AnnotateTypes)
        passes.finalize()
        return [passes]
