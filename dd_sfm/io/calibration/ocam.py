"""Scaramuzza's omnidirectional lens, as OCamCalib, MATLAB and the C3VD data set write it."""

import re

import numpy as np
from numpy.typing import NDArray

from dd_sfm.io.calibration.found import FoundLens, Size, bad, numbers, one_number, size_of
from dd_sfm.io.lens import Lens
from dd_sfm.ops import scaramuzza
from dd_sfm.ops.coordinates import to_colmap

Floats = NDArray[np.float64]
NAMED = ("a0", "a1", "a2", "a3", "a4", "c", "d", "e", "cx", "cy", "width", "height")


def is_ocam_results(rows: list[list[str]]) -> bool:
    """Whether lines of numbers are those of OCamCalib's calib_results.txt: two polynomials, centre, stretch, size."""
    lengths = [len(row) for row in rows]
    counts = [_count(row) for row in rows[:2]]
    return lengths[2:] == [2, 3, 2] and [n + 1 for n in counts] == lengths[:2]


def _count(row: list[str]) -> int:
    return int(row[0]) if row and row[0].isdecimal() else -1


def read_ocam_results(where: str, rows: list[list[str]]) -> FoundLens:
    """Read OCamCalib's calib_results.txt.

    Raises:
        InputError: If a number cannot be read.
    """
    polynomial, _, centre, stretch, size = (numbers(where, f"line {i + 1}", row) for i, row in enumerate(rows))
    row, column = centre
    c, d, e = stretch
    # Its axes are the picture's rows, columns, and backwards.
    matrix = np.array([[1.0, e], [d, c]])
    found = size_of(where, size[::-1])
    assert found is not None
    return _lens(where, (column, row), matrix, [-a for a in polynomial[1:]], found, sized=True)


def read_named(where: str, content: str, frames: Size) -> FoundLens | None:
    """Read lines such as ``a0 = 767.7``, as of C3VD; None for other text.

    Raises:
        InputError: If a number is missing or cannot be read.
    """
    lines = [re.split(r"[#;%]", line)[0].strip() for line in content.splitlines()]
    pairs = [re.fullmatch(r"(\w+)\s*[=:,]?\s+(\S+)|(\w+)\s*[=:,]\s*(\S+)", line) for line in lines if line]
    if not pairs or not all(pairs):
        return None
    values = {(p[1] or p[3]).lower(): p[2] or p[4] for p in pairs if p}
    if "a0" not in values:
        return None
    unknown = [key for key in values if key not in NAMED]
    if unknown:
        raise bad(where, f"'{unknown[0]}' is not understood beside a0", f"{', '.join(NAMED)}")
    size = None
    if {"width", "height"} <= set(values):
        size = size_of(where, [one_number(where, values, key) for key in ("width", "height")])
    polynomial = [one_number(where, values, key) if key in values else 0.0 for key in NAMED[:5]]
    c, d, e = (one_number(where, values, key) if key in values else float(key == "c") for key in ("c", "d", "e"))
    centre = one_number(where, values, "cx"), one_number(where, values, "cy")
    return _lens(where, centre, np.array([[c, e], [d, 1.0]]), polynomial, size or frames, sized=size is not None)


def _lens(
    where: str, centre: tuple[float, float], stretch: Floats, polynomial: list[float], size: Size, *, sized: bool
) -> FoundLens:
    if not polynomial or polynomial[0] <= 0:
        raise bad(where, "a polynomial that does not look ahead", "a0 above zero, or below in calib_results.txt")
    most = sum(name.startswith("a") for name in scaramuzza.PARAMETERS)
    if any(polynomial[most:]):
        raise bad(where, f"a polynomial of {len(polynomial)} coefficients", f"at most {most}")
    padded = [*polynomial, *[0.0] * most][:most]
    params = (*map(to_colmap, centre), *stretch.ravel(), *padded)
    return FoundLens(Lens(scaramuzza.NAME, tuple(map(float, params)), *size), sized)
