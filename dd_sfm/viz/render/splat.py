"""Points drawn by software alone: round splats, nearest in front, edges darkened by depth.

No display, no graphics driver, no loop over points: a million points take about a second.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera, world_to_camera
from dd_sfm.structures import FloatArray

MAX_RADIUS_PX = 12
"""Larger splats hide more than they show, and the work grows with their area."""
NEAR = 1e-6
"""Points this close to the camera plane, as a share of the median depth, are behind it for us."""

SMALL_STEP = 0.004
"""Steps in depth below this share are the splats' own, not the surface's: they cast no shade."""


@dataclass(frozen=True)
class SplatBuffer:
    """What each pixel shows: ``index`` (H, W) int64 of the nearest point, -1 for none; its ``depth``, inf for none."""

    index: NDArray[np.int64]
    depth: NDArray[np.float32]


@dataclass(frozen=True)
class Projected:
    """Pixels (N, 2), centres at integers, and depths (N,) of points; pixels are NaN behind the camera."""

    xy: FloatArray
    depth: FloatArray


def project(xyz: FloatArray, camera: PinholeCamera, cam_from_world: FloatArray) -> Projected:
    """Project world points (N, 3); those nearer to the camera's plane than :data:`NEAR` count as behind it."""
    xy, depth = camera.project(world_to_camera(xyz, cam_from_world))
    front = depth > NEAR * np.median(np.abs(depth)) if len(depth) else np.zeros(0, bool)
    return Projected(np.where(front[:, None], xy, np.nan), depth)


def rasterise(places: Projected, camera: PinholeCamera, radius_px: FloatArray) -> SplatBuffer:
    """Draw points as round splats into a depth buffer.

    Args:
        places: The points in the picture.
        camera: Gives the size of the picture.
        radius_px: Radii (N,); a pixel belongs to a splat when its centre is within the radius, at least one does.
    """
    width, height, border = camera.width, camera.height, MAX_RADIUS_PX
    with np.errstate(invalid="ignore"):
        low, high = -border - 0.5, [width + border - 0.5, height + border - 0.5]
        shown = ((places.xy > low) & (places.xy < high)).all(1)
    point = np.flatnonzero(shown)
    radius = np.clip(radius_px[point], 0.0, MAX_RADIUS_PX)
    order = np.argsort(-radius, kind="stable")
    point, radius = point[order], radius[order]
    cell = np.round(places.xy[point]).astype(np.int64) + border
    stride = width + 2 * border
    start = cell[:, 1].clip(0, height + 2 * border - 1) * stride + cell[:, 0].clip(0, stride - 1)
    # Depth in the upper half, point in the lower: the smallest key is the nearest point. Positive floats keep their
    # order when read as integers.
    key = places.depth[point].astype(np.float32).view(np.uint32).astype(np.uint64) << np.uint64(32)
    key |= point.astype(np.uint64)
    empty = np.uint64(0xFFFFFFFFFFFFFFFF)
    # A further margin, so that a splat on the margin cannot reach beyond the buffer.
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
    """Pixels around a splat's centre within a radius, with their distances."""
    reach = range(-int(radius), int(radius) + 1)
    around = [(dx, dy, float(np.hypot(dx, dy))) for dy in reach for dx in reach]
    return [offset for offset in around if offset[2] <= radius]


def colour(
    buffer: SplatBuffer, rgb: NDArray[np.uint8], background: tuple[int, int, int], *, relief: float = 0.0
) -> NDArray[np.uint8]:
    """The picture (H, W, 3) uint8 of a buffer.

    Args:
        buffer: From :func:`rasterise`.
        rgb: Colours (N, 3) of the points.
        background: Where no point is.
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
    """Brightness (H, W): eye-dome lighting (Boucheny, PhD thesis, Grenoble 2009) on the logarithm of depth."""
    far = np.float32(np.log(depth[np.isfinite(depth)].max(initial=1.0)))
    log = np.where(np.isfinite(depth), np.log(np.maximum(depth, 1e-12)), far).astype(np.float32)
    height, width = log.shape
    padded = cv2.copyMakeBorder(log, 2, 2, 2, 2, cv2.BORDER_REPLICATE)
    behind = np.zeros_like(log)
    for dx, dy in ((2, 0), (-2, 0), (0, 2), (0, -2), (1, 1), (-1, 1), (1, -1), (-1, -1)):
        step = log - padded[2 + dy : 2 + dy + height, 2 + dx : 2 + dx + width]
        behind += np.clip(step - SMALL_STEP, 0.0, 0.05)
    return np.exp(-strength * behind)
