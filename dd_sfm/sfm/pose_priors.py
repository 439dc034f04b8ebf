"""Measured poses as further observations of a bundle adjustment, each with a standard deviation."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import camera_centres, pose_at
from dd_sfm.sfm.geometry import similarity
from dd_sfm.structures import FloatArray, Model

TURNED_DOWN = 3.0
"""A measured pose is turned down from so many standard deviations on."""
LEAST_FRAMES = 3


@dataclass(frozen=True)
class PosePriors:
    """What is known of poses before images are asked.

    ``cam_from_world``: by frame position; ``sigma_mm`` and ``sigma_deg``: standard deviations by axis; ``are_exact``:
    whether poses are kept as they are; ``variance``: what an observation's squared residual counts as one for, in
    squared pixels: errors of matches are alike, so that many tell less than their number.
    """

    cam_from_world: Mapping[int, FloatArray]
    sigma_mm: float = 0.0
    sigma_deg: float = 0.0
    are_exact: bool = False
    variance: float = 1.0

    def of(self, frames: list[int]) -> "FramePriors":
        """Those of some frames by their rows."""
        rows = [k for k, frame in enumerate(frames) if frame in self.cam_from_world]
        known = [self.cam_from_world[frames[k]] for k in rows]
        poses = np.stack(known) if known else np.zeros((0, 3, 4))
        return FramePriors(np.array(rows, np.int64), poses, self.sigma_mm, np.radians(self.sigma_deg), self.variance)

    def with_variance(self, variance: float) -> "PosePriors":
        """The same where observations count for less or more."""
        return replace(self, variance=variance)

    def aligned(self, model: Model) -> Model:
        """A model brought onto the measured poses as a whole, as far as it has frames with one.

        Adjustments leave size and place of the whole nearly open: it is found in one step.
        """
        common = sorted(set(self.cam_from_world) & set(model.cam_from_world))
        if self.are_exact or len(common) < LEAST_FRAMES:
            return model
        ours, theirs = (np.stack([poses[k] for k in common]) for poses in (model.cam_from_world, self.cam_from_world))
        scale, rotation, shift = _whole(ours, theirs, self.sigma_mm, np.radians(self.sigma_deg))
        keys = sorted(model.cam_from_world)
        poses = np.stack([model.cam_from_world[k] for k in keys])
        moved = pose_at(poses[:, :, :3] @ rotation.T, scale * camera_centres(poses) @ rotation.T + shift)
        return replace(
            model, cam_from_world=dict(zip(keys, moved, strict=True)), xyz=scale * model.xyz @ rotation.T + shift
        )


@dataclass(frozen=True)
class FramePriors:
    """Measured poses (N, 3, 4) of rows of an adjustment's frames; see :class:`PosePriors`."""

    rows: FloatArray
    poses: FloatArray
    sigma_mm: float
    sigma_rad: float
    variance: float

    def cost(self, poses: FloatArray) -> float:
        """What it costs that poses (F, 3, 4) are others, in the unit of the observations."""
        turn, shift = self._away(poses)
        squared = (turn**2).sum(1) / self.sigma_rad**2 + (shift**2).sum(1) / self.sigma_mm**2
        return float(self.variance * TURNED_DOWN**2 * np.log1p(squared / TURNED_DOWN**2).sum())

    def equations(self, poses: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Blocks (N, 6, 6) and right sides (N, 6) for changes by a rotation and a shift in the camera's axes."""
        turn, shift = self._away(poses)
        squared = (turn**2).sum(1) / self.sigma_rad**2 + (shift**2).sum(1) / self.sigma_mm**2
        weight = self.variance / (1 + squared / TURNED_DOWN**2)
        blocks = np.zeros((len(self.rows), 6, 6))
        for k in range(3):
            blocks[:, k, k], blocks[:, k + 3, k + 3] = weight / self.sigma_rad**2, weight / self.sigma_mm**2
        right = np.concatenate([turn / self.sigma_rad**2, -shift / self.sigma_mm**2], 1) * weight[:, None]
        return blocks, right

    def _away(self, poses: FloatArray) -> tuple[FloatArray, FloatArray]:
        """How poses are turned (N, 3) against the measured ones, and where they are, in the cameras' axes (N, 3)."""
        own = poses[self.rows]
        turn = Rotation.from_matrix(own[:, :, :3] @ self.poses[:, :, :3].transpose(0, 2, 1)).as_rotvec()
        apart = camera_centres(own) - camera_centres(self.poses)
        return turn, (own[:, :, :3] @ apart[:, :, None])[:, :, 0]


def _whole(
    ours: FloatArray, theirs: FloatArray, sigma_mm: float, sigma_rad: float
) -> tuple[float, FloatArray, FloatArray]:
    """The similarity transform between poses (N, 3, 4): its rotation by positions and orientations, by their errors."""
    source, target = camera_centres(ours), camera_centres(theirs)
    by_turns = Rotation.from_matrix(theirs[:, :, :3].transpose(0, 2, 1) @ ours[:, :, :3]).mean()
    by_places = Rotation.from_matrix(similarity(source, target).rotation)
    # What both say of each axis, by what it is known from.
    around = target - target.mean(0)
    known = (np.square(around).sum() * np.eye(3) - around.T @ around) / sigma_mm**2
    apart = (by_places * by_turns.inv()).as_rotvec()
    turn = np.linalg.solve(known + len(ours) / sigma_rad**2 * np.eye(3), known @ apart)
    rotation = (Rotation.from_rotvec(turn) * by_turns).as_matrix()
    turned = source @ rotation.T
    moved = turned - turned.mean(0)
    scale = float((moved * around).sum() / max(float(np.square(moved).sum()), 1e-30))
    return scale, rotation, target.mean(0) - scale * turned.mean(0)
