"""A picture of clouds and cameras, drawn without a display."""

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.structures import FloatArray
from dd_sfm.viz.camera_shapes import MOST_OUTLINES, Lines, Pictures, camera_lines, camera_pictures
from dd_sfm.viz.colours import RUN_RGB
from dd_sfm.viz.labels import PAPER, draw_scale, write_label
from dd_sfm.viz.shown import point_spacing
from dd_sfm.viz.splat import colour, project, rasterise, scaled_camera
from dd_sfm.viz.view_state import ViewState
from dd_sfm.viz.viewpoints import Viewpoint, find_viewpoint, view_names

Part = tuple[FloatArray, NDArray[np.uint8], FloatArray]
"""Points (N, 3) to draw, their colours (N, 3), and their radii (N,) in pixels."""
OVERSAMPLING = 2
TRIANGLE_STEP_PX = 4.0
MOST_ON_TRIANGLES = 3_000_000
"""Points on the triangles of a mesh are this far apart, or further where that would make more than these."""
SPLAT, LARGEST = 0.7, 1 / 200
"""Radius of a point in its spacing, so that a surface is closed, and at most in the height of the picture: a sparse
cloud stays one of dots.
"""  # fmt: skip
LINE_PX = 0.6


def render_still(state: ViewState, view: str, width: int, height: int) -> NDArray[np.uint8]:
    """Draw what ``state`` shows; two clouds side by side get a panel each, below each other when there are more views.

    Args:
        state: Clouds, colours, filters.
        view: front, top, side, oblique or camera:N; several of them, with commas between, stand beside each other.
        width: Of the picture, in pixels.
        height: The same.

    Returns:
        (height, width, 3) uint8.

    Raises:
        UsageError: If the view is unknown.
        InputError: If the frame of a camera view has no pose.
    """
    groups = [(k,) for k in range(len(state.clouds))] if state.beside else [tuple(range(len(state.clouds)))]
    views = view_names(view)
    rows = [[(group, name) for name in views] for group in groups]
    if len(views) == 1:
        rows = [[(group, views[0]) for group in groups]]
    across, down = _edges(width, len(rows[0])), _edges(height, len(rows))
    lines = [
        [
            # What is in a row is said once.
            _panel(state, group, name, right - left, bottom - top, named=left == 0 or len(views) == 1)
            for (group, name), (left, right) in zip(row, across, strict=True)
        ]
        for row, (top, bottom) in zip(rows, down, strict=True)
    ]
    if state.scale is not None:
        lines[-1][-1] = draw_scale(lines[-1][-1], state.scale, box=PAPER)
    return np.concatenate([np.concatenate(panels, 1) for panels in lines])


def _edges(length: int, count: int) -> list[tuple[int, int]]:
    """Where each of ``count`` parts of a length begins and ends."""
    edges = np.linspace(0, length, count + 1).astype(int).tolist()
    return list(pairwise(edges))


def _panel(
    state: ViewState, clouds: tuple[int, ...], view: str, width: int, height: int, *, named: bool
) -> NDArray[np.uint8]:
    masks = {k: state.visible(k) for k in clouds}
    # The frame of the picture comes from all clouds: panels then compare.
    framed = np.concatenate([c.xyz[state.visible(k)] for k, c in enumerate(state.clouds)])
    viewpoint = find_viewpoint(view, state.clouds[0], framed if len(framed) else state.clouds[0].xyz, width, height)
    large = Viewpoint(
        scaled_camera(viewpoint.camera, width * OVERSAMPLING, height * OVERSAMPLING), viewpoint.cam_from_world
    )
    parts = [
        _mesh(state, k, masks[k], large) if len(state.clouds[k].faces) else _points(state, k, masks[k], large)
        for k in clouds
    ]
    if state.cameras and not view.startswith("camera:"):
        # Along the cameras their outlines would stand before the cloud: only their path does not cover it.
        parts += _cameras(state, clouds, large, outlines=view != "front")
    xyz, rgb, radius = (np.concatenate(column) for column in zip(*parts, strict=True))
    buffer = rasterise(project(xyz, large.camera, large.cam_from_world), large.camera, radius)
    picture = cv2.resize(colour(buffer, rgb, PAPER, relief=4.0), (width, height), interpolation=cv2.INTER_AREA)
    return _named(state, clouds, masks, picture) if named else picture


def _points(state: ViewState, k: int, mask: NDArray[np.bool_], viewpoint: Viewpoint) -> Part:
    """The visible points of a cloud."""
    cloud, size = state.clouds[k], state.point_size
    xyz, spacing = cloud.xyz[mask], local_spacing(cloud.xyz)[mask]
    radius = _radius_px(xyz, spacing * SPLAT * size, viewpoint, 0.9 * size)
    return xyz, state.colours(k)[mask], np.minimum(radius, LARGEST * viewpoint.camera.height * size)


