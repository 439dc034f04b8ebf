"""Draw points as round splats with a depth buffer, in software: no display and no graphics driver are needed."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera, world_to_camera
from dd_sfm.structures import FloatArray

MAX_RADIUS_PX = 12
"""Largest radius of a splat: larger ones hide more than they show, and cost time that grows with their area."""
MIN_DEPTH_SHARE = 1e-6
"""Points nearer to the camera plane than this share of the median depth count as behind the camera."""
MIN_DEPTH_STEP = 0.004
"""Relative steps in depth below this come from the splats themselves, not from the surface: they cast no shade."""
OVERSAMPLING = 2
"""Pictures are drawn larger by this factor and averaged, so that edges are smooth."""


@dataclass(frozen=True)
class SplatBuffer:
    """The nearest point in each pixel: its ``index`` (H, W), -1 for none, and its ``depth`` (H, W), inf for none."""

    index: NDArray[np.int64]
    depth: NDArray[np.float32]


@dataclass(frozen=True)
class Projected:
    """Projected points: pixels ``xy`` (N, 2) with centres at integers, NaN behind the camera, and ``depth`` (N,)."""

    xy: FloatArray
    depth: FloatArray


def project(xyz: FloatArray, camera: PinholeCamera, cam_from_world: FloatArray) -> Projected:
    """Project world points (N, 3); those below :data:`MIN_DEPTH_SHARE` count as behind the camera."""
    xy, depth = camera.project(world_to_camera(xyz, cam_from_world))
    front = depth > MIN_DEPTH_SHARE * np.median(np.abs(depth)) if len(depth) else np.zeros(0, bool)
    return Projected(np.where(front[:, None], xy, np.nan), depth)


def draw_points(
    xyz: FloatArray,
    rgb: NDArray[np.uint8],
    camera: PinholeCamera,
    cam_from_world: FloatArray,
    *,
    radius_px: float = 1.5,
    background: int = 255,
) -> NDArray[np.uint8]:
    """Draw points as discs of one size with smooth edges.

    Args:
        xyz: Points (P, 3).
        rgb: Their colours (P, 3).
        camera: Camera of the picture.
        cam_from_world: Its pose (3, 4).
        radius_px: Radius of a disc in pixels of the picture.
        background: Grey level where there is no point.

    Returns:
        (H, W, 3) uint8.
    """
    large = camera.fitted((camera.width * OVERSAMPLING, camera.height * OVERSAMPLING))
    radii = np.full(len(xyz), radius_px * OVERSAMPLING)
    picture = shade(rasterise(project(xyz, large, cam_from_world), large, radii), rgb, (background,) * 3)
    return np.asarray(cv2.resize(picture, camera.size, interpolation=cv2.INTER_AREA))


def rasterise(projected: Projected, camera: PinholeCamera, radius_px: FloatArray) -> SplatBuffer:
    """Draw points as round splats into a depth buffer.

    Args:
        projected: The points in the picture.
        camera: Its size is that of the picture.
        radius_px: Radii (N,); a splat covers the pixels whose centres are within the radius, and at least one pixel.
    """
    width, height, border = camera.width, camera.height, MAX_RADIUS_PX
    with np.errstate(invalid="ignore"):
        low, high = -border - 0.5, [width + border - 0.5, height + border - 0.5]
        reaches_picture = ((projected.xy > low) & (projected.xy < high)).all(1)
    point = np.flatnonzero(reaches_picture)
    radius = np.clip(radius_px[point], 0.0, MAX_RADIUS_PX)
    order = np.argsort(-radius, kind="stable")
    point, radius = point[order], radius[order]
    cell = np.round(projected.xy[point]).astype(np.int64) + border
    stride = width + 2 * border
    start = cell[:, 1].clip(0, height + 2 * border - 1) * stride + cell[:, 0].clip(0, stride - 1)
    # A key holds the depth in its upper half and the index in its lower: the smallest key is the nearest point.
    # Positive floats keep their order when their bits are read as integers.
    key = projected.depth[point].astype(np.float32).view(np.uint32).astype(np.uint64) << np.uint64(32)
    key |= point.astype(np.uint64)
    empty = np.uint64(0xFFFFFFFFFFFFFFFF)
    # A second margin, so that a splat on the border cannot reach beyond the buffer.
    guard = border * stride + border
    keys = np.full((height + 2 * border) * stride + 2 * guard, empty)
    for dx, dy, distance in _offsets(float(radius[0]) if len(radius) else 0.0):
        count = np.searchsorted(-radius, -distance, side="right") if distance else len(radius)
        np.minimum.at(keys, start[:count] + (dy * stride + dx + guard), key[:count])
    keys = keys[guard : len(keys) - guard].reshape(-1, stride)[border : border + height, border : border + width]
    hit = keys != empty
    index = np.where(hit, keys & np.uint64(0xFFFFFFFF), 0).astype(np.int64)
    depth = (keys >> np.uint64(32)).astype(np.uint32).view(np.float32)
    return SplatBuffer(np.where(hit, index, -1), np.where(hit, depth, np.float32(np.inf)))


def _offsets(radius: float) -> list[tuple[int, int, float]]:
    """Offsets (dx, dy) of the pixels within a radius of a splat's centre, with their distances."""
    reach = range(-int(radius), int(radius) + 1)
    around = [(dx, dy, float(np.hypot(dx, dy))) for dy in reach for dx in reach]
    return [offset for offset in around if offset[2] <= radius]


def shade(
    buffer: SplatBuffer, rgb: NDArray[np.uint8], background: tuple[int, int, int], *, relief: float = 0.0
) -> NDArray[np.uint8]:
    """Turn a buffer into a picture (H, W, 3) uint8.

    Args:
        buffer: From :func:`rasterise`.
        rgb: Colours (N, 3) of the points.
        background: Colour where there is no point.
        relief: How strongly pixels behind their neighbours are darkened; 0 for plain colours.
    """
    hit = buffer.index >= 0
    picture = np.empty((*hit.shape, 3), np.uint8)
    picture[:] = background
    picture[hit] = rgb[buffer.index[hit]]
    if relief:
        picture[hit] = (picture[hit] * _eye_dome(buffer.depth, relief)[hit][:, None]).astype(np.uint8)
    return picture


def _eye_dome(depth: NDArray[np.float32], strength: float) -> NDArray[Any]:
    """Brightness (H, W) by eye-dome lighting (Boucheny, PhD thesis, Grenoble 2009) on the logarithm of depth."""
    far = np.float32(np.log(depth[np.isfinite(depth)].max(initial=1.0)))
    log = np.where(np.isfinite(depth), np.log(np.maximum(depth, 1e-12)), far).astype(np.float32)
    height, width = log.shape
    padded = cv2.copyMakeBorder(log, 2, 2, 2, 2, cv2.BORDER_REPLICATE)
    behind = np.zeros_like(log)
    for dx, dy in ((2, 0), (-2, 0), (0, 2), (0, -2), (1, 1), (-1, 1), (1, -1), (-1, -1)):
        step = log - padded[2 + dy : 2 + dy + height, 2 + dx : 2 + dx + width]
        behind += np.clip(step - MIN_DEPTH_STEP, 0.0, 0.05)
    return np.exp(-strength * behind)
