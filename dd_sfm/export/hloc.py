"""Features and matches in the files of hloc (Sarlin et al., Hierarchical Localization).

``features.h5``: a group per image name with ``keypoints`` (N, 2), pixel centres at integers (hloc adds COLMAP's half
pixel itself when it imports them), and ``image_size`` (width, height). float32: hloc's usual float16 is a pixel coarse
in large images. There are no ``descriptors``: hloc's reconstruction and triangulation read none, its matchers and
localisation would.

``matches.h5``: a group ``NAME0/NAME1`` per pair, every "/" in a name written as "-", with ``matches0`` (N0,), the
keypoint of image 1 or -1, and ``matching_scores0`` (N0,). Wider than hloc's int16: dense keypoints are more than 32767.

``pairs.txt``: ``NAME0 NAME1`` a line.
"""

from pathlib import Path

import h5py
import numpy as np

from dd_sfm.errors import InputError
from dd_sfm.export.images import PROJECTED
from dd_sfm.io.atomic import write_text
from dd_sfm.io.colmap_database import shared_keypoints, track_matches
from dd_sfm.io.colmap_matches import MatchedImages, read_database_matches
from dd_sfm.io.scene import Scene
from dd_sfm.progress import Progress
from dd_sfm.structures import Tracks


def write(scene: Scene, folder: Path, progress: Progress) -> list[str]:
    """Write features.h5, matches.h5 and pairs.txt: of the run's database, else along the model's tracks."""
    notes = ["hloc's features.h5 holds keypoints without descriptors"]
    if scene.database is not None:
        write_matches(folder, read_database_matches(scene.database))
        return [*notes, "matches are the verified ones of the run's database, each with score 1"]
    write_matches(folder, _matches_along_tracks(scene))
    notes.append("matches follow the tracks of the model, each with score 1: there is no database beside it")
    return [*notes, PROJECTED] if scene.kind == "jhu" else notes


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


def write_matches(folder: Path, images: MatchedImages) -> None:
    """Write features.h5, matches.h5 and pairs.txt into an existing folder; the score of a match is 1.

    Raises:
        InputError: If an image name holds a blank, which pairs.txt cannot carry.
    """
    for name in images.names:
        if not name or any(c.isspace() for c in name):
            raise InputError(
                f"image '{name}': a space in its name, which hloc's pairs.txt cannot hold; rename the image"
            )
    with h5py.File(folder / "features.h5", "w", libver="latest") as file:
        for name, size, keypoints in zip(images.names, images.sizes, images.keypoints, strict=True):
            group = file.create_group(name)
            group.create_dataset("keypoints", data=keypoints.astype(np.float32))
            group.create_dataset("image_size", data=np.array(size, np.int64))
    pairs = []
    with h5py.File(folder / "matches.h5", "w", libver="latest") as file:
        for (i, j), matches in images.matches.items():
            first, second = images.names[i], images.names[j]
            matches0 = np.full(len(images.keypoints[i]), -1, np.int32)
            matches0[matches[:, 0]] = matches[:, 1]
            group = file.create_group("/".join(name.replace("/", "-") for name in (first, second)))
            group.create_dataset("matches0", data=matches0)
            group.create_dataset("matching_scores0", data=(matches0 >= 0).astype(np.float32))
            pairs.append(f"{first} {second}\n")
    write_text(folder / "pairs.txt", "".join(pairs))
