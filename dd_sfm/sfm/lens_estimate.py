"""A lens and how sure it is, from the tracks of a clip whose pictures are as the lens made them."""

import logging
from dataclasses import dataclass, replace

import numpy as np

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config
from dd_sfm.sfm.eucm import ALPHA, BETA, CX, CY, FOCAL, normalise
from dd_sfm.sfm.lens_adjustment import (
    AdjustedLens,
    LensObservations,
    LensState,
    Prior,
    adjust_lens,
    prior_slopes,
)
from dd_sfm.sfm.lens_priors import LensPrior
from dd_sfm.sfm.mappers import Poses
from dd_sfm.sfm.triangulation import triangulate
from dd_sfm.structures import FloatArray, IntArray, Tracks

logger = logging.getLogger(__name__)

LIMITS_PX = 12.0, 12.0, 8.0, 6.0, 4.0, 3.0, 3.0
"""Rounds of triangulation and adjustment, by the largest error of an observation.

A lens that is still wrong costs right observations, and those that are left speak for it: limits fall slowly.
"""
NOISE_PX, LOSS_PX = 0.7, 1.5
EXCESS = 10.0
"""Variance of what tracks say of a lens, over that of independent noise, before it is found: usual values."""
MIN_ANGLE_DEG = 1.0
MIN_POINTS = 100
SIDE = 4
"""Parts of the field along each side in which tracks are taken to slide alike."""
PARTS_FACTOR = 2.5
"""By how much more than the parts of the tracks disagree a lens is off: few parts, and errors that they share.

On rendered clips 1.3 would do; tissue that gives way and light that moves are alike in more than one part.
"""
COMMON_SIGMA = 0.03
"""What is common to all parts of a clip: how tracks slide where light moves with the scope, what the model of the lens
cannot follow."""
TELLS = 0.6
"""The clip tells the focal length if its standard deviation is below this share of what was known before."""


@dataclass(frozen=True)
class FieldShape:
    """Centre (x, y) of the field of view, and half its larger side, in pixels."""

    centre: tuple[float, float]
    radius_px: float

    @classmethod
    def of_tracks(cls, tracks: Tracks) -> "FieldShape":
        """The field of view as far as tracks reach in it."""
        low, high = tracks.xy.min(0).astype(float), tracks.xy.max(0).astype(float)
        centre = (low + high) / 2
        return cls((float(centre[0]), float(centre[1])), max(1.0, float((high - low).max())) / 2)


@dataclass(frozen=True)
class LensEstimate:
    """A lens (5,) of :mod:`dd_sfm.sfm.eucm`.

    ``focal_sigma``: relative standard deviation of its focal length; ``is_told``: whether the clip told it; otherwise
    lens and deviation are what was known before.
    """

    lens: FloatArray
    focal_sigma: float
    is_told: bool

    @property
    def focal_px(self) -> float:
        """The focal length in pixels."""
        return float(np.exp(self.lens[FOCAL]))


@dataclass(frozen=True)
class KnownLens:
    """What is known of a lens before the clip is looked at.

    ``lens`` (5,): the one that is expected; ``focal_sigma``: relative standard deviation of its focal length;
    ``prior``: how far another one is from it.
    """

    lens: FloatArray
    focal_sigma: float
    prior: Prior

    @classmethod
    def of_kind(cls, kind: LensPrior, field: FieldShape) -> "KnownLens":
        """What is known of a kind of lens with a field of view."""
        centre, radius = field.centre, field.radius_px
        return cls(kind.lens(centre, radius), kind.focal_sigma(radius), kind.residuals(centre, radius))


def straightened(lens: FloatArray, tracks: Tracks, camera: PinholeCamera) -> tuple[Tracks, PinholeCamera]:
    """Tracks as a pinhole of the lens's focal length and centre would see them, without those it could not.

    Args:
        lens: The lens (5,).
        tracks: Tracks in pictures as the lens made them.
        camera: Of the pictures' size.
    """
    focal = float(np.exp(lens[FOCAL]))
    pinhole = PinholeCamera(camera.width, camera.height, focal, focal, float(lens[CX]), float(lens[CY]))
    flat = normalise(lens, tracks.xy)
    seen = np.isfinite(flat).all(1)
    track = np.unique(tracks.track[seen], return_inverse=True)[1]
    xy = pinhole.denormalise(flat[seen]).astype(np.float32)
    return Tracks(track, tracks.frame[seen], xy, tracks.score[seen], tracks.anchor[seen]), pinhole


