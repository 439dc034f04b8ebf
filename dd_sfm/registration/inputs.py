"""Where a registration starts, as users give it: a transform, or pairs of points."""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dd_sfm.documents import regular
from dd_sfm.errors import InputError, reason_of
from dd_sfm.io.transforms import read_transform
from dd_sfm.sfm.geometry import Similarity, similarity, width_share
from dd_sfm.structures import FloatArray

MOST_BYTES = 1_000_000
MIN_PAIRS = 3
THIN = 0.02
"""Pairs lie on a line when their second extent is below this share of the first."""
MOST_SHEAR = 0.02
"""Largest relative difference between the scales along a transform's axes."""


def read_start(path: Path) -> Similarity:
    """Read a transform that is roughly right; see :func:`dd_sfm.io.transforms.read_transform`.

    Raises:
        InputError: If it cannot be read, or is no rotation with one scale.
    """
    return start_of(read_transform(path), str(path))


def start_of(matrix: NDArray[np.float64], name: str) -> Similarity:
    """A matrix (4, 4) as a similarity transform.

    Raises:
        InputError: If it is none.
    """
    if matrix.shape != (4, 4):
        raise InputError(f"{name}: a matrix of the shape {matrix.shape}; expected (4, 4)")
    u, scales, vt = np.linalg.svd(matrix[:3, :3])
    if not scales[2] > (1 - MOST_SHEAR) * scales[0]:
        raise InputError(f"{name}: scales of {scales[2]:.3g} to {scales[0]:.3g} by direction; expected one scale")
    if np.linalg.det(matrix[:3, :3]) < 0:
        raise InputError(f"{name}: mirrors space; expected a rotation with a scale")
    return Similarity(float(scales.mean()), u @ vt, np.asarray(matrix[:3, 3], np.float64))


def read_pairs(path: Path) -> tuple[FloatArray, FloatArray]:
    """Read pairs of points: x, y, z of the cloud, then x, y, z of the surface, a row each.

    Raises:
        InputError: If it cannot be read, or there are fewer than 3 pairs, or they lie on a line.
    """
    rows: list[list[float]] = []
    try:
        if regular(path).stat().st_size > MOST_BYTES:
            raise ValueError("too large for picked pairs")
        is_header = True
        for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
            words = [word for word in re.split(r"[\s,;]+", line.partition("#")[0]) if word]
            # The first line with anything in it may name the columns.
            may_be_header, is_header = is_header, is_header and not words
            if not words or (may_be_header and not re.match(r"[-+.\d]", words[0])):
                continue
            if len(words) != 6:
                raise ValueError(f"line {number} has {len(words)} values")
            rows.append([float(word) for word in words])
        pairs = np.array(rows).reshape(-1, 6)
        if not np.isfinite(pairs).all():
            raise ValueError("values that are not finite")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: no pairs ({reason_of(error)}); expected rows of six numbers: x,y,z of the cloud, x,y,z of the "
            "surface"
        ) from error
    return pairs[:, :3], pairs[:, 3:]


def start_by_pairs(cloud: FloatArray, surface: FloatArray, name: str) -> Similarity:
    """The transform by pairs of points (N, 3), by least squares.

    Raises:
        InputError: If there are fewer than 3, or they lie on a line.
    """
    if len(cloud) < MIN_PAIRS:
        raise InputError(f"{name}: {len(cloud)} pairs; expected {MIN_PAIRS} or more, not on a line")
    for part, points in (("cloud", cloud), ("surface", surface)):
        if not width_share(points) > THIN:
            raise InputError(
                f"{name}: the points of the {part} lie on a line; expected {MIN_PAIRS} or more that do not"
            )
    return similarity(cloud, surface)


def with_scale(start: Similarity, scale: float, centre: FloatArray) -> Similarity:
    """A start with another scale, about a centre (3,) of the cloud."""
    place = start.points(centre[None])[0]
    return Similarity(scale, start.rotation, place - scale * start.rotation @ centre)
