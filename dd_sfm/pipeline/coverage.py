"""The coverage of a finished run: its surface, what of it is measured, and holes; ``coverage.ply`` and its figures."""

import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import camera_centres
from dd_sfm.errors import InputError, ReconstructionError
from dd_sfm.io.clouds import COVERAGE_COMMENT, PLY_ERRORS, point_places, read_cloud, read_ply, write_mesh
from dd_sfm.io.colmap_sample import Sample
from dd_sfm.io.images import read_mask
from dd_sfm.io.run_folder import has_coverage, read_coverage, write_coverage
from dd_sfm.io.scene import Scene, SceneImage, open_scene
from dd_sfm.mvs.coverage import GAP_SHARE, Coverage, Hole, Place, cover
from dd_sfm.mvs.coverage_surface import MIN_POINTS, MOST_POINTS, closed_surface
from dd_sfm.mvs.sight import Posed
from dd_sfm.structures import FloatArray, Model

FORMAT = 1
"""Counted up when coverage is found in another way: that of an older run is then found anew."""
REACH_PERCENTILE = 95.0
"""Cameras are taken to reach as far as this share of the points' observations."""
SAMPLE = Sample(points=100_000, observations=300_000)
"""Observations that tell how far that is."""
TOO_FEW = "points with normals; expected at least"
KINDS = ("in_view", "at_edge", "out_of_view")
"""Holes with measured surface around them; places in view at the edge of the model; and what no two frames see."""
SURFACE = "coverage.ply"
NEVER, OFTEN = np.array([0.93, 0.88, 0.72]), np.array([0.05, 0.30, 0.42])
"""Colours (red, green, blue) of what the fewest frames see, and the most."""
HOLE_COLOURS = {Place.BARE: (0.85, 0.25, 0.15), Place.UNSEEN: (0.35, 0.35, 0.38)}


class TooFewPointsError(ReconstructionError):
    """The cloud is too small for a surface, which no other try can change."""


def is_covered(run: Path) -> bool:
    """Whether the coverage of a run is known, as this version finds it; what is damaged is found anew."""
    if not has_coverage(run):
        return False
    with suppress(InputError):
        found = read_coverage(run)
        if found.get("format") != FORMAT:
            return False
        if found.get("measured_share") is None:
            # Earlier versions kept other reasons, too, that may have passed.
            return TOO_FEW in str(found.get("reason"))
        with suppress(*PLY_ERRORS):
            read_ply(run / SURFACE, known_list_len={"face": {"vertex_indices": 3}})
            return True
    return False


def run_coverage(run: Path) -> dict[str, Any]:
    """Find the coverage of a finished run's first model, unless it is known; writes ``coverage.ply``, too.

    Returns:
        Its figures; where there are too few points ``measured_share`` is None, and ``reason`` says why.

    Raises:
        ReconstructionError: If no surface comes of the points.
        InputError: If a file of the run cannot be read.
        OutputError: If one cannot be written.
    """
    if is_covered(run):
        return read_coverage(run)
    started = time.monotonic()
    scene = open_scene(run, sample=SAMPLE)
    figures: dict[str, Any] = {"format": FORMAT, "measured_share": None}
    try:
        found = _covered(run, scene)
    except TooFewPointsError as error:
        figures["reason"] = str(error)
    else:
        _write_surface(run / SURFACE, found)
        figures |= _figures(found, [scene.images[k] for k in scene.registered])
    figures["seconds"] = round(time.monotonic() - started, 2)
    write_coverage(run, figures)
    return figures


def _covered(run: Path, scene: Scene) -> Coverage:
    """The coverage of a scene.

    Raises:
        TooFewPointsError: If there are too few points.
        ReconstructionError: If no surface comes of them.
    """
    path, model = run / "points.ply", scene.model
    cloud = read_cloud(path, MOST_POINTS)
    if len(cloud.xyz) < MIN_POINTS or not np.abs(cloud.normals).max() > 0:
        raise TooFewPointsError(f"{len(cloud.xyz)} {TOO_FEW} {MIN_POINTS}")
    distances = _distances(model)
    field = None if scene.field_mask is None else read_mask(scene.field_mask)
    frames = [partial(_posed, scene.images[k], model.cam_from_world[k], field) for k in scene.registered]
    distance, reach = float(np.median(distances)), float(np.percentile(distances, REACH_PERCENTILE))
    return cover(point_places(path), closed_surface(cloud, distance), frames, distance, reach)


