"""Rendered clips with exact truth: poses, depth, mask and the clip itself."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import InputError
from dd_sfm.io.calibration import Calibration
from dd_sfm.io.images import read_mask
from dd_sfm.ops.coordinates import to_colmap
from dd_sfm.ops.radial import bend, straighten


@dataclass(frozen=True)
class RenderedTruth:
    """What a rendered clip knows of itself.

    ``matrix`` K (3, 3), pixel centres at integers; ``cam_from_world`` (N, 3, 4) in mm; ``depth`` (D, H, W) float32
    z-depth in mm of the frames ``depth_frames`` (D,), 0 where no surface is hit; ``mask`` (H, W) bool; ``distortion``
    k1, k2, p1, p2 of OpenCV's model; ``deformation`` amplitude in mm of the tissue's movement, 0 where it stands still.
    """

    matrix: NDArray[np.float64]
    cam_from_world: NDArray[np.float64]
    depth: NDArray[np.float32]
    depth_frames: NDArray[np.int64]
    mask: NDArray[np.bool_]
    clip_path: Path
    distortion: NDArray[np.float64] = field(default_factory=lambda: np.zeros(4))
    deformation: float = 0.0

    @property
    def lens(self) -> Calibration | None:
        """The camera with its distortion at the size of the depth, None without any."""
        if not self.distortion.any():
            return None
        centre = to_colmap(self.matrix[:2, 2])
        params = (self.matrix[0, 0], self.matrix[1, 1], *centre, *self.distortion)
        height, width = self.mask.shape
        return Calibration("OPENCV", tuple(map(float, params)), width, height)

    def project(self, points: NDArray[Any], frame: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pixels (N, 2) and depths (N,) of world points (N, 3) in a frame; pixels are NaN behind the camera."""
        pose = self.cam_from_world[frame]
        local = points @ pose[:, :3].T + pose[:, 3]
        depth = local[:, 2]
        flat = local[:, :2] / np.where(depth > 1e-9, depth, np.nan)[:, None]
        if self.distortion.any():
            k1, k2 = self.distortion[:2]
            squared = (flat**2).sum(1, keepdims=True)
            # Far outside the field the polynomial turns back: such points are not seen.
            turned = 1 + 3 * k1 * squared + 5 * k2 * squared**2 <= 0
            flat = np.where(turned, np.nan, bend(flat, self.distortion))
        return flat * self.matrix[[0, 1], [0, 1]] + self.matrix[:2, 2], depth

    def depth_at(self, frame: int, xy: NDArray[Any]) -> NDArray[np.float64]:
        """Depth in mm at the nearest pixels (N,); 0 outside the frame and where nothing is hit."""
        image = self.depth[int(np.flatnonzero(self.depth_frames == frame)[0])]
        cell = np.round(np.nan_to_num(xy, nan=-1.0)).astype(np.int64)
        inside = (cell >= 0).all(1) & (cell < np.array(image.shape[::-1])).all(1)
        depth = np.zeros(len(xy))
        depth[inside] = image[cell[inside, 1], cell[inside, 0]]
        return depth

    def world_points(self, frame: int, xy: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """World points (N, 3) of pixels of a frame with depth, and which of them hit a surface (N,)."""
        depth = self.depth_at(frame, xy)
        ray = (xy - self.matrix[:2, 2]) / self.matrix[[0, 1], [0, 1]]
        if self.distortion.any() and len(xy):
            ray = straighten(xy, self.matrix, self.distortion)
        local = np.column_stack([ray, np.ones(len(xy))]) * depth[:, None]
        pose = self.cam_from_world[frame]
        return (local - pose[:, 3]) @ pose[:, :3], depth > 0

    def correspondences(
        self, source: int, target: int, xy: NDArray[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Where pixels (N, 2) of a frame with depth lie in another frame, and whether they are visible there.

        Right only where the tissue stands still (see :func:`read_still_truth`). Occlusion is judged in the frame with
        depth that is nearest to the target, within 3 % of the depth.
        """
        points, hit = self.world_points(source, xy)
        there, depth = self.project(points, target)
        near = int(self.depth_frames[np.argmin(np.abs(self.depth_frames - target))])
        judge, judge_depth = self.project(points, near)
        seen = np.abs(self.depth_at(near, judge) - judge_depth) < 0.03 * judge_depth
        cell = np.round(np.nan_to_num(there, nan=-1.0)).astype(np.int64)
        inside = np.asarray((cell >= 0).all(1) & (cell < np.array(self.mask.shape[::-1])).all(1))
        inside[inside] = self.mask[cell[inside, 1], cell[inside, 0]]
        return there, hit & (depth > 0) & seen & inside


def read_truth(folder: Path) -> RenderedTruth:
    """Read a rendered clip's folder (truth.npz, mask.png, clip.mp4).

    Raises:
        InputError: If a file is missing or cannot be read.
    """
    try:
        with np.load(folder / "truth.npz") as truth:
            rotation, centre = truth["R"].transpose(0, 2, 1), truth["c"]
            shift = -(rotation @ centre[..., None])
            depth = truth["depth"].astype(np.float32) * np.float32(truth["depth_unit_mm"])
            return RenderedTruth(
                truth["K"],
                np.concatenate([rotation, shift], 2),
                depth,
                truth["depth_frames"].astype(np.int64),
                read_mask(folder / "mask.png"),
                folder / "clip.mp4",
                truth["distortion"] if "distortion" in truth else np.zeros(4),
                float(truth["deformation"]) if "deformation" in truth else 0.0,
            )
    except (OSError, KeyError, TypeError, ValueError, BadZipFile) as error:
        raise InputError(f"{folder}: no readable truth.npz ({error}); expected a rendered clip's folder") from error


def read_still_truth(folder: Path) -> RenderedTruth:
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
