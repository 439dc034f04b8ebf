"""Colours for figures along a scale."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

UNKNOWN_RGB = (150, 150, 150)
"""Grey, for values that are not known."""
RUN_RGB = ((209, 73, 91), (48, 99, 142))
"""First and second run, as in the figures of an evaluation."""


@dataclass(frozen=True)
class Scale:
    """A colour scale: ``name`` of a matplotlib colour map, from ``low`` to ``high``; ``label`` says what of."""

    label: str
    low: float
    high: float
    name: str = "turbo"

    def rgb(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Colours (N, 3) uint8 of values (N,); beyond the ends those of the ends, NaN grey."""
        table = scale_table(self.name)
        span = max(self.high - self.low, 1e-12)
        known = np.isfinite(values)
        place = np.clip((np.where(known, values, self.low) - self.low) / span, 0.0, 1.0)
        colours = table[np.round(place * (len(table) - 1)).astype(np.int64)]
        colours[~known] = UNKNOWN_RGB
        return colours


def scale_table(name: str) -> NDArray[np.uint8]:
    """A colour map as 256 colours (256, 3) uint8, without its darkest ends: those are lost on dark tissue."""
    return np.round(colormaps[name](np.linspace(0.07, 0.93, 256))[:, :3] * 255).astype(np.uint8)


def scale_of(label: str, values: NDArray[Any], name: str = "turbo", *, share: float = 2.0) -> Scale:
    """The scale over the bulk of values: ``share`` percent at each end lie beyond it; NaN does not count."""
    known = values[np.isfinite(values)]
    if not len(known):
        return Scale(label, 0.0, 1.0, name)
    low, high = (float(v) for v in np.percentile(known, [share, 100 - share]))
    return Scale(label, low, high if high > low else low + max(abs(low), 1e-9), name)
