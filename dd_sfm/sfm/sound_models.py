"""Models of which every frame holds: what does not is adjusted, tried again, split off or taken out."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config
from dd_sfm.sfm.error_scale import error_scale
from dd_sfm.sfm.mappers import MappedModel, Poses
from dd_sfm.sfm.pair_support import pair_supports
from dd_sfm.sfm.point_selection import spread_subset
from dd_sfm.sfm.pose_check import LEAST_FRAMES, NOTHING, TOO_FEW, PoseCheck, check_poses, check_together
from dd_sfm.sfm.pose_errors import place_errors
from dd_sfm.sfm.registration import register_remaining
from dd_sfm.sfm.track_adjustment import adjust_tracks
from dd_sfm.sfm.track_fit import TrackFit, track_fit
from dd_sfm.structures import FrameSet, Model, Tracks

logger = logging.getLogger(__name__)

LITTLE_PARALLAX_DEG = 2.0
"""A model whose tracks have a smaller median angle has little parallax: poses that are all wrong explain them, too."""
ADJUSTMENTS = 2
"""How often poses are adjusted to all tracks, each time triangulated anew, before a frame is given up."""


@dataclass(frozen=True)
class SoundModel:
    """Frames of a model that hold together.

    ``poses``: cam_from_world by frame position; ``confidence``: in [0, 1] by position; ``folder``: see
    :class:`dd_sfm.sfm.mappers.MappedModel`.
    """

    poses: Poses
    camera: PinholeCamera
    confidence: Mapping[int, float]
    folder: int


@dataclass(frozen=True)
class SoundModels:
    """What is left of a mapper's models, largest first.

    ``left_out``: why the others do not hold, by position; ``splits``: why models were split, by the first frame after
    the split; ``unconfirmed``: whether nothing of the largest model holds, and it is given as the mapper left it;
    ``is_whole``: whether these are the mapper's models with all of their frames.
    """

    models: list[SoundModel]
    left_out: dict[int, str] = field(default_factory=dict)
    splits: dict[int, str] = field(default_factory=dict)
    unconfirmed: bool = False
    is_whole: bool = False

    @property
    def largest(self) -> int:
        """Frames of the largest model."""
        return len(self.models[0].poses) if self.models else 0


def whole_models(models: Sequence[MappedModel], *, unconfirmed: bool = False) -> SoundModels:
    """A mapper's models as they are, without any confidence."""
    as_they_are = [SoundModel(model.poses, model.camera, {}, model.folder) for model in models]
    return SoundModels(as_they_are, unconfirmed=unconfirmed, is_whole=True)


class ModelChecker:
    """Checks models by all tracks.

    Args:
        frames: All frames.
        tracks: All tracks.
        held_out: Which tracks (T,) the mapper was not given.
        config: Thresholds, threads and seed.
    """

    def __init__(self, frames: FrameSet, tracks: Tracks, held_out: NDArray[np.bool_], config: Config) -> None:
        self.frames, self.tracks, self.held_out, self.config = frames, tracks, held_out, config
        self.scale = error_scale(frames)

    def sound(self, models: Sequence[MappedModel]) -> SoundModels:
        """The parts of a mapper's models that hold."""
        found = [self._parts(model) for model in models]
        parts = [part for some in found for part in some.models]
        parts.sort(key=lambda part: (-len(part.poses), min(part.poses)))
        held = {position for part in parts for position in part.poses}
        left_out = {k: why for some in found for k, why in some.left_out.items() if k not in held}
        splits = {k: why for some in found for k, why in some.splits.items()}
        is_whole = len(parts) == len(models) and not left_out and not splits
        return SoundModels(parts, left_out, splits, is_whole=is_whole)

    def completed(self, models: Sequence[MappedModel], sound: SoundModels | None) -> SoundModels:
        """What holds of a mapper's models, with the frames that can be registered in the largest one after all.

        Where nothing holds, which a few frames with hardly any matches may not allow to say, they are left as they are.
        """
        if sound is None or not sound.models:
            return whole_models(models, unconfirmed=True)
        return _with_first(sound, self._with_remaining(sound.models[0]))

    def _with_remaining(self, model: SoundModel) -> SoundModel:
        poses = register_remaining(model.poses, model.camera, self.frames, self.tracks, self.config)
        if len(poses) == len(model.poses):
            return model
        check = self._check(poses, model.camera)
        added = [k for k in check.parts[0] if k not in model.poses]
        if not added or not set(model.poses) <= set(check.parts[0]):
            return model
        return SoundModel({k: poses[k] for k in check.parts[0]}, model.camera, check.confidence, model.folder)

    def _check(self, poses: Poses, camera: PinholeCamera) -> PoseCheck:
        return check_poses(self.tracks, self.held_out, poses, camera, self.scale, self.config.runtime.seed)

    def _parts(self, model: MappedModel) -> SoundModels:
        """The parts of one model that hold, with poses adjusted where that helps."""
        poses, camera, check = model.poses, model.camera, self._check(model.poses, model.camera)
        adjusted, refined = poses, camera
        for _ in range(ADJUSTMENTS if check.doubtful and self.config.triangulation.bundle_adjust else 0):
            found = adjust_tracks(self.frames, self.tracks, adjusted, refined, self.config)
            adjusted, refined = found.cam_from_world, found.camera
        if adjusted is not poses:
            again = self._check(adjusted, refined)
            if check.lacks_places_alone and again.lacks_places_alone:
                again = self._known_together(found) or again
            if len(again.parts[0]) >= len(check.parts[0]):
                poses, camera, check = adjusted, refined, again
        if check.wrong or check.broken:
            logger.info("map: does not hold: %s", {**check.wrong, **check.broken})
        return _split(poses, camera, check, model.folder)

    def _known_together(self, model: Model) -> PoseCheck | None:
        """The check of an adjusted model by all observations together, for where the camera has hardly moved."""
        seed, size = self.config.runtime.seed, (model.camera.width, model.camera.height)
        if not self.has_little_parallax(model.cam_from_world, model.camera):
            return None
        part = spread_subset(model, size, self.config.triangulation.adjust_points_per_frame)
        pairs = pair_supports(self.tracks, self.held_out, model.cam_from_world, model.camera, self.scale)
        return check_together(model.cam_from_world, place_errors(part, self.scale, seed), pairs)

    def fit(self, poses: Poses, camera: PinholeCamera) -> TrackFit:
        """How well poses explain all tracks."""
        return track_fit(self.tracks, poses, camera, self.scale, self.config.runtime.seed)

    def adjusted_fit(self, poses: Poses, camera: PinholeCamera) -> TrackFit:
        """The same after they are adjusted to them, where that is allowed."""
        if not self.config.triangulation.bundle_adjust:
            return self.fit(poses, camera)
        found = adjust_tracks(self.frames, self.tracks, poses, camera, self.config)
        return self.fit(found.cam_from_world, found.camera)

    def has_little_parallax(self, poses: Poses, camera: PinholeCamera) -> bool:
        """Whether the camera has hardly moved, for what it looks at."""
        return self.fit(poses, camera).angle_deg < LITTLE_PARALLAX_DEG


