"""Calibration boards: checkerboards and ChArUco boards, by their inner corners."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import UsageError

SMALLEST, LARGEST = 3, 60
"""Inner corners along a side of a board."""


@dataclass(frozen=True)
class Board:
    """A flat board of squares.

    ``columns`` and ``rows`` count inner corners, where four squares meet. ``square_mm`` is the side of a square, None
    where it is not known: it sets no parameter of the lens. ``is_charuco`` marks a board with ArUco markers in its
    white squares: ``dictionary`` names them, None to find it out; ``marker_share`` is the side of a marker as a share
    of that of a square.
    """

    columns: int
    rows: int
    square_mm: float | None = None
    is_charuco: bool = False
    dictionary: str | None = None
    marker_share: float = 0.75

    @property
    def points(self) -> NDArray[np.float64]:
        """Corners (N, 3) float64 on the board's plane z = 0, in squares from its middle, row by row."""
        x, y = np.meshgrid(np.arange(self.columns), np.arange(self.rows))
        flat = np.stack([x.ravel() - (self.columns - 1) / 2, y.ravel() - (self.rows - 1) / 2], 1)
        return np.column_stack([flat, np.zeros(len(flat))])

    @property
    def markers(self) -> int:
        """Markers that a ChArUco board of this size has."""
        return (self.columns + 1) * (self.rows + 1) // 2

    @property
    def clear_share(self) -> float:
        """How far around a corner nothing but its four squares is seen, as a share of a square's side."""
        return (1 - self.marker_share) / 2 if self.is_charuco else 0.5

    @property
    def name(self) -> str:
        """The board in words."""
        return f"{'ChArUco' if self.is_charuco else 'checkerboard'} of {self.columns}x{self.rows} inner corners"


def parse_counts(option: str, text: str) -> tuple[int, int]:
    """Read ``9x6``.

    Raises:
        UsageError: If it is no pair of numbers, or a board cannot have so few or so many corners.
    """
    found = re.fullmatch(r"\s*(\d+)\s*[xX*,]\s*(\d+)\s*", text)
    if found is None:
        raise UsageError(f"{option} {text}: expected two numbers, such as 9x6")
    columns, rows = int(found[1]), int(found[2])
    if not (min(columns, rows) >= SMALLEST and max(columns, rows) <= LARGEST):
        raise UsageError(
            f"{option} {text}: expected {SMALLEST} to {LARGEST} along each side. Count the corners where four squares "
            "meet: a board of 10x7 squares is 9x6"
        )
    return columns, rows
