"""Two runs that share tissue become one model: how theirs lie to each other, and poses and tracks of both together."""

import logging
from dataclasses import dataclass, replace

import numpy as np

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config
from dd_sfm.features.model_joining import MOST_PROBES, REPROJECTION_PX, adjusted_together, with_observations
from dd_sfm.features.model_views import ModelViews, matching_pairs, together
from dd_sfm.sfm.model_relation import Relation, Sightings, View, relate
from dd_sfm.sfm.pose_check import PoseCheck
from dd_sfm.structures import FloatArray, FrameSet, Model, Tracks

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunRelation:
    """How the model of a second run lies to that of a first one, and what speaks for it.

    ``seen``: points of the second model in frames of the first, and the other way round, those that agree; ``pairs``:
    how many pairs of frames matched; ``probed``: and were tried.
    """

    relation: Relation
    seen: tuple[Sightings, Sightings]
    pairs: int
    probed: int

    @property
    def matches(self) -> int:
        """Sightings that agree, of both."""
        return sum(len(one) for one in self.seen)


def relate_runs(first: ModelViews, second: ModelViews) -> RunRelation | None:
    """Find how two models lie to each other, by matches between their frames; None where nothing tells.

    Args:
        first, second: The models; each in pixels of its own frames.
    """
    pairs, probed = matching_pairs(first, second, 2 * MOST_PROBES)
    ours, theirs = first.sees(second, pairs), second.sees(first, [(b, a) for a, b in pairs])
    # One camera for both, so that a pixel is the same angle.
    xy = first.camera.denormalise(second.camera.normalise(theirs.xy))
    views = View(first.poses, first.camera, ours), View(second.poses, first.camera, replace(theirs, xy=xy))
    scale = max(first.scale, second.scale * first.camera.fx / second.camera.fx)
    found = relate(*views, REPROJECTION_PX * scale, first.seed)
    logger.info(
        "join: %d of %d pairs of frames match, %d and %d sightings; %s",
        *(len(pairs), probed, len(ours), len(theirs), "no relation" if found is None else found.text),
    )
    if found is None:
        return None
    agreeing = ours.where(found.agreeing[0]), theirs.where(found.agreeing[1])
    return RunRelation(found, agreeing, len(pairs), probed)


@dataclass(frozen=True)
class PixelMap:
    """Where pixels of a run's frames lie in frames of another size and focal length: ``scale * xy + shift`` (2,)."""

    scale: FloatArray
    shift: FloatArray

    @classmethod
    def between(cls, camera: PinholeCamera, other: PinholeCamera) -> "PixelMap":
        """From the pixels of a camera to those of another one that looks the same way."""
        scale = other.focal / camera.focal
        return cls(scale, other.principal_point - scale * camera.principal_point)

    def xy(self, xy: FloatArray) -> FloatArray:
        """Pixels (N, 2) in the other frames."""
        return np.asarray(self.scale * xy + self.shift)

    @property
    def is_identity(self) -> bool:
        """Whether pixels stay where they are, to a hundredth over a frame."""
        return bool((np.abs(self.scale - 1) < 1e-6).all() and (np.abs(self.shift) < 1e-2).all())


def tracks_of_both(
    first: Tracks, second: Tracks, frames: int, found: RunRelation, maps: tuple[PixelMap, PixelMap]
) -> Tracks:
    """The tracks of two runs as those of one, with what each sees of the other's points.

    Args:
        first, second: Their tracks.
        frames: How many frames the first run has: those of the second come after them.
        found: What their frames see of each other's points.
        maps: Of the pixels of each run to those of both.
    """
    both = Tracks(
        np.concatenate([first.track, second.track + first.count]),
        np.concatenate([first.frame, second.frame + frames]),
        np.concatenate([maps[0].xy(first.xy), maps[1].xy(second.xy)]).astype(np.float32),
        np.concatenate([first.score, second.score]),
        np.concatenate([first.anchor, second.anchor]),
    )
    ours, theirs = found.seen
    more = [
        replace(ours, track=ours.track + first.count, xy=maps[0].xy(ours.xy)),
        replace(theirs, frame=theirs.frame + frames, xy=maps[1].xy(theirs.xy)),
    ]
    return with_observations(both, together(more))


def pose_together(
    frames: FrameSet, tracks: Tracks, first: ModelViews, second: ModelViews, found: RunRelation, config: Config
) -> tuple[Model, PoseCheck] | None:
    """The poses of two runs in one model, adjusted to each other; None where they do not hold together.

    Args:
        frames: Those of both, the first run's before the second's.
        tracks: From :func:`tracks_of_both`.
        first, second: Their models.
        found: How these lie to each other.
        config: Thresholds and seed.
    """
    shift = len(first.matcher.frames)
    moved = {k + shift: pose for k, pose in found.relation.transform.poses_by_frame(second.poses).items()}
    return adjusted_together(frames, tracks, first.poses, moved, frames.camera, config)
