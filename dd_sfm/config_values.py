"""Frozen dataclasses filled from YAML, from ``key.path=value`` texts and from options, strictly.

An unknown key fails with the nearest known one, a value of the wrong kind with what was expected.
"""

import dataclasses
import difflib
import logging
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from dd_sfm.documents import parse_yaml, regular, shown
from dd_sfm.errors import ConfigError, reason_of

logger = logging.getLogger(__name__)

ConfigT = TypeVar("ConfigT")

RENAMED_KEYS = {"densify": "triangulation", "map.ladder": "map.mappers"}
"""Keys and sections of earlier versions by their dotted names, and what they are called now: both are read."""
WHOLE_NUMBER = re.compile(r"[-+]?\d+")
KIND_NAMES = {
    str: "text, in quotes",
    Path: "text, in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}
"""What messages call the types that a key may have."""


class PlainLoader(yaml.SafeLoader):
    """YAML in which 1:02:30 is a text, as in YAML 1.2, and not 3750, the number that YAML 1.1 reads to base 60."""


PlainLoader.yaml_implicit_resolvers = {
    first: [("tag:yaml.org,2002:str", re.compile(r"[-+]?\d[\d_]*(:[\d_]+)+(\.[\d_]*)?$")), *resolvers]
    if first in "-+0123456789"
    else resolvers
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

FACTS_OF_A_RUN = ("versions", "device_used")
"""What ``config.yaml`` of a run holds beside the settings."""


def load_config(
    cls: type[ConfigT],
    path: Path | None = None,
    overrides: Sequence[str] = (),
    *,
    base: ConfigT | None = None,
    options: Mapping[str, tuple[str, Any]] | None = None,
) -> ConfigT:
    """Build a configuration from defaults, a YAML file, ``key.path=value`` overrides and options, in that order.

    Args:
        cls: The dataclass to build; its defaults are the base.
        path: YAML file holding any subset of the keys, or the ``config.yaml`` of a run; None for none.
        overrides: ``section.key=value`` texts; the value is parsed as YAML, but a key that holds text or a path keeps
            it as typed: a folder may be called 2024.
        base: What to start from instead of the defaults.
        options: Dotted key and value of every option given on the command line, by the option's name.

    Raises:
        ConfigError: For an unreadable file, an unknown key (with the nearest known one) or a wrong type.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            loaded = parse_yaml(regular(path).read_text(), PlainLoader)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read ({reason_of(error)}); expected a YAML file") from error
        except yaml.YAMLError as error:
            raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
        if loaded is not None and not isinstance(loaded, dict):
            raise ConfigError(f"{path}: found {type(loaded).__name__}; expected a mapping of sections")
        values = {key: value for key, value in (loaded or {}).items() if key not in FACTS_OF_A_RUN}
    renamed = with_new_names(cls, values, str(path), tell=True)
    config = build_config(cls, renamed, where=str(path))
    if base is not None:
        config = build_config(cls, _merge(dump_config(base), renamed), where=str(path))
    _check_one_name_each(cls, overrides)
    for text in overrides:
        config = _override(config, text)
    for option, (key, value) in (options or {}).items():
        config = _set_option(config, option, key, value)
    return config


def build_config(cls: type[ConfigT], values: Mapping[str, Any], *, where: str) -> ConfigT:
    """Build ``cls`` from a nested mapping; ``where`` names its source in error messages.

    Keys of earlier versions are read as what they are called now: :data:`RENAMED_KEYS`.
    """
    return _build(cls, with_new_names(cls, values, where), where, "")


def dump_config(config: Any) -> dict[str, Any]:
    """Convert a configuration to plain nested dicts and lists, ready for YAML and JSON."""
    return _plain(dataclasses.asdict(config))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _build(cls: Any, values: Mapping[str, Any], where: str, prefix: str) -> Any:
    hints = typing.get_type_hints(cls)
    known = [f.name for f in dataclasses.fields(cls)]
    result = {}
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"{where}: unknown key '{prefix}{key}'; {_nearest(cls, str(key), prefix)}")
        result[key] = _convert(hints[key], value, where, f"{prefix}{key}")
    return cls(**result)


def _nearest(cls: Any, key: str, prefix: str) -> str:
    """Name the known keys that are most like an unknown one, with their section; else list all keys."""
    kinds = typing.get_type_hints(cls)
    close = [f"{prefix}{name}" for name in difflib.get_close_matches(key, kinds, n=1)]
    close = close or [f"{prefix}{name}.{key}" for name, kind in kinds.items() if _kind(kind, key) is not None]
    return f"did you mean {' or '.join(repr(name) for name in close)}?" if close else f"known: {', '.join(kinds)}"


def _kind(cls: Any, path: str) -> Any:
    """The annotated type of a dotted key; None for an unknown one."""
    for name in path.split("."):
        cls = typing.get_type_hints(cls).get(name) if dataclasses.is_dataclass(cls) else None
    return cls


def _unfit(where: str, key: str, value: Any, expected: str) -> ConfigError:
    """The error for a value of the wrong kind; ``key`` is empty where ``where`` names key and value already."""
    return ConfigError(
        f"{where}: '{key}' is {shown(value)}; expected {expected}" if key else f"{where}: expected {expected}"
    )


def _convert(kind: Any, value: Any, where: str, key: str) -> Any:
    """Convert a value to the annotated type ``kind``, or raise ConfigError."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: '{key}' is {shown(value)}; expected a section of keys")
        return _build(kind, value, where, f"{key}.")
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return _convert_union([a for a in arguments if a is not type(None)], value, where, key)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool) != isinstance(arguments[0], bool):
            raise _unfit(where, key, value, f"one of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        return _convert_tuple(arguments, value, where, key)
    if kind is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        return _number(value, where, key)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise _unfit(where, key, value, KIND_NAMES[kind])


def _convert_union(kinds: list[Any], value: Any, where: str, key: str) -> Any:
    """Convert to the first of several types that takes a value; texts of options may be whole numbers."""
    if len(kinds) == 1:
        return _convert(kinds[0], value, where, key)
    if int in kinds and isinstance(value, str) and WHOLE_NUMBER.fullmatch(value.strip()):
        value = int(value)
    for kind in kinds:
        try:
            return _convert(kind, value, where, key)
        except ConfigError:
            continue
    raise _unfit(where, key, value, " or ".join(map(_kind_name, kinds)))


def _kind_name(kind: Any) -> str:
    """What a message calls a type, or the values of a Literal."""
    return KIND_NAMES.get(kind) or ", ".join(map(str, typing.get_args(kind)))


def _number(value: float | str, where: str, key: str) -> float:
    """Convert to a finite float; also from text, as which YAML 1.1 reads 1e-3."""
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise _unfit(where, key, value, "a number") from None
    if not math.isfinite(number):
        raise _unfit(where, key, value, "a finite number")
    return number


def _convert_tuple(arguments: tuple[Any, ...], value: Any, where: str, key: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _unfit(where, key, value, "a list")
    kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
    if len(kinds) != len(value):
        raise ConfigError(f"{where}: '{key}' has {len(value)} values; expected {len(kinds)}")
    return tuple(_convert(k, v, where, key) for k, v in zip(kinds, value, strict=True))


def _new_name(cls: Any, path: str) -> str:
    """What a dotted key of an earlier version of ``cls``, or one in a section of it, is called now."""
    for old, new in RENAMED_KEYS.items():
        if (path == old or path.startswith(f"{old}.")) and _kind(cls, old) is None and _kind(cls, new) is not None:
            return new + path.removeprefix(old)
    return path


def with_new_names(cls: Any, values: Mapping[str, Any], where: str, *, tell: bool = False) -> Mapping[str, Any]:
    """A nested mapping whose keys of earlier versions are called what they are called now.

    Raises:
        ConfigError: If a key is there under both names.
    """
    for old in RENAMED_KEYS:
        new = _new_name(cls, old)
        parent, _, key = old.rpartition(".")
        holder = values.get(parent) if parent else values
        if new == old or not isinstance(holder, Mapping) or key not in holder:
            continue
        moved = holder[key]
        without = {name: value for name, value in holder.items() if name != key}
        values = {**values, parent: without} if parent else without
        for name in reversed(new.split(".")):
            moved = {name: moved}
        twice = _common_key(values, moved)
        if twice is not None:
            before = old + twice.removeprefix(new)
            raise ConfigError(
                f"{where}: '{before}' is what '{twice}' was called before, and both are there; expected one of them"
            )
        values = _merge(dict(values), moved)
        if tell:
            _tell_new_name(where, old, new)
    return values


def _common_key(first: Mapping[str, Any], second: Mapping[str, Any]) -> str | None:
    """A dotted key that two nested mappings both hold; None without any."""
    for key, value in second.items():
        if key not in first:
            continue
        if not (isinstance(value, Mapping) and isinstance(first[key], Mapping)):
            return key
        deeper = _common_key(first[key], value)
        if deeper is not None:
            return f"{key}.{deeper}"
    return None


@cache
def _tell_new_name(where: str, old: str, new: str) -> None:
    """Tell the user once of a key that has a new name; shown on the terminal as no handler takes it."""
    logger.warning("%s: %s is now %s; please rename it", where, old, new)


def _check_one_name_each(cls: Any, overrides: Sequence[str]) -> None:
    """Refuse overrides that set one key by its name of now and by that of an earlier version."""
    names: dict[str, str] = {}
    for text in overrides:
        given = text.partition("=")[0].strip()
        key = _new_name(cls, given)
        other = names.setdefault(key, given)
        if other != given:
            old = given if given != key else other
            raise ConfigError(
                f"--set {text}: '{old}' is what '{key}' was called before, and both are there; expected one of them"
            )


def _override(config: Any, text: str) -> Any:
    given, equals, value_text = text.partition("=")
    if not equals or not given.strip():
        raise ConfigError(f"--set {text}: expected key.path=value, such as match.query_spacing_px=4")
    path = _new_name(type(config), given.strip())
    if path != given.strip() and _kind(type(config), path) is not None:
        _tell_new_name(f"--set {text}", given.strip(), path)
    value = _parsed(_kind(type(config), path), value_text, text)
    return _replaced(config, path, value, f"--set {text}")


def _parsed(kind: Any, value_text: str, text: str) -> Any:
    """The value of an override; text stays as it was typed where the key holds text."""
    is_union = typing.get_origin(kind) in (types.UnionType, typing.Union)
    kinds = typing.get_args(kind) if is_union else (kind,)
    is_text = str in kinds or Path in kinds
    try:
        value = parse_yaml(value_text)
    except yaml.YAMLError as error:
        if is_text:
            return value_text.strip()
        raise ConfigError(f"--set {text}: the value cannot be parsed; expected YAML") from error
    fits = not is_text or isinstance(value, str) or (value is None and type(None) in kinds)
    return value if fits else value_text.strip()


def with_settings(config: ConfigT, settings: Mapping[str, Any], *, where: str) -> ConfigT:
    """A configuration with other values for some dotted keys; ``where`` names their source in error messages.

    Raises:
        ConfigError: For an unknown key (with the nearest known one) or a value of the wrong type.
    """
    for path, value in settings.items():
        config = _replaced(config, _new_name(type(config), path), value, where)
    return config


def _set_option(config: Any, option: str, path: str, value: Any) -> Any:
    where = f"{option} {value}"
    # Checked by itself first, so that the message names what was typed rather than a key.
    _convert(_kind(type(config), path), value, where, "")
    return _replaced(config, path, value, where)


def _replaced(config: Any, path: str, value: Any, where: str) -> Any:
    """Replace the value of one dotted key: checked by itself first, then merged into the configuration."""
    for key in reversed(path.split(".")):
        value = {key: value}
    _build(type(config), value, where, "")
    return _build(type(config), _merge(dump_config(config), value), where, "")


def _merge(base: dict[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged
