"""Stage: map. COLMAP's mappers find the poses: a ladder that stops at the first result that holds up."""

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pycolmap

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config
from dd_sfm.errors import ReconstructionError
from dd_sfm.io.colmap_database import VerifiedPairs, colmap_camera, silence, verify, write_database
from dd_sfm.io.run_layout import own_files
from dd_sfm.ops.coordinates import from_colmap, to_colmap
from dd_sfm.progress import Progress
from dd_sfm.runtime import cpu_threads
from dd_sfm.sfm.bundle_adjustment import free_focal
from dd_sfm.sfm.mapping_checks import largest_scale_jump, mapper_tracks, scale_ratios
from dd_sfm.sfm.triangulation import triangulate
from dd_sfm.structures import FloatArray, FrameSet, Tracks

logger = logging.getLogger(__name__)

Poses = dict[int, FloatArray]

FOCAL_AGREES = 0.75, 1.33
"""Focal length left free, relative to the calibration's: true ones gave 0.9 to 1.02, ones 1.4 times too long 0.7."""
FOCAL_FRAMES = 20
"""Fewer frames do not tell a focal length."""
MIN_POINTS = 10
"""The global mapper gives every frame a pose, even on noise: one that sees fewer points than this has none."""


@dataclass(frozen=True)
class MapResult:
    """What the mapper found.

    ``models``: per model the poses cam_from_world (3, 4) by frame position, largest first; ``cameras``: theirs,
    which differ from the given one only when that was a guess; ``rung``: the mapper whose result was taken.
    """

    models: list[Poses]
    cameras: list[PinholeCamera]
    rung: str
    pairs: VerifiedPairs
    seconds: dict[str, float]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Candidate:
    """A rung's result and how it was judged."""

    rung: str
    models: list[Poses]
    cameras: list[PinholeCamera]
    jump_frame: int | None
    jump: float

    @property
    def registered(self) -> int:
        """Frames of the largest model."""
        return len(self.models[0]) if self.models else 0


def map_poses(frames: FrameSet, tracks: Tracks, out: Path, config: Config, progress: Progress) -> MapResult:
    """Find the poses of the frames from their tracks.

    Writes ``out/database.db`` and every model of the result under ``out/poses/0``, ``1``, ...

    Raises:
        ReconstructionError: If no mapper registers three frames.
    """
    silence()
    pycolmap.set_random_seed(config.runtime.seed)
    chosen = mapper_tracks(tracks, config.map.tracks_per_frame, (frames.camera.width, frames.camera.height))
    started = time.monotonic()
    database = out / "database.db"
    write_database(database, frames, chosen, min_matches=config.map.min_inliers)
    pairs = verify(
        database,
        max_error_px=config.map.verify_max_error_px * error_scale(frames),
        min_inliers=config.map.min_inliers,
        seed=config.runtime.seed,
        threads=cpu_threads(config.runtime),
    )
    seconds = {"verify": round(time.monotonic() - started, 2)}
    logger.info("map: %d tracks; %d of %d pairs verified", chosen.count, pairs.verified, pairs.tried)
    best, rungs = climb(frames, chosen, out, config, progress, pairs)
    best, added = _register_rest(best, frames, tracks, config)
    return _keep(best, frames, out, config, pairs, seconds | rungs, added)


def map_database(
    frames: FrameSet, tracks: Tracks, out: Path, config: Config, progress: Progress, pairs: VerifiedPairs
) -> MapResult:
    """Find the poses from ``out/database.db`` as it is, with everything left as COLMAP's mapper has it.

    Args:
        frames: Frames of the database.
        tracks: The database's tracks, to judge the scale along the path.
        out: The run folder; every model of the result is written under ``poses/0``, ``1``, ...
        config: Mapper settings.
        progress: Shows the rungs.
        pairs: How verification went.

    Raises:
        ReconstructionError: If no mapper registers three frames.
    """
    silence()
    pycolmap.set_random_seed(config.runtime.seed)
    best, seconds = climb(frames, tracks, out, config, progress, pairs)
    return _keep(best, frames, out, config, pairs, seconds, 0)


