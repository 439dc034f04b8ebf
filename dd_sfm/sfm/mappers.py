"""COLMAP's mappers with settings for endoscopic video: global, incremental, and incremental with relaxed limits."""

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

import numpy as np

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config, Mapper
from dd_sfm.io.colmap import pycolmap
from dd_sfm.io.shortage import full_disk, shortage
from dd_sfm.ops.coordinates import from_colmap
from dd_sfm.progress import Progress, silent
from dd_sfm.runtime import solver_threads
from dd_sfm.structures import FloatArray, FrameSet

logger = logging.getLogger(__name__)

ItemT = TypeVar("ItemT")

Poses = dict[int, FloatArray]
"""cam_from_world (3, 4) by frame position."""
Reconstructions = dict[int, pycolmap.Reconstruction]
"""What a mapper found, by the name of the folder that it wrote each reconstruction to."""

MIN_MATCHES = 10
"""Inlier matches of a pair that the incremental mappers use."""
MIN_POINTS = 10
"""The global mapper gives every frame a pose, even on noise: one that sees fewer points than this has none."""

POSE_SHARE = 0.5
"""Share of its tracks, longest first, that the global mapper needs where only its poses are used.

With a smaller one they no longer spread over every frame.
"""


@dataclass(frozen=True)
class MappedModel:
    """Poses and camera of one reconstruction; ``folder``: the number of the folder that COLMAP wrote it to."""

    poses: Poses
    camera: PinholeCamera
    folder: int


@dataclass(frozen=True)
class MapperTask:
    """What a mapper is given.

    ``database``: COLMAP's, with verified matches; ``images``: the folder of its images; ``folder``: where COLMAP writes
    a folder 0, 1, ... for every reconstruction; ``config``: threads, seed and the fewest matches of a pair;
    ``refine_focal``: whether the focal length is adjusted; ``poses_only``: whether its points are not used, so that the
    global mapper may leave out what only they need; ``frames``: how many the database has; ``most_s``: an incremental
    mapper ends after so many seconds with what it has found, None for no limit, which the global one never has;
    ``progress``: shows registered frames.
    """

    database: Path
    images: Path
    folder: Path
    config: Config
    refine_focal: bool
    poses_only: bool = False
    frames: int = 0
    most_s: float | None = None
    progress: Progress = silent


class MapperStoppedError(KeyboardInterrupt):
    """The user stopped a mapper; ``found`` is what it had until then."""

    def __init__(self, found: Reconstructions) -> None:
        super().__init__()
        self.found = found


def run_mapper(name: Mapper, task: MapperTask) -> Reconstructions:
    """Run one of :data:`MAPPERS` on a database.

    Returns:
        The reconstructions by folder; none when the mapper gave up.

    Raises:
        MapperStoppedError: If the user stops it.
    """
    return MAPPERS[name](task)


def _global(task: MapperTask) -> Reconstructions:
    config = task.config
    options = pycolmap.GlobalPipelineOptions()
    options.num_threads = options.mapper.num_threads = solver_threads(config.runtime)
    options.random_seed = options.mapper.random_seed = config.runtime.seed
    options.min_num_matches = config.map.min_inliers
    mapper = options.mapper
    mapper.rotation_averaging.random_seed = mapper.global_positioning.random_seed = config.runtime.seed
    mapper.retriangulation.random_seed = config.runtime.seed
    if task.poses_only:
        # Retriangulation adds observations up to 15 px off to tracks: more points of SIFT, worse poses of dense tracks.
        mapper.skip_retriangulation = True
        mapper.track_required_tracks_per_view = round(POSE_SHARE * config.map.tracks_per_frame)
    adjustment = mapper.bundle_adjustment
    adjustment.refine_focal_length = task.refine_focal
    adjustment.refine_principal_point = adjustment.refine_extra_params = False
    mapper.global_positioning.use_gpu = adjustment.ceres.use_gpu = False
    found: Reconstructions = {}
    # COLMAP does not tell how far it is.
    for _ in task.progress((None,), total=1, label="map, global mapper"):
        found = _unless_given_up(
            lambda: pycolmap.global_mapping(task.database, task.images, task.folder, options), task.folder
        )
    return found