def estimate_lens(
    tracks: Tracks,
    poses: Poses,
    camera: PinholeCamera,
    field: FieldShape,
    before: KnownLens,
    config: Config,
    scale: float,
) -> LensEstimate:
    """Estimate a lens from tracks and first poses.

    Rounds of triangulation and adjustment. By how much the parts of the tracks disagree about the lens tells how much
    less than their number they weigh against the prior in the next round, and in the end how sure the lens is; so does
    by how much it moved when more was taken for outliers.

    Args:
        tracks: Some thousand tracks in pictures as the lens made them.
        poses: First poses, as found with the lens that is expected.
        camera: Of the pictures' size.
        field: The field of view.
        before: What is known of the lens.
        config: Threads and seed.
        scale: Factor on thresholds in pixels.
    """
    kept = LensEstimate(before.lens, before.focal_sigma, is_told=False)
    lens, excess, found = before.lens, EXCESS, list[float]()
    for limit in LIMITS_PX:
        state, seen, numbers = _triangulated(lens, tracks, poses, camera, config, limit * scale)
        if len(state.xyz) < MIN_POINTS:
            return kept
        noise = NOISE_PX * scale * float(np.sqrt(excess))
        try:
            adjusted = adjust_lens(state, seen, before.prior, noise_px=noise, loss_px=LOSS_PX * scale)
            spread = _spread(adjusted, _parts(tracks, seen, numbers, field), before.prior)
        except np.linalg.LinAlgError:
            # Also of a lens that cannot show the whole field: nothing is known of its focal length before.
            logger.info("lens: the tracks do not determine an adjustment")
            return kept
        lens = adjusted.state.lens
        poses = dict(zip(sorted(poses), adjusted.state.poses, strict=True))
        found.append(float(lens[FOCAL]))
        logger.info(
            "lens: focal length %.1f px, sigma %.1f %% by tracks, %.1f %% by what was known, alpha %.3f, beta %.3f; "
            "%d points, limit %.1f px, excess %.1f",
            np.exp(lens[FOCAL]), 100 * spread.of_tracks**0.5, 100 * spread.of_prior**0.5, lens[ALPHA], lens[BETA],
            len(state.xyz), limit * scale, excess,
        )  # fmt: skip
        excess = max(1.0, excess * spread.over_noise)
    drift = found[-1] - found[-3]
    total = float(np.sqrt(PARTS_FACTOR**2 * spread.of_tracks + spread.of_prior + drift**2 + COMMON_SIGMA**2))
    known = min(before.focal_sigma, spread.before**0.5)
    is_told = bool(np.isfinite(total)) and total < TELLS * known
    return LensEstimate(lens, total, is_told=True) if is_told else kept


def _triangulated(
    lens: FloatArray, tracks: Tracks, poses: Poses, camera: PinholeCamera, config: Config, limit_px: float
) -> tuple[LensState, LensObservations, IntArray]:
    """Points of the tracks, their observations in pictures as they are, and the track (P,) of each point."""
    settings = replace(config.triangulation, max_reprojection_px=limit_px, passes=1, min_angle_deg=MIN_ANGLE_DEG)
    straight, pinhole = straightened(lens, tracks, camera)
    kept = np.isfinite(normalise(lens, tracks.xy)).all(1)
    names = np.unique(tracks.track[kept])
    model, numbers = triangulate(straight, poses, pinhole, replace(config, triangulation=settings))
    numbers = names[numbers]
    # Rows of tracks are sorted by track and frame.
    span = int(tracks.frame.max(initial=0)) + 1
    rows = np.searchsorted(tracks.track * span + tracks.frame, numbers[model.point] * span + model.frame)
    ordered = sorted(poses)
    stacked = np.stack([poses[k] for k in ordered])
    seen = LensObservations(model.point, np.searchsorted(ordered, model.frame), tracks.xy[rows].astype(np.float64))
    return LensState(lens, stacked, model.xyz), seen, numbers


def _parts(tracks: Tracks, seen: LensObservations, numbers: IntArray, field: FieldShape) -> list[IntArray]:
    """Ways to divide points (P,) into parts whose errors may be alike: by anchor, by place, and by both."""
    anchor = np.full(tracks.count, np.iinfo(np.int64).max)
    rows = np.flatnonzero(tracks.anchor)
    np.minimum.at(anchor, tracks.track[rows], tracks.frame[rows])
    first = seen.xy[np.searchsorted(seen.point, np.arange(len(numbers)))]
    cell = np.clip(((first - field.centre) / field.radius_px + 1) * SIDE / 2, 0, SIDE - 1).astype(np.int64)
    place = cell[:, 0] * SIDE + cell[:, 1]
    began = anchor[numbers]
    both = np.unique(began, return_inverse=True)[1] * SIDE * SIDE + place
    return [np.unique(part, return_inverse=True)[1] for part in (began, place, both)]


@dataclass(frozen=True)
class _Spread:
    """Variance of the logarithm of the focal length, by what it comes from.

    ``of_tracks``: how much parts of the tracks disagree; ``of_prior``: what was known of the lens, where tracks do not
    tell; ``before``: all that was known of it; ``over_noise``: by what factor the first exceeds that of independent
    noise.
    """

    of_tracks: float
    of_prior: float
    before: float
    over_noise: float


def _spread(adjusted: AdjustedLens, parts: list[IntArray], known: Prior) -> _Spread:
    """The covariance of M-estimation with clusters (Liang and Zeger, Biometrika 1986), by parts that disagree most."""
    slope = prior_slopes(known, adjusted.state.lens)
    inverse = np.linalg.inv(adjusted.information + slope.T @ slope)
    row = inverse[FOCAL]
    plain, of_prior = row @ adjusted.information @ row, row @ slope.T @ slope @ row
    largest = 0.0
    for part in parts:
        count = int(part.max()) + 1
        if count > 1:
            influence = np.bincount(part, weights=adjusted.scores @ row, minlength=count)
            largest = max(largest, float((influence**2).sum()) * count / (count - 1))
    before = float(np.linalg.inv(slope.T @ slope)[FOCAL, FOCAL])
    return _Spread(largest, float(of_prior), before, float(largest / plain))