def climb(
    frames: FrameSet, tracks: Tracks, out: Path, config: Config, progress: Progress, pairs: VerifiedPairs
) -> tuple[Candidate, dict[str, float]]:
    """Try the ladder's mappers until one holds up: the best result, and the seconds of each.

    Raises:
        ReconstructionError: If no mapper registers three frames.
    """
    candidates: list[Candidate] = []
    seconds: dict[str, float] = {}
    for rung in progress(config.map.ladder, total=len(config.map.ladder), label="map"):
        started = time.monotonic()
        candidate = _try_rung(rung, frames, tracks, out, config)
        seconds[rung] = round(time.monotonic() - started, 2)
        candidates.append(candidate)
        logger.info("map: %s: %s", rung, _describe(candidate, frames))
        if _holds_up(candidate, frames, config):
            break
    best = _best(candidates)
    if best.registered < 3:
        raise ReconstructionError(
            f"{out / 'database.db'}: no model from {len(frames)} frames ({pairs.verified} of {pairs.tried} pairs "
            f"verified, {pairs.matches} matches); {_no_model_hint(pairs)}"
        )
    return best, seconds


def _no_model_hint(pairs: VerifiedPairs) -> str:
    """Why no mapper found a model, and what to do."""
    # Two pairs are three frames.
    if pairs.verified < 2:
        return (
            "at least 3 frames with common points needed. Try a lower --every, a calibration, or --set "
            "map.min_inliers=12"
        )
    return (
        "no pair of them has the parallax and the inliers to start from, or no third frame joins it. Try more frames; "
        "a higher --every where the camera hardly moves between them, a lower one where it moves far; a calibration"
    )


def error_scale(frames: FrameSet) -> float:
    """Thresholds are given for a field of view 1000 source pixels high; smaller pictures get smaller ones.

    Matches are found at a fixed working size, so their error in source pixels grows with the picture; below half of
    that size the picture's own blur keeps it from shrinking further.
    """
    return float(np.clip(frames.field_of_view_px / 1000, 0.5, 4.0))


def _try_rung(rung: str, frames: FrameSet, tracks: Tracks, out: Path, config: Config) -> Candidate:
    folder = out / "poses" / f".{rung}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    run: Callable[..., dict[int, pycolmap.Reconstruction]] = _global if rung == "global" else _incremental
    images = frames.frames[0].path.parent
    refine = frames.camera.is_guess
    found = run(out / "database.db", images, folder, config, refine=refine, relaxed=rung == "relaxed")
    models, cameras = _read(found, frames)
    if refine and models and not _focal_in_bounds(cameras[0], frames.camera, config):
        logger.warning("map: %s: focal length ran away to %.0f px; kept at the guess", rung, cameras[0].fx)
        shutil.rmtree(folder)
        folder.mkdir()
        found = run(out / "database.db", images, folder, config, refine=False, relaxed=rung == "relaxed")
        models, cameras = _read(found, frames)
    jump_frame, jump = None, 1.0
    if models:
        jump_frame, jump = largest_scale_jump(scale_ratios(tracks, models[0], cameras[0]))
    return Candidate(rung, models, cameras, jump_frame, jump)


def _focal_in_bounds(camera: PinholeCamera, guess: PinholeCamera, config: Config) -> bool:
    low, high = config.map.focal_bounds
    return low * guess.fx <= camera.fx <= high * guess.fx


def _global(
    database: Path, images: Path, folder: Path, config: Config, *, refine: bool, relaxed: bool
) -> dict[int, pycolmap.Reconstruction]:
    options = pycolmap.GlobalPipelineOptions()
    options.num_threads = options.mapper.num_threads = cpu_threads(config.runtime)
    options.random_seed = options.mapper.random_seed = config.runtime.seed
    options.min_num_matches = config.map.min_inliers
    mapper = options.mapper
    mapper.rotation_averaging.random_seed = mapper.global_positioning.random_seed = config.runtime.seed
    mapper.retriangulation.random_seed = config.runtime.seed
    adjustment = mapper.bundle_adjustment
    adjustment.refine_focal_length = refine
    adjustment.refine_principal_point = adjustment.refine_extra_params = False
    mapper.global_positioning.use_gpu = adjustment.ceres.use_gpu = False
    try:
        return pycolmap.global_mapping(database, images, folder, options)
    except (RuntimeError, ValueError) as error:
        logger.warning("map: global mapper gave up: %s", error)
        return {}


