"""A made-up scene to measure on: a slanted, textured plane seen by cameras around it, everything drawn from a seed."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import PinholeCamera, pose_at, world_to_camera
from dd_sfm.config import Config, DescribeConfig
from dd_sfm.io.images import write_image, write_mask
from dd_sfm.io.working import working_grid
from dd_sfm.mvs.grey_images import GreyImages
from dd_sfm.mvs.views import ANGLES_DEG, PosedViews
from dd_sfm.structures import FloatArray, Frame, FrameSet, Model, Tracks

DISTANCE = 20.0
"""From every camera to the point of the plane that all of them look at."""
NORMAL = np.array([0.3, -0.2, -1.0]) / np.linalg.norm([0.3, -0.2, -1.0])
"""Of the plane, towards the cameras."""
TEXTURE_SIDE, TEXTURE_UNITS = 3.2, 45.0
"""Length of a side of the plane's texture: in sides of a frame for its pixels, and in units of length."""


@dataclass(frozen=True)
class BenchmarkScene:
    """Frames on disk, their images (H, W, 3) in memory, and the true model of the plane.

    The frame in the middle, ``reference``, sees the others under the angles that the depth search looks for.
    """

    frames: FrameSet
    images: tuple[NDArray[np.uint8], ...]
    model: Model
    views: PosedViews

    @property
    def reference(self) -> int:
        """Position of the frame in the middle."""
        return len(self.images) // 2

    def planes(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """The true inverse depth of the reference and its slopes (N, 3) at pixels (N, 2)."""
        pose = self.model.cam_from_world[self.reference]
        camera = self.views.camera
        normal = pose[:, :3] @ NORMAL
        normal /= normal @ world_to_camera(np.array([[0.0, 0.0, DISTANCE]]), pose)[0]
        slopes = normal[:2] / camera.focal
        inverse = (pixels - camera.principal_point) @ slopes + normal[2]
        return np.column_stack([inverse, np.tile(slopes, (len(pixels), 1))]).astype(np.float32)


def make_scene(folder: Path, *, size: int, points: int, seed: int = 0) -> BenchmarkScene:
    """Make the scene; a pixel of its frames is a working pixel.

    Args:
        folder: An empty folder for the frames.
        size: Pixels along a side of the square frames.
        points: How many points of the plane the model has.
        seed: Of the texture and the points.
    """
    rng = np.random.default_rng(seed)
    camera = PinholeCamera(size, size, 0.9 * size, 0.9 * size, (size - 1) / 2, (size - 1) / 2)
    poses = _poses()
    images = tuple(_pictures(rng, camera, poses))
    for name in ("frames", "masks"):
        (folder / name).mkdir()
    frames = []
    for k, image in enumerate(images):
        frame = Frame(k, folder / "frames" / f"{k:08d}.png", folder / "masks" / f"{k:08d}.png.png", k / 25)
        write_image(frame.path, image)
        write_mask(frame.mask_path, np.ones((size, size), bool))
        frames.append(frame)
    frame_set = FrameSet(tuple(frames), camera, size)
    model = _model(rng, camera, poses, points)
    # Two working pixels a cell, as the shipped networks have.
    grid = working_grid(frame_set, Config(describe=DescribeConfig(working_height_px=size)), 2)
    return BenchmarkScene(frame_set, images, model, PosedViews(GreyImages(frame_set, grid), model))


def disturbed_model(scene: BenchmarkScene, *, noise_px: float = 0.3, shift: float = 0.02, seed: int = 1) -> Model:
    """The scene's model with noisy observations and moved cameras: something to adjust."""
    rng = np.random.default_rng(seed)
    model = scene.model
    poses = {
        k: pose + np.pad(rng.normal(0, shift, (3, 1)), ((0, 0), (3, 0))) for k, pose in model.cam_from_world.items()
    }
    xy = model.xy + rng.normal(0, noise_px, model.xy.shape)
    return Model(model.camera, poses, model.xyz, model.rgb, model.error_px, model.point, model.frame, xy)


def tracks_of(model: Model) -> Tracks:
    """The observations of a model as tracks."""
    first = np.r_[True, np.diff(model.point) > 0]
    score = np.full(len(model.point), 0.9, np.float32)
    return Tracks(model.point, model.frame, model.xy.astype(np.float32), score, first)


def _poses() -> dict[int, FloatArray]:
    """Cameras on a circle around the point they look at, rolled a little."""
    found = {}
    for k, angle in enumerate(sorted({0.0, *ANGLES_DEG, *(-a for a in ANGLES_DEG)})):
        rotation = Rotation.from_euler("yz", [angle, 0.2 * angle], degrees=True).as_matrix()
        found[k] = pose_at(rotation, np.array([0.0, 0.0, DISTANCE]) - DISTANCE * rotation[2])
    return found


def _plane_axes() -> FloatArray:
    """Two directions (2, 3) of unit length along the plane."""
    first = np.cross([0.0, 1.0, 0.0], NORMAL)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(NORMAL, first)])


