"""The files of hloc (Sarlin et al., Hierarchical Localization): features, matches, pairs and queries.

``features.h5``: a group per image name with ``keypoints`` (N, 2), pixel centres at integers (hloc adds COLMAP's half
pixel itself), ``image_size`` (width, height), and where they are known ``descriptors`` (D, N) float16 of unit length.
Keypoints are float32: hloc's usual float16 is a pixel coarse in large images.

``global.h5``: a group per image name with ``global_descriptor`` (E,) float32 of unit length.

``matches.h5``: a group ``NAME0/NAME1`` per pair, every "/" in a name written as "-", with ``matches0`` (N0,), the
keypoint of image 1 or -1, and ``matching_scores0`` (N0,). Wider than hloc's int16: dense keypoints are more than 32767.

``pairs.txt``: ``NAME0 NAME1`` a line. ``queries.txt``: ``NAME MODEL WIDTH HEIGHT PARAMS...`` a line, in COLMAP's
pixels.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dd_sfm.documents import shown
from dd_sfm.errors import InputError
from dd_sfm.io.atomic import write_text
from dd_sfm.io.colmap_matches import MatchedImages
from dd_sfm.io.lens import Lens

FEATURES, GLOBAL, MATCHES, PAIRS, QUERIES = "features.h5", "global.h5", "matches.h5", "pairs.txt", "queries.txt"
MOST_MATCHABLE = 32767
"""Keypoints of an image: hloc's own matchers write their numbers as int16."""


@dataclass(frozen=True)
class ImageFeatures:
    """What is known of an image.

    ``name``; ``size`` (width, height); ``keypoints`` (N, 2), pixel centres at integers; ``descriptors`` (N, D) of unit
    length and ``pooled`` (E,), that of the image as a whole, None where there are none.
    """

    name: str
    size: tuple[int, int]
    keypoints: NDArray[Any]
    descriptors: NDArray[Any] | None = None
    pooled: NDArray[Any] | None = None


def check_names(names: Sequence[str]) -> None:
    """See that names of images can stand in text files, and be groups of HDF5 files, one for each.

    Raises:
        InputError: If one cannot.
    """
    for name in names:
        if not isinstance(name, str):
            raise InputError(f"image {shown(name)}: a name that is no text; expected one such as 'query/1.png'")
        wrong = _wrong_in(name)
        if wrong:
            raise InputError(f"image {shown(name)}: {wrong}; expected a name such as 'query/1.png'. Rename the image")
    known = set(names)
    for name in names:
        above = next((str(p) for p in PurePosixPath(name).parents if str(p) in known), None)
        if above is not None:
            raise InputError(
                f"image {shown(name)}: lies in {shown(above)}, which is an image, too; expected names of which none is "
                "the folder of another. Rename one"
            )


def _wrong_in(name: str) -> str:
    """Why a text cannot be the name of an image; empty where it can."""
    if not name:
        return "no name"
    if any(c.isspace() for c in name):
        return "a space in its name, which hloc's text files cannot hold"
    # Of what a file is called, bytes that are no text stand as surrogates.
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        return "a character in its name that is none of a text, which hloc's files cannot hold"
    if set(name.split("/")) & {"", ".", ".."}:
        return "a part of its name between slashes is '', '.' or '..', which HDF5 files cannot hold"
    return ""


def write_features(folder: Path, images: Iterable[ImageFeatures]) -> None:
    """Write features.h5, and global.h5 where images have a descriptor as a whole, into an existing folder."""
    pooled: dict[str, NDArray[Any]] = {}
    with h5py.File(folder / FEATURES, "w", libver="latest") as file:
        for image in images:
            group = file.create_group(image.name)
            group.create_dataset("keypoints", data=image.keypoints.astype(np.float32))
            group.create_dataset("image_size", data=np.array(image.size, np.int64))
            if image.descriptors is not None:
                group.create_dataset("descriptors", data=np.ascontiguousarray(image.descriptors.T.astype(np.float16)))
            if image.pooled is not None:
                pooled[image.name] = image.pooled
    if pooled:
        with h5py.File(folder / GLOBAL, "w", libver="latest") as file:
            for name, vector in pooled.items():
                file.create_group(name).create_dataset("global_descriptor", data=vector.astype(np.float32))


def write_matches(folder: Path, images: MatchedImages) -> None:
    """Write matches.h5 and pairs.txt into an existing folder; the score of a match is 1."""
    pairs = []
    with h5py.File(folder / MATCHES, "w", libver="latest") as file:
        for (i, j), matches in images.matches.items():
            first, second = images.names[i], images.names[j]
            matches0 = np.full(len(images.keypoints[i]), -1, np.int32)
            matches0[matches[:, 0]] = matches[:, 1]
            group = file.create_group("/".join(name.replace("/", "-") for name in (first, second)))
            group.create_dataset("matches0", data=matches0)
            group.create_dataset("matching_scores0", data=(matches0 >= 0).astype(np.float32))
            pairs.append(f"{first} {second}\n")
    write_text(folder / PAIRS, "".join(pairs))


def write_queries(folder: Path, names: Sequence[str], lens: Lens) -> None:
    """Write queries.txt into an existing folder: images of one camera."""
    camera = " ".join([lens.model, str(lens.width), str(lens.height), *(repr(float(value)) for value in lens.params)])
    write_text(folder / QUERIES, "".join(f"{name} {camera}\n" for name in names))
