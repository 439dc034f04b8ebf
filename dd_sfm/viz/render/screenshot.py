"""Draw a picture of clouds and cameras without a display."""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dd_sfm.errors import InputError, UsageError
from dd_sfm.structures import FloatArray
from dd_sfm.viz.render.camera_shapes import MAX_FRUSTUMS, Lines, Pictures, camera_lines, camera_pictures
from dd_sfm.viz.render.cloud_view import CloudView
from dd_sfm.viz.render.colours import RUN_RGB
from dd_sfm.viz.render.labels import (
    BACKGROUND_RGB,
    TEXT_RGB,
    draw_colour_bar,
    draw_scale_bar,
    font,
    round_length,
    text_size,
    write_label,
)
from dd_sfm.viz.render.splat import OVERSAMPLING, project, rasterise, shade
from dd_sfm.viz.render.view_state import ViewState
from dd_sfm.viz.render.viewpoints import Viewpoint, find_viewpoint, parse_camera_view, parse_views

Splats = tuple[FloatArray, NDArray[np.uint8], FloatArray]
"""Points (N, 3) to draw, their colours (N, 3), and their radii (N,) in pixels."""
Panel = tuple[tuple[int, ...], str]
"""What a panel shows: indices of clouds, and the name of a view."""
COLOUR_BAR_LINES, SCALE_BAR_LINES = 5, 3
"""Heights of the strips with the colour bar and with the scale bars below several views, in sizes of their text."""
MIN_PANEL_PX = 32
"""Smallest width and height of a panel."""
MAX_BAR_SHARE = 0.25
"""Largest share of a panel's width that a scale bar takes."""
TRIANGLE_STEP_PX = 4.0
"""Distance between the splats that a mesh's triangles are drawn with ..."""
MAX_MESH_SPLATS = 3_000_000
"""... which grows where there would be more splats than these."""
SPLAT_RADIUS_SPACINGS = 0.7
"""Radius of a point in units of its distance to its neighbours, so that a surface is closed."""
MAX_RADIUS_SHARE = 1 / 200
"""Largest radius of a point as a share of the picture's height, so that a sparse cloud still looks sparse."""
LINE_RADIUS_PX = 0.6


def render_screenshot(state: ViewState, view: str, width: int, height: int) -> NDArray[np.uint8]:
    """Draw what ``state`` shows.

    Two clouds side by side get a panel each; with several views every cloud gets a row, and every view a column. A
    view of the whole cloud has a scale bar, which is exact at the median depth of the points. A colour bar is below
    all panels. Labels and scale bars are in the corners of a single view; several views, whose corners are small, have
    strips for them.

    Args:
        state: Clouds, colours and filters.
        view: front, top, side, oblique or camera:N; several views are separated by commas.
        width: Width of the picture in pixels.
        height: Height of the picture in pixels.

    Returns:
        (height, width, 3) uint8.

    Raises:
        UsageError: If the view is unknown, or the picture is too small for its panels and labels.
        InputError: If the frame of a camera view has no pose, or no points pass the filters.
    """
    check_visible(state)
    groups = [(k,) for k in range(len(state.clouds))] if state.side_by_side else [tuple(range(len(state.clouds)))]
    views = parse_views(view)
    rows = [[(group, name) for name in views] for group in groups]
    if len(views) == 1:
        rows = [[(group, views[0]) for group in groups]]
    size = max(text_size(height) - 5, 10)
    head = 2 * size if len(views) > 1 else 0
    foot = COLOUR_BAR_LINES * size if state.scale is not None else 0
    min_height = head + foot + len(rows) * (_strip_height(size, len(groups[0])) * (len(views) > 1) + MIN_PANEL_PX)
    if height < min_height or width < MIN_PANEL_PX * len(rows[0]):
        raise UsageError(
            f"--size {width}x{height}: too small for these views and their labels; expected at least "
            f"{max(width, MIN_PANEL_PX * len(rows[0]))}x{max(height, min_height)}"
        )
    across, down = _edges(width, len(rows[0])), _edges(height - head - foot, len(rows))
    draw_row = _several_views_row if len(views) > 1 else _single_view_row
    parts = [draw_row(state, row, across, bottom - top, size) for row, (top, bottom) in zip(rows, down, strict=True)]
    if head:
        names = [_heading(name, right - left, head, size) for name, (left, right) in zip(views, across, strict=True)]
        parts.insert(0, np.concatenate(names, 1))
    if state.scale is not None:
        parts.append(draw_colour_bar(_blank(width, foot), state.scale, size=size))
    return np.concatenate(parts)


