"""Pixel conventions: the one place where they are converted.

Inside the package a pixel is (x, y) with pixel *centres at integers*. COLMAP puts the centre of the
top-left pixel at (0.5, 0.5); these functions are called only where COLMAP's files and databases are read
or written, and where images are resized. All of them accept NumPy arrays and torch tensors.
"""

from typing import Any, TypeVar

ArrayT = TypeVar("ArrayT", bound=Any)


def to_colmap(xy: ArrayT) -> ArrayT:
    """Pixels (..., 2) with centres at integers -> COLMAP's convention (centre of the first pixel at 0.5)."""
    return xy + 0.5


def from_colmap(xy: ArrayT) -> ArrayT:
    """COLMAP pixels (..., 2) -> pixels with centres at integers."""
    return xy - 0.5


def resize_xy(xy: ArrayT, scale: float) -> ArrayT:
    """Where pixels (..., 2) land when their image is resized by ``scale``: (x + 0.5) * s - 0.5."""
    return (xy + 0.5) * scale - 0.5
