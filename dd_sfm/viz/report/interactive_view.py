"""Data of the report's interactive 3D view: little-endian arrays in base64, thinned to keep the page small."""

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps

from dd_sfm.cameras import camera_centres
from dd_sfm.evaluation.comparison.result import Column, Comparison
from dd_sfm.structures import FloatArray, IntArray
from dd_sfm.viz.render.viewpoints import FIELD_OF_VIEW_DEG, look_along
from dd_sfm.viz.report.plots import RUN_COLOURS, centre_and_radius, framed_points, viewing_axes

MAX_POINTS = 400_000
"""Largest number of points of a cloud."""
START_DIRECTION = (0.42, 0.46, 0.78)
"""Direction (right, up, back) of the camera's first position; viewer.js has the same."""
UNCERTAINTY_STEPS = 10_000
"""Steps of an expected error, as a share of the distance; viewer.js has the same."""
BYTES_PER_POINT = 24
"""Size of a point in the page: 18 bytes in base64."""


@dataclass(frozen=True)
class InteractiveCloud:
    """A cloud for the page's script: ``content`` holds ``shown`` of the ``total`` points."""

    content: dict[str, Any]
    shown: int
    total: int


def points_that_fit(comparison: Comparison, room_bytes: float) -> int:
    """How many points of a cloud the view may hold, at least 1000.

    The smaller cloud gets no more than half of the room; the larger one gets what is left.
    """
    room = int(room_bytes / BYTES_PER_POINT)
    counts = [len(c.model.xyz) for c in _columns(comparison) if c.model is not None]
    return max(1000, room // len(counts), room - sum(counts) + max(counts))


def _columns(comparison: Comparison) -> list[Column]:
    """The runs in the view: the learned one and SIFT, or the only one with a model."""
    return [c for c in comparison.with_model if c.name in ("learned", "sift")] or comparison.with_model[:1]


def interactive_view(
    comparison: Comparison, max_points: int = MAX_POINTS
) -> tuple[dict[str, Any], list[InteractiveCloud]]:
    """Everything that the 3D view draws, and the clouds in it.

    Positions are relative to the centre of the first cloud, in units of its extent, and rotated so that the mean camera
    looks along -z with y upwards, as WebGL has it. Errors are in thousandths of a pixel.
    """
    columns = _columns(comparison)
    centre, radius = centre_and_radius(comparison)
    turn = viewing_axes(comparison) * np.array([[1.0], [-1.0], [-1.0]])
    errors = np.concatenate([c.points.mean_error_px for c in columns if c.points is not None])
    errors = errors[np.isfinite(errors)]
    lengths = np.concatenate([c.points.track_length for c in columns if c.points is not None])
    ranges = {
        "error": [float(np.percentile(errors, 2)), max(float(np.percentile(errors, 98)), 1e-6)],
        "length": [float(lengths.min()), float(np.percentile(lengths, 99))],
    }
    clouds = [_cloud(c, centre, radius, turn, max_points) for c in columns]
    framed = ((framed_points(comparison) - centre) / radius) @ turn.T
    known = np.concatenate([c.uncertainty for c in columns if c.uncertainty is not None] or [np.zeros(0)])
    known = known[np.isfinite(known)]
    if len(known):
        ranges["uncertainty"] = [float(v) for v in np.maximum(np.percentile(known, (2, 98)), 1 / UNCERTAINTY_STEPS)]
    content = {
        "away": _camera_distance(framed),
        "ramp": np.round(255 * colormaps["viridis"](np.linspace(0, 1, 24))[:, :3]).astype(int).tolist(),
        "clouds": [c.content for c in clouds],
        "ranges": ranges,
        "path": _reference_path(comparison, centre, radius, turn),
    }
    return content, clouds


def _camera_distance(points: FloatArray, steps: int = 12) -> float:
    """Distance of the camera from the centre at which points (N, 3) stay in a square picture while the view turns."""
    farthest, slope = 0.0, float(np.tan(np.radians(FIELD_OF_VIEW_DEG / 2)))
    across, up, back = START_DIRECTION
    for angle in np.linspace(0, 2 * np.pi, steps, endpoint=False):
        cos, sin = np.cos(angle), np.sin(angle)
        direction = np.array([across * cos + back * sin, up, back * cos - across * sin])
        local = points @ look_along(-direction, np.array([0.0, -1.0, 0.0])).T
        farthest = max(farthest, float((np.abs(local[:, :2]).max(1) / slope - local[:, 2]).max()))
    return 1.03 * farthest


def _cloud(column: Column, centre: FloatArray, radius: float, turn: FloatArray, max_points: int) -> InteractiveCloud:
    model, points = column.model, column.points
    assert model is not None
    assert points is not None
    held = len(model.xyz)
    # At random, since points are ordered by frame; the same ones on every call.
    chosen = np.arange(held) if held <= max_points else np.sort(np.random.default_rng(0).permutation(held)[:max_points])
    xyz = ((model.xyz[chosen] - centre) / radius) @ turn.T
    poses = np.stack([model.cam_from_world[f] for f in sorted(model.cam_from_world)])
    centres = ((camera_centres(poses) - centre) / radius) @ turn.T
    # The rows of the rotation are the camera's axes in the world: right, down, forward.
    axes = poses[:, :, :3] @ turn.T
    camera = model.camera
    content = {
        "name": column.name,
        "label": column.label,
        "colour": RUN_COLOURS.get(column.name, "#000000"),
        "count": len(chosen),
        "xyz": _base64(xyz, "<f4"),
        "rgb": _base64(model.rgb[chosen], "u1"),
        "error": _base64(np.clip(np.round(points.mean_error_px[chosen] * 1000), 0, 65535), "<u2"),
        "length": _base64(np.minimum(points.track_length[chosen], 255), "u1"),
        **_uncertainty(column, chosen),
        "cameras": {
            "count": len(poses),
            "centres": _base64(centres, "<f4"),
            "axes": _base64(axes, "<f4"),
            "aspect": [camera.width / camera.fx / 2, camera.height / camera.fy / 2],
        },
    }
    return InteractiveCloud(content, len(chosen), column.total)


def _uncertainty(column: Column, chosen: IntArray) -> dict[str, str]:
    """Expected errors of some points, in ten-thousandths of their distance; nothing where they are not known."""
    if column.uncertainty is None or not np.isfinite(column.uncertainty).any():
        return {}
    values = np.nan_to_num(column.uncertainty[chosen] * UNCERTAINTY_STEPS, nan=65535, posinf=65535)
    return {"uncertainty": _base64(np.clip(np.round(values), 0, 65535), "<u2")}


def _reference_path(comparison: Comparison, centre: FloatArray, radius: float, turn: FloatArray) -> dict[str, Any]:
    path = ((comparison.reference_path - centre) / radius) @ turn.T
    return {"count": len(path), "xyz": _base64(path.reshape(-1, 3), "<f4")}


def _base64(values: Any, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, np.dtype(kind)).tobytes()).decode()