def _mesh(state: ViewState, k: int, mask: NDArray[np.bool_], viewpoint: Viewpoint) -> Part:
    """The visible triangles of a mesh as points on them that are so close that the surface is closed."""
    cloud = state.clouds[k]
    faces = cloud.faces[mask[cloud.faces].all(1)]
    corners, rgb = cloud.xyz[faces], state.colours(k)[faces]
    edge = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(1)
    edge_px = _radius_px(corners.mean(1), edge, viewpoint, 0.0)
    step = TRIANGLE_STEP_PX
    while (np.ceil(edge_px / step) ** 2).sum() > MOST_ON_TRIANGLES:
        step *= 1.5
    pieces = np.clip(np.ceil(edge_px / step), 1, 200).astype(np.int64)
    parts = [(np.zeros((0, 3)), np.zeros((0, 3), np.uint8), np.zeros(0))]
    for n in np.unique(pieces).tolist():
        own = pieces == n
        i, j = (v.ravel() for v in np.meshgrid(np.arange(n + 1), np.arange(n + 1)))
        share = np.stack([i, j, n - i - j], 1)[i + j <= n] / n
        places = np.einsum("sc,fcd->fsd", share, corners[own]).reshape(-1, 3)
        colours = np.einsum("sc,fcd->fsd", share, rgb[own].astype(np.float32)).reshape(-1, 3)
        radius = np.repeat(0.7 * edge_px[own] / n, len(share))
        parts.append((places, np.round(colours).astype(np.uint8), np.maximum(radius, 0.8)))
    xyz, colours, radius = (np.concatenate(column) for column in zip(*parts, strict=True))
    return xyz, colours, radius


def _named(
    state: ViewState, clouds: tuple[int, ...], masks: dict[int, NDArray[np.bool_]], picture: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    said = [f"{state.clouds[k].label}: {int(masks[k].sum()):,} {state.clouds[k].parts}" for k in clouds]
    if len(clouds) > 1 and state.colour == "run":
        picture = write_label(picture, said[0], rgb=RUN_RGB[0], box=PAPER)
        return write_label(picture, said[1], rgb=RUN_RGB[1], corner="top right", box=PAPER)
    return write_label(picture, ", ".join(said), box=PAPER)


def local_spacing(xyz: FloatArray) -> FloatArray:
    """How far apart points (P, 3) are around each of them (P,), within bounds: strays do not become large."""
    spacing = point_spacing(xyz)
    middle = float(np.median(spacing))
    return np.clip(spacing, 0.4 * middle, 1.5 * middle)


def _radius_px(xyz: FloatArray, radius: FloatArray, viewpoint: Viewpoint, least_px: float) -> FloatArray:
    """Radii (N,) in pixels of splats of a radius in scene units, and not below ``least_px``."""
    depth = project(xyz, viewpoint.camera, viewpoint.cam_from_world).depth
    return np.maximum(viewpoint.camera.fx * radius / np.maximum(depth, 1e-9), least_px)


def _cameras(state: ViewState, clouds: tuple[int, ...], viewpoint: Viewpoint, *, outlines: bool) -> list[Part]:
    """Paths, outlines and pictures of the cameras as many small points: they hide and are hidden like the cloud."""
    depth, parts = state.frustum_depth(), []
    for k in clouds:
        shown = state.clouds[k]
        if not shown.images:
            continue
        own = RUN_RGB[k] if len(clouds) > 1 else None
        parts.append(_line_points(camera_lines(shown, depth, own, outlines=MOST_OUTLINES if outlines else 0)))
        if outlines and state.thumbnails and k == clouds[0]:
            parts.append(_picture_points(camera_pictures(shown, depth), viewpoint))
    return parts


def _line_points(lines: Lines, per_line: int = 150) -> Part:
    share = np.linspace(0, 1, per_line)[None, :, None]
    xyz = (lines.ends[:, :1] * (1 - share) + lines.ends[:, 1:] * share).reshape(-1, 3)
    return xyz, np.repeat(lines.rgb, per_line, 0), np.full(len(xyz), LINE_PX * OVERSAMPLING)


def _picture_points(pictures: Pictures, viewpoint: Viewpoint) -> Part:
    used = np.unique(pictures.triangles)
    if not len(used):
        return np.zeros((0, 3)), np.zeros((0, 3), np.uint8), np.zeros(0)
    corner = pictures.vertices[pictures.triangles[:, :2]]
    step = float(np.median(np.linalg.norm(corner[:, 0] - corner[:, 1], axis=1)))
    xyz = pictures.vertices[used]
    return xyz, pictures.rgb[used], _radius_px(xyz, np.full(len(used), 0.75 * step), viewpoint, 0.8)
