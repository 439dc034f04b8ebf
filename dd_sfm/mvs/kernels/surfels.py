"""Discs of a surface drawn into a picture of inverse depths, the nearest in front."""

import numpy as np

from dd_sfm.ops.compiled import Float32Array, Float64Array, compiled_for_workers

HIDDEN = 0.5
"""What is left of the light where a surface begins: a disc that floats in front of it takes less of it."""
CHANNELS = 8
"""Sums that :func:`draw_surface` makes for each pixel."""


@compiled_for_workers
def draw_front(
    xy: Float64Array,
    planes: Float64Array,
    radius: Float64Array,
    opacity: Float64Array,
    front: Float32Array,
    light: Float32Array,
) -> None:
    """Find the inverse depth of every pixel at which discs, from the nearest one on, have taken half of the light.

    Args:
        xy: Centres of the discs (N, 2) in pixels, from the nearest to the farthest.
        planes: Inverse depths there and their slopes per pixel (N, 3).
        radius: Of the discs (N,) in pixels.
        opacity: Share of the light (N,) that a disc takes at its centre.
        front: Inverse depths (H, W), 0 where they have not; changed.
        light: What is left of it (H, W), 1 at first; changed.
    """
    height, width = front.shape
    for n in range(len(xy)):
        x, y, r = xy[n, 0], xy[n, 1], radius[n]
        for row in range(max(0, int(np.ceil(y - r))), min(height, int(np.floor(y + r)) + 1)):
            for column in range(max(0, int(np.ceil(x - r))), min(width, int(np.floor(x + r)) + 1)):
                dx, dy = column - x, row - y
                near = 1 - (dx * dx + dy * dy) / (r * r)
                if near > 0 and front[row, column] == 0:
                    light[row, column] *= np.float32(1 - opacity[n] * near)
                    if light[row, column] < HIDDEN:
                        front[row, column] = np.float32(planes[n, 0] + planes[n, 1] * dx + planes[n, 2] * dy)


@compiled_for_workers
def draw_surface(
    xy: Float64Array,
    planes: Float64Array,
    radius: Float64Array,
    sigma: Float64Array,
    leeway: float,
    front: Float32Array,
    total: Float32Array,
) -> None:
    """Add the discs that are about as far as the front, weighted by how near their centres and how sure they are.

    Args:
        xy: Centres of the discs (N, 2) in pixels.
        planes: Inverse depths there and their slopes per pixel (N, 3).
        radius: Of the discs (N,) in pixels.
        sigma: Relative errors (N,) of their depths.
        leeway: Largest relative difference of inverse depths to the front.
        front: Inverse depths (H, W) of :func:`draw_front`.
        total: Sums (CHANNELS, H, W), changed: of weights, of inverse depths, their slopes and errors by these weights;
            of nearness, and of where the discs' centres lie by that, in radii.
    """
    height, width = front.shape
    for n in range(len(xy)):
        x, y, r = xy[n, 0], xy[n, 1], radius[n]
        sure = 1 / (sigma[n] * sigma[n])
        for row in range(max(0, int(np.ceil(y - r))), min(height, int(np.floor(y + r)) + 1)):
            for column in range(max(0, int(np.ceil(x - r))), min(width, int(np.floor(x + r)) + 1)):
                dx, dy = column - x, row - y
                near = 1 - (dx * dx + dy * dy) / (r * r)
                inverse = planes[n, 0] + planes[n, 1] * dx + planes[n, 2] * dy
                if near > 0 and abs(inverse - front[row, column]) < leeway * front[row, column]:
                    weight = near * near * sure
                    total[0, row, column] += np.float32(weight)
                    total[1, row, column] += np.float32(weight * inverse)
                    total[2, row, column] += np.float32(weight * planes[n, 1])
                    total[3, row, column] += np.float32(weight * planes[n, 2])
                    total[4, row, column] += np.float32(weight * sigma[n])
                    total[5, row, column] += np.float32(near)
                    total[6, row, column] += np.float32(near * dx / r)
                    total[7, row, column] += np.float32(near * dy / r)
