"""Commands whose options are fields of dataclasses, so that commands can share a group of options."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any, get_type_hints


def expand_options(command: Callable[..., None]) -> Callable[..., None]:
    """Turn the fields of a command's dataclass parameters into options of the command.

    Typer makes one option of each parameter in a function's signature. The returned function shows, in place of a
    parameter annotated with a dataclass, the fields of that dataclass with their annotations and defaults; when it is
    called, the command gets the dataclass filled with the values. The order of the options is that of the signature.

    Args:
        command: A function that takes keyword-only arguments. Fields of its dataclasses are annotated as Typer wants
            parameters, ``Annotated[type, typer.Option(...)]``, and no name occurs twice.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if dataclasses.is_dataclass(kind)}
    parameters: list[Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            parameters += _field_parameters(groups[name])
        else:
            parameters.append(parameter.replace(annotation=hints[name]))

    @functools.wraps(command)
    def expanded(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in dataclasses.fields(group)})
        command(**values)

    shown: Any = expanded
    shown.__signature__ = inspect.Signature(parameters, return_annotation=None)
    shown.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return expanded


def _field_parameters(group: Any) -> list[Parameter]:
    """The fields of a dataclass as keyword-only parameters; fields without a default are required."""
    hints = get_type_hints(group, include_extras=True)
    return [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if field.default is dataclasses.MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(group)
    ]
