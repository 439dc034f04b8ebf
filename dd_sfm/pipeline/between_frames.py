"""Poses of the frames that were left out though nothing is wrong with them: between key frames, without motion."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config
from dd_sfm.io.images import read_image
from dd_sfm.io.run_folder import ExtractedFrames, load_frames, read_frames
from dd_sfm.io.trajectory import FramePose
from dd_sfm.io.undistortion import Undistortion
from dd_sfm.io.video import iter_frames
from dd_sfm.ops.frame_rows import FrameRows
from dd_sfm.pipeline.source_part import open_sources
from dd_sfm.progress import Progress
from dd_sfm.runtime import LruCache, cpu_threads, map_ahead, worker_threads
from dd_sfm.sfm.frame_tracking import FrameTracker, KeyView, between
from dd_sfm.structures import DropReason, FinishedModel, FloatArray, Frame, FrameRecord

LEFT_OUT = (DropReason.BETWEEN_KEYS, DropReason.NO_MOTION, DropReason.THINNED)
"""Reasons to leave out a frame with which nothing is wrong."""
KEPT_VIEWS = 8
"""Key frames in memory."""
POINTS_PER_FRAME = 2000
"""The surest ones that a key frame sees, from which those that are followed are taken."""


@dataclass(frozen=True)
class _Task:
    """A frame without a pose: its model, and the frames with one before and after it, by their positions."""

    record: FrameRecord
    model: int
    keys: tuple[int, ...]


@dataclass(frozen=True)
class KeyPoints:
    """What of a model other frames are located by: camera, poses (3, 4) by position, and points that each sees.

    ``seen``: by position the points (N, 3) and their pixels (N, 2), the surest first.
    """

    camera: PinholeCamera
    cam_from_world: Mapping[int, FloatArray]
    seen: Mapping[int, tuple[FloatArray, FloatArray]]

    @classmethod
    def of(cls, finished: FinishedModel) -> "KeyPoints":
        """Those of a finished model."""
        model, seen = finished.model, {}
        expected = np.nan_to_num(finished.uncertainty, nan=np.inf)
        of_frame = FrameRows(model.frame)
        for position in sorted(model.cam_from_world):
            rows = of_frame.of(position)
            rows = rows[np.argsort(expected[model.point[rows]], kind="stable")[:POINTS_PER_FRAME]]
            seen[position] = model.xyz[model.point[rows]], model.xy[rows]
        return cls(model.camera, model.cam_from_world, seen)


class _Views:
    """The key frames of a model, made ready when they are asked for."""

    def __init__(self, known: KeyPoints, frames: Sequence[Frame], seed: int) -> None:
        self.known, self.frames, self.tracker = known, frames, FrameTracker(known.camera, seed)
        self.views: LruCache[int, KeyView] = LruCache(self._view, KEPT_VIEWS)

    def _view(self, position: int) -> KeyView:
        frame, pose = self.frames[position], self.known.cam_from_world[position]
        return self.tracker.key_view(frame.index, read_image(frame.path), pose, *self.known.seen[position])


def has_frames_between(out: Path) -> bool:
    """Whether a run has frames between key frames."""
    return bool(read_frames(out).count(DropReason.BETWEEN_KEYS))


def find_poses_between(
    source: Path | Sequence[Path], out: Path, config: Config, models: Sequence[KeyPoints], progress: Progress
) -> list[FramePose]:
    """Poses of all frames with which nothing is wrong, those of the models among them, by the frames' numbers.

    Empty where no such frame was left out.

    Args:
        source: What the run is made from.
        out: The run folder, with its frames.
        config: The part of the source, threads and seed.
        models: The models of the run, the largest first.
        progress: Shows how many frames are done.
    """
    extracted, frames = read_frames(out), load_frames(out).frames
    tasks = _tasks(extracted, models)
    if not tasks:
        return []
    keys = [_Views(known, frames, config.runtime.seed) for known in models]
    lens = Undistortion(extracted.camera, extracted.lens)

    def find(item: tuple[int, NDArray[Any]]) -> FramePose | None:
        number, image = item
        task = tasks[number]
        own = keys[task.model]
        views = [own.views[position] for position in task.keys]
        near = _expected(number, views)
        found = own.tracker.pose(number, lens.apply(image), views, near)
        if found is None:
            return None
        return FramePose(task.record, task.model, found.cam_from_world, found.inliers)

    info = open_sources(source, config.frames)
    images = progress(iter_frames(info, list(tasks)), total=len(tasks), label="poses between")
    count = cpu_threads(config.runtime)
    with worker_threads(count) as pool:
        found = [pose for pose in map_ahead(pool, find, images, count) if pose is not None]
    return sorted(found + _of_models(extracted.kept, models), key=lambda pose: pose.record.index)


def _expected(number: int, views: Sequence[KeyView]) -> FloatArray:
    """The pose (3, 4) at which a frame is expected."""
    first, last = views[0], views[-1]
    if len(views) == 1:
        return first.cam_from_world
    share = (number - first.number) / (last.number - first.number)
    return between(first.cam_from_world, last.cam_from_world, share)


def _tasks(extracted: ExtractedFrames, models: Sequence[KeyPoints]) -> dict[int, _Task]:
    """What is to be done, by the numbers of the frames."""
    kept = extracted.kept
    numbers = [record.index for record in kept]
    tasks = {}
    for record in extracted.records:
        if record.dropped not in LEFT_OUT:
            continue
        place = bisect_left(numbers, record.index)
        near = [k for k in (place - 1, place) if 0 <= k < len(kept) and kept[k].piece == record.piece]
        for number, known in enumerate(models):
            own = tuple(k for k in near if k in known.cam_from_world)
            if own:
                tasks[record.index] = _Task(record, number, own)
                break
    return tasks


def _of_models(kept: Sequence[FrameRecord], models: Sequence[KeyPoints]) -> list[FramePose]:
    """The poses that the models have; of a frame in several of them that of the largest one."""
    found: dict[int, FramePose] = {}
    for number, known in enumerate(models):
        for position, pose in known.cam_from_world.items():
            found.setdefault(position, FramePose(kept[position], number, pose))
    return list(found.values())
