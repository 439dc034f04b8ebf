"""Matches by descriptors alone, without mutual check or refinement by patches: for measuring accuracy."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dd_sfm.features.matching import match_nearest, subcell_peak
from dd_sfm.ops.sampling import cell_to_image, image_to_cell, sample_descriptors


def usable_cells(mask: NDArray[np.bool_], stride: int, shape: Sequence[int]) -> NDArray[np.bool_]:
    """Reduce a mask of an image to the cells (H, W) of a map: a cell is usable where its centre is.

    The centre of cell c lies at pixel (c + 0.5) * stride - 0.5, for an even stride between two pixels; the mask is read
    at the second of them, stride // 2. The first pixel of the cell would shift the field of view by half a cell.
    """
    start = stride // 2
    return mask[start::stride, start::stride][: shape[0], : shape[1]]


def find_points(map0: Tensor, map1: Tensor, usable: NDArray[np.bool_], xy: NDArray[np.floating], stride: int) -> Tensor:
    """Find the most similar usable cell for every point, with sub-cell refinement; no mutual check.

    Args:
        map0: Unit-norm descriptors (D, H, W) of the image that the points are in.
        map1: The same of the image that is searched.
        usable: Usable cells (H, W) of ``map1``, which may be smaller than the map; see :func:`usable_cells`.
        xy: Points (N, 2) in pixels.
        stride: Pixels a cell.

    Returns:
        Places (N, 2) float32 in pixels, on the device of ``map1``; NaN where no cell is usable.
    """
    points = torch.from_numpy(np.ascontiguousarray(xy)).float().to(map0.device)
    rows, columns = np.nonzero(usable)
    if not len(rows):
        return torch.full_like(points, torch.nan)
    cells = torch.from_numpy(np.stack([columns, rows], 1)).to(map1.device)
    queries = sample_descriptors(map0, image_to_cell(points, stride))
    index, _ = match_nearest(queries, map1.flatten(1).t()[cells[:, 1] * map1.shape[-1] + cells[:, 0]])
    return cell_to_image(subcell_peak(map1, queries, cells[index]), stride)
