"""How loops are compiled, and when what was compiled before still holds."""

import ast
import hashlib
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from dd_sfm.ops.own_parts import OwnPartsCompiler

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

Float32Array = NDArray[np.float32]
"""An array of 32-bit numbers in a compiled loop: an image, a patch, a matrix or a vector."""
Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Number = np.float32 | float
Index = np.int32 | np.int64 | int
RANGES_PER_THREAD = 8
"""Ranges that :func:`over_cores` makes of a thread's share, so that all threads end at about the same time..."""
LEAST_RANGE = 64
"""...and least steps of a range."""


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Let torch and :func:`over_cores` use so many threads within a block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def over_cores(loop: Callable[..., None], count: int, *arguments: Any, least: int = LEAST_RANGE) -> None:
    """Call a compiled ``loop(first, last, *arguments)`` for ranges that make up ``count``, in as many threads as torch.

    A range has ``least`` steps or more.

    Loops of numba's own threads take twice as long to compile, and cannot be called from two threads at once.
    """
    threads = torch.get_num_threads()
    size = max(least, -(-count // (RANGES_PER_THREAD * threads)))
    if threads == 1 or count <= size:
        loop(0, count, *arguments)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda first: loop(first, min(first + size, count), *arguments), range(0, count, size)):
            pass


def compiled_for_workers(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Compile a loop that lets other threads of the process run meanwhile. Kept on disk where a folder is writable."""
    return _compile(function)


def compiled_part(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Compile a function that only compiled loops call."""
    return njit(fastmath=True, error_model="numpy")(function)


def inlined_part(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """A function that is written out wherever compiled loops call it."""
    return njit(fastmath=True, error_model="numpy", inline="always")(function)


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    """Kept on disk where a folder may be written to, else compiled anew in every process."""
    options: dict[str, Any] = {
        "fastmath": True,
        "error_model": "numpy",
        "nogil": True,
        "pipeline_class": OwnPartsCompiler,
    }
    try:
        loop: Any = njit(cache=True, **options)(function)
    except RuntimeError:
        # numba finds neither the package's folder nor the user's cache writable: a system-wide install, no home.
        return njit(**options)(function)
    # numba takes what is on disk for current as long as the function's own file is unchanged. The loop also holds what
    # it calls and the constants it uses, so every source that it may have them from has to be unchanged.
    if hasattr(loop, "_cache"):  # NUMBA_DISABLE_JIT leaves plain functions.
        loop._cache._cache_file._source_stamp = source_stamp(function.__module__)
    return cast("Callable[..., Any]", loop)


def source_stamp(module: str) -> bytes:
    """A hash of the sources that the compiled loops of a module are made of.

    These are its own, those of the modules of its package that it imports, and so on through imported modules that
    hold compiled functions themselves.
    """
    package = module.partition(".")[0]
    sources: dict[str, bytes] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in sources or name not in sys.modules:
            continue
        path = getattr(sys.modules[name], "__file__", None)
        # In an archive or a frozen program there is no source that could change.
        sources[name] = Path(path).read_bytes() if path is not None and Path(path).is_file() else b""
        imported = _imported(sources[name])
        if name == module or {"numba", __name__} & set(imported):
            waiting += [other for other in imported if other.partition(".")[0] == package]
    digest = hashlib.sha256()
    for name in sorted(sources):
        digest.update(name.encode() + b"\0" + hashlib.sha256(sources[name]).digest())
    return digest.digest()


@cache
def _imported(source: bytes) -> tuple[str, ...]:
    """Full names of the modules, and of what may be modules, that a source imports."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)
