"""SIFT on the same frames and masks, with settings that suit endoscopy: what learned features are compared with.

Features, matches, two-view geometries, poses and points are COLMAP's own, as a user of COLMAP would get them: nothing
of ours chooses among its matches or triangulates its points.
"""

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dd_sfm.config import Config, SiftConfig, dump_config
from dd_sfm.errors import InputError, ReconstructionError
from dd_sfm.features.dense_tracks import mapper_inputs
from dd_sfm.features.method import Job
from dd_sfm.io.colmap import pycolmap
from dd_sfm.io.colmap_database import colmap_camera, silence
from dd_sfm.io.colmap_matches import check_matrices
from dd_sfm.io.colmap_model import image_names, read_model
from dd_sfm.io.colmap_own import database_pairs, finish_models
from dd_sfm.io.colmap_versions import open_to_all_versions
from dd_sfm.io.shortage import full_disk, shortage, telling_full_disk
from dd_sfm.io.sqlite_file import bring_into_file, remove_database
from dd_sfm.mvs.uncertainty import keypoint_uncertainty
from dd_sfm.ops.coordinates import from_colmap
from dd_sfm.progress import Progress
from dd_sfm.runtime import solver_threads
from dd_sfm.sfm.known_poses import check_poses_settings
from dd_sfm.sfm.mappers import MIN_POINTS
from dd_sfm.sfm.mapping import map_database
from dd_sfm.sfm.pairs import spread_pairs, window_pairs
from dd_sfm.structures import FinishedModel, FrameSet, MapResult, MatchResult, Model, Tracks

logger = logging.getLogger(__name__)

DATABASE = "sift.db"
MIN_INLIERS = 15
"""COLMAP's own fewest inliers of a pair, in verification and in its mappers."""

PAIRS_BETWEEN_PIECES = 600
"""About so many pairs of frames of different pieces are matched."""


class SiftFeatures:
    """The feature method that ``features: sift`` names."""

    resumes: frozenset[str] = frozenset()

    def check(self, config: Config) -> None:
        """Nothing is needed beyond COLMAP; measured poses are refused."""
        check_poses_settings(config)

    def weights(self, config: Config) -> str | None:
        """SIFT is not learned."""
        return None

    def stage_inputs(self, config: Config) -> Mapping[str, Any]:
        """The settings of each stage.

        COLMAP's own pairs do not depend on those of the learned descriptor, and its points on no setting: another
        quality does not make SIFT match again.
        """
        settings = dump_config(config)
        pairs = settings["pairs"] if config.sift.pairs != "sequential" else None
        matched = [settings["features"], pairs, settings["sift"], settings["runtime"]["seed"]]
        return {
            "describe": [],
            # Only then, so that finished runs still hold.
            "match": [*matched, {"deterministic": True}] if config.runtime.deterministic else matched,
            "map": [mapper_inputs(config), None],
            "densify": [],
        }

    def describe(self, job: Job) -> None:
        """COLMAP describes and matches in one go: see :meth:`match`."""

    def is_described(self, job: Job) -> bool:
        """There is nothing to keep."""
        return True

    def match(self, job: Job) -> MatchResult:
        """Extract and match by COLMAP."""
        pairs = sift_pairs(job.frames.pieces, job.config)
        return MatchResult(sift_match(job.frames, job.out, job.config, pairs), pairs)

    def map(self, job: Job, tracks: Tracks) -> MapResult:
        """Find the poses from COLMAP's own database."""
        return sift_map(job.frames, tracks, job.out, job.config, job.progress)

    def points(self, job: Job, tracks: Tracks, found: MapResult) -> Iterator[FinishedModel]:
        """COLMAP's own points: what its user would get is what the learned descriptor is compared with."""
        for model in sift_models(job.frames, job.out):
            yield FinishedModel(model, keypoint_uncertainty(model))


def sift_pairs(pieces: Sequence[range], config: Config) -> list[tuple[int, int]]:
    """Pairs of frame positions (i < j) to match, of frames in pieces over which the view follows.

    Sequential ones, as COLMAP would choose them, depend on no setting of the learned descriptor's pairs.
    """
    kind, overlap = config.sift.pairs, config.sift.overlap
    pairs = set(window_pairs(pieces, config.pairs)) if kind != "sequential" else set()
    if kind != "window":
        pairs |= {(i, j) for piece in pieces for i in piece for j in range(i + 1, min(piece.stop, i + overlap + 1))}
    every = config.pairs.reference_every if kind != "sequential" else 1
    return sorted(pairs | set(spread_pairs(pieces, every, PAIRS_BETWEEN_PIECES)))


def extraction_options(sift: SiftConfig, threads: int) -> pycolmap.FeatureExtractionOptions:
    """COLMAP's options of a preset."""
    extraction = pycolmap.FeatureExtractionOptions()
    extraction.use_gpu = False
    extraction.num_threads = threads
    if sift.preset != "default":
        extraction.sift.peak_threshold, extraction.sift.first_octave = 0.002, 0
    if sift.preset == "strong":
        extraction.sift.estimate_affine_shape = extraction.sift.domain_size_pooling = True
    return extraction


