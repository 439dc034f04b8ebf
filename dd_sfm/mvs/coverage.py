"""What of the surface in view was measured, how often it was seen, and where holes are.

The surface is closed over what has no points, so that holes have a place and a size. Whether a hole is known to exist
depends on that: where nothing was seen the surface is a guess.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from dd_sfm.io.colmap_mesh import PoissonSurface
from dd_sfm.mvs.mesh import face_areas, vertex_normals
from dd_sfm.mvs.sight import Posed, Sight, sight
from dd_sfm.structures import FloatArray, IntArray

GAP_SHARE = 0.03
"""A place is measured when a point lies within this share of its distance from the nearest camera that sees it."""
MIN_VIEWS = 2
"""A place is in view when so many frames see it: of one alone no depth can be found."""
MIN_HOLE_SHARE = 0.1
"""A hole counts when it is wider than this share of the distance from which the points are seen."""
OPEN_SHARE = 0.05
"""A part out of view that is larger than this share of the surface in view is no hole: there the model ends. So it does
where the surface has a border."""
PIECE_SHARE = 0.02
"""Pieces of the surface below this share of its largest one are strays, and left out."""
MAX_FRAMES = 80
"""So many frames, evenly spread, are asked what they see."""


class Place(IntEnum):
    """What a place of the surface is; the values are written to ``coverage.ply``."""

    MEASURED = 0
    BARE = 1
    """In view, but without a point."""
    UNSEEN = 2
    """Out of view of all frames, and without a point."""


@dataclass(frozen=True)
class Hole:
    """A place without points.

    ``place``: BARE or UNSEEN; ``at_edge``: whether the model ends there; ``views``: in the median; ``frame``:
    position of the one that shows it best, None where none does.
    """

    place: Place
    at_edge: bool
    area: float
    views: float
    frame: int | None

    @property
    def width(self) -> float:
        """Diameter of a disc of the same area."""
        return float(2 * np.sqrt(self.area / np.pi))


@dataclass(frozen=True)
class Coverage:
    """A surface and what is known of its places.

    ``vertices`` (V, 3), ``faces`` (F, 3), ``normals`` (V, 3); ``views`` (V,) of ``frames`` asked; ``place`` (V,) of
    :class:`Place`; ``hole`` (V,): index in ``holes``, which the largest begins, -1 for none; ``area`` in view, and
    ``measured``, the share of it with points; ``reach``: how far cameras look; ``distance``: from which they see the
    points, in the median.
    """

    vertices: FloatArray
    faces: IntArray
    normals: FloatArray
    views: IntArray
    frames: int
    place: NDArray[np.uint8]
    hole: IntArray
    holes: tuple[Hole, ...]
    area: float
    measured: float
    reach: float
    distance: float


def cover(
    points: Iterable[FloatArray],
    surface: PoissonSurface,
    frames: Sequence[Callable[[], Posed]],
    distance: float,
    reach: float,
) -> Coverage:
    """Find what of the surface in view has points.

    Args:
        points: The points (N, 3), some of them at a time.
        surface: A closed surface through them, from :func:`dd_sfm.mvs.coverage_surface.closed_surface`.
        frames: Each reads one of the frames with a pose, in their order; of more than :data:`MAX_FRAMES` some are used.
        distance: From which they see the points, in the median.
        reach: The largest distance of what counts as in view.
    """
    vertices, faces = _without_strays(surface.vertices, surface.faces)
    normals = vertex_normals(vertices, faces)
    asked = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), MAX_FRAMES)).round().astype(int))
    found = sight(vertices, faces, normals, (frames[k]() for k in asked), reach)
    nearest = found.nearest
    to_point = np.full(len(vertices), np.inf)
    for xyz in points:
        np.minimum(to_point, cKDTree(xyz).query(vertices)[0], out=to_point)
    measured = to_point < GAP_SHARE * np.where(np.isfinite(nearest), nearest, distance)
    place = np.where(measured, Place.MEASURED, np.where(found.views >= MIN_VIEWS, Place.BARE, Place.UNSEEN))
    areas = _vertex_areas(vertices, faces)
    in_view = float(areas[place != Place.UNSEEN].sum())
    hole, holes = _holes(_pieces(faces, place, areas, in_view), areas, found, asked, MIN_HOLE_SHARE * distance)
    return Coverage(
        vertices, faces, normals, found.views, len(asked), place.astype(np.uint8), hole, holes, in_view,
        float(areas[measured].sum()) / max(in_view, 1e-12), reach, distance,
    )  # fmt: skip


def _without_strays(vertices: FloatArray, faces: IntArray) -> tuple[FloatArray, IntArray]:
    """The surface without its small pieces."""
    piece = _connected(np.concatenate([faces[:, :2], faces[:, 1:]]), len(vertices))
    size = np.bincount(piece[faces[:, 0]], weights=face_areas(vertices, faces), minlength=piece.max(initial=0) + 1)
    kept, index = np.unique(faces[(size >= PIECE_SHARE * size.max())[piece[faces[:, 0]]]], return_inverse=True)
    return vertices[kept], index.reshape(-1, 3)


def _vertex_areas(vertices: FloatArray, faces: IntArray) -> FloatArray:
    """The area (V,) around each vertex: a third of each of its faces."""
    third = np.repeat(face_areas(vertices, faces) / 3, 3)
    return np.bincount(faces.ravel(), weights=third, minlength=len(vertices))


@dataclass(frozen=True)
class _Pieces:
    """Connected parts of one kind.

    ``piece`` (V,): of each vertex; by piece its ``kind``, ``size``, and ``is_open``, whether there the model ends;
    ``edges`` (E, 2): of the surface.
    """

    piece: IntArray
    kind: IntArray
    size: FloatArray
    is_open: NDArray[np.bool_]
    edges: IntArray


def _pieces(faces: IntArray, place: IntArray, areas: FloatArray, in_view: float) -> _Pieces:
    """Divide the surface into parts of one kind."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    piece = _connected(edges[place[edges[:, 0]] == place[edges[:, 1]]], len(place))
    size = np.bincount(piece, weights=areas)
    kind = np.zeros(len(size), np.int64)
    kind[piece] = place
    _, first, uses = np.unique(np.sort(edges, 1), axis=0, return_index=True, return_counts=True)
    has_border = np.zeros(len(size), bool)
    has_border[piece[edges[first[uses == 1]]]] = True
    is_open = (kind == Place.UNSEEN) & (has_border | (size > OPEN_SHARE * in_view))
    return _Pieces(piece, kind, size, is_open, edges)