def _posed(image: SceneImage, cam_from_world: FloatArray, field: NDArray[np.bool_] | None) -> Posed:
    return Posed(image.camera, cam_from_world, _usable(image, field))


def _usable(image: SceneImage, field: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """The field of view without instruments. Highlights are part of it: what they hide is seen before and after."""
    shape = image.camera.height, image.camera.width
    mask = np.ones(shape, bool) if field is None or field.shape != shape else field
    if image.mask_path is None or image.mask_path.parent.name != "instruments":
        return mask
    return mask & read_mask(image.mask_path)


def _distances(model: Model) -> FloatArray:
    """Distances of observed points from the cameras that see them."""
    numbers = np.array(sorted(model.cam_from_world))
    centres = camera_centres(np.stack([model.cam_from_world[int(k)] for k in numbers]))
    return np.linalg.norm(model.xyz[model.point] - centres[np.searchsorted(numbers, model.frame)], axis=1)


def _figures(found: Coverage, images: list[SceneImage]) -> dict[str, Any]:
    """What ``coverage.json`` and ``metrics.json`` hold; lengths in scene units."""
    views = found.views[found.place == Place.MEASURED]
    kinds = {kind: [hole for hole in found.holes if _kind(hole) == kind] for kind in KINDS}
    return {
        "measured_share": round(found.measured, 4),
        "area_in_view": float(f"{found.area:.5g}"),
        "distance_median": float(f"{found.distance:.5g}"),
        "reach": float(f"{found.reach:.5g}"),
        "measured_within": GAP_SHARE,
        "frames_asked": found.frames,
        "views_most": _most_views(found),
        "views_median": float(np.median(views)) if len(views) else None,
        **{f"holes_{kind}": len(holes) for kind, holes in kinds.items()},
        **{
            f"holes_{kind}_share": round(sum(hole.area for hole in holes) / max(found.area, 1e-12), 4)
            for kind, holes in kinds.items()
        },
        "holes": [_hole_figures(hole, found, images) for hole in found.holes],
    }


def _kind(hole: Hole) -> str:
    """What a hole is called in files: one of :data:`KINDS`."""
    if hole.place == Place.UNSEEN:
        return "out_of_view"
    return "at_edge" if hole.at_edge else "in_view"


def _hole_figures(hole: Hole, found: Coverage, images: list[SceneImage]) -> dict[str, Any]:
    return {
        "kind": _kind(hole),
        "area_share": round(hole.area / max(found.area, 1e-12), 5),
        "width": float(f"{hole.width:.4g}"),
        "width_of_distance": round(hole.width / max(found.distance, 1e-12), 3),
        "views_median": hole.views,
        "frame": None if hole.frame is None else images[hole.frame].number,
    }


def _most_views(found: Coverage) -> int:
    """How many frames see the places that are seen most, from where on one colour shows all."""
    views = found.views[found.place == Place.MEASURED]
    return max(1, int(np.percentile(views, 98, method="lower"))) if len(views) else 1


def _write_surface(path: Path, found: Coverage) -> None:
    share = np.clip(found.views / _most_views(found), 0, 1)[:, None]
    colour = NEVER + share * (OFTEN - NEVER)
    for place, shade in HOLE_COLOURS.items():
        colour[found.place == place] = shade
    columns = {"views": found.views, "place": found.place, "hole": found.hole}
    rgb = np.round(255 * colour).astype(np.uint8)
    write_mesh(path, found.vertices, found.faces, found.normals, rgb, columns, comments=(COVERAGE_COMMENT,))
