"""Pictures of the clouds of a comparison: through cameras, beside their frames, and from outside."""

from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dd_sfm.cameras import camera_centres
from dd_sfm.evaluation.comparison.result import Column, Comparison
from dd_sfm.io.images import read_image, read_mask
from dd_sfm.io.run_folder import has_frames, load_frames
from dd_sfm.ops.areas import bounds_of
from dd_sfm.structures import FloatArray, Model
from dd_sfm.viz.render.splat import draw_points
from dd_sfm.viz.render.viewpoints import Viewpoint, fit_view, look_along
from dd_sfm.viz.report.plots import RUN_COLOURS, framed_points, viewing_axes

OUTSIDE_SIZE_PX = 560, 420
"""Width and height of a picture from outside."""
CAMERA_WIDTH_PX = 480
"""Width of a picture through a camera."""


def frame_path(column: Column, frame: int) -> Path | None:
    """Path of the image of a source frame in a run's folder; None when there is none."""
    if not has_frames(column.folder):
        return None
    return next((found.path for found in load_frames(column.folder).frames if found.index == frame), None)


def field_box(column: Column, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the field of view with a margin, in a frame of a shape (H, W, ...).

    Without a mask of that shape it is the whole frame.
    """
    height, width = shape[:2]
    path = column.folder / "field_of_view.png"
    mask = read_mask(path) if path.is_file() else np.ones((height, width), bool)
    if mask.shape != (height, width) or not mask.any():
        return 0, 0, width, height
    return bounds_of(mask).grown(max(2, height // 40), (width, height))


def camera_view(model: Model, frame: int, box: tuple[int, int, int, int]) -> Viewpoint:
    """The camera of a frame, cropped to a box (left, top, right, bottom) and scaled to :data:`CAMERA_WIDTH_PX`."""
    left, top, right, bottom = box
    part = model.camera.cropped((left, top), (right - left, bottom - top))
    height = max(1, round(CAMERA_WIDTH_PX * part.height / part.width))
    return Viewpoint(part.fitted((CAMERA_WIDTH_PX, height)), model.cam_from_world[frame])


def outside_views(comparison: Comparison) -> dict[str, Viewpoint]:
    """Two viewpoints that show all of the clouds from outside, by name."""
    right, down, forward = viewing_axes(comparison)
    points, views = framed_points(comparison), {}
    for title, direction in (
        ("from behind the cameras", -forward - 0.55 * down + 0.5 * right),
        ("from the side", -right - 0.35 * down - 0.15 * forward),
    ):
        views[title] = fit_view(look_along(-direction, down), points, OUTSIDE_SIZE_PX)
    return views


def cloud_figures(comparison: Comparison) -> dict[str, Figure]:
    """Draw ``camera_view.png``, a frame beside the clouds seen by its camera, and ``clouds.png``, seen from outside."""
    return {"camera_view.png": _camera_figure(comparison), "clouds.png": _outside_figure(comparison)}


def cloud_pictures(comparison: Comparison) -> tuple[dict[str, NDArray[np.uint8]], dict[str, NDArray[np.uint8]]]:
    """Of the first run: frames beside its cloud by turns, and the cloud from outside, RGB by their captions."""
    column = _drawn(comparison)[0]
    assert column.model is not None
    box = field_box(column, (column.model.camera.height, column.model.camera.width))
    seen = {}
    for frame in middle_frames(comparison):
        view = camera_view(column.model, frame, box)
        seen[f"frame {frame}"] = _photo(column, frame, view, box)
        seen[f"frame {frame}: the cloud"] = _cloud_picture(column, view, path=False)
    views = outside_views(comparison)
    return seen, {title: _cloud_picture(column, view, path=True) for title, view in views.items()}


def _photo(column: Column, frame: int, view: Viewpoint, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """A frame as a viewpoint through its camera shows it; grey where it is missing."""
    left, top, right, bottom = box
    path, size = frame_path(column, frame), view.camera.size
    if path is None:
        return np.full((size[1], size[0], 3), 235, np.uint8)
    return np.asarray(cv2.resize(read_image(path)[top:bottom, left:right], size, interpolation=cv2.INTER_AREA))


def _camera_figure(comparison: Comparison) -> Figure:
    columns = _drawn(comparison)
    base = columns[0].model
    assert base is not None
    frames = middle_frames(comparison)
    left, top, right, bottom = box = field_box(columns[0], (base.camera.height, base.camera.width))
    panel = 11 / (1 + len(columns))
    height = (panel * (bottom - top) / (right - left) + 0.3) * len(frames)
    figure = Figure(figsize=(11, height), layout="constrained")
    panels = figure.subplots(len(frames), 1 + len(columns), squeeze=False)
    for row, frame in zip(panels, frames, strict=True):
        view = camera_view(base, frame, box)
        _show(row[0], _photo(columns[0], frame, view, box), f"frame {frame}")
        for axes, column in zip(row[1:], columns, strict=True):
            _show(axes, _cloud_picture(column, view, path=False), _title(column))
    return figure


def _outside_figure(comparison: Comparison) -> Figure:
    columns, views = _drawn(comparison), outside_views(comparison)
    cells = [(column, title) for title in views for column in columns]
    # Every view has its own row; the views of a single run are side by side.
    across = 2
    down = -(-len(cells) // across)
    figure = Figure(figsize=(11, 11 / across * 0.79 * down + 0.3), layout="constrained")
    for axes, (column, title) in zip(figure.subplots(down, across).flat, cells, strict=True):
        _show(axes, _cloud_picture(column, views[title], path=True), f"{_title(column)}, {title}")
    return figure


def middle_frames(comparison: Comparison, count: int = 2) -> list[int]:
    """Choose ``count`` frames, evenly spread, that all runs registered, or else the first one."""
    registered = [set(c.model.cam_from_world) for c in _drawn(comparison) if c.model is not None]
    common = sorted(set.intersection(*registered)) or sorted(registered[0])
    shares = [(k + 0.5) / count for k in range(count)]
    return list(dict.fromkeys(common[int(share * len(common))] for share in shares))


def _drawn(comparison: Comparison) -> list[Column]:
    """The learned run and SIFT, as far as they have a model, else the first run with one."""
    return [c for c in comparison.columns[:2] if c.model is not None] or comparison.with_model[:1]


def _title(column: Column) -> str:
    assert column.model is not None
    return f"{column.label}: {len(column.model.xyz):,} points"


def _show(axes: Axes, picture: NDArray[np.uint8], title: str) -> None:
    axes.imshow(picture)
    axes.set_title(title, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#cccccc")


def _cloud_picture(column: Column, view: Viewpoint, *, path: bool) -> NDArray[np.uint8]:
    """The cloud of a run from a viewpoint, with ``path`` also the path of its cameras."""
    assert column.model is not None
    xyz, rgb = column.model.xyz, column.model.rgb
    if path:
        line = _path_points(column.model)
        colour = np.round(255 * np.array(to_rgb(RUN_COLOURS.get(column.name, "k")))).astype(np.uint8)
        xyz = np.concatenate([xyz, line])
        rgb = np.concatenate([rgb, np.broadcast_to(colour, (len(line), 3))])
    return draw_points(xyz, rgb, view.camera, view.cam_from_world, radius_px=1.3 if path else 1.6)


def _path_points(model: Model, steps: int = 12) -> FloatArray:
    """The camera path as closely spaced points (N, 3); it bridges frames without a pose."""
    centres = camera_centres(np.stack([model.cam_from_world[f] for f in sorted(model.cam_from_world)]))
    at = np.linspace(0, len(centres) - 1, max(2, steps * len(centres)))
    return np.stack([np.interp(at, np.arange(len(centres)), axis) for axis in centres.T], 1)
