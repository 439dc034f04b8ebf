"""SIFT on the same frames, masks and pairs: the opponent, given a fair chance."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dd_sfm.config import Config
from dd_sfm.io.colmap_database import colmap_camera, silence
from dd_sfm.ops.coordinates import from_colmap
from dd_sfm.runtime import cpu_threads
from dd_sfm.structures import FrameSet, Tracks

logger = logging.getLogger(__name__)


def sift_tracks(frames: FrameSet, out: Path, config: Config, pairs: list[tuple[int, int]]) -> Tracks:
    """Tracks of COLMAP's SIFT, tuned for weak texture (peak threshold 0.002, first octave 0).

    Args:
        frames: Frames and masks.
        out: The run folder; a scratch database is made in it and removed.
        config: Threads and seed.
        pairs: Frame positions to match (i < j).
    """
    scratch = out / "sift.partial.db"
    scratch.unlink(missing_ok=True)
    pair_list = out / "sift.partial.txt"
    names = [f.path.name for f in frames.frames]
    pair_list.write_text("".join(f"{names[i]} {names[j]}\n" for i, j in pairs))
    silence()
    pycolmap.set_random_seed(config.runtime.seed)
    try:
        _extract(scratch, frames, config)
        _match(scratch, pair_list, config)
        return read_tracks(scratch, names)
    finally:
        scratch.unlink(missing_ok=True)
        pair_list.unlink(missing_ok=True)


def _extract(database: Path, frames: FrameSet, config: Config) -> None:
    reader = pycolmap.ImageReaderOptions()
    reader.camera_model, reader.mask_path = "PINHOLE", str(frames.frames[0].mask_path.parent)
    reader.camera_params = ",".join(str(v) for v in colmap_camera(frames.camera).params)
    extraction = pycolmap.FeatureExtractionOptions()
    extraction.use_gpu = False
    extraction.num_threads = cpu_threads(config.runtime)
    extraction.sift.peak_threshold, extraction.sift.first_octave = 0.002, 0
    pycolmap.extract_features(
        database,
        frames.frames[0].path.parent,
        image_names=[f.path.name for f in frames.frames],
        camera_mode=pycolmap.CameraMode.SINGLE,
        reader_options=reader,
        extraction_options=extraction,
    )


def _match(database: Path, pair_list: Path, config: Config) -> None:
    matching = pycolmap.FeatureMatchingOptions()
    matching.use_gpu = False
    matching.num_threads = cpu_threads(config.runtime)
    pairing = pycolmap.ImportedPairingOptions()
    pairing.match_list_path = str(pair_list)
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = config.runtime.seed
    pycolmap.match_image_pairs(database, matching, pairing, verification)


def read_tracks(database_path: Path, names: list[str]) -> Tracks:
    """Chain the verified matches of a database into tracks.

    Tracks with two places in one frame are ambiguous and left out. Positions follow ``names``.
    """
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
