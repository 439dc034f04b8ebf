"""Rendered clips with exact truth: poses, depth, mask and the clip itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera, camera_to_world, pose_at, world_to_camera
from dd_sfm.errors import InputError, ShapeError, reason_of
from dd_sfm.io.arrays import READ_ERRORS, read_arrays
from dd_sfm.io.images import read_mask
from dd_sfm.io.lens import Lens
from dd_sfm.ops.pixels import inside_mask, nearest_values

TRUTH_ARRAYS = (
    "K", "R", "c", "depth", "depth_frames", "depth_unit_mm", "distortion", "deformation",
    "lens_model", "lens_params",
)  # fmt: skip


@dataclass(frozen=True)
class RenderedTruth:
    """What a rendered clip knows of itself.

    ``lens`` at the size of the depth; ``cam_from_world`` (N, 3, 4) in mm; ``depth`` (D, H, W) float32 z-depth in mm of
    the frames ``depth_frames`` (D,), 0 where no surface is hit; ``mask`` (H, W) bool; ``deformation`` amplitude in mm
    of the tissue's movement, 0 where it stands still.
    """

    lens: Lens
    cam_from_world: NDArray[np.float64]
    depth: NDArray[np.float32]
    depth_frames: NDArray[np.int64]
    mask: NDArray[np.bool_]
    clip_path: Path
    deformation: float = 0.0

    def project(self, points: NDArray[Any], frame: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pixels (N, 2) and depths (N,) of world points (N, 3) in a frame; pixels are NaN where the lens shows none."""
        return self.lens.project(world_to_camera(points, self.cam_from_world[frame]))

    def depth_at(self, frame: int, xy: NDArray[Any]) -> NDArray[np.float64]:
        """Depth in mm at the nearest pixels (N,); 0 outside the frame and where nothing is hit."""
        image = self.depth[int(np.flatnonzero(self.depth_frames == frame)[0])]
        return nearest_values(image, xy, 0).astype(np.float64)

    def world_points(self, frame: int, xy: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """World points (N, 3) of pixels of a frame with depth, and which of them hit a surface (N,)."""
        depth = self.depth_at(frame, xy)
        rays = self.lens.unproject(xy)
        rays = rays / rays[:, 2:]
        return camera_to_world(rays * depth[:, None], self.cam_from_world[frame]), depth > 0

    def correspondences(
        self, source: int, target: int, xy: NDArray[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Where pixels (N, 2) of a frame with depth lie in another frame, and whether they are visible there.

        Right only where the tissue stands still (see :func:`read_rigid_truth`). Occlusion is judged in the frame with
        depth that is nearest to the target, within 3 % of the depth.
        """
        points, hit = self.world_points(source, xy)
        there, depth = self.project(points, target)
        near = int(self.depth_frames[np.argmin(np.abs(self.depth_frames - target))])
        judge, judge_depth = self.project(points, near)
        seen = np.abs(self.depth_at(near, judge) - judge_depth) < 0.03 * judge_depth
        return there, hit & (depth > 0) & seen & inside_mask(self.mask, there)


def read_truth(folder: Path) -> RenderedTruth:
    """Read a rendered clip's folder (truth.npz, mask.png, clip.mp4).

    Raises:
        InputError: If a file is missing, cannot be read, or does not fit the others.
    """
    path = folder / "truth.npz"
    try:
        values = {name: array for name, array in read_arrays(path).items() if name in TRUTH_ARRAYS}
        _check_values(path, values)
        mask = read_mask(folder / "mask.png")
        truth = RenderedTruth(
            _lens(values, (mask.shape[1], mask.shape[0])),
            pose_at(values["R"].transpose(0, 2, 1), values["c"]),
            values["depth"].astype(np.float32) * np.float32(values["depth_unit_mm"]),
            values["depth_frames"].astype(np.int64),
            mask,
            folder / "clip.mp4",
            float(values.get("deformation", 0.0)),
        )
    except (*READ_ERRORS, TypeError, ShapeError) as error:
        raise InputError(
            f"{folder}: no readable truth.npz ({reason_of(error)}); expected a rendered clip's folder"
        ) from error
    _check_frames(path, truth)
    return truth


def _lens(values: dict[str, NDArray[Any]], size: tuple[int, int]) -> Lens:
    """The lens of a clip; clips of older versions have K and k1, k2, p1, p2 of OpenCV's model."""
    if "lens_model" in values:
        return Lens(str(values["lens_model"]), tuple(map(float, values["lens_params"])), *size)
    plain = Lens.of(PinholeCamera.from_matrix(values["K"], size))
    distortion = values.get("distortion", np.zeros(4))
    return Lens("OPENCV", (*plain.params, *map(float, distortion)), *size) if distortion.any() else plain


def _check_values(path: Path, values: dict[str, NDArray[Any]]) -> None:
    """See that every array has the shape that the numbers of poses and depths ask for, and finite numbers alone."""
    poses, depths = (len(values[name]) if values[name].ndim else 0 for name in ("R", "depth"))
    expected: dict[str, tuple[int | str, ...]] = {
        "K": (3, 3),
        "R": (poses, 3, 3),
        "c": (poses, 3),
        "depth": (depths, "H", "W"),
        "depth_frames": (depths,),
        "depth_unit_mm": (),
        "distortion": (4,),
        "lens_model": (),
        "lens_params": ("P",),
        "deformation": (),
    }
    for name, found in values.items():
        shape = expected[name]
        fits = found.ndim == len(shape) and all(
            n in ("H", "W", "P", m) for m, n in zip(found.shape, shape, strict=True)
        )
        if not fits:
            raise InputError(
                f"{path}: {name} has the shape {_text(found.shape)}; expected {_text(shape)}, as there are {poses} "
                f"poses (R) and {depths} frames with depth"
            )
        is_text = name == "lens_model" and found.dtype.kind == "U"
        if not is_text and (found.dtype.kind not in "iuf" or not np.isfinite(found).all()):
            raise InputError(f"{path}: {name} holds values that are not finite numbers; expected finite numbers only")


def _text(shape: tuple[int | str, ...]) -> str:
    return f"({', '.join(map(str, shape))})"


def _check_frames(path: Path, truth: RenderedTruth) -> None:
    """See that the depth is of frames that have a pose, and of the size of the mask."""
    frames, poses = truth.depth_frames, len(truth.cam_from_world)
    if not len(frames):
        return
    if frames.min() < 0 or frames.max() >= poses:
        raise InputError(
            f"{path}: depth of frames {frames.min()} to {frames.max()}; expected frames from 0 to {poses - 1}, "
            f"as there are {poses} poses"
        )
    if truth.mask.shape != truth.depth.shape[1:]:
        (height, width), (rows, columns) = truth.mask.shape, truth.depth.shape[1:]
        raise InputError(
            f"{path.with_name('mask.png')}: {width}x{height} pixels; expected {columns}x{rows}, the size of the depth "
            "in truth.npz"
        )


def read_rigid_truth(folder: Path) -> RenderedTruth:
    """Read the truth of a clip for its correspondences; see :func:`read_truth`.

    Raises:
        InputError: Also if the tissue moves: a pixel's place in another frame is then not known.
    """
    truth = read_truth(folder)
    if truth.deformation > 0:
        raise InputError(
            f"{folder}: the tissue moves (deformation {truth.deformation:g} mm), so that its truth holds frame by "
            "frame but not between frames; expected a clip without --deformation"
        )
    return truth
