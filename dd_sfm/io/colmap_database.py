"""Tracks into a COLMAP database: cameras, images, keypoints, matches, verified two-view geometries."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dd_sfm.cameras import PinholeCamera
from dd_sfm.io.colmap import pycolmap
from dd_sfm.io.sqlite_file import bring_into_file, remove_database
from dd_sfm.ops.coordinates import to_colmap
from dd_sfm.structures import FrameSet, Tracks, VerifiedPairs

LINK_STEPS = (1, 2, 4, 8, 16)
"""An observation is matched with those this many places further along its track: near to connect, far for angle."""

LOG_SETTINGS = ("minloglevel", "alsologtostderr", "logtostderr", "stderrthreshold")
"""What :func:`silence` sets."""


def silence() -> None:
    """Keep COLMAP's own log off the terminal: what it has to say of a user's data comes as results or exceptions."""
    pycolmap.logging.minloglevel = pycolmap.logging.Level.FATAL.value
    pycolmap.logging.alsologtostderr = pycolmap.logging.logtostderr = False
    pycolmap.logging.stderrthreshold = pycolmap.logging.Level.FATAL.value


@contextmanager
def log_kept() -> Iterator[None]:
    """Leave COLMAP's log as it was found, whatever is silenced meanwhile."""
    before = {name: getattr(pycolmap.logging, name) for name in LOG_SETTINGS}
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(pycolmap.logging, name, value)


def colmap_camera(camera: PinholeCamera, camera_id: int = 1) -> pycolmap.Camera:
    """The camera as COLMAP's PINHOLE; half a pixel is added to the principal point."""
    cx, cy = to_colmap(camera.principal_point)
    return pycolmap.Camera(
        camera_id=camera_id,
        model="PINHOLE",
        width=camera.width,
        height=camera.height,
        params=[camera.fx, camera.fy, float(cx), float(cy)],
        has_prior_focal_length=not camera.is_free,
    )


def write_database(path: Path, frames: FrameSet, tracks: Tracks, *, min_matches: int) -> int:
    """Write a database whose keypoints are the observations of the tracks.

    Every frame has one rig frame and one image, both with id position + 1. Observations of a frame that fall on the
    same place (0.01 px) become one keypoint. Matches are written for pairs of frames that share at least
    ``min_matches`` links of tracks.

    Returns:
        Number of pairs written.

    Raises:
        OutputError: If the disk is full.
    """
    partial = path.with_name(path.name + ".partial")
    remove_database(partial)
    keypoint, keypoints = shared_keypoints(tracks, len(frames))
    database = pycolmap.Database.open(partial)
    try:
        _write_images(database, frames, keypoints)
        count = 0
        for (i, j), matches in track_matches(tracks, keypoint).items():
            if len(matches) >= min_matches:
                database.write_matches(i + 1, j + 1, matches)
                count += 1
        database.close()
        bring_into_file(partial)
        remove_database(path)
        partial.replace(path)
    finally:
        database.close()
        remove_database(partial)
    return count


def _write_images(database: pycolmap.Database, frames: FrameSet, keypoints: list[NDArray[np.float32]]) -> None:
    camera = colmap_camera(frames.camera)
    database.write_camera(camera, use_camera_id=True)
    rig = pycolmap.Rig(rig_id=1)
    rig.add_ref_sensor(camera.sensor_id)
    database.write_rig(rig, use_rig_id=True)
    for position, frame in enumerate(frames.frames):
        image = pycolmap.Image(name=frame.path.name, camera_id=1, image_id=position + 1)
        database.write_image(image, use_image_id=True)
        moment = pycolmap.Frame(frame_id=position + 1, rig_id=1)
        moment.add_data_id(image.data_id)
        database.write_frame(moment, use_frame_id=True)
        database.write_keypoints(position + 1, to_colmap(keypoints[position]))


