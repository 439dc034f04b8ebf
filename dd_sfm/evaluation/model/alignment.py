"""Align a model to a reference with a similarity transform: by its cameras, or, to compare, by its points."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import camera_centres, relative_pose, rotation_angles_deg
from dd_sfm.errors import InputError
from dd_sfm.sfm.geometry import Similarity, similarity
from dd_sfm.structures import FloatArray

OUTLIER_FACTOR = 10.0
"""A camera is left out of the alignment when its error is more than this many times the median error ..."""
OUTLIER_PATH_SHARE, OUTLIER_DEG = 0.02, 2.0
"""... unless it lies within this share of the path's length of its reference and is rotated by less than this angle."""
MAX_CAMERA_MISFIT = 0.5
"""Camera misfit (:func:`camera_misfit`) above which model and reference show different videos."""
SUSPECT_CAMERA_MISFIT = 0.2
"""Camera misfit above which the user is warned: good models stay below 0.1, even against measured references."""
TURNING_STEP_SHARE = 1 / 6
"""Rotations are compared between cameras that are this share of the sequence apart."""
MIN_TURNING_DEG = 0.5
"""Where the rotations of the reference have a smaller median than this, they are not compared."""
ROTATION_NOISE_DEG = 1.25
"""Median rotation error that noise alone explains: cameras that shake by 0.4 degrees about every axis reach 1.2."""
MAX_TURNING_MISFIT = 0.8
"""Turning misfit (:func:`turning_misfit`) above which model and reference show different videos.

Centres alone cannot decide: scopes in two colons both go straight ahead. docs/design-notes.md has the measurements.
"""


@dataclass(frozen=True)
class CameraAlignment:
    """Cameras of a model, aligned to the same cameras of a reference.

    ``similarity``: from the model to the reference; ``used`` (N,) bool: cameras that it was fitted to; ``aligned`` and
    ``reference`` (N, 3, 4): cam_from_world of the model after the alignment, and of the reference.
    """

    similarity: Similarity
    used: NDArray[np.bool_]
    aligned: FloatArray
    reference: FloatArray

    @property
    def agrees(self) -> bool:
        """Whether both are cameras of the same video; see :func:`cameras_agree`."""
        return cameras_agree(self.aligned, self.reference)


def camera_misfit(cam_from_world: FloatArray, reference: FloatArray) -> float:
    """Rms distance of aligned cameras (N, 3, 4) from a reference (N, 3, 4), divided by the reference's rms spread."""
    centres = camera_centres(reference)
    spread = float(np.sqrt(np.square(centres - centres.mean(0)).sum(1).mean()))
    distance = np.square(camera_centres(cam_from_world) - centres).sum(1).mean()
    return float(np.sqrt(distance)) / max(spread, 1e-12)


def turning_misfit(cam_from_world: FloatArray, reference: FloatArray) -> float | None:
    """Median error of the relative rotations of cameras, divided by the median of these rotations in the reference.

    The rotations are those between cameras :data:`TURNING_STEP_SHARE` of the sequence apart. They do not depend on the
    alignment and hardly on drift. What noise explains (:data:`ROTATION_NOISE_DEG`) is subtracted from the error, so
    that small rotations which are only inexact count as right.

    Args:
        cam_from_world: Cameras of the model (N, 3, 4), in the order of the frames.
        reference: The same cameras in the reference (N, 3, 4).

    Returns:
        The ratio, or None where the reference rotates too little to compare.
    """
    step = max(1, round(TURNING_STEP_SHARE * len(reference)))
    if len(reference) <= step:
        return None
    ours, theirs = (relative_pose(poses[step:], poses[:-step])[..., :3] for poses in (cam_from_world, reference))
    size = float(np.median(rotation_angles_deg(theirs)))
    if size < MIN_TURNING_DEG:
        return None
    error = float(np.median(rotation_angles_deg(ours @ theirs.transpose(0, 2, 1))))
    return float(np.sqrt(max(error**2 - ROTATION_NOISE_DEG**2, 0.0))) / size


def cameras_agree(cam_from_world: FloatArray, reference: FloatArray) -> bool:
    """Whether aligned cameras (N, 3, 4) roughly match those of a reference (N, 3, 4), as in models of one video."""
    turning = turning_misfit(cam_from_world, reference)
    is_near = camera_misfit(cam_from_world, reference) <= MAX_CAMERA_MISFIT
    return is_near and (turning is None or turning <= MAX_TURNING_MISFIT)


def align_common_cameras(model: Mapping[int, FloatArray], reference: Mapping[int, FloatArray]) -> CameraAlignment:
    """Align two reconstructions by the frames in which both have a camera; see :func:`align_cameras`.

    Args:
        model: cam_from_world (3, 4) by frame number.
        reference: The same of the reference.

    Raises:
        InputError: If they share fewer than 3 cameras, or all of them are at one place.
    """
    common = sorted(model.keys() & reference.keys())
    ours, theirs = (np.array([poses[number] for number in common]).reshape(-1, 3, 4) for poses in (model, reference))
    return align_cameras(ours, theirs)


def align_cameras(model: FloatArray, reference: FloatArray) -> CameraAlignment:
    """Find the similarity transform between the same cameras of two reconstructions.

    The rotation is the mean of the cameras' relative rotations, so that a straight path, whose centres leave the roll
    open, is no special case. Scale and shift are least squares over the centres. Gross outliers
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
    fitted = _least_squares(relative[used], source[used], target[used])
    return CameraAlignment(fitted, used, fitted.poses(model), reference)


def align_points(source: FloatArray, target: FloatArray, rounds: int = 10) -> tuple[Similarity, FloatArray]:
    """Find the similarity transform between corresponding points, refitted to those within 3 times the median error.

    Args:
        source: Points (N, 3) to transform.
        target: Where they should come to lie (N, 3).
        rounds: Largest number of fits.

    Returns:
        The transform, and the distances (N,) of all transformed points from their targets.
    """
    used = np.ones(len(source), bool)
    for _ in range(rounds):
        fitted = similarity(source[used], target[used])
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
    """A first guess from medians, which is right as long as more than half of the cameras are."""
    rotations = Rotation.from_matrix(relative)
    angles = np.array([np.median((rotation.inv() * rotations).magnitude()) for rotation in rotations])
    rotation = rotations[int(np.argmin(angles))].as_matrix()
    turned = source @ rotation.T
    # Cameras half a sequence apart give long baselines, and a wrong camera spoils only two of them.
    half = len(source) // 2
    lengths = [np.linalg.norm(np.roll(c, half, axis=0) - c, axis=1) for c in (turned, target)]
    known = lengths[0] > 1e-12
    scale = float(np.median(lengths[1][known] / lengths[0][known])) if known.any() else 1.0
    return Similarity(scale, rotation, np.median(target - scale * turned, axis=0))


def _inliers(
    guess: Similarity, relative: FloatArray, source: FloatArray, target: FloatArray, path: float
) -> NDArray[np.bool_]:
    """Cameras (N,) whose position and orientation are not grossly wrong after the alignment ``guess``."""
    distance = np.linalg.norm(guess.points(source) - target, axis=1)
    angle = rotation_angles_deg(guess.rotation.T @ relative)
    near = distance <= max(OUTLIER_FACTOR * float(np.median(distance)), OUTLIER_PATH_SHARE * path)
    straight = angle <= max(OUTLIER_FACTOR * float(np.median(angle)), OUTLIER_DEG)
    used = near & straight
    # Where no majority agrees, no camera can be called an outlier.
    return used if used.sum() >= max(3, len(used) // 2) else np.ones(len(used), bool)