def draw_through_camera(state: ViewState, number: int, width: int) -> NDArray[np.uint8]:
    """What a frame of the first cloud sees of it, and of another that is laid over it, ``width`` pixels wide.

    Raises:
        InputError: If the frame has no pose.
    """
    clouds = (0,) if state.side_by_side else tuple(range(len(state.clouds)))
    return _panel(state, clouds, f"camera:{number}", size_through_camera(state.clouds[0], number, width))[0]


def size_through_camera(cloud: CloudView, number: int, width: int) -> tuple[int, int]:
    """Width and height of a picture through the camera of a frame, ``width`` pixels wide."""
    # All frames of a run, those between key frames too, have one camera.
    camera = next((image.camera for image in cloud.images if image.number == number), cloud.images[0].camera)
    return width, max(16, round(width * camera.height / camera.width))


def check_visible(state: ViewState) -> None:
    """Check that some points pass the filters.

    Raises:
        InputError: If no point of any cloud does.
    """
    if any(state.visible(k).any() for k in range(len(state.clouds))):
        return
    clouds = state.clouds
    filters = []
    if np.isfinite(state.max_error_px):
        known = [float(c.error_px[np.isfinite(c.error_px)].min(initial=np.inf)) for c in clouds]
        smallest = f"the smallest is {min(known):.3g} px" if np.isfinite(min(known)) else "no point has a finite one"
        filters.append(f"--max-error {state.max_error_px:g} ({smallest})")
    if state.min_track:
        longest = max(int(c.track_length.max(initial=0)) for c in clouds)
        filters.append(f"--min-track {state.min_track} (the longest has {longest})")
    raise InputError(
        f"{' and '.join(str(c.source) for c in clouds)}: no point passes {' and '.join(filters) or 'the filters'}; "
        "expected at least one. Relax the filter"
    )


def _blank(width: int, height: int) -> NDArray[np.uint8]:
    """A picture of the background colour."""
    return np.full((height, width, 3), BACKGROUND_RGB, np.uint8)


def _heading(text: str, width: int, height: int, size: int) -> NDArray[np.uint8]:
    """A strip with a line of text in its centre."""
    while size > 7 and font(size).getlength(text) > width - size:
        size -= 1
    picture = Image.fromarray(_blank(width, height))
    ImageDraw.Draw(picture).text((width / 2, height / 2), text, font=font(size), fill=TEXT_RGB, anchor="mm")
    return np.asarray(picture).copy()


def _edges(length: int, count: int) -> list[tuple[int, int]]:
    """First and last edge of each of ``count`` equal parts of a length."""
    edges = np.linspace(0, length, count + 1).astype(int).tolist()
    return list(pairwise(edges))


def _strip_height(size: int, clouds: int) -> int:
    """Height of the strips around the panels of a row of several views: a line for each cloud, and the scale bars."""
    return clouds * _line_height(size) + SCALE_BAR_LINES * size


def _line_height(size: int) -> int:
    return round(1.8 * size)


def _single_view_row(
    state: ViewState, row: Sequence[Panel], across: Sequence[tuple[int, int]], height: int, size: int
) -> NDArray[np.uint8]:
    """Panels of one view side by side, with labels and scale bars in their corners."""
    drawn = []
    for (group, view), (left, right) in zip(row, across, strict=True):
        picture, unit_px = _panel(state, group, view, (right - left, height))
        if unit_px is not None:
            picture = _with_scale_bar(state, unit_px, picture, size)
        drawn.append(_with_labels(state, group, picture, max(text_size(height), size)))
    return np.concatenate(drawn, 1)