def _incremental(task: MapperTask, *, relaxed: bool = False) -> Reconstructions:
    """COLMAP's own mapper with settings for small angles and weak matches; its poses come from all of its points."""
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = solver_threads(task.config.runtime)
    options.random_seed = task.config.runtime.seed
    options.extract_colors = False
    if task.most_s is not None:
        options.max_runtime_seconds = max(1, round(task.most_s))
    options.ba_refine_focal_length = task.refine_focal
    options.ba_refine_principal_point = options.ba_refine_extra_params = False
    options.min_model_size = 3 if relaxed else 5
    options.min_num_matches = MIN_MATCHES
    options.triangulation.min_angle = 0.7 if relaxed else 1.0
    options.triangulation.random_seed = task.config.runtime.seed
    mapper = options.mapper
    mapper.random_seed = task.config.runtime.seed
    mapper.abs_pose_refine_focal_length = mapper.abs_pose_refine_extra_params = False
    mapper.init_min_num_inliers = 30 if relaxed else 40
    mapper.init_min_tri_angle = 2.0 if relaxed else 4.0
    mapper.init_max_forward_motion = 1.0 if relaxed else 0.99
    mapper.abs_pose_min_num_inliers = 10 if relaxed else 15
    mapper.abs_pose_min_inlier_ratio = 0.1 if relaxed else 0.15
    mapper.filter_min_tri_angle = 0.7 if relaxed else 1.0
    return _watched(task, options, f"map, {'relaxed' if relaxed else 'incremental'} mapper")


def _watched(task: MapperTask, options: pycolmap.IncrementalPipelineOptions, label: str) -> Reconstructions:
    """Map incrementally in a thread, while this one shows progress and can be interrupted."""
    token, registered = pycolmap.CancellationToken(), SimpleQueue[bool]()

    def work() -> Reconstructions:
        # COLMAP has a generator of random numbers for each thread.
        pycolmap.set_random_seed(task.config.runtime.seed)
        try:
            return pycolmap.incremental_mapping(
                task.database,
                task.images,
                task.folder,
                options,
                next_image_callback=lambda: registered.put(True),
                cancellation_token=token,
            )
        finally:
            registered.put(False)

    with ThreadPoolExecutor(1) as pool:
        try:
            running = pool.submit(work)
            for _ in task.progress(_at_most(task.frames, iter(registered.get, False)), total=task.frames, label=label):
                pass
        except BaseException as error:
            token.cancel()
            if not isinstance(error, KeyboardInterrupt):
                raise
            wait([running])
            # Cancelled, COLMAP still writes what it has.
            raise MapperStoppedError(_written(task.folder)) from error
        return _unless_given_up(running.result, task.folder)


def _at_most(most: int, items: Iterator[ItemT]) -> Iterator[ItemT]:
    """The first ones of some items, up to the end of all: frames count once for every try and every model."""
    for number, item in enumerate(items):
        if number < most:
            yield item


def _unless_given_up(run: Callable[[], Reconstructions], folder: Path) -> Reconstructions:
    """What a mapper that writes to a folder found; nothing where it gave up.

    Raises:
        ShortageError: If the disk is full.
    """
    try:
        return run()
    except (RuntimeError, ValueError) as error:
        if shortage(error, "map"):
            raise
        full = full_disk(error, "map", folder)
        if full is not None:
            raise full from error
        logger.warning("map: the mapper gave up: %s", error)
        return {}


def _written(folder: Path) -> Reconstructions:
    """The models that a mapper wrote, by their folders."""
    found: Reconstructions = {}
    for place in sorted(folder.iterdir()):
        with suppress(RuntimeError, ValueError):
            found[int(place.name)] = pycolmap.Reconstruction(place)
    return found


MAPPERS: dict[Mapper, Callable[[MapperTask], Reconstructions]] = {
    "global": _global,
    "incremental": _incremental,
    "relaxed": partial(_incremental, relaxed=True),
}
"""The mappers by the names that ``map.mappers`` takes."""


def read_models(found: Mapping[int, pycolmap.Reconstruction], frames: FrameSet) -> list[MappedModel]:
    """Poses and camera of every reconstruction with three frames or more.

    Largest first, and of equally large ones the one that begins earlier.
    """
    position = {f.path.name: k for k, f in enumerate(frames.frames)}
    models = []
    for folder, reconstruction in found.items():
        poses = {
            position[image.name]: np.asarray(image.cam_from_world().matrix(), np.float64)
            for image in reconstruction.images.values()
            if image.has_pose and image.num_points3D >= MIN_POINTS
        }
        if len(poses) < 3:
            continue
        fx, fy, cx, cy = next(iter(reconstruction.cameras.values())).params
        centre = from_colmap(np.array([cx, cy]))
        camera = replace(frames.camera, fx=float(fx), fy=float(fy), cx=float(centre[0]), cy=float(centre[1]))
        models.append(MappedModel(poses, camera, folder))
    return sorted(models, key=lambda m: (-len(m.poses), min(m.poses)))