def _incremental(
    database: Path, images: Path, folder: Path, config: Config, *, refine: bool, relaxed: bool
) -> dict[int, pycolmap.Reconstruction]:
    """COLMAP's own mapper with settings for small angles and weak matches."""
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = cpu_threads(config.runtime)
    options.random_seed = config.runtime.seed
    options.extract_colors = False
    options.ba_refine_focal_length = refine
    options.ba_refine_principal_point = options.ba_refine_extra_params = False
    options.min_model_size = 3 if relaxed else 5
    options.min_num_matches = 10
    options.triangulation.min_angle = 0.7 if relaxed else 1.0
    options.triangulation.random_seed = config.runtime.seed
    mapper = options.mapper
    mapper.random_seed = config.runtime.seed
    mapper.abs_pose_refine_focal_length = mapper.abs_pose_refine_extra_params = False
    mapper.init_min_num_inliers = 30 if relaxed else 40
    mapper.init_min_tri_angle = 2.0 if relaxed else 4.0
    mapper.init_max_forward_motion = 1.0 if relaxed else 0.99
    mapper.abs_pose_min_num_inliers = 10 if relaxed else 15
    mapper.abs_pose_min_inlier_ratio = 0.1 if relaxed else 0.15
    mapper.filter_min_tri_angle = 0.7 if relaxed else 1.0
    try:
        return pycolmap.incremental_mapping(database, images, folder, options)
    except (RuntimeError, ValueError) as error:
        logger.warning("map: incremental mapper gave up: %s", error)
        return {}


def _read(found: dict[int, pycolmap.Reconstruction], frames: FrameSet) -> tuple[list[Poses], list[PinholeCamera]]:
    """Poses and camera of every reconstruction, largest first."""
    position = {f.path.name: k for k, f in enumerate(frames.frames)}
    read = []
    for reconstruction in found.values():
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
        read.append((poses, camera))
    read.sort(key=lambda r: (-len(r[0]), min(r[0], default=0)))
    return [r[0] for r in read], [r[1] for r in read]


def _holds_up(candidate: Candidate, frames: FrameSet, config: Config) -> bool:
    enough = candidate.registered >= config.map.min_registered * len(frames)
    return enough and candidate.jump <= config.map.max_scale_jump


def _best(candidates: list[Candidate]) -> Candidate:
    """Most registered frames; a jump in scale counts as if a third of them were missing."""
    return max(candidates, key=lambda c: c.registered * (1.0 if c.jump <= 2.0 else 0.67))


def _describe(candidate: Candidate, frames: FrameSet) -> str:
    sizes = "+".join(str(len(m)) for m in candidate.models) or "0"
    return f"{sizes} of {len(frames)} frames, largest change of scale {candidate.jump:.2f}"


def _register_rest(best: Candidate, frames: FrameSet, tracks: Tracks, config: Config) -> tuple[Candidate, int]:
    """Try the frames that the mapper left out once more, against the points of the finished model."""
    poses = dict(best.models[0])
    missing = [k for k in range(len(frames)) if k not in poses]
    if not missing:
        return best, 0
    numbers, points = _track_points(tracks, poses, best.cameras[0], frames, config)
    camera = colmap_camera(best.cameras[0])
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.ransac.max_error = 2 * config.map.verify_max_error_px * error_scale(frames)
    options.ransac.random_seed = config.runtime.seed
    for position in missing:
        rows = np.flatnonzero((tracks.frame == position) & np.isin(tracks.track, numbers))
        if len(rows) < 2 * config.map.min_inliers:
            continue
        xyz = points[np.searchsorted(numbers, tracks.track[rows])]
        pose = pycolmap.estimate_and_refine_absolute_pose(to_colmap(tracks.xy[rows]), xyz, camera, options)
        if pose and pose["num_inliers"] >= max(config.map.min_inliers, 0.3 * len(rows)):
            poses[position] = np.asarray(pose["cam_from_world"].matrix(), np.float64)
    added = len(poses) - best.registered
    return replace(best, models=[poses, *best.models[1:]]), added


