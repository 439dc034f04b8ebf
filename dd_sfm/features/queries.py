"""Query points: the pixels of a reference frame whose matches are searched in other frames."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.config import MatchConfig
from dd_sfm.ops.working import WorkingFrame


def query_points(frame: WorkingFrame, config: MatchConfig, existing: NDArray[Any] | None = None) -> NDArray[Any]:
    """Detect query points on usable area, at most one in each cell of ``query_spacing_px``.

    Args:
        frame: The working image and its mask.
        config: Kind, spacing and number of the points.
        existing: Points (K, 2) that the frame has already: their cells are left out.

    Returns:
        (N, 2) float32 working pixels, the most distinct first.
    """
    grey = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)
    # A patch around the point must lie on usable area.
    inside = cv2.erode(frame.mask.astype(np.uint8), np.ones((9, 9), np.uint8), borderValue=0) > 0
    if config.query == "sift":
        xy, strength = _sift_points(grey, inside)
    elif config.query == "grid":
        xy, strength = _grid_points(inside, config.query_spacing_px)
    else:
        xy, strength = _corner_points(grey, inside, config.query_spacing_px)
    xy, strength = _strongest_per_cell(xy, strength, config.query_spacing_px, existing)
    order = np.argsort(-strength, kind="stable")[: config.max_queries]
    return xy[order].astype(np.float32)


def _corner_points(grey: NDArray[Any], inside: NDArray[np.bool_], spacing: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Local maxima of the structure tensor's smaller eigenvalue (Shi and Tomasi, 1994), relative to brightness."""
    smooth = cv2.GaussianBlur(grey.astype(np.float32) + 8.0, (0, 0), 0.8)
    # The logarithm makes dark recesses count as much as bright walls.
    strength = cv2.cornerMinEigenVal(np.log(smooth), 7, ksize=3)
    peak = strength >= cv2.dilate(strength, np.ones((3, 3), np.uint8))
    rows, columns = np.nonzero(peak & inside)
    found = np.stack([columns, rows], 1).astype(np.float64)
    empty, middle = _grid_points(inside, spacing)
    # Cells without a corner get their centre, so that smooth walls are covered too.
    return np.concatenate([found, empty]), np.concatenate([strength[rows, columns].astype(np.float64), middle * 1e-12])


def _grid_points(inside: NDArray[np.bool_], spacing: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The centres of all cells that are usable, all of the same strength."""
    half = spacing // 2
    rows, columns = np.mgrid[half : inside.shape[0] : spacing, half : inside.shape[1] : spacing]
    xy = np.stack([columns.ravel(), rows.ravel()], 1)
    xy = xy[inside[xy[:, 1], xy[:, 0]]]
    return xy.astype(np.float64), np.ones(len(xy))


def _sift_points(grey: NDArray[Any], inside: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any]]:
    detector = cv2.SIFT_create(  # type: ignore[attr-defined]
        contrastThreshold=0.002, edgeThreshold=20
    )
    keypoints = detector.detect(grey, inside.astype(np.uint8))
    xy = np.array([k.pt for k in keypoints], np.float64).reshape(-1, 2)
    return xy, np.array([k.response for k in keypoints], np.float64)


def _strongest_per_cell(
    xy: NDArray[Any], strength: NDArray[Any], spacing: int, existing: NDArray[Any] | None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Keep the strongest point of every cell that has no existing point."""
    cell = np.floor(xy / spacing).astype(np.int64)
    key = cell[:, 1] * 100_000 + cell[:, 0]
    order = np.lexsort((-strength, key))
    first = order[np.r_[True, np.diff(key[order]) > 0]] if len(order) else order
    if existing is not None and len(existing):
        existing_cell = np.floor(existing / spacing).astype(np.int64)
        first = first[~np.isin(key[first], existing_cell[:, 1] * 100_000 + existing_cell[:, 0])]
    return xy[first], strength[first]
