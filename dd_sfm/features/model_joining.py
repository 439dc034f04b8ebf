"""Models of one video that share tissue are joined, by matches between their frames that are found after the fact."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config
from dd_sfm.errors import InputError
from dd_sfm.features.match import Matcher
from dd_sfm.features.method import Job
from dd_sfm.features.model_views import ModelViews, matching_pairs, together
from dd_sfm.io.colmap_model import write_model
from dd_sfm.io.run_folder import POSES, TRACKS, read_matches, write_matches
from dd_sfm.notes import Note, NoteCode
from dd_sfm.ops.frame_rows import FrameRows
from dd_sfm.sfm.error_scale import error_scale
from dd_sfm.sfm.mappers import Poses
from dd_sfm.sfm.model_folders import remove_models
from dd_sfm.sfm.model_relation import Relation, Sightings, View, relate
from dd_sfm.sfm.piece_notes import OF_MODELS, model_notes, scale_notes
from dd_sfm.sfm.pose_check import PoseCheck, check_poses
from dd_sfm.sfm.sound_notes import split_notes, standing_splits
from dd_sfm.sfm.track_adjustment import adjust_tracks
from dd_sfm.sfm.track_selection import mapper_tracks
from dd_sfm.sfm.triangulation import triangulate
from dd_sfm.structures import FloatArray, FrameSet, IntArray, MapResult, MatchResult, Model, ModelScale, Tracks

logger = logging.getLogger(__name__)

MAP = "map"
"""The folder of a run that is free for what a method keeps of its poses."""
MOST_MODELS = 8
"""So many models, the largest ones, are compared with each other."""
MOST_PROBES = 96
"""Pairs of frames of two models that are probed, the most alike first, ..."""
MOST_IN_ALL = 1000
"""...and so many of all models together."""
LOOSER = 2.0
"""By this factor observations may be off when models that were just joined are adjusted to each other."""
REPROJECTION_PX = 8.0
"""Reprojection error of a point of the other model that agrees, in pixels of a field of view 1000 high."""


@dataclass
class _Part:
    """A model while models are joined: poses, camera and its triangulated tracks.

    ``name``: no other one has it; ``number`` (P,), sorted, and ``xyz`` (P, 3): tracks and their points.
    """

    name: int
    poses: Poses
    camera: PinholeCamera
    number: IntArray
    xyz: FloatArray


def joined_tracks(out: Path, tracks: Tracks, found: MapResult) -> Tracks:
    """The tracks of a run with what was found when its models were joined, if they were.

    Raises:
        InputError: If that is missing or damaged.
    """
    path = out / MAP / TRACKS
    if path.is_file():
        return read_matches(out / MAP).tracks
    if any(note.code is NoteCode.MODELS_JOINED for note in found.notes):
        raise InputError(
            f"{path}: missing; expected what was found between the models that were joined. Remove {out / POSES} and "
            "repeat the command: it maps again"
        )
    return tracks


def forget_joined(out: Path) -> None:
    """Remove what an earlier try found between models."""
    (out / MAP / TRACKS).unlink(missing_ok=True)


def join_models(job: Job, tracks: Tracks, found: MapResult) -> MapResult:
    """Join the models of a result that surely share tissue.

    Where some are, the tracks with what was found between them are kept for :func:`joined_tracks`, and the models under
    ``poses`` are written anew.

    Args:
        job: Frames, descriptors and settings.
        tracks: All tracks.
        found: The poses, of several models.

    Returns:
        The result with fewer models, or as many, and the scales of those left.
    """
    joiner = _Joiner(job, tracks, found)
    joiner.join()
    scales = joiner.scales()
    if not joiner.joined:
        return replace(found, scales=scales, notes=[*found.notes, *scale_notes(found.models, scales, job.frames)])
    (job.out / MAP).mkdir(exist_ok=True)
    write_matches(job.out / MAP, MatchResult(joiner.tracks, []))
    models = [part.poses for part in joiner.parts] + found.models[MOST_MODELS:]
    cameras = [part.camera for part in joiner.parts] + found.cameras[MOST_MODELS:]
    _write_poses(job, joiner.tracks, models, cameras)
    text = f"models that share tissue were joined after they were mapped: {len(found.models)} became {len(models)}"
    splits = standing_splits(found.splits, models)
    notes = [note for note in found.notes if note.code not in (*OF_MODELS, NoteCode.MODEL_SPLIT)]
    notes += split_notes(splits, job.frames)
    notes += [*model_notes(models, job.frames, found.left_out), Note(NoteCode.MODELS_JOINED, text)]
    notes += scale_notes(models, scales, job.frames)
    known = {position: value for model in found.confidence for position, value in model.items()} | joiner.confidence
    confidence = [{k: known[k] for k in poses if k in known} for poses in models]
    return replace(
        found, models=models, cameras=cameras, notes=notes, scales=scales, confidence=confidence, splits=splits
    )


def _write_poses(job: Job, tracks: Tracks, models: Sequence[Poses], cameras: Sequence[PinholeCamera]) -> None:
    """Write the models anew under ``poses``, with the points of their tracks."""
    remove_models(job.out)
    for number, (poses, camera) in enumerate(zip(models, cameras, strict=True)):
        model, _ = triangulate(tracks, poses, camera, job.config, scale=error_scale(job.frames))
        write_model(job.out / "poses" / str(number), model, job.frames)


class _Joiner:
    """Compares models pair by pair, and joins them to the first one."""

    def __init__(self, job: Job, tracks: Tracks, found: MapResult) -> None:
        self.job, self.tracks, self.joined, self.left = job, tracks, False, MOST_IN_ALL
        self.matcher = Matcher(job.frames, job.out, job.config, job.device)
        self.pooled = self.matcher.maps.pooled()
        self.scale = error_scale(job.frames)
        self.rows, self._names = FrameRows(tracks.frame), count()
        size = job.frames.camera.width, job.frames.camera.height
        self.held_out = ~mapper_tracks(tracks, job.config.map.tracks_per_frame, size)
        self.confidence: dict[int, float] = {}
        """Of the frames of joined models."""
        models = zip(found.models[:MOST_MODELS], found.cameras[:MOST_MODELS], strict=True)
        self.parts = [self._part(poses, camera) for poses, camera in models]
        self.relations: dict[tuple[int, int], Relation | None] = {}
        """Of two models, by their names."""

    def _part(self, poses: Poses, camera: PinholeCamera) -> _Part:
        model, number = triangulate(self.tracks, poses, camera, self.job.config, scale=self.scale)
        order = np.unique(number, return_index=True)[1]
        return _Part(next(self._names), poses, camera, number[order], model.xyz[order])

    def join(self) -> None:
        """Compare every two models, the larger ones first; one that grew is compared with the others again."""
        while True:
            pairs = [
                (i, j) for i, j in combinations(range(len(self.parts)), 2) if self._key(i, j) not in self.relations
            ]
            for i, j in self.job.progress(pairs, total=len(pairs), label="map, compare models"):
                relation, sightings = self._compare(self.parts[i], self.parts[j], MOST_PROBES // (1 if i == 0 else 2))
                self.relations[self._key(i, j)] = relation
                if relation is None or not relation.is_sure:
                    continue
                if self._join(i, j, relation, sightings):
                    break
                # What the frames on both sides contradict tells no scale either.
                self.relations[self._key(i, j)] = None
            else:
                return

    def _key(self, i: int, j: int) -> tuple[int, int]:
        return self.parts[i].name, self.parts[j].name

    def scales(self) -> list[ModelScale]:
        """The scale of each model relative to the first."""
        found = [ModelScale(1.0, 0.0)]
        for k in range(1, len(self.parts)):
            relation = self.relations.get(self._key(0, k))
            if relation is None or not relation.tells_scale:
                found.append(ModelScale())
            else:
                found.append(ModelScale(relation.transform.scale, relation.sigma))
        return found

    def _compare(self, first: _Part, second: _Part, most: int) -> tuple[Relation | None, tuple[Sightings, Sightings]]:
        ours, theirs = self._views(first), self._views(second)
        pairs, probed = matching_pairs(ours, theirs, min(most, self.left))
        self.left -= probed
        seen = (
            together([_of_tracks(ours, theirs), ours.sees(theirs, pairs)]),
            together([_of_tracks(theirs, ours), theirs.sees(ours, [(b, a) for a, b in pairs])]),
        )
        views = View(first.poses, first.camera, seen[0]), View(second.poses, second.camera, seen[1])
        relation = relate(*views, REPROJECTION_PX * self.scale, self.job.config.runtime.seed)
        logger.info(
            "map: models of %d and %d frames: %d pairs of frames match, %d and %d sightings; %s",
            *(len(first.poses), len(second.poses), len(pairs), len(seen[0]), len(seen[1])),
            "no relation" if relation is None else relation.text,
        )
        return relation, seen

    def _views(self, part: _Part) -> ModelViews:
        return ModelViews(
            matcher=self.matcher,
            pooled=self.pooled,
            poses=part.poses,
            camera=part.camera,
            track=self.tracks.track,
            xy=self.tracks.xy,
            rows=self.rows,
            number=part.number,
            xyz=part.xyz,
            scale=self.scale,
            seed=self.job.config.runtime.seed,
        )

    def _join(self, i: int, j: int, relation: Relation, seen: tuple[Sightings, Sightings]) -> bool:
        """Join a model to a larger one, with what agrees as further observations, and adjust both to each other.

        Returns:
            Whether it was joined: not where the joined model, checked as any other, does not hold together.
        """
        first, second = self.parts[i], self.parts[j]
        moved = relation.transform.poses_by_frame(second.poses)
        more = [sightings.where(agrees) for sightings, agrees in zip(seen, relation.agreeing, strict=True)]
        tracks = with_observations(self.tracks, together(more))
        job = self.job
        posed = adjusted_together(
            job.frames, tracks, first.poses, moved, first.camera, job.config, held_out=self.held_out
        )
        if posed is None:
            return False
        adjusted, check = posed
        self.tracks, self.rows = tracks, FrameRows(tracks.frame)
        self.confidence |= dict.fromkeys([*first.poses, *moved], 0.0) | check.confidence
        joined = self._part(dict(adjusted.cam_from_world), adjusted.camera)
        others = [part for k, part in enumerate(self.parts) if k not in (i, j)]
        self.parts = sorted([joined, *others], key=lambda part: -len(part.poses))
        self.joined = True
        return True


def _of_tracks(views: ModelViews, other: ModelViews) -> Sightings:
    """Points of another model of the run in frames of one, by tracks that both have."""
    found = []
    for frame in sorted(views.poses):
        own = views.rows.of(frame)
        known, xyz = other.points_of(views.track[own])
        xy = views.xy[own[known]].astype(np.float64)
        depth = views.depths(frame, xy)
        found.append(Sightings(np.full(len(xy), frame), views.track[own[known]], xyz, xy, depth))
    return together(found)


def adjusted_together(
    frames: FrameSet,
    tracks: Tracks,
    first: Poses,
    second: Poses,
    camera: PinholeCamera,
    config: Config,
    held_out: NDArray[np.bool_] | None = None,
) -> tuple[Model, PoseCheck] | None:
    """Two models in one world as one, adjusted to what both see; None where they then do not hold together.

    Args:
        frames: The frames of both.
        tracks: All tracks, with what frames of each see of the other one's points.
        first, second: Poses by frame position; of a frame in both the first one's holds.
        camera: Of all frames.
        config: Thresholds and seed.
        held_out: Which tracks (T,) were not used for the poses; None: those that a mapper would not be given.
    """
    scale, triangulation = error_scale(frames), config.triangulation
    looser = replace(triangulation, max_reprojection_px=LOOSER * triangulation.max_reprojection_px)
    adjusted = adjust_tracks(frames, tracks, {**second, **first}, camera, replace(config, triangulation=looser))
    if held_out is None:
        size = camera.width, camera.height
        held_out = ~mapper_tracks(tracks, config.map.tracks_per_frame, size)
    check = check_poses(tracks, held_out, adjusted.cam_from_world, adjusted.camera, scale, config.runtime.seed)
    if not any(_holds_both(part, first, second) for part in check.parts):
        logger.info("map: models of %d and %d frames do not hold together", len(first), len(second))
        return None
    return adjusted, check


def _holds_both(part: Sequence[int], first: Poses, second: Poses) -> bool:
    """Whether most frames of both models are in a part."""
    return all(2 * sum(k in poses for k in part) > len(poses) for poses in (first, second))


def with_observations(tracks: Tracks, more: Sightings) -> Tracks:
    """Tracks with sightings of their points as further observations, one a track and frame at most."""
    track = np.concatenate([tracks.track, more.track])
    frame = np.concatenate([tracks.frame, more.frame])
    # Of several of a track in a frame the first one stays, so that those of matching do.
    order = np.lexsort((np.arange(len(track)), frame, track))
    first = np.r_[True, (np.diff(track[order]) != 0) | (np.diff(frame[order]) != 0)][: len(order)]
    keep = order[first]
    score = np.concatenate([tracks.score, np.full(len(more), tracks.score.mean() if len(tracks.score) else 1.0)])
    anchor = np.concatenate([tracks.anchor, np.zeros(len(more), np.bool_)])
    xy = np.concatenate([tracks.xy, more.xy.astype(np.float32)])
    return Tracks(track[keep], frame[keep], xy[keep], score[keep].astype(np.float32), anchor[keep])