def _track_points(
    tracks: Tracks, poses: Poses, camera: PinholeCamera, frames: FrameSet, config: Config
) -> tuple[np.ndarray, np.ndarray]:
    """Track numbers, sorted, and their points in a model."""
    model, numbers = triangulate(tracks, poses, camera, config, scale=error_scale(frames))
    order = np.argsort(numbers)
    return numbers[order], model.xyz[order]


def _keep(
    best: Candidate,
    frames: FrameSet,
    out: Path,
    config: Config,
    pairs: VerifiedPairs,
    seconds: dict[str, float],
    added: int,
) -> MapResult:
    """Make the best candidate the result; ``added`` of its frames were registered after the mapper."""
    notes = _notes(best, frames, config, added) + _focal_notes(out, best, frames, config)
    _keep_poses(out, best.rung)
    return MapResult(best.models, best.cameras, best.rung, pairs, seconds, notes)


def _notes(best: Candidate, frames: FrameSet, config: Config, added: int) -> list[str]:
    notes = []
    missing = len(frames) - best.registered
    if missing:
        notes.append(f"{missing} of {len(frames)} frames could not be registered in the largest model")
    if added:
        which = "1 frame was" if added == 1 else f"{added} frames were"
        notes.append(f"{which} registered only in a second try against the finished model")
    if best.rung != config.map.ladder[0]:
        notes.append(
            f"the {config.map.ladder[0]} mapper's result did not hold up: the poses are those of the {best.rung} mapper"
        )
    if len(best.models) > 1:
        notes.append(f"the frames fell into {len(best.models)} models of {', '.join(str(len(m)) for m in best.models)}")
    if best.jump > config.map.max_scale_jump and best.jump_frame is not None:
        index = frames.frames[best.jump_frame].index
        notes.append(f"the scale of the scene changes by a factor {best.jump:.1f} at frame {index}: do not trust sizes")
    if frames.camera.is_guess:
        notes.append(
            f"no calibration: focal length {best.cameras[0].fx:.0f} px from a guess of {frames.camera.fx:.0f} px "
            f"({config.camera.field_of_view_deg:g} degrees, no distortion); shape and angles are only as good as that. "
            "Give one with --calibration"
        )
    return notes


def _focal_notes(out: Path, best: Candidate, frames: FrameSet, config: Config) -> list[str]:
    """Whether the matches agree with a calibration: with a wrong one a model looks as good, but has another shape."""
    if frames.camera.is_guess or len(best.models[0]) < FOCAL_FRAMES:
        return []
    found = [p.parent for p in sorted((out / "poses" / f".{best.rung}").glob("*/images.bin"))]
    largest = max(found, key=lambda folder: (folder / "images.bin").stat().st_size)
    focal = free_focal(largest, scale_px=error_scale(frames), threads=cpu_threads(config.runtime))
    given = (frames.camera.fx + frames.camera.fy) / 2
    low, high = FOCAL_AGREES
    logger.info("map: focal length %.1f px, %.1f px if it were free", given, focal)
    if low <= focal / given <= high:
        return []
    return [
        f"calibration: the focal length is {given:.0f} px, the matches would have {focal:.0f} px. Is it of this scope, "
        "at this zoom and size of frames, with this centre? Shape and angles are only as good as that"
    ]


def _keep_poses(out: Path, rung: str) -> None:
    """Move the chosen rung's models to poses/0, 1, ... and drop the others."""
    poses = out / "poses"
    for old in own_files(out, "map"):
        if old.parent.parent == poses:
            old.unlink()
    for model in sorted((poses / f".{rung}").iterdir()):
        if model.is_dir():
            (poses / model.name).mkdir(exist_ok=True)
            for file in model.iterdir():
                file.replace(poses / model.name / file.name)
    for tried in ("global", "incremental", "relaxed"):
        shutil.rmtree(poses / f".{tried}", ignore_errors=True)