def _several_views_row(
    state: ViewState, row: Sequence[Panel], across: Sequence[tuple[int, int]], height: int, size: int
) -> NDArray[np.uint8]:
    """Several views of the same clouds, with the labels of the clouds above and scale bars below."""
    clouds, width = row[0][0], across[-1][1]
    head, foot = _line_height(size) * len(clouds), SCALE_BAR_LINES * size
    drawn, bars = [], []
    for (group, view), (left, right) in zip(row, across, strict=True):
        picture, unit_px = _panel(state, group, view, (right - left, height - head - foot))
        drawn.append(picture)
        strip = _blank(right - left, foot)
        bars.append(strip if unit_px is None else _with_scale_bar(state, unit_px, strip, size))
    names = _with_labels(state, clouds, _blank(width, head), size)
    return np.concatenate([names, np.concatenate(drawn, 1), np.concatenate(bars, 1)])


def _panel(
    state: ViewState, clouds: tuple[int, ...], view: str, shape: tuple[int, int]
) -> tuple[NDArray[np.uint8], float | None]:
    """A picture of the clouds, and the length in pixels of a scene unit at the median depth of the points.

    The length is None through a camera, where near and far points differ too much for one scale bar.
    """
    width, height = shape
    masks = {k: state.visible(k) for k in clouds}
    # All clouds determine the viewpoint, so that the panels can be compared.
    framed = np.concatenate([c.xyz[state.visible(k)] for k, c in enumerate(state.clouds)])
    viewpoint = find_viewpoint(view, state.clouds[0], framed if len(framed) else state.clouds[0].xyz, width, height)
    large = Viewpoint(viewpoint.camera.fitted((width * OVERSAMPLING, height * OVERSAMPLING)), viewpoint.cam_from_world)
    is_through_camera = parse_camera_view(view) is not None
    parts = [
        _mesh(state, k, masks[k], large) if len(state.clouds[k].faces) else _points(state, k, masks[k], large)
        for k in clouds
    ]
    if state.cameras and not is_through_camera:
        # From the front, frustums would cover the cloud; the path of the cameras does not.
        parts += _cameras(state, clouds, large, frustums=view != "front")
    xyz, rgb, radius = (np.concatenate(column) for column in zip(*parts, strict=True))
    buffer = rasterise(project(xyz, large.camera, large.cam_from_world), large.camera, radius)
    picture = cv2.resize(shade(buffer, rgb, BACKGROUND_RGB, relief=4.0), (width, height), interpolation=cv2.INTER_AREA)
    if is_through_camera:
        return picture, None
    depth = float(np.median(project(framed, viewpoint.camera, viewpoint.cam_from_world).depth))
    return picture, viewpoint.camera.fx / max(depth, 1e-12)


