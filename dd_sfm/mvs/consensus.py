"""Geometric consistency of depth maps: what neighbouring references say of the depths of one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dd_sfm.mvs.depth_maps import DepthMap
from dd_sfm.mvs.grey_images import brightness
from dd_sfm.mvs.kernels.slanted_patches import PATCH
from dd_sfm.mvs.views import PosedViews
from dd_sfm.ops.texture import step_share, texture_offset
from dd_sfm.structures import FloatArray

NEIGHBOURS = 8
"""References on both sides in time that vote on the depths of one."""
MAX_DIFFERENCE = 0.02
"""Relative difference in depth up to which another reference agrees; within half of it, it agrees twice."""
MIN_SIGMA = 1e-3
"""Standard errors below this are not believed when depths are averaged."""
DISCONTINUITY = 0.06
"""Logarithm of depths from which on a neighbour lies so far behind a pixel that its depth is in doubt."""
TEXTURE_OFFSET_PX = 2.5
"""Working pixels from a pixel to its patch's texture at which the expected error of its depth doubles..."""
MAX_OFFSET_FACTOR = 6.0
"""...and how many times it becomes at most."""
AROUND_PX = 5.0
"""Standard deviation in working pixels of the surroundings that tell of a step in grey, and of brightness."""
STEP, MAX_STEP_FACTOR = 0.25, 9.0
"""Share of a step in grey from which on the expected error grows with its root, and how many times it becomes..."""
DARK_GREY, MAX_DARK_FACTOR = 60.0, 4.0
"""...at most; grey level below which the expected error grows as light gets less, and the same of it."""
LEAST_SLANT = 0.0035
"""Relative slope of inverse depth, per working pixel, below which a surface is no better measured."""
USUAL_SPREAD, USUAL_COUNT = 0.007, 4
"""Depths of few references may be alike by chance: so many more with this spread are added to those that agree."""
FEW_COUNT = 4
"""With so many maps, a pixel's own among them, the variance of its depth is twice that which many leave."""


@dataclass(frozen=True)
class Consensus:
    """What neighbouring references say about the known pixels of one.

    ``pixels`` (K,) indices into the map; ``planes`` (K, 3) with the agreed inverse depth; ``votes`` (K,): 1 for each
    reference within 2 %, 1 more within 1 %; ``share`` (K,) of the votes that the references in view could give;
    ``agreeing`` (K,) how many references are within 2 %; ``spread`` (K,) their relative deviation from the agreed
    depth; ``discontinuity`` (K,) as :meth:`DepthMap.discontinuity` has it; ``texture_offset`` (K,) working pixels to
    the texture that the depth was found by; ``step`` (K,) as :func:`dd_sfm.ops.texture.step_share` has it;
    ``brightness`` (K,) in grey levels.
    """

    pixels: NDArray[np.int64]
    planes: FloatArray
    votes: NDArray[np.int64]
    share: FloatArray
    agreeing: NDArray[np.int64]
    spread: FloatArray
    discontinuity: FloatArray
    texture_offset: FloatArray
    step: FloatArray
    brightness: FloatArray

    def expected_error(self, sigma: FloatArray) -> FloatArray:
        """Relative error (K,) that about half of such depths stay below, from the patches' standard errors (K,).

        The patches alone promise too much: what the references disagree by, how many agree and what share of those in
        view that is, how slanted the surface is, whether it ends near by, whether all texture lies to one side or is
        one step in grey, as contours of nearer tissue are, and how dark it is say more. What poses bring is not in it.
        How the factors were found: docs/design-notes.md. Of depths that fill gaps, ``GAP_DEPTH_FACTOR`` of
        :mod:`dd_sfm.mvs.uncertainty` comes on top; then what the points around say.
        """
        slant = np.maximum(np.hypot(self.planes[:, 1], self.planes[:, 2]) / self.planes[:, 0], LEAST_SLANT)
        count = self.agreeing + 1
        spread_variance = (count * self.spread**2 + USUAL_COUNT * USUAL_SPREAD**2) / (count + USUAL_COUNT)
        variance = 0.00126**2 + (0.122 * sigma) ** 2 + 0.25 * spread_variance
        random = np.sqrt(variance * (1 + FEW_COUNT / count))
        end = np.maximum(1, self.discontinuity / DISCONTINUITY)
        step = np.clip(np.sqrt(self.step / STEP), 1, MAX_STEP_FACTOR)
        dark = np.clip(DARK_GREY / np.maximum(self.brightness, 1), 1, MAX_DARK_FACTOR)
        offset = np.minimum(1 + (self.texture_offset / TEXTURE_OFFSET_PX) ** 3, MAX_OFFSET_FACTOR)
        surface = (1 + slant / 0.006) ** 0.75 * end
        return np.asarray(random * np.exp(0.82 * (1 - self.share)) * surface * offset * step * dark)