def sift_match(frames: FrameSet, out: Path, config: Config, pairs: list[tuple[int, int]]) -> Tracks:
    """Extract and match by COLMAP; writes ``out/sift.db``.

    Args:
        frames: Frames and masks.
        out: The run folder.
        config: SIFT's settings, threads and seed.
        pairs: Frame positions to match (i < j).

    Returns:
        The tracks of the verified matches.
    """
    scratch = out / "sift.partial.db"
    remove_database(scratch)
    pair_list = out / "sift.partial.txt"
    pair_list.unlink(missing_ok=True)
    names = image_names(frames)
    pair_list.write_text("".join(f"{names[i]} {names[j]}\n" for i, j in pairs))
    silence()
    pycolmap.set_random_seed(config.runtime.seed)
    try:
        with telling_full_disk(str(scratch), out):
            _extract(scratch, frames, config)
            _match(scratch, pair_list, config)
        bring_into_file(scratch)
        # The log of an earlier database, of a call that was killed, would be read into this one.
        remove_database(out / DATABASE)
        scratch.replace(out / DATABASE)
        tracks = read_tracks(out / DATABASE, names)
        open_to_all_versions(out / DATABASE)
        return tracks
    finally:
        remove_database(scratch)
        pair_list.unlink(missing_ok=True)


def sift_map(frames: FrameSet, tracks: Tracks, out: Path, config: Config, progress: Progress) -> MapResult:
    """Find the poses from COLMAP's own database by the configured mappers.

    Raises:
        ReconstructionError: If no mapper registers three frames.
    """
    remove_database(out / "database.db")
    shutil.copyfile(out / DATABASE, out / "database.db")
    pairs = database_pairs(out / "database.db", MIN_INLIERS)
    own = replace(config, map=replace(config.map, min_inliers=MIN_INLIERS))
    return map_database(frames, tracks, out, own, progress, pairs)


def sift_models(frames: FrameSet, out: Path) -> list[Model]:
    """COLMAP's own models of ``out/poses``, coloured, written under ``out/sparse`` and read; largest first.

    Raises:
        ReconstructionError: If none holds a point.
    """
    folder = frames.frames[0].path.parent
    found = finish_models(out / "poses", out / "sparse", folder, min_points=MIN_POINTS)
    positions = {name: k for k, name in enumerate(image_names(frames))}
    models = [read_model(out / "sparse" / str(k), positions) for k in range(len(found))]
    if not models or not len(models[0].xyz):
        raise ReconstructionError(f"{out}: COLMAP's model holds no points; try a calibration or a lower --every")
    return models


def _extract(database: Path, frames: FrameSet, config: Config) -> None:
    reader = pycolmap.ImageReaderOptions()
    reader.camera_model, reader.mask_path = "PINHOLE", str(frames.frames[0].mask_path.parent)
    reader.camera_params = ",".join(str(v) for v in colmap_camera(frames.camera).params)
    pycolmap.extract_features(
        database,
        frames.frames[0].path.parent,
        image_names=image_names(frames),
        camera_mode=pycolmap.CameraMode.SINGLE,
        reader_options=reader,
        extraction_options=extraction_options(config.sift, solver_threads(config.runtime)),
    )


def _match(database: Path, pair_list: Path, config: Config) -> None:
    matching = pycolmap.FeatureMatchingOptions()
    matching.use_gpu = False
    matching.num_threads = solver_threads(config.runtime)
    pairing = pycolmap.ImportedPairingOptions()
    pairing.match_list_path = str(pair_list)
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = config.runtime.seed
    pycolmap.match_image_pairs(database, matching, pairing, verification)


def read_tracks(database_path: Path, names: list[str]) -> Tracks:
    """Chain the verified matches of a database into tracks.

    Tracks with two places in one frame are ambiguous and left out. Positions follow ``names``.

    Raises:
        InputError: If the database is damaged.
        ShortageError: If the disk is full: opening a database takes room beside it.
    """
    try:
        check_matrices(database_path)
        return _read_tracks(database_path, names)
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        short = shortage(error, str(database_path)) or full_disk(error, str(database_path), database_path.parent)
        if short is not None:
            raise short from error
        raise InputError(
            f"{database_path}: damaged ({error}); expected a database by SIFT matching. Repeat the run with --overwrite"
        ) from error


def _read_tracks(database_path: Path, names: list[str]) -> Tracks:
    position = {name: k for k, name in enumerate(names)}
    database = pycolmap.Database.open(database_path)
    try:
        images = {image.image_id: position[image.name] for image in database.read_all_images()}
        places, offset, total = {}, {}, 0
        for image, frame in images.items():
            places[frame] = np.asarray(database.read_keypoints(image))[:, :2]
            offset[frame] = total
            total += len(places[frame])
        links = []
        for pair, geometry in zip(*database.read_two_view_geometries(), strict=True):
            i, j = (images[k] for k in pycolmap.pair_id_to_image_pair(pair))
            matches = np.asarray(geometry.inlier_matches, np.int64).reshape(-1, 2)
            links.append(matches + np.array([offset[i], offset[j]]))
    finally:
        database.close()
    return _chain(places, offset, np.concatenate(links) if links else np.zeros((0, 2), np.int64), total)


def _chain(places: dict[int, NDArray[Any]], offset: dict[int, int], links: NDArray[np.int64], total: int) -> Tracks:
    graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(total, total))
    _, group = connected_components(graph, directed=False)
    ordered = sorted(places, key=lambda f: offset[f])
    frame = np.repeat(np.array(ordered, np.int64), [len(places[f]) for f in ordered])
    xy = np.concatenate([places[f] for f in ordered])
    key = group.astype(np.int64) * (max(ordered) + 1) + frame
    _, inverse, count = np.unique(key, return_inverse=True, return_counts=True)
    ambiguous = np.unique(group[count[inverse] > 1])
    keep = (np.bincount(group)[group] >= 2) & ~np.isin(group, ambiguous)
    _, track = np.unique(group[keep], return_inverse=True)
    order = np.lexsort((frame[keep], track))
    track, frame = track[order], frame[keep][order]
    first = np.r_[True, np.diff(track) > 0] if len(track) else np.zeros(0, bool)
    return Tracks(track, frame, from_colmap(xy[keep][order]).astype(np.float32), np.ones(len(track), np.float32), first)