def _pictures(rng: np.random.Generator, camera: PinholeCamera, poses: dict[int, FloatArray]) -> list[NDArray[np.uint8]]:
    """What the cameras see (H, W, 3)."""
    side = round(TEXTURE_SIDE * camera.width)
    grey = np.zeros((side, side), np.float32)
    noise = rng.normal(size=grey.shape).astype(np.float32)
    for sigma in (1.5, 3.0, 6.0, 12.0, 24.0):
        smooth = cv2.GaussianBlur(np.roll(noise, round(37 * sigma), (0, 1)), (0, 0), sigma)
        grey += smooth / smooth.std() * np.float32(np.sqrt(sigma))
    light = np.clip(0.55 + 0.14 * grey / grey.std(), 0.05, 0.95)[..., None]
    texture = np.uint8(255 * light * np.array([1.0, 0.62, 0.52], np.float32))
    # From pixels of the texture to units along the plane's axes.
    scale, middle = TEXTURE_UNITS / side, side / 2
    to_plane = np.array([[scale, 0, -middle * scale], [0, scale, -middle * scale], [0, 0, 1]])
    pictures = []
    for pose in poses.values():
        centre = world_to_camera(np.array([[0.0, 0.0, DISTANCE]]), pose)[0]
        to_image = camera.matrix @ np.column_stack([*(pose[:, :3] @ axis for axis in _plane_axes()), centre])
        warped = cv2.warpPerspective(texture, to_image @ to_plane, camera.size, borderMode=cv2.BORDER_REFLECT)
        pictures.append(np.asarray(warped, np.uint8))
    return pictures


def _model(rng: np.random.Generator, camera: PinholeCamera, poses: dict[int, FloatArray], points: int) -> Model:
    """Points spread over the plane, and where all cameras see them."""
    reach = 0.55 * DISTANCE
    xyz = np.array([0.0, 0.0, DISTANCE]) + rng.uniform(-reach, reach, (points, 2)) @ _plane_axes()
    seen = []
    for frame, pose in poses.items():
        xy, depth = camera.project(world_to_camera(xyz, pose))
        inside = (depth > 0) & (xy > 0).all(1) & (xy < np.array(camera.size) - 1).all(1)
        index = np.flatnonzero(inside)
        seen.append(np.column_stack([index, np.full(len(index), frame), xy[index]]))
    table = np.concatenate(seen)
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    number = table[:, 0].astype(np.int64)
    often = np.bincount(number, minlength=points)[number] >= 3
    kept, point = np.unique(number[often], return_inverse=True)
    zero = np.zeros(len(kept))
    return Model(
        camera, poses, xyz[kept], np.zeros((len(kept), 3), np.uint8), zero, point, table[often, 1].astype(np.int64),
        table[often, 2:],
    )  # fmt: skip
