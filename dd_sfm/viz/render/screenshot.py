"""A picture of clouds and cameras, drawn without a display."""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dd_sfm.errors import InputError, UsageError
from dd_sfm.structures import FloatArray
from dd_sfm.viz.render.camera_shapes import MOST_OUTLINES, Lines, Pictures, camera_lines, camera_pictures
from dd_sfm.viz.render.cloud_view import point_spacing
from dd_sfm.viz.render.colours import RUN_RGB
from dd_sfm.viz.render.labels import INK, PAPER, draw_bar, draw_scale, font, round_length, text_size, write_label
from dd_sfm.viz.render.splat import colour, project, rasterise
from dd_sfm.viz.render.viewpoints import Viewpoint, find_viewpoint, view_names
from dd_sfm.viz.window.state import ViewState

Part = tuple[FloatArray, NDArray[np.uint8], FloatArray]
"""Points (N, 3) to draw, their colours (N, 3), and their radii (N,) in pixels."""
Panel = tuple[tuple[int, ...], str]
"""What a panel shows: numbers of clouds, and the name of a view."""
OVERSAMPLING = 2
FOOT, BAR_FOOT = 5, 3
"""Heights of the strips with the colour scale and, under several views, with the bars, in the size of their letters."""
LEAST_PX = 32
"""No panel is smaller on either side."""
BAR = 0.25
"""Most of a panel's width that the bar of known length takes."""
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

    A view of the whole has a bar of known length, true at the middle depth of the points; a colouring has its scale
    below all panels. Names and bars stand in the corners of a single view. Several have strips for them, as corners are
    small there: views are named above their columns, runs above their row.

    Args:
        state: Clouds, colours, filters.
        view: front, top, side, oblique or camera:N; several of them, with commas between, stand beside each other.
        width: Of the picture, in pixels.
        height: The same.

    Returns:
        (height, width, 3) uint8.

    Raises:
        UsageError: If the view is unknown, or the picture too small for all that is to be in it.
        InputError: If the frame of a camera view has no pose, or no point passes the filters.
    """
    check_visible(state)
    groups = [(k,) for k in range(len(state.clouds))] if state.beside else [tuple(range(len(state.clouds)))]
    views = view_names(view)
    rows = [[(group, name) for name in views] for group in groups]
    if len(views) == 1:
        rows = [[(group, views[0]) for group in groups]]
    size = max(text_size(height) - 5, 10)
    head = 2 * size if len(views) > 1 else 0
    foot = FOOT * size if state.scale is not None else 0
    least = head + foot + len(rows) * (_strips(size, len(groups[0])) * (len(views) > 1) + LEAST_PX)
    if height < least or width < LEAST_PX * len(rows[0]):
        raise UsageError(
            f"--size {width}x{height}: too small for these views and their labels; expected at least "
            f"{max(width, LEAST_PX * len(rows[0]))}x{max(height, least)}"
        )
    across, down = _edges(width, len(rows[0])), _edges(height - head - foot, len(rows))
    draw = _row if len(views) > 1 else _panels
    parts = [draw(state, row, across, bottom - top, size) for row, (top, bottom) in zip(rows, down, strict=True)]
    if head:
        names = [_centred(name, right - left, head, size) for name, (left, right) in zip(views, across, strict=True)]
        parts.insert(0, np.concatenate(names, 1))
    if state.scale is not None:
        parts.append(draw_scale(_paper(width, foot), state.scale, size=size))
    return np.concatenate(parts)


def check_visible(state: ViewState) -> None:
    """See that there is something to draw.

    Raises:
        InputError: If no point of any cloud passes the filters.
    """
    if any(state.visible(k).any() for k in range(len(state.clouds))):
        return
    clouds = state.clouds
    filters = []
    if np.isfinite(state.max_error_px):
        known = [float(c.error_px[np.isfinite(c.error_px)].min(initial=np.inf)) for c in clouds]
        least = f"the least is {min(known):.3g} px" if np.isfinite(min(known)) else "no point has a finite one"
        filters.append(f"--max-error {state.max_error_px:g} ({least})")
    if state.min_track:
        most = max(int(c.track_length.max(initial=0)) for c in clouds)
        filters.append(f"--min-track {state.min_track} (the most is {most})")
    raise InputError(
        f"{' and '.join(str(c.source) for c in clouds)}: no point passes {' and '.join(filters) or 'the filters'}; "
        "expected at least one. Relax the filter"
    )


def _paper(width: int, height: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), PAPER, np.uint8)


def _centred(text: str, width: int, height: int, size: int) -> NDArray[np.uint8]:
    """A strip with a line of text in its middle."""
    while size > 7 and font(size).getlength(text) > width - size:
        size -= 1
    picture = Image.fromarray(_paper(width, height))
    ImageDraw.Draw(picture).text((width / 2, height / 2), text, font=font(size), fill=INK, anchor="mm")
    return np.asarray(picture).copy()


def _edges(length: int, count: int) -> list[tuple[int, int]]:
    """Where each of ``count`` parts of a length begins and ends."""
    edges = np.linspace(0, length, count + 1).astype(int).tolist()
    return list(pairwise(edges))


def _strips(size: int, clouds: int) -> int:
    """Height of what stands around the panels of a row of several views: a line for each cloud, and the bars."""
    return clouds * _line(size) + BAR_FOOT * size


def _line(size: int) -> int:
    return round(1.8 * size)


def _panels(
    state: ViewState, row: Sequence[Panel], across: Sequence[tuple[int, int]], height: int, size: int
) -> NDArray[np.uint8]:
    """Panels of one view beside each other, with their names and bars in their corners."""
    drawn = []
    for (group, view), (left, right) in zip(row, across, strict=True):
        picture, unit_px = _panel(state, group, view, (right - left, height))
        if unit_px is not None:
            picture = _with_bar(state, unit_px, picture, size)
        drawn.append(_named(state, group, picture, max(text_size(height), size)))
    return np.concatenate(drawn, 1)


def _row(
    state: ViewState, row: Sequence[Panel], across: Sequence[tuple[int, int]], height: int, size: int
) -> NDArray[np.uint8]:
    """Several views of the same clouds: these are named once above, bars have a strip below, and nothing is covered."""
    clouds, width = row[0][0], across[-1][1]
    head, foot = _line(size) * len(clouds), BAR_FOOT * size
    drawn, bars = [], []
    for (group, view), (left, right) in zip(row, across, strict=True):
        picture, unit_px = _panel(state, group, view, (right - left, height - head - foot))
        drawn.append(picture)
        strip = _paper(right - left, foot)
        bars.append(strip if unit_px is None else _with_bar(state, unit_px, strip, size))
    names = _named(state, clouds, _paper(width, head), size)
    return np.concatenate([names, np.concatenate(drawn, 1), np.concatenate(bars, 1)])


def _panel(
    state: ViewState, clouds: tuple[int, ...], view: str, shape: tuple[int, int]
) -> tuple[NDArray[np.uint8], float | None]:
    """A picture of the clouds, and how long a unit of the scene is in it; None through a camera.

    Through a camera near and far differ too much for one bar.
    """
    width, height = shape
    masks = {k: state.visible(k) for k in clouds}
    # The frame of the picture comes from all clouds: panels then compare.
    framed = np.concatenate([c.xyz[state.visible(k)] for k, c in enumerate(state.clouds)])
    viewpoint = find_viewpoint(view, state.clouds[0], framed if len(framed) else state.clouds[0].xyz, width, height)
    large = Viewpoint(viewpoint.camera.fitted((width * OVERSAMPLING, height * OVERSAMPLING)), viewpoint.cam_from_world)
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
    if view.startswith("camera:"):
        return picture, None
    depth = float(np.median(project(framed, viewpoint.camera, viewpoint.cam_from_world).depth))
    return picture, viewpoint.camera.fx / max(depth, 1e-12)


def _with_bar(state: ViewState, unit_px: float, picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The picture with a bar of a round length; a unit of the scene is ``unit_px`` long at the points' middle depth."""
    unit_px /= state.mm_per_unit or 1.0
    length = round_length(BAR * picture.shape[1] / unit_px)
    return draw_bar(
        picture, length * unit_px, f"{length:g} {'units' if state.mm_per_unit is None else 'mm'}", size=size
    )


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


def _named(state: ViewState, clouds: tuple[int, ...], picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The picture with the names of its clouds at its upper rim."""
    said = [f"{state.clouds[k].label}: {int(state.visible(k).sum()):,} {state.clouds[k].parts}" for k in clouds]
    if len(clouds) == 1:
        return write_label(picture, said[0], box=PAPER, size=size)
    inks = RUN_RGB[:2] if state.colour == "run" else (INK, INK)
    if sum(font(size).getlength(text) for text in said) < picture.shape[1] - 4 * size:
        picture = write_label(picture, said[0], rgb=inks[0], box=PAPER, size=size)
        return write_label(picture, said[1], rgb=inks[1], corner="top right", box=PAPER, size=size)
    # Too narrow for both beside each other.
    below = _line(size)
    picture = write_label(picture, said[0], rgb=inks[0], box=PAPER, size=size)
    return np.concatenate([picture[:below], write_label(picture[below:], said[1], rgb=inks[1], box=PAPER, size=size)])


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
