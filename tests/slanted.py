"""A slanted plane with an exact texture, seen by cameras with known poses: what the dense search must find again."""

from pathlib import Path

import numpy as np
from scene import project
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config, DenseConfig, DescribeConfig, RuntimeConfig, TriangulationConfig
from dd_sfm.io.images import write_image, write_mask
from dd_sfm.mvs.depth_maps import DepthMap
from dd_sfm.mvs.kernels.dense_search import DenseSearch
from dd_sfm.mvs.reference_grid import grid_pixels
from dd_sfm.ops.packed_image import pack_image
from dd_sfm.runtime import LruCache
from dd_sfm.structures import Frame, FrameSet, Model

CAMERA = PinholeCamera(160, 120, 100.0, 100.0, 79.5, 59.5)
FRAMES, MIDDLE = 13, 6
NORMAL = np.array([0.35, -0.2, 1.0]) / 20
"""The plane is where NORMAL @ point = 1: 20 units in front of a camera in the origin."""
# Working pixels are then source pixels.
CONFIG = Config(
    describe=DescribeConfig(working_height_px=120),
    dense=DenseConfig(spacing_px=4.0, adjust_spacing_px=6, adjust_rounds=1),
    triangulation=TriangulationConfig(bundle_adjust=False),
    runtime=RuntimeConfig(threads=1),
)


def poses():
    """Cameras on a curve, turned a little; neighbours see the plane under 1.8 degrees."""
    found = {}
    for k in range(FRAMES):
        rotation = Rotation.from_rotvec([0.02 * np.sin(k), 0.015 * np.cos(k), 0.01 * k]).as_matrix()
        centre = np.array([0.6 * (k - MIDDLE), 0.8 * np.sin(k / 2), 0.3 * np.sin(k)])
        found[k] = np.column_stack([rotation, -rotation @ centre])
    return found


def texture(points):
    """Grey (...) of places (..., 3) in space: waves of 2.5 to 7 units, so that no pixel needs to be interpolated."""
    rng = np.random.default_rng(5)
    total = np.zeros(points.shape[:-1])
    for _ in range(40):
        angle, length, phase = rng.uniform(0, np.pi), rng.uniform(2.5, 7), rng.uniform(0, 2 * np.pi)
        along = points[..., 0] * np.cos(angle) + points[..., 1] * np.sin(angle)
        total += np.cos(2 * np.pi * along / length + phase)
    return 128 + 7 * total


def inverse_depth(pose, pixels):
    """Inverse depth and its slopes (N, 3) of the plane at pixels (N, 2) of a camera: exact, as both are linear."""
    rotation, shift = pose[:, :3], pose[:, 3]
    # In the camera the plane is normal @ point = 1 as well, with a normal of its own.
    normal = rotation @ NORMAL / (1 + NORMAL @ rotation.T @ shift)
    gu, gv = normal[0] / CAMERA.fx, normal[1] / CAMERA.fy
    w = (pixels[:, 0] - CAMERA.cx) * gu + (pixels[:, 1] - CAMERA.cy) * gv + normal[2]
    return np.column_stack([w, np.full(len(w), gu), np.full(len(w), gv)]).astype(np.float32)


def on_plane(pose, pixels):
    """Points (N, 3) of the plane seen at pixels (N, 2)."""
    w = inverse_depth(pose, pixels)[:, 0].astype(np.float64)
    local = np.column_stack([(pixels - [CAMERA.cx, CAMERA.cy]) / CAMERA.fx, np.ones(len(w))]) / w[:, None]
    return (local - pose[:, 3]) @ pose[:, :3]


def picture(pose):
    """Grey (120, 160) float32 of a camera."""
    return texture(on_plane(pose, every_pixel(1))).reshape(120, 160).astype(np.float32)


def loaded(images, kind=DenseSearch):
    """A dense search with images in its slots, and these slots."""
    search = kind(len(images), *images[0].shape)
    for slot, image in enumerate(images):
        search.load(slot, pack_image(image))
    return search, np.arange(len(images), dtype=np.int32)


def give_mask(images, frame, mask):
    """Give one of some grey images another usable area."""
    before = images._images
    images._images = LruCache(lambda f: (before[f][0], mask) if f == frame else before[f], FRAMES)


def give_weak_texture(images, strength):
    """Weaken the texture of some grey images where the plane lies to the right of the middle."""
    before = images._images

    def weakened(frame):
        grey, mask = before[frame]
        right = on_plane(poses()[frame], every_pixel(1))[:, 0].reshape(grey.shape) > 0
        return np.where(right, np.rint(strength * grey), grey).astype(np.int16), mask

    images._images = LruCache(weakened, FRAMES)


def every_pixel(step, margin=0):
    """Pixels (N, 2) float32 on a grid."""
    rows, columns = np.mgrid[margin : 120 - margin : step, margin : 160 - margin : step]
    return np.stack([columns, rows], -1).reshape(-1, 2).astype(np.float32)


def transfers(reference, views):
    """A (V, 3, 3) and b (V, 3) between poses."""
    k = CAMERA.matrix
    turned = [v[:, :3] @ reference[:, :3].T for v in views]
    matrices = [k @ r @ np.linalg.inv(k) for r in turned]
    shifts = [k @ (v[:, 3] - r @ reference[:, 3]) for v, r in zip(views, turned, strict=True)]
    return np.array(matrices, np.float32), np.array(shifts, np.float32)


def exact_map(frame, *, factor=1.0, sigma=0.01, step=4, views=()):
    """The true depth map of a frame, inverse depths times ``factor``."""
    shape = len(range(step // 2, 120, step)), len(range(step // 2, 160, step))
    pixels = grid_pixels(shape, step)
    planes = inverse_depth(poses()[frame], pixels) * np.float32(factor)
    sigmas = np.full(len(pixels), sigma, np.float32)
    visible = np.packbits(np.ones((len(pixels), len(views)), bool), axis=1)
    return DepthMap(frame, shape, step, views, planes, sigmas, visible, 1.0)


def plane_model(spacing=2.0):
    """Points of the plane, and where all cameras see them."""
    x, y = np.meshgrid(np.arange(-18, 18, spacing), np.arange(-16, 16, spacing))
    xyz = np.column_stack([x.ravel(), y.ravel(), (1 - NORMAL[0] * x.ravel() - NORMAL[1] * y.ravel()) / NORMAL[2]])
    point, frame, xy = project(xyz, poses(), CAMERA)
    often = np.bincount(point, minlength=len(xyz)) >= 3
    point, frame, xy = (a[often[point]] for a in (point, frame, xy))
    kept, point = np.unique(point, return_inverse=True)
    xyz = xyz[kept]
    return Model(CAMERA, poses(), xyz, np.zeros((len(xyz), 3), np.uint8), np.zeros(len(xyz)), point, frame, xy)


def write_clip(folder: Path) -> FrameSet:
    """Pictures and masks (all usable) of all cameras as files."""
    (folder / "frames").mkdir()
    (folder / "masks").mkdir()
    frames = []
    for k, pose in poses().items():
        frame = Frame(k, folder / "frames" / f"{k:08d}.png", folder / "masks" / f"{k:08d}.png.png", k / 25)
        grey = np.clip(np.round(picture(pose)), 0, 255).astype(np.uint8)
        write_image(frame.path, np.repeat(grey[..., None], 3, axis=2))
        write_mask(frame.mask_path, np.ones((120, 160), bool))
        frames.append(frame)
    return FrameSet(tuple(frames), CAMERA, 120)
