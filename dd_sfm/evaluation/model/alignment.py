"""Bringing a model into the frame of a reference: by its cameras, and, to compare, by its points."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import camera_centres, pose_at, relative_pose, rotation_angles_deg
from dd_sfm.errors import InputError
from dd_sfm.sfm.geometry import similarity
from dd_sfm.structures import FloatArray

OUTLIER_FACTOR = 10.0
"""A camera this many times the median error away takes no part in the alignment ..."""
OUTLIER_PATH_SHARE, OUTLIER_DEG = 0.02, 2.0
"""... unless it is closer than this share of the path, and turned by less than this angle."""
MISFIT = 0.5
"""Cameras this far from those of the reference, as a share of the path's own spread, belong to another video."""
DOUBTFUL = 0.2
"""From here on that must be said: good models stay below 0.1 even of references that are themselves measured."""
TURNING_SHARE, TURNING_LEAST_DEG = 1 / 6, 0.5
"""Turns are compared between cameras this share of the sequence apart, if the reference's are as large as this."""
TURNING_NOISE_DEG = 1.25
"""Half of the turns may be off by this without saying anything: cameras that shake by 0.4 degrees about every axis,
in model and reference, make it 1.2. Of made-up paths that turn by 1 to 2 degrees and whose model shakes, 5 to 62 % were
called another video without this and none with it; of other paths that turn by 2.5, nine in ten still are.
"""
UNRELATED = 0.8
"""Cameras whose turns are off by this share of them turn as another video does. Of two rendered colons the centres
may lie within 0.2 of the spread, as both scopes go straight ahead; the turns of two videos differed by 0.7 to 12 times
their size in 126 pairs of a run and a wrong reference, by 0.9 or more where the centres did not tell, and by 0.50 at
most in 21 runs against the right one, those that drift or lack a tenth of the frames included.
"""


@dataclass(frozen=True)
class Similarity:
    """target ~ ``scale`` * ``rotation`` (3, 3) @ source + ``shift`` (3,)."""

    scale: float
    rotation: FloatArray
    shift: FloatArray

    def points(self, xyz: FloatArray) -> FloatArray:
        """Move points (N, 3)."""
        return self.scale * xyz @ self.rotation.T + self.shift

    def poses(self, cam_from_world: FloatArray) -> FloatArray:
        """The poses (N, 3, 4) of the moved cameras."""
        turned = cam_from_world[:, :, :3] @ self.rotation.T
        return pose_at(turned, self.points(camera_centres(cam_from_world)))


@dataclass(frozen=True)
class CameraAlignment:
    """``similarity`` from model to reference, and the cameras ``used`` (N,) bool for it."""

    similarity: Similarity
    used: NDArray[np.bool_]


def misfit(cam_from_world: FloatArray, reference: FloatArray) -> float:
    """Rms distance of aligned cameras (N, 3, 4) from those of a reference (N, 3, 4), over the rms spread of these."""
    centres = camera_centres(reference)
    spread = float(np.sqrt(np.square(centres - centres.mean(0)).sum(1).mean()))
    distance = np.square(camera_centres(cam_from_world) - centres).sum(1).mean()
    return float(np.sqrt(distance)) / max(spread, 1e-12)


def turning_misfit(cam_from_world: FloatArray, reference: FloatArray) -> float | None:
    """Median error of the turns between cameras (N, 3, 4), over the median of these turns in the reference (N, 3, 4).

    What noise explains (:data:`TURNING_NOISE_DEG`) is taken out of the error, so that small turns which are only
    inexact count as right. The frames must be in order. Turns between cameras do not depend on the alignment, and
    hardly on drift, as those of the whole path do. None where the reference does not turn enough to tell.
    """
    step = max(1, round(TURNING_SHARE * len(reference)))
    if len(reference) <= step:
        return None
    ours, theirs = (relative_pose(poses[step:], poses[:-step])[..., :3] for poses in (cam_from_world, reference))
    size = float(np.median(rotation_angles_deg(theirs)))
    if size < TURNING_LEAST_DEG:
        return None
    error = float(np.median(rotation_angles_deg(ours @ theirs.transpose(0, 2, 1))))
    return float(np.sqrt(max(error**2 - TURNING_NOISE_DEG**2, 0.0))) / size


