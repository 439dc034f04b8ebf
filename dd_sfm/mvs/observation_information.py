"""How exactly, and along which direction, every observation says where its point is."""

import numpy as np

from dd_sfm.mvs.grey_images import GreyImages
from dd_sfm.ops.frame_rows import FrameRows
from dd_sfm.ops.texture import structure_tensors
from dd_sfm.structures import FloatArray, Model

AROUND_PX = 3.0
"""Standard deviation in working pixels of an observation's surroundings: those of a patch."""
MOST, LEAST = 6.0, 1e-3
"""Bounds of an information, relative to the middle one: other errors than those of patches are left, and along an edge
something is known as well."""


def observation_information(images: GreyImages, model: Model) -> FloatArray:
    """Inverse covariances of observations by the texture around them, relative to the middle one.

    A patch on an edge is found across it, and stays along it where the poses predicted it: counted as a measurement in
    both directions it confirms the poses, whatever they are.

    Args:
        images: The frames.
        model: The observations.

    Returns:
        Entries xx, xy and yy (O, 3).
    """
    found = np.zeros((len(model.frame), 3))
    place = np.round(images.grid.to_working(model.xy)).astype(np.int64)
    of_frame = FrameRows(model.frame)
    for frame in np.unique(model.frame).tolist():
        rows = of_frame.of(frame)
        tensors = structure_tensors(images[frame][0], AROUND_PX)
        column, row = np.clip(place[rows], 0, np.array(tensors.shape[1::-1]) - 1).T
        found[rows] = tensors[row, column]
    middle = float(np.median(found[:, 0] + found[:, 2])) / 2 if len(found) else 0.0
    return _bounded(found / max(middle, 1e-9))


def _bounded(information: FloatArray) -> FloatArray:
    """The information (O, 3) where ``1 / MOST`` is added to every variance, and ``LEAST`` to what is left."""
    xx, xy, yy = information.T
    determinant = xx * yy - xy * xy
    # M (1 + M / MOST)^-1 of symmetric matrices of two rows, written out.
    scale = 1 / (1 + (xx + yy) / MOST + determinant / MOST**2)
    along = determinant / MOST
    return np.stack([(xx + along) * scale + LEAST, xy * scale, (yy + along) * scale + LEAST], 1)
