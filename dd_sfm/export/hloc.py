"""Features, matches and a model to localise in, as hloc reads them; the files are those of :mod:`dd_sfm.io.hloc_files`.

Of a run with a database keypoints and matches are those of the database. ``features.h5`` then has the descriptors of
all keypoints: learned ones as the network gives them, read between the cells of its maps, or those of SIFT, of
which the square root is taken (RootSIFT), as hloc does it. ``sfm/`` is a COLMAP model with the poses of the run,
whose image points are the keypoints of ``features.h5`` by number: hloc's ``localize_sfm`` takes it as
``reference_sfm``. The model of the run itself has other image points, and many more.

Without a database keypoints and matches follow the tracks of the model, and there is no ``sfm/``; without a run there
are no descriptors.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.config import RuntimeConfig
from dd_sfm.errors import DDSfMError, InputError, OutputError, ReconstructionError, ShortageError, StoppedError
from dd_sfm.export.images import PROJECTED
from dd_sfm.features.keypoint_descriptors import RunDescriptors
from dd_sfm.io.colmap_database import shared_keypoints, track_matches
from dd_sfm.io.colmap_matches import MatchedImages, read_database_descriptors, read_database_matches
from dd_sfm.io.colmap_triangulation import triangulate_matches
from dd_sfm.io.hloc_files import GLOBAL, MOST_MATCHABLE, ImageFeatures, check_names, write_features, write_matches
from dd_sfm.io.run_config import read_config
from dd_sfm.io.run_folder import load_frames
from dd_sfm.io.scene import Scene
from dd_sfm.progress import Progress
from dd_sfm.runtime import resolve_device
from dd_sfm.structures import Tracks

SFM = "sfm"
Describe = Callable[[str, NDArray[Any]], tuple[NDArray[Any], NDArray[Any] | None]]
"""Descriptors (N, D) at keypoints (N, 2) of an image by its name, and that of the image as a whole."""


def write(scene: Scene, folder: Path, progress: Progress) -> list[str]:
    """Write features.h5, matches.h5 and pairs.txt: of the run's database, else along the model's tracks.

    Of a run also descriptors and global.h5, and with a database sfm/; a note says what is left out, and why.
    """
    if scene.database is not None:
        images = read_database_matches(scene.database)
        notes = ["matches are the verified ones of the run's database, each with score 1"]
    else:
        images = _matches_along_tracks(scene)
        notes = ["matches follow the tracks of the model, each with score 1: there is no database beside it"]
        notes += [PROJECTED] if scene.kind == "jhu" else []
    check_names(images.names)
    missing = _write_features(scene, images, folder, progress)
    write_matches(folder, images)
    return [*notes, *missing] if missing else [*notes, *_without_pooled(folder), *_write_model(scene, images, folder)]


def _write_features(scene: Scene, images: MatchedImages, folder: Path, progress: Progress) -> list[str]:
    """Write features.h5 and global.h5; returns what is to be said where the keypoints have no descriptors."""

    def fill(describe: Describe | None) -> None:
        write_features(folder, progress(_features(images, describe), total=len(images.names), label="features"))

    try:
        fill(_descriptors(scene, images))
    except (OutputError, ShortageError, StoppedError):
        raise
    except DDSfMError as error:
        # Also of an image in the middle: some with descriptors and some without are of no use to hloc.
        fill(None)
        return [
            f"features.h5 holds keypoints without descriptors: {error}",
            f"there is no {GLOBAL} and no {SFM}/: without descriptors no image can be localised",
        ]
    return []


def _without_pooled(folder: Path) -> list[str]:
    """Why there is no global.h5, where there is none."""
    if (folder / GLOBAL).exists():
        return []
    return [
        f"there is no {GLOBAL}: SIFT describes no image as a whole; for retrieval describe them with hloc's own, "
        "such as netvlad"
    ]


def _features(images: MatchedImages, describe: Describe | None) -> Iterator[ImageFeatures]:
    for name, size, keypoints in zip(images.names, images.sizes, images.keypoints, strict=True):
        found = (None, None) if describe is None else describe(name, keypoints)
        yield ImageFeatures(name, size, keypoints, *found)


def _descriptors(scene: Scene, images: MatchedImages) -> Describe:
    """What describes keypoints.

    Raises:
        DDSfMError: If there is nothing that does.
    """
    if scene.run is None:
        raise InputError(f"{scene.source}: is no run; expected one, whose network describes them")
    config = read_config(scene.run)
    if config.features != "learned":
        return _sift(scene)
    known = RunDescriptors(load_frames(scene.run), scene.run, config, resolve_device(RuntimeConfig()))
    known.check(images.names)
    return known.at


def _sift(scene: Scene) -> Describe:
    if scene.database is None:
        raise InputError(f"{scene.source}: has no database.db; expected COLMAP's, which holds the descriptors of SIFT")
    found = read_database_descriptors(scene.database)

    def describe(name: str, keypoints: NDArray[Any]) -> tuple[NDArray[Any], None]:
        own = found.get(name, np.zeros((0, 128), np.uint8))
        if len(own) != len(keypoints):
            raise InputError(f"{scene.database}: {len(own)} descriptors of {len(keypoints)} keypoints of {name}")
        # COLMAP stores the square roots of SIFT's numbers, as RootSIFT has them, in 8 bits.
        lengths = np.linalg.norm(own.astype(np.float32), axis=1, keepdims=True)
        return own / np.maximum(lengths, 1e-9), None

    return describe


def _write_model(scene: Scene, images: MatchedImages, folder: Path) -> list[str]:
    """Write sfm/; returns why there is none, or why hloc could not match."""
    if scene.database is None or scene.model_folder is None:
        most = max(map(len, images.keypoints), default=0)
        notes = [f"there is no {SFM}/: without a database, triangulate the matches with hloc to localise in them"]
        if most > MOST_MATCHABLE:
            notes.append(f"hloc's matchers number up to {MOST_MATCHABLE} keypoints of an image, and one has {most}")
        return notes
    pictures = next((i.path.parent for i in scene.images if i.path is not None), folder)
    try:
        triangulate_matches(scene.database, scene.model_folder, pictures, folder / SFM, scene.factor)
    except (InputError, ReconstructionError) as error:
        return [f"there is no {SFM}/: {error}"]
    return []


def _matches_along_tracks(scene: Scene) -> MatchedImages:
    """Every pair of images that see a point has a match there."""
    model = scene.model
    count = len(model.point)
    tracks = Tracks(model.point, model.frame, model.xy.astype(np.float32), np.ones(count), np.zeros(count, bool))
    keypoint, places = shared_keypoints(tracks, len(scene.images))
    used = scene.registered
    place = {k: n for n, k in enumerate(used)}
    matches = {
        (place[i], place[j]): table.astype(np.int64) for (i, j), table in track_matches(tracks, keypoint).items()
    }
    cameras = [scene.images[k].camera for k in used]
    names, sizes = tuple(scene.images[k].name for k in used), tuple((c.width, c.height) for c in cameras)
    return MatchedImages(names, sizes, tuple(places[k] for k in used), matches)