def _connected(edges: IntArray, count: int) -> IntArray:
    """The number (count,) of the connected part that each vertex belongs to."""
    graph = coo_matrix((np.ones(len(edges), np.int8), edges.T), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _holes(
    parts: _Pieces, areas: FloatArray, found: Sight, asked: IntArray, least_width: float
) -> tuple[IntArray, tuple[Hole, ...]]:
    """The holes, the largest one first, and which of them each vertex belongs to (V,), -1 for none."""
    is_hole = (parts.kind != Place.MEASURED) & ~parts.is_open & (parts.size >= np.pi / 4 * least_width**2)
    order = np.flatnonzero(is_hole)[np.argsort(-parts.size[is_hole], kind="stable")]
    number = np.full(len(parts.size), -1)
    number[order] = np.arange(len(order))
    hole = number[parts.piece]
    at_edge = np.zeros(len(parts.size), bool)
    for one, other in (parts.edges.T, parts.edges.T[::-1]):
        at_edge[parts.piece[one[parts.is_open[parts.piece[other]]]]] = True
    # How large each vertex looks in each frame that sees it.
    shown = found.seen * (areas / np.maximum(found.distance, 1e-12) ** 2)
    holes = []
    for k, index in enumerate(order):
        within = hole == k
        around = within.copy()
        around[parts.edges[within[parts.edges].any(1)]] = True
        sizes = shown[:, around].sum(1)
        frame = int(asked[int(sizes.argmax())]) if sizes.any() else None
        kind, views = Place(int(parts.kind[index])), float(np.median(found.views[within]))
        holes.append(Hole(kind, bool(at_edge[index]), float(parts.size[index]), views, frame))
    return hole, tuple(holes)