def shared_keypoints(tracks: Tracks, frames: int) -> tuple[NDArray[np.int64], list[NDArray[np.float32]]]:
    """Number the distinct places of every frame.

    Returns:
        ``keypoint`` (O,) index of each observation among its frame's keypoints, and per frame the places (N, 2)
        float32, source pixels with centres at integers.
    """
    keypoint = np.zeros(len(tracks.track), np.int64)
    places = []
    by_frame = np.argsort(tracks.frame, kind="stable")
    bounds = np.searchsorted(tracks.frame[by_frame], np.arange(frames + 1))
    for first_row, last_row in pairwise(bounds):
        rows = by_frame[first_row:last_row]
        _, first, inverse = np.unique(np.round(tracks.xy[rows] * 100), axis=0, return_index=True, return_inverse=True)
        keypoint[rows] = inverse.ravel()
        places.append(tracks.xy[rows[first]].astype(np.float32).reshape(-1, 2))
    return keypoint, places


def track_matches(tracks: Tracks, keypoint: NDArray[np.int64]) -> dict[tuple[int, int], NDArray[np.uint32]]:
    """Matches (N, 2) uint32 without duplicates, by pair of frame positions (i < j), along the tracks."""
    links = []
    for step in LINK_STEPS:
        first = np.flatnonzero(tracks.track[:-step] == tracks.track[step:])
        links.append(np.stack([first, first + step], 1))
    rows = np.concatenate(links)
    table = np.column_stack([tracks.frame[rows], keypoint[rows]])
    table = np.unique(table, axis=0)
    # One keypoint must not be matched twice within a pair: of such matches only the first stays.
    for column in (2, 3):
        _, first = np.unique(table[:, [0, 1, column]], axis=0, return_index=True)
        table = table[np.sort(first)]
    if not len(table):
        return {}
    bounds = np.flatnonzero(np.r_[True, (np.diff(table[:, :2], axis=0) != 0).any(1), True])
    return {
        (int(table[a, 0]), int(table[a, 1])): np.ascontiguousarray(table[a:b, 2:].astype(np.uint32))
        for a, b in pairwise(bounds)
    }


def verify(path: Path, *, max_error_px: float, min_inliers: int, seed: int, threads: int) -> VerifiedPairs:
    """Verify all matches of a database by essential matrices; only inliers reach the mapper."""
    options = pycolmap.TwoViewGeometryOptions()
    options.min_num_inliers = min_inliers
    # Dense matches near the rim of a round field of view look like a watermark to COLMAP's test.
    options.detect_watermark = False
    options.ransac.max_error = max_error_px
    options.ransac.random_seed = seed
    options.ransac.max_num_trials = 1000
    # Most matches are right, and then the first few trials find them; COLMAP would always make 100.
    options.ransac.min_num_trials = 30
    verifier = pycolmap.GeometricVerifierOptions()
    verifier.num_threads = threads
    pycolmap.geometric_verification(path, verifier, two_view_geometry_options=options)
    database = pycolmap.Database.open(path)
    try:
        return VerifiedPairs(
            tried=database.num_matched_image_pairs(),
            verified=sum(int(n) >= min_inliers for n in database.read_two_view_geometry_num_inliers()[1]),
            matches=database.num_inlier_matches(),
        )
    finally:
        database.close()


def largest_linked(path: Path, min_inliers: int) -> int:
    """The most images that pairs with so many inlier matches link with each other: no model can hold more."""
    database = pycolmap.Database.open(path)
    try:
        ids, inliers = database.read_two_view_geometry_num_inliers()
    finally:
        database.close()
    linked = [pycolmap.pair_id_to_image_pair(pair) for pair, n in zip(ids, inliers, strict=True) if n >= min_inliers]
    if not linked:
        return 0
    names, ends = np.unique(np.array(linked), return_inverse=True)
    first, second = ends.reshape(-1, 2).T
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(len(names), len(names)))
    return int(np.bincount(connected_components(graph, directed=False)[1]).max())
