"""Text, JSON and YAML that others wrote, read within bounds of size and depth.

A file from elsewhere may be anything: a pipe that never ends, a few lines of YAML that stand for billions of values,
brackets in brackets until the parser gives up. All of that becomes an ordinary error of reading here.
"""

import errno
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

MOST_JSON_BYTES = 500_000_000
MOST_YAML_CHARACTERS = 4_000_000
"""YAML takes seconds a megabyte."""
MOST_NUMBER, MOST_COUNT = 1e300, 2**53
MOST_NAME = 255
MOST_SHOWN = 200
"""Characters of a value in a message."""
MOST_YAML_VALUES = 1_000_000
"""With what aliases stand for counted at each place."""


def shown(value: Any) -> str:
    """A value of such a file as a message may show it."""
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def regular(path: Path) -> Path:
    """The path, if it leads to an ordinary file: opening a pipe may wait for ever, and reading a device never ends.

    Raises:
        OSError: If there is no such file, or it is a folder, a pipe or a device.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "a folder", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "a pipe or a device, no ordinary file", str(path))
    return path


def finite(value: Any) -> float:
    """A finite number.

    Raises:
        ValueError: If a value is something else; the texts and truth values that Python takes for numbers are none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < MOST_NUMBER:
        raise ValueError(f"{shown(value)}, which is no finite number")
    return float(value)


def whole(value: Any, least: int = 0) -> int:
    """A whole number from ``least`` on, of a size that counts and sizes have.

    Raises:
        ValueError: If a value is something else.
    """
    number = whole_number(value)
    if number < least:
        raise ValueError(f"{number}, which is less than {least}")
    return number


def whole_number(value: Any) -> int:
    """A whole number of a size that counts, places and sizes have; see :func:`whole`."""
    number = finite(value)
    if number != int(number) or abs(number) > MOST_COUNT:
        raise ValueError(f"{shown(value)}, which is no whole number that can be meant")
    return int(number)


def file_name(text: str) -> str:
    """The name of a file in a folder that is known.

    Raises:
        ValueError: If it leads anywhere else, or is none.
    """
    if text in ("", ".", "..") or not text.isprintable() or set(text) & set("/\\") or len(text) > MOST_NAME:
        raise ValueError(f"{shown(text)}, which is no name of a file")
    return text


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        OSError: If it cannot be read, or is larger than such a file can be.
        ValueError: If it is not JSON, or nested too deeply.
    """
    if regular(path).stat().st_size > MOST_JSON_BYTES:
        raise OSError(errno.EFBIG, f"more than {MOST_JSON_BYTES // 1_000_000} MB", str(path))
    return parse_json(path.read_text(encoding="utf-8"))


def parse_json(text: str) -> Any:
    """What a text in JSON stands for.

    Raises:
        ValueError: If it is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_yaml(text: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """What a text in YAML stands for, of several documents the first.

    Raises:
        yaml.YAMLError: If it is not YAML, too large, or nested too deeply.
    """
    return next(yaml_documents(text, loader), None)


def yaml_documents(text: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Iterator[Any]:
    """The documents of a text in YAML; see :func:`parse_yaml`."""
    if len(text) > MOST_YAML_CHARACTERS:
        raise yaml.YAMLError(f"more than {MOST_YAML_CHARACTERS // 1_000_000} million characters")
    reader = loader(text)
    try:
        while reader.check_node():
            node: Any = reader.get_node()
            _check_count(node)
            yield _value(reader, node)
    except RecursionError:
        raise yaml.YAMLError("nested too deeply") from None
    finally:
        reader.dispose()


def _value(reader: yaml.SafeLoader, node: yaml.Node) -> Any:
    try:
        return reader.construct_document(node)
    except (ValueError, ArithmeticError, LookupError, AttributeError, TypeError) as error:
        # So PyYAML ends at a number, a date or a tag that it takes for one, and that is none.
        raise yaml.YAMLError(f"a value that cannot be read ({error})") from error


def _check_count(root: yaml.Node) -> None:
    """See that what a document stands for is of a size that can be meant: aliases may multiply it without end."""
    counts: dict[int, int | None] = {}

    def count(node: yaml.Node) -> int:
        if id(node) in counts:
            known = counts[id(node)]
            if known is None:
                raise yaml.YAMLError("a value that holds itself")
            return known
        counts[id(node)] = None
        inside: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            inside = node.value
        elif isinstance(node, yaml.MappingNode):
            inside = [part for pair in node.value for part in pair]
        total = 1 + sum(map(count, inside))
        if total > MOST_YAML_VALUES:
            raise yaml.YAMLError(f"aliases that stand for more than {MOST_YAML_VALUES // 1_000_000} million values")
        counts[id(node)] = total
        return total

    count(root)