def _with_scale_bar(state: ViewState, unit_px: float, picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The picture with a scale bar of a round length, where a scene unit is ``unit_px`` pixels long."""
    unit_px /= state.mm_per_unit or 1.0
    length = round_length(MAX_BAR_SHARE * picture.shape[1] / unit_px)
    return draw_scale_bar(
        picture, length * unit_px, f"{length:g} {'units' if state.mm_per_unit is None else 'mm'}", size=size
    )


def _points(state: ViewState, k: int, mask: NDArray[np.bool_], viewpoint: Viewpoint) -> Splats:
    """The visible points of a cloud as splats."""
    cloud, size = state.clouds[k], state.point_size
    xyz, spacing = cloud.xyz[mask], cloud.spacing[mask]
    radius = _radius_px(xyz, spacing * SPLAT_RADIUS_SPACINGS * size, viewpoint, 0.9 * size)
    return xyz, state.colours(k)[mask], np.minimum(radius, MAX_RADIUS_SHARE * viewpoint.camera.height * size)


def _mesh(state: ViewState, k: int, mask: NDArray[np.bool_], viewpoint: Viewpoint) -> Splats:
    """The visible triangles of a mesh as splats on them, close enough to close the surface."""
    cloud = state.clouds[k]
    faces = cloud.faces[mask[cloud.faces].all(1)]
    corners, rgb = cloud.xyz[faces], state.colours(k)[faces]
    edge = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(1)
    edge_px = _radius_px(corners.mean(1), edge, viewpoint, 0.0)
    step = TRIANGLE_STEP_PX
    while (np.ceil(edge_px / step) ** 2).sum() > MAX_MESH_SPLATS:
        step *= 1.5
    pieces = np.clip(np.ceil(edge_px / step), 1, 200).astype(np.int64)
    parts = [(np.zeros((0, 3)), np.zeros((0, 3), np.uint8), np.zeros(0))]
    for n in np.unique(pieces).tolist():
        own = pieces == n
        i, j = (v.ravel() for v in np.meshgrid(np.arange(n + 1), np.arange(n + 1)))
        share = np.stack([i, j, n - i - j], 1)[i + j <= n] / n
        xyz = np.einsum("sc,fcd->fsd", share, corners[own]).reshape(-1, 3)
        colours = np.einsum("sc,fcd->fsd", share, rgb[own].astype(np.float32)).reshape(-1, 3)
        radius = np.repeat(0.7 * edge_px[own] / n, len(share))
        parts.append((xyz, np.round(colours).astype(np.uint8), np.maximum(radius, 0.8)))
    xyz, colours, radius = (np.concatenate(column) for column in zip(*parts, strict=True))
    return xyz, colours, radius


def _with_labels(state: ViewState, clouds: tuple[int, ...], picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The picture with the labels of its clouds at the top."""
    labels = [f"{state.clouds[k].label}: {int(state.visible(k).sum()):,} {state.clouds[k].point_word}" for k in clouds]
    if len(clouds) == 1:
        return write_label(picture, labels[0], box=BACKGROUND_RGB, size=size)
    colours = RUN_RGB[:2] if state.colour == "run" else (TEXT_RGB, TEXT_RGB)
    if sum(font(size).getlength(text) for text in labels) < picture.shape[1] - 4 * size:
        picture = write_label(picture, labels[0], rgb=colours[0], box=BACKGROUND_RGB, size=size)
        return write_label(picture, labels[1], rgb=colours[1], right=True, box=BACKGROUND_RGB, size=size)
    # The picture is too narrow for both labels in one line.
    below = _line_height(size)
    picture = write_label(picture, labels[0], rgb=colours[0], box=BACKGROUND_RGB, size=size)
    return np.concatenate(
        [picture[:below], write_label(picture[below:], labels[1], rgb=colours[1], box=BACKGROUND_RGB, size=size)]
    )


def _radius_px(xyz: FloatArray, radius: FloatArray, viewpoint: Viewpoint, min_px: float) -> FloatArray:
    """Radii (N,) in pixels of splats whose radii (N,) are in scene units, at least ``min_px``."""
    depth = project(xyz, viewpoint.camera, viewpoint.cam_from_world).depth
    return np.maximum(viewpoint.camera.fx * radius / np.maximum(depth, 1e-9), min_px)


def _cameras(state: ViewState, clouds: tuple[int, ...], viewpoint: Viewpoint, *, frustums: bool) -> list[Splats]:
    """Paths, frustums and pictures of the cameras as small splats, so that they hide and are hidden like the cloud."""
    depth, parts = state.frustum_depth(), []
    for k in clouds:
        cloud = state.clouds[k]
        if not cloud.images:
            continue
        own = RUN_RGB[k] if len(clouds) > 1 else None
        parts.append(_line_splats(camera_lines(cloud, depth, own, frustums=MAX_FRUSTUMS if frustums else 0)))
        if frustums and state.thumbnails and k == clouds[0]:
            parts.append(_picture_splats(camera_pictures(cloud, depth), viewpoint))
    return parts


def _line_splats(lines: Lines, per_line: int = 150) -> Splats:
    share = np.linspace(0, 1, per_line)[None, :, None]
    xyz = (lines.ends[:, :1] * (1 - share) + lines.ends[:, 1:] * share).reshape(-1, 3)
    return xyz, np.repeat(lines.rgb, per_line, 0), np.full(len(xyz), LINE_RADIUS_PX * OVERSAMPLING)


def _picture_splats(pictures: Pictures, viewpoint: Viewpoint) -> Splats:
    used = np.unique(pictures.triangles)
    if not len(used):
        return np.zeros((0, 3)), np.zeros((0, 3), np.uint8), np.zeros(0)
    corner = pictures.vertices[pictures.triangles[:, :2]]
    step = float(np.median(np.linalg.norm(corner[:, 0] - corner[:, 1], axis=1)))
    xyz = pictures.vertices[used]
    return xyz, pictures.rgb[used], _radius_px(xyz, np.full(len(used), 0.75 * step), viewpoint, 0.8)
