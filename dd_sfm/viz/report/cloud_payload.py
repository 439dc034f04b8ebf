"""Clouds as the report's 3D view reads them: flat little-endian arrays in base64, thinned to keep the page small."""

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps

from dd_sfm.cameras import camera_centres
from dd_sfm.evaluation.comparison.result import Column, Comparison
from dd_sfm.structures import FloatArray
from dd_sfm.viz.render.viewpoints import FIELD_OF_VIEW_DEG, look_along
from dd_sfm.viz.report.figures import COLOURS, framed_points, middle_and_reach, viewing_axes

MOST_POINTS = 400_000
START = (0.42, 0.46, 0.78)
"""Direction (right, up, back) in which the view's camera stands at first, as the page's script has it."""
POINT_BYTES = 24
"""Of a point in the page, as text: 18 in base64."""


@dataclass(frozen=True)
class CloudPayload:
    """``content`` for the page's script; ``shown`` of ``total`` points are in it."""

    content: dict[str, Any]
    shown: int
    total: int


def points_that_fit(comparison: Comparison, room_bytes: float) -> int:
    """How many points of a cloud the view may hold, at least 1000: what the smaller cloud leaves is for the larger."""
    room = int(room_bytes / POINT_BYTES)
    counts = [len(c.model.xyz) for c in _columns(comparison) if c.model is not None]
    return max(1000, room // len(counts), room - sum(counts) + max(counts))


def _columns(comparison: Comparison) -> list[Column]:
    """The runs in the view: the two compared, or the one that found a model."""
    return [c for c in comparison.found if c.name in ("learned", "sift")] or comparison.found[:1]


def view_payload(comparison: Comparison, most_points: int = MOST_POINTS) -> tuple[dict[str, Any], list[CloudPayload]]:
    """Everything the 3D view draws (errors in thousandths of a pixel), and per cloud how far it was thinned.

    Positions are relative to the middle of the first cloud, in units of its extent, turned so that the mean camera
    looks along -z with y upwards, as WebGL has it.
    """
    columns = _columns(comparison)
    middle, reach = middle_and_reach(comparison)
    turn = viewing_axes(comparison) * np.array([[1.0], [-1.0], [-1.0]])
    errors = np.concatenate([c.points.mean_error_px for c in columns if c.points is not None])
    errors = errors[np.isfinite(errors)]
    lengths = np.concatenate([c.points.length for c in columns if c.points is not None])
    ranges = {
        "error": [float(np.percentile(errors, 2)), max(float(np.percentile(errors, 98)), 1e-6)],
        "length": [float(lengths.min()), float(np.percentile(lengths, 99))],
    }
    clouds = [_cloud(c, middle, reach, turn, most_points) for c in columns]
    framed = ((framed_points(comparison) - middle) / reach) @ turn.T
    content = {
        "away": _away(framed),
        "ramp": np.round(255 * colormaps["viridis"](np.linspace(0, 1, 24))[:, :3]).astype(int).tolist(),
        "clouds": [c.content for c in clouds],
        "ranges": ranges,
        "path": _reference(comparison, middle, reach, turn),
    }
    return content, clouds


def _away(points: FloatArray, steps: int = 12) -> float:
    """How far from the middle the view's camera must stand so that points (N, 3) stay in a square tile as it turns."""
    farthest, slope = 0.0, float(np.tan(np.radians(FIELD_OF_VIEW_DEG / 2)))
    across, up, back = START
    for angle in np.linspace(0, 2 * np.pi, steps, endpoint=False):
        cos, sin = np.cos(angle), np.sin(angle)
        direction = np.array([across * cos + back * sin, up, back * cos - across * sin])
        local = points @ look_along(-direction, np.array([0.0, -1.0, 0.0])).T
        farthest = max(farthest, float((np.abs(local[:, :2]).max(1) / slope - local[:, 2]).max()))
    return 1.03 * farthest


def _cloud(column: Column, middle: FloatArray, reach: float, turn: FloatArray, most: int) -> CloudPayload:
    model, points = column.model, column.points
    assert model is not None
    assert points is not None
    total = len(model.xyz)
    # The same points on every call; at random, since points lie in the order of the frames.
    chosen = np.arange(total) if total <= most else np.sort(np.random.default_rng(0).permutation(total)[:most])
    xyz = ((model.xyz[chosen] - middle) / reach) @ turn.T
    poses = np.stack([model.cam_from_world[f] for f in sorted(model.cam_from_world)])
    centres = ((camera_centres(poses) - middle) / reach) @ turn.T
    # Rows of the rotation are the camera's axes in the world: right, down, forward.
    axes = poses[:, :, :3] @ turn.T
    camera = model.camera
    content = {
        "name": column.name,
        "label": column.label,
        "colour": COLOURS.get(column.name, "#000000"),
        "count": len(chosen),
        "xyz": _text(xyz, "<f4"),
        "rgb": _text(model.rgb[chosen], "u1"),
        "error": _text(np.clip(np.round(points.mean_error_px[chosen] * 1000), 0, 65535), "<u2"),
        "length": _text(np.minimum(points.length[chosen], 255), "u1"),
        "cameras": {
            "count": len(poses),
            "centres": _text(centres, "<f4"),
            "axes": _text(axes, "<f4"),
            "aspect": [camera.width / camera.fx / 2, camera.height / camera.fy / 2],
        },
    }
    return CloudPayload(content, len(chosen), total)


def _reference(comparison: Comparison, middle: FloatArray, reach: float, turn: FloatArray) -> dict[str, Any]:
    path = ((comparison.reference_path - middle) / reach) @ turn.T
    return {"count": len(path), "xyz": _text(path.reshape(-1, 3), "<f4")}


def _text(values: Any, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, np.dtype(kind)).tobytes()).decode()