def follows(cam_from_world: FloatArray, reference: FloatArray) -> bool:
    """Whether aligned cameras (N, 3, 4) are those of a reference (N, 3, 4), if roughly; else it shows another video."""
    turning = turning_misfit(cam_from_world, reference)
    return misfit(cam_from_world, reference) <= MISFIT and (turning is None or turning <= UNRELATED)


def align_cameras(model: FloatArray, reference: FloatArray) -> CameraAlignment:
    """The similarity between the same cameras in two reconstructions.

    Rotation is the mean of the cameras' relative rotations, so that a straight path, whose centres leave the roll
    open, is no special case; scale and shift are least squares over the centres. Cameras that are grossly wrong
    (:data:`OUTLIER_FACTOR`) are found from a robust first guess and left out.

    Args:
        model: cam_from_world (N, 3, 4) of the model.
        reference: The same cameras in the reference.

    Raises:
        InputError: If there are fewer than 3 cameras or all of them are at one place.
    """
    if len(model) < 3:
        raise InputError(f"alignment: {len(model)} common cameras; expected at least 3")
    source, target = camera_centres(model), camera_centres(reference)
    for name, centres in (("model", source), ("reference", target)):
        if np.ptp(centres, axis=0).max() <= 1e-9 * max(1.0, float(np.abs(centres).max())):
            raise InputError(f"alignment: all cameras of the {name} are at one place; expected them to move")
    relative = reference[:, :, :3].transpose(0, 2, 1) @ model[:, :, :3]
    path = float(np.linalg.norm(np.diff(target, axis=0), axis=1).sum())
    guess = _robust_guess(relative, source, target)
    used = _inliers(guess, relative, source, target, path)
    for _ in range(5):
        fitted = _least_squares(relative[used], source[used], target[used])
        before, used = used, _inliers(fitted, relative, source, target, path)
        if (used == before).all():
            break
    return CameraAlignment(_least_squares(relative[used], source[used], target[used]), used)


def align_points(source: FloatArray, target: FloatArray, rounds: int = 10) -> tuple[Similarity, FloatArray]:
    """The similarity of corresponding points (N, 3), refitted to those within three times the median error.

    Returns:
        The similarity, and the errors (N,) of all points.
    """
    used = np.ones(len(source), bool)
    for _ in range(rounds):
        fitted = Similarity(*similarity(source[used], target[used]))
        error = np.linalg.norm(fitted.points(source) - target, axis=1)
        before, used = used, error <= max(3 * float(np.median(error)), 1e-9)
        if (used == before).all():
            break
    return fitted, error


def _least_squares(relative: FloatArray, source: FloatArray, target: FloatArray) -> Similarity:
    rotation = Rotation.from_matrix(relative).mean().as_matrix()
    turned = source @ rotation.T
    s, t = turned - turned.mean(0), target - target.mean(0)
    scale = float((s * t).sum() / np.square(s).sum())
    return Similarity(scale, rotation, target.mean(0) - scale * turned.mean(0))


def _robust_guess(relative: FloatArray, source: FloatArray, target: FloatArray) -> Similarity:
    """Right as long as more than half of the cameras are: medians in place of means."""
    rotations = Rotation.from_matrix(relative)
    angles = np.array([np.median((rotation.inv() * rotations).magnitude()) for rotation in rotations])
    rotation = rotations[int(np.argmin(angles))].as_matrix()
    turned = source @ rotation.T
    # Cameras half a sequence apart give long baselines, and each camera spoils two of them at most.
    half = len(source) // 2
    lengths = [np.linalg.norm(np.roll(c, half, axis=0) - c, axis=1) for c in (turned, target)]
    known = lengths[0] > 1e-12
    scale = float(np.median(lengths[1][known] / lengths[0][known])) if known.any() else 1.0
    return Similarity(scale, rotation, np.median(target - scale * turned, axis=0))


def _inliers(
    guess: Similarity, relative: FloatArray, source: FloatArray, target: FloatArray, path: float
) -> NDArray[np.bool_]:
    distance = np.linalg.norm(guess.points(source) - target, axis=1)
    angle = rotation_angles_deg(guess.rotation.T @ relative)
    near = distance <= max(OUTLIER_FACTOR * float(np.median(distance)), OUTLIER_PATH_SHARE * path)
    straight = angle <= max(OUTLIER_FACTOR * float(np.median(angle)), OUTLIER_DEG)
    used = near & straight
    # Without a majority there is nothing to call an outlier.
    return used if used.sum() >= max(3, len(used) // 2) else np.ones(len(used), bool)
