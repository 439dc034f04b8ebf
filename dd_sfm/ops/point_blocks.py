"""A model some points at a time: what is made of all observations at once takes gigabytes."""

from collections.abc import Iterator

import numpy as np

from dd_sfm.structures import Model

OBSERVATIONS = 250_000
"""In a block, as far as whole points allow."""


def point_blocks(model: Model, observations: int = OBSERVATIONS) -> Iterator[Model]:
    """The points of a model one after the other, in parts with about so many observations."""
    ends = np.cumsum(np.bincount(model.point, minlength=len(model.xyz)))
    first = row = 0
    while first < len(ends):
        last = max(first + 1, int(np.searchsorted(ends, row + observations, side="right")))
        points, rows = slice(first, last), slice(row, int(ends[last - 1]))
        yield Model(
            model.camera,
            model.cam_from_world,
            model.xyz[points],
            model.rgb[points],
            model.error_px[points],
            model.point[rows] - first,
            model.frame[rows],
            model.xy[rows],
        )
        first, row = last, rows.stop