def _with_first(sound: SoundModels, first: SoundModel) -> SoundModels:
    """Models with another first one that has more frames: no other one keeps these, nor a split that they undo."""
    added = set(first.poses) - set(sound.models[0].poses)
    left_out = {k: why for k, why in sound.left_out.items() if k not in added}
    models = [first]
    for model in sound.models[1:]:
        rest = set(model.poses) - added
        if len(rest) >= LEAST_FRAMES:
            confidence = {k: value for k, value in model.confidence.items() if k in rest}
            models.append(replace(model, poses={k: model.poses[k] for k in sorted(rest)}, confidence=confidence))
        else:
            left_out |= dict.fromkeys(sorted(rest), TOO_FEW)
    models[1:] = sorted(models[1:], key=lambda model: (-len(model.poses), min(model.poses)))
    is_whole = sound.is_whole and not any(added & set(model.poses) for model in sound.models[1:])
    return replace(sound, models=models, left_out=left_out, splits=_moved_splits(sound, models), is_whole=is_whole)


def _moved_splits(sound: SoundModels, models: Sequence[SoundModel]) -> dict[int, str]:
    """Where splits are once frames have gone to another model: up to the next split may all have gone."""
    number = {k: n for n, model in enumerate(models) for k in model.poses}
    splits: dict[int, str] = {}
    for folder in {model.folder for model in sound.models}:
        # Splits are between frames of one of the mapper's models.
        own = sorted({k for model in sound.models if model.folder == folder for k in model.poses})
        left = [k for k in own if k in number]
        ends = [after for before, after in pairwise(left) if number[before] != number[after]]
        starts = [k for k in own if k in sound.splits]
        for start, limit in pairwise([*starts, own[-1] + 1]):
            splits |= dict.fromkeys([k for k in ends if start <= k < limit][:1], sound.splits[start])
    return splits


def _split(poses: Poses, camera: PinholeCamera, check: PoseCheck, folder: int) -> SoundModels:
    """Parts of a model as models of their own, and the frames of those that are too small as left out."""
    large = [part for part in check.parts if len(part) >= LEAST_FRAMES]
    models = [
        SoundModel({k: poses[k] for k in part}, camera, {k: check.confidence[k] for k in part}, folder)
        for part in large
    ]
    left_out = dict(check.wrong)
    breaks = sorted(check.broken)
    for part in check.parts:
        if len(part) < LEAST_FRAMES:
            # The first part begins with no break: what breaks it off is the one after it.
            why = check.broken[part[0] if part[0] in check.broken else breaks[0]] if breaks else NOTHING
            left_out |= dict.fromkeys(part, why)
    held = {k for part in large for k in part}
    splits = {k: why for k, why in check.broken.items() if k in held} if len(large) > 1 else {}
    return SoundModels(models, left_out, splits)
