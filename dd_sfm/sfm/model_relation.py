"""How two models of one video lie to each other, by points of each that are seen in frames of the other.

Every frame that sees enough of the other model's points is resected against them; with its pose in its own model, and
depths that it has in both, that is a similarity transform. The one that most sightings agree with is refined over all
of them. What is known of its scale comes from leaving frames out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import PinholeCamera, stack_poses, world_to_camera
from dd_sfm.ops.spread import spread_over
from dd_sfm.sfm.geometry import Similarity
from dd_sfm.sfm.mappers import Poses
from dd_sfm.sfm.registration import resected
from dd_sfm.structures import FloatArray, IntArray

DEPTH_SIGMA = 0.05
"""Standard deviation of the logarithm of depths that are compared, of tracks near to each other."""
FEWEST_DEPTHS = 8
"""Depths known in both models by which a frame tells their scale."""
FEWEST_SEEN = 20
"""Points of the other model that a frame sees, so that it counts."""
LEAST_AGREEING = 0.5
"""Share of a frame's sightings that agree with the transform, so that the frame supports it..."""
LEAST_HELD_OUT = 0.5
"""...and of those of frames that it was not estimated from."""
FEWEST_FRAMES = 3
"""Frames of each model that support it, or all of a smaller one, so that models are joined."""
MOST_SIGMA, MOST_APART = 0.05, 0.1
"""Largest standard deviation of the logarithm of the scale, and difference of that of both halves of the frames."""
MOST_REFINED = 1000
"""Sightings of each model that the transform is adjusted to."""
MOST_HYPOTHESES, MOST_COMPARED = 50, 5000
"""Frames of each model that a transform is looked for by, and sightings of each that transforms are compared by."""
LEAST_FRAMES = 2
"""Frames of each model that support it, so that a scale is stated."""
GROUPS = 8
"""Groups of frames that are left out in turn."""
LEAST_SIGMA, LONE_SIGMA = 0.02, 0.2
"""The smallest standard deviation that is stated: models are warped; and that of a scale by one frame alone."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Sightings:
    """Points of one model in frames of the other.

    ``frame`` (N,): position of the frame; ``track`` (N,): number of the point's track; ``xyz`` (N, 3): the point in its
    own model; ``xy`` (N, 2): where the frame shows it; ``depth`` (N,): what the frame's own model has for the depth of
    that place, NaN where it has none.
    """

    frame: IntArray
    track: IntArray
    xyz: FloatArray
    xy: FloatArray
    depth: FloatArray

    def where(self, keep: NDArray[Any]) -> "Sightings":
        """Those under a mask or of some rows."""
        return Sightings(self.frame[keep], self.track[keep], self.xyz[keep], self.xy[keep], self.depth[keep])

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True)
class View:
    """Poses and camera of a model, and the points of the other one that its frames see."""

    poses: Poses
    camera: PinholeCamera
    seen: Sightings

    def residuals(self, transform: Similarity) -> tuple[FloatArray, FloatArray]:
        """Reprojection errors (N, 2) in pixels, infinite behind the camera, and (N,) of the logarithm of depths."""
        table = stack_poses(self.poses)
        local = world_to_camera(transform.points(self.seen.xyz), table[self.seen.frame])
        z = np.where(local[:, 2] > 1e-9, local[:, 2], np.nan)
        error = (local[:, :2] / z[:, None] - self.camera.normalise(self.seen.xy)) * self.camera.focal
        with np.errstate(invalid="ignore", divide="ignore"):
            depth = np.log(z) - np.log(self.seen.depth)
        return np.nan_to_num(error, nan=1e6), depth

    def agrees(self, transform: Similarity, max_px: float) -> Mask:
        """Which sightings the transform explains."""
        error, depth = self.residuals(transform)
        return np.asarray((np.linalg.norm(error, axis=1) <= max_px) & ~(np.abs(depth) > 6 * DEPTH_SIGMA))


@dataclass(frozen=True)
class Relation:
    """A transform from the second model to the first, and what speaks for it.

    ``sigma``: standard deviation of the logarithm of its scale; ``is_sure``: whether the models may be joined by it;
    ``tells_scale``: whether enough speaks for its scale to be stated;
    ``agreeing``: which sightings in the first model's frames, and in the second's, it explains; ``frames``: of each
    model, how many support it.
    """

    transform: Similarity
    sigma: float
    is_sure: bool
    tells_scale: bool
    agreeing: tuple[Mask, Mask]
    frames: tuple[int, int]

    @property
    def text(self) -> str:
        """The scale and what speaks for it, for the log."""
        return (
            f"scale {self.transform.scale:.3f} +- {100 * self.sigma:.1f} %, supported by {self.frames[0]} and "
            f"{self.frames[1]} frames, {'sure' if self.is_sure else 'not sure'}"
        )


def relate(first: View, second: View, max_px: float, seed: int) -> Relation | None:
    """Find how two models lie to each other.

    Args:
        first: A model, and the points of the second that its frames see.
        second: The other way round.
        max_px: Largest reprojection error of a sighting that agrees.
        seed: Of the random choices.

    Returns:
        None where nothing speaks for any transform.
    """
    pair = _enough(first), _enough(second)
    candidates = list(
        chain(_hypotheses(*pair, max_px, seed, forth=True), _hypotheses(*pair, max_px, seed, forth=False))
    )
    best = _best(pair, [transform for _, transform in candidates], max_px)
    if best is None:
        return None
    supporting = _supporting(pair, best, max_px)
    if not any(supporting):
        return None
    sigma = _scale_sigma(pair, best, supporting, max_px)
    counts = len(supporting[0]), len(supporting[1])
    tells_scale = min(counts) >= LEAST_FRAMES and _holds_out(pair, candidates, supporting, max_px)
    is_sure = (
        tells_scale
        and all(count >= min(FEWEST_FRAMES, len(view.poses)) for count, view in zip(counts, pair, strict=True))
        and sigma <= MOST_SIGMA
    )
    agreeing = first.agrees(best, max_px), second.agrees(best.inverse(), max_px)
    return Relation(best, sigma, is_sure, tells_scale, agreeing, counts)


def _enough(view: View) -> View:
    """The sightings of frames with enough of them."""
    frames, counts = np.unique(view.seen.frame, return_counts=True)
    return _only(view, frames[counts >= FEWEST_SEEN])


def _only(view: View, frames: Any) -> View:
    return replace(view, seen=view.seen.where(np.isin(view.seen.frame, frames)))


def _hypotheses(
    first: View, second: View, max_px: float, seed: int, *, forth: bool
) -> Iterator[tuple[tuple[bool, int], Similarity]]:
    """A transform by each frame of the first model, or of the second; each with the frame that it comes from."""
    view = first if forth else second
    for frame in spread_over(np.unique(view.seen.frame).tolist(), MOST_HYPOTHESES):
        own = view.seen.where(view.seen.frame == frame)
        pose, inliers = resected(own.xy, own.xyz, view.camera, max_px, seed)
        if pose is None or inliers < FEWEST_SEEN:
            continue
        z = own.xyz @ pose[2, :3] + pose[2, 3]
        known = np.isfinite(own.depth) & (z > 0)
        if known.sum() < FEWEST_DEPTHS:
            continue
        ratio = float(np.median(own.depth[known] / z[known]))
        # The other model's world as this camera sees it, in this model's units, and on to this model's world.
        rotation = view.poses[frame][:, :3].T @ pose[:, :3]
        shift = view.poses[frame][:, :3].T @ (ratio * pose[:, 3] - view.poses[frame][:, 3])
        found = Similarity(ratio, rotation, shift)
        yield (forth, frame), found if forth else found.inverse()


def _agreeing(pair: tuple[View, View], transform: Similarity, max_px: float) -> tuple[Mask, Mask]:
    return pair[0].agrees(transform, max_px), pair[1].agrees(transform.inverse(), max_px)


def _best(pair: tuple[View, View], candidates: list[Similarity], max_px: float) -> Similarity | None:
    """The candidate that most sightings agree with, refined over all of them."""
    if not candidates:
        return None
    first, second = (replace(view, seen=view.seen.where(_evenly(len(view.seen)))) for view in pair)
    best = max(candidates, key=lambda t: sum(int(m.sum()) for m in _agreeing((first, second), t, 2 * max_px)))
    for factor in (2.0, 1.0):
        best = _refined(pair, best, factor * max_px, max_px)
    return best


def _evenly(count: int) -> IntArray:
    """At most :data:`MOST_COMPARED` of so many rows, evenly."""
    return np.linspace(0, count - 1, min(count, MOST_COMPARED)).astype(np.int64)


def _refined(pair: tuple[View, View], start: Similarity, within_px: float, max_px: float) -> Similarity:
    """A transform adjusted to the sightings that agree with it."""
    used = []
    for view, agrees in zip(pair, _agreeing(pair, start, within_px), strict=True):
        rows = np.flatnonzero(agrees)
        used.append(replace(view, seen=view.seen.where(rows[:: 1 + len(rows) // MOST_REFINED])))
    if sum(len(view.seen) for view in used) < FEWEST_SEEN:
        return start

    def moved(x: FloatArray) -> Similarity:
        turn = Rotation.from_rotvec(x[1:4]).as_matrix()
        return Similarity(start.scale * np.exp(x[0]), turn @ start.rotation, start.shift + x[4:])

    def residuals(x: FloatArray) -> FloatArray:
        transform, parts = moved(x), []
        for view, own in zip(used, (transform, transform.inverse()), strict=True):
            error, depth = view.residuals(own)
            parts += [np.clip(error / max_px, -1e3, 1e3).ravel(), np.nan_to_num(depth / DEPTH_SIGMA)]
        return np.concatenate(parts)

    size = max(1e-9, float(np.linalg.norm(start.shift)), start.scale)
    steps = np.r_[1.0, np.ones(3), np.full(3, size)]
    return moved(least_squares(residuals, np.zeros(7), loss="soft_l1", x_scale=steps, max_nfev=20).x)


def _supporting(pair: tuple[View, View], transform: Similarity, max_px: float) -> tuple[list[int], list[int]]:
    """The frames of each model most of whose sightings agree."""
    found = []
    for view, agrees in zip(pair, _agreeing(pair, transform, max_px), strict=True):
        frames, where = np.unique(view.seen.frame, return_inverse=True)
        counts, good = np.bincount(where, minlength=len(frames)), np.bincount(where[agrees], minlength=len(frames))
        found.append(frames[(good >= FEWEST_SEEN) & (good >= LEAST_AGREEING * counts)].tolist())
    return found[0], found[1]


def _scale_sigma(
    pair: tuple[View, View], best: Similarity, supporting: tuple[list[int], list[int]], max_px: float
) -> float:
    """Standard deviation of the logarithm of the scale, by leaving groups of frames out in turn (jackknife)."""
    named = [(0, frame) for frame in supporting[0]] + [(1, frame) for frame in supporting[1]]
    count = min(GROUPS, len(named))
    if count < 2:
        return LONE_SIGMA
    logs = []
    for group in range(count):
        kept = [name for k, name in enumerate(named) if k * count // len(named) != group]
        logs.append(np.log(_refined(_part(pair, kept), best, max_px, max_px).scale))
    spread = np.sqrt((count - 1) / count * np.square(np.array(logs) - np.mean(logs)).sum())
    return float(max(spread, LEAST_SIGMA))


def _part(pair: tuple[View, View], named: list[tuple[int, int]]) -> tuple[View, View]:
    return _only(pair[0], [f for side, f in named if side == 0]), _only(pair[1], [f for side, f in named if side == 1])


def _holds_out(
    pair: tuple[View, View],
    candidates: list[tuple[tuple[bool, int], Similarity]],
    supporting: tuple[list[int], list[int]],
    max_px: float,
) -> bool:
    """Whether the transforms of either half of the frames explain the sightings of the other half, with one scale."""
    named = [(0, frame) for frame in supporting[0]] + [(1, frame) for frame in supporting[1]]
    scales = []
    for half in (0, 1):
        own, others = named[half::2], named[1 - half :: 2]
        part, held_out = _part(pair, own), _part(pair, others)
        from_own = [t for (forth, frame), t in candidates if ((0 if forth else 1), frame) in own]
        found = _best(part, from_own, max_px)
        if found is None:
            return False
        agrees = np.concatenate(_agreeing(held_out, found, 2 * max_px))
        if agrees.mean() < LEAST_HELD_OUT:
            return False
        scales.append(found.scale)
    return bool(abs(np.log(scales[0] / scales[1])) <= MOST_APART)
