"""What a reader of calibrations finds in a file, and checks that all of them share."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dd_sfm.errors import InputError
from dd_sfm.io.lens import Lens

Tree = Mapping[str, Any]
Size = tuple[int, int]

TELLS_OF_A_LENS = re.compile(
    r"xi|alpha|beta|skew|eps\w*|tau[xy]?|[kps]\d+|\w*distort\w*|\w*coeff\w*|\w*fisheye\w*|\w*lensmodel|\w*cameramodel|modeltype|"
    r"\w*poly\w*|mirror\w*"
)
"""Names of values that say something of a lens: a file that holds one that is not understood is not half read."""


@dataclass(frozen=True)
class FoundLens:
    """A camera in a file.

    ``sized``: whether the file says of what size its pictures are; ``lens`` else has the size of the frames. ``name``
    tells it from others in the file. ``from_size``: whether focal length or centre follow from that size.
    """

    lens: Lens
    sized: bool
    name: str = ""
    from_size: bool = False


def bad(where: str, found: str, expected: str = "") -> InputError:
    """The error of a calibration that cannot be used: what was found, and what was expected."""
    return InputError(f"--calibration {where}: {found}{'; expected ' if expected else ''}{expected}")


def plain(key: str) -> str:
    """A key without case, underscores and dashes, as tools write the same name in many ways."""
    return re.sub(r"[\s_\-]", "", str(key)).lower()


def refuse_unknown(where: str, tree: Tree, known: Iterable[str]) -> None:
    """Refuse a file with a value that tells of its lens and is not among the ``known`` (plain) keys.

    Raises:
        InputError: Naming the key.
    """
    known = set(known)
    for key, value in tree.items():
        name = plain(key)
        if name not in known and TELLS_OF_A_LENS.fullmatch(name) and not is_nothing(value):
            raise bad(where, f"'{key}' is not understood beside the rest", "a lens that can be read as a whole")


def is_nothing(value: Any) -> bool:
    """Whether a value is empty, zero, or holds zeros alone."""
    if isinstance(value, Mapping):
        return is_nothing(value.get("data", list(value.values())))
    if isinstance(value, list | tuple):
        return all(is_nothing(part) for part in value)
    return value in (None, "", 0, 0.0, False) or (isinstance(value, str) and value.lower() in ("none", "0"))


def numbers(where: str, name: str, value: Any) -> list[float]:
    """The numbers of a value: of one, of a list, of lists in a list, or of an OpenCV matrix.

    Raises:
        InputError: If something among them is no finite number.
    """
    if isinstance(value, Mapping):
        value = value.get("data")
    if isinstance(value, list | tuple):
        return [number for part in value for number in numbers(where, name, part)]
    if isinstance(value, str):
        value = value.strip()
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise bad(where, f"{name} holds {value!r}", "numbers") from None
    if not math.isfinite(number):
        raise bad(where, f"{name} holds {number}", "finite numbers")
    return [number]


def one_number(where: str, tree: Tree, key: str) -> float:
    """The number at a key.

    Raises:
        InputError: If it is missing, or something else.
    """
    if key not in tree:
        raise bad(where, f"{key} is missing", f"it beside {', '.join(list(map(str, tree))[:6])}")
    found = numbers(where, key, tree[key])
    if len(found) != 1:
        raise bad(where, f"{key} holds {len(found)} numbers", "one")
    return found[0]


def numbered(where: str, tree: Tree, names: Iterable[str], prefix: str = "") -> list[float]:
    """The numbers at keys of which those that are missing are 0."""
    return [one_number(where, tree, prefix + name) if prefix + name in tree else 0.0 for name in names]


def size_of(where: str, values: Iterable[float] | None) -> Size | None:
    """Width and height from two numbers of a file; None where it gives none, or zeros."""
    found = [] if values is None else list(values)
    if not found or not any(found):
        return None
    if len(found) != 2 or min(found) < 1 or any(v != round(v) for v in found):
        raise bad(where, f"a size of {found}", "width and height in pixels")
    return int(found[0]), int(found[1])
