"""Errors of the camera trajectory of an aligned model: absolute (ATE) and relative (RPE)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dd_sfm.cameras import camera_centres, relative_pose, rotation_angles_deg
from dd_sfm.structures import FloatArray, IntArray

GAPS = (1, 4, 12, 30)
"""Distances in frames between the cameras of a relative pose."""


@dataclass(frozen=True)
class Trajectory:
    """Cameras common to model and reference, in the coordinates and unit of the reference.

    ``frames`` (N,): frame numbers, ascending; ``estimate`` and ``reference`` (N, 3, 4): cam_from_world;
    ``path_length``: of the reference, from the run's first frame to its last one, including frames without a camera.
    """

    frames: IntArray
    estimate: FloatArray
    reference: FloatArray
    path_length: float

    @property
    def position_errors(self) -> FloatArray:
        """Distances (N,) between the camera centres in the unit of the reference."""
        return np.linalg.norm(camera_centres(self.estimate) - camera_centres(self.reference), axis=1)

    @property
    def rotation_errors_deg(self) -> FloatArray:
        """Angles (N,) in degrees between the cameras' orientations."""
        return rotation_angles_deg(relative_pose(self.estimate, self.reference)[..., :3])


@dataclass(frozen=True)
class RelativePose:
    """Relative pose errors between frames that are ``gap`` apart: median and root mean square over the pairs."""

    gap: int
    pairs: int
    translation_median: float
    translation_rms: float
    rotation_median_deg: float
    rotation_rms_deg: float


def path_length(cam_from_world: Mapping[int, FloatArray], first: int | None = None, last: int | None = None) -> float:
    """Length of the path through the camera centres, in the order of the frame numbers.

    Args:
        cam_from_world: Poses (3, 4) by frame number.
        first: Frame that the path begins at; None: the first one there is.
        last: Frame that it ends at; None: the last one.
    """
    frames = [frame for frame in sorted(cam_from_world) if first is None or frame >= first]
    poses = np.stack([cam_from_world[frame] for frame in frames if last is None or frame <= last])
    return float(np.linalg.norm(np.diff(camera_centres(poses), axis=0), axis=1).sum())


def trajectory_figures(trajectory: Trajectory) -> dict[str, float]:
    """Absolute trajectory errors (Sturm et al., IROS 2012), also in percent of the path, and rotation errors."""
    error, angle = trajectory.position_errors, trajectory.rotation_errors_deg
    ate = {
        "rms": float(np.sqrt(np.mean(np.square(error)))),
        "median": float(np.median(error)),
        "max": float(error.max()),
    }
    percent = 100 / trajectory.path_length
    return (
        {"path_length": trajectory.path_length}
        | {f"ate_{name}": value for name, value in ate.items()}
        | {f"ate_{name}_pct_path": value * percent for name, value in ate.items()}
        | {"rotation_median_deg": float(np.median(angle)), "rotation_max_deg": float(angle.max())}
    )


def relative_poses(trajectory: Trajectory, gaps: Sequence[int] = GAPS) -> list[RelativePose]:
    """Relative pose errors for each frame gap; gaps without a pair of frames are left out."""
    position = {int(frame): k for k, frame in enumerate(trajectory.frames)}
    rows = []
    for gap in gaps:
        pairs = np.array([(k, position[frame + gap]) for frame, k in position.items() if frame + gap in position])
        if not len(pairs):
            continue
        ours, theirs = (
            relative_pose(poses[pairs[:, 0]], poses[pairs[:, 1]])
            for poses in (trajectory.estimate, trajectory.reference)
        )
        angle = rotation_angles_deg(relative_pose(ours, theirs)[..., :3])
        translation = np.linalg.norm(ours[:, :, 3] - theirs[:, :, 3], axis=1)
        rows.append(RelativePose(gap, len(pairs), *_median_rms(translation), *_median_rms(angle)))
    return rows


def _median_rms(values: FloatArray) -> tuple[float, float]:
    return float(np.median(values)), float(np.sqrt(np.mean(np.square(values))))
