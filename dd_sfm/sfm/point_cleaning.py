"""Points that show one place twice, or hang alone in space, are dropped."""

import logging
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from dd_sfm.ops.slices import slices
from dd_sfm.sfm.point_selection import depths, select_points
from dd_sfm.structures import Model

logger = logging.getLogger(__name__)

POINTS = 50_000
"""Points whose neighbours are in memory at once."""


def clean(model: Model) -> Model:
    """Drop points that show the same place twice or hang alone in space."""
    merged = drop_duplicates(model)
    cleaned = drop_isolated(merged)
    logger.info(
        "triangulation: %d points, %d without duplicates, %d without isolated ones",
        len(model.xyz),
        len(merged.xyz),
        len(cleaned.xyz),
    )
    return cleaned


def drop_duplicates(model: Model, distance_px: float = 1.0) -> Model:
    """Of tracks that show the same surface point, keep the one with the most views.

    Two points are one when in some frame they are seen within ``distance_px`` and lie within two such footprints of
    each other in space.
    """
    if len(model.xyz) < 2:
        return model
    footprint = depths(model) / model.camera.fx * distance_px
    links = []
    order = np.argsort(model.frame, kind="stable")
    bounds = np.searchsorted(model.frame[order], np.arange(model.frame.max() + 2))
    for start, end in pairwise(bounds):
        rows = order[start:end]
        if len(rows) < 2:
            continue
        close = np.asarray(cKDTree(model.xy[rows]).query_pairs(distance_px, output_type="ndarray"))
        a, b = model.point[rows[close[:, 0]]], model.point[rows[close[:, 1]]]
        near = np.linalg.norm(model.xyz[a] - model.xyz[b], axis=1) < 2 * np.minimum(footprint[a], footprint[b])
        links.append(np.stack([a[near], b[near]], 1))
    pairs = np.concatenate(links) if links else np.zeros((0, 2), np.int64)
    size = len(model.xyz)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    _, group = connected_components(graph, directed=False)
    views = np.bincount(model.point, minlength=size)
    best = np.lexsort((model.error_px, -views, group))
    first = best[np.r_[True, np.diff(group[best]) > 0]]
    keep = np.zeros(size, bool)
    keep[first] = True
    return select_points(model, keep)


def drop_isolated(model: Model) -> Model:
    """Drop points that hang alone in space."""
    return select_points(model, not_isolated(model))


def not_isolated(*models: Model, neighbours: int = 6, factor: float = 4.0) -> NDArray[np.bool_]:
    """Which points (P,) of all models are about as near to their neighbours as points at their depth are.

    Points with many views are kept however thin the structure they lie on.
    """
    xyz = np.concatenate([m.xyz for m in models])
    if len(xyz) <= 4 * neighbours:
        return np.ones(len(xyz), bool)
    tree = cKDTree(xyz)
    away = [np.asarray(tree.query(xyz[part], k=neighbours + 1)[0])[:, -1] for part in slices(len(xyz), POINTS)]
    distance = np.concatenate(away)
    relative = np.log(np.maximum(distance, 1e-12) / np.maximum(np.concatenate([depths(m) for m in models]), 1e-12))
    views = np.concatenate([np.bincount(m.point, minlength=len(m.xyz)) for m in models])
    allowed = np.median(relative) + np.log(factor) * np.where(views >= 8, 2.0, 1.0)
    return np.asarray(relative <= allowed)