def consensus(views: PosedViews, maps: Sequence[DepthMap], number: int) -> Consensus:
    """Average each known depth with those of the references that agree, weighted by their inverse standard errors.

    References share views, so their errors are not independent: variances would promise too much, and weights by the
    inverse standard error measured best.

    Args:
        views: Images and poses.
        maps: Depth maps of all references, or of those around one of them.
        number: Which of them.
    """
    own = maps[number]
    known = own.known
    pixels = own.pixels_at(known)
    points = views.world(own.frame, pixels, own.planes[known, 0])
    # Maps stand in the order of their frames.
    around = range(max(0, number - NEIGHBOURS), min(number + NEIGHBOURS + 1, len(maps)))
    nearest = sorted(around, key=lambda k: abs(maps[k].frame - own.frame))[1 : NEIGHBOURS + 1]
    ratios = np.ones((len(nearest) + 1, len(known)))
    weights = np.zeros((len(nearest) + 1, len(known)))
    weights[0] = 1 / np.maximum(own.sigma[known], MIN_SIGMA)
    votes, agreeing, possible = (np.zeros(len(known), np.int64) for _ in range(3))
    for row, other in enumerate((maps[k] for k in nearest), start=1):
        ratio, sigma, seen = _seen_by(views, other, points)
        possible += 2 * seen
        difference = np.abs(ratio - 1)
        agrees = difference < MAX_DIFFERENCE
        agreeing += agrees
        votes += agrees.astype(np.int64) + (difference < MAX_DIFFERENCE / 2)
        ratios[row, agrees] = ratio[agrees]
        weights[row, agrees] = 1 / np.maximum(sigma[agrees], MIN_SIGMA)
    total = weights.sum(0)
    mean = (ratios * weights).sum(0) / total
    spread = np.sqrt(((ratios - mean) ** 2 * weights).sum(0) / total)
    planes = own.planes[known] * mean[:, None]
    share = np.minimum(votes / np.maximum(possible, 2), 1.0)
    grey, (column, row) = views.image(own.frame)[0], pixels.astype(np.int64).T
    offset = texture_offset(grey, PATCH)[row, column]
    step, light = step_share(grey, AROUND_PX)[row, column], brightness(grey, AROUND_PX)[row, column]
    end = own.discontinuity()[known]
    return Consensus(known, planes.astype(np.float32), votes, share, agreeing, spread, end, offset, step, light)


def _seen_by(
    views: PosedViews, other: DepthMap, points: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """What another depth map says of points (N, 3).

    Returns:
        Its inverse depth over that of the points there (N,), inf where unknown; its standard error (N,); and whether
        the points lie in the usable part of its frame (N,).
    """
    xy, depth = views.project(points, other.frame)
    cell = other.nearest(np.nan_to_num(xy, nan=-1e6))
    inside = (cell >= 0).all(1) & (cell < np.array(other.shape[::-1])).all(1) & (depth > 0)
    ratio, sigma = np.full(len(points), np.inf), np.full(len(points), np.inf)
    seen = np.zeros(len(points), bool)
    index, pixels = other.index(cell[inside]), other.centre(cell[inside])
    planes = other.planes[index]
    away = xy[inside] - pixels
    there = planes[:, 0] + (planes[:, 1:] * away).sum(1)
    ratio[inside] = np.where(planes[:, 0] > 0, there * depth[inside], np.inf)
    sigma[inside] = other.sigma[index]
    seen[inside] = views.images.mask(other.frame)[pixels[:, 1], pixels[:, 0]]
    return ratio, sigma, seen
