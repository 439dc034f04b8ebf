"""Colours for values along a scale."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

UNKNOWN_RGB = (150, 150, 150)
"""Grey, for unknown values."""
RUN_RGB = ((209, 73, 91), (48, 99, 142))
"""Colours of the first and second run, as in the plots of an evaluation."""


@dataclass(frozen=True)
class ColourScale:
    """A colour scale from ``low`` to ``high``.

    ``label``: name and unit of the values; ``name``: of a matplotlib colour map.
    """

    label: str
    low: float
    high: float
    name: str = "turbo"

    def rgb(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Colours (N, 3) uint8 of values (N,), which are clipped to the scale; NaN is grey."""
        table = colour_table(self.name)
        span = max(self.high - self.low, 1e-12)
        known = np.isfinite(values)
        position = np.clip((np.where(known, values, self.low) - self.low) / span, 0.0, 1.0)
        colours = table[np.round(position * (len(table) - 1)).astype(np.int64)]
        colours[~known] = UNKNOWN_RGB
        return colours


def colour_table(name: str) -> NDArray[np.uint8]:
    """A colour map as 256 colours (256, 3) uint8, without its darkest ends, which cannot be seen on dark tissue."""
    return np.round(colormaps[name](np.linspace(0.07, 0.93, 256))[:, :3] * 255).astype(np.uint8)


def colour_scale(label: str, values: NDArray[Any], name: str = "turbo", *, clipped_pct: float = 2.0) -> ColourScale:
    """A colour scale over most of the values (N,), without ``clipped_pct`` percent at each end; NaN is ignored."""
    known = values[np.isfinite(values)]
    if not len(known):
        return ColourScale(label, 0.0, 1.0, name)
    low, high = (float(v) for v in np.percentile(known, [clipped_pct, 100 - clipped_pct]))
    return ColourScale(label, low, high if high > low else low + max(abs(low), 1e-9), name)
