"""Features and matches in the files of hloc (Sarlin et al., Hierarchical Localization).

``features.h5``: a group per image name with ``keypoints`` (N, 2), pixel centres at integers (hloc adds COLMAP's half
pixel itself when it imports them), and ``image_size`` (width, height). float32: hloc's usual float16 is a pixel coarse
in large images. There are no ``descriptors``: hloc's reconstruction and triangulation read none, its matchers and
localisation would.

``matches.h5``: a group ``NAME0/NAME1`` per pair, every "/" in a name written as "-", with ``matches0`` (N0,), the
keypoint of image 1 or -1, and ``matching_scores0`` (N0,). Wider than hloc's int16: dense keypoints are more than 32767.

``pairs.txt``: ``NAME0 NAME1`` a line.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import InputError
from dd_sfm.io.atomic import write_text
from dd_sfm.ops.coordinates import from_colmap

# COLMAP numbers a pair of images as first * this + second.
PAIR_BASE = 2147483647


@dataclass(frozen=True)
class MatchedImages:
    """Keypoints and matches.

    ``names`` and ``sizes`` (width, height) by image; ``keypoints`` (N, 2) float32 each, pixel centres at integers;
    ``matches`` (M, 2) by pair of positions: keypoints of the first and second image, one to one.
    """

    names: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    keypoints: tuple[NDArray[np.float32], ...]
    matches: dict[tuple[int, int], NDArray[np.int64]]


def write_hloc(folder: Path, images: MatchedImages) -> None:
    """Write features.h5, matches.h5 and pairs.txt into an existing folder; the score of a match is 1.

    Raises:
        InputError: If an image name holds a blank, which pairs.txt cannot carry.
    """
    for name in images.names:
        if not name or any(c.isspace() for c in name):
            raise InputError(f"image '{name}': blank in its name, which hloc's pairs.txt cannot hold; rename the image")
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


def read_database_matches(path: Path) -> MatchedImages:
    """Keypoints and verified matches of a COLMAP database, which is opened for reading only.

    Raises:
        InputError: If it is no COLMAP database.
    """
    try:
        with closing(sqlite3.connect(_address(path), uri=True)) as database:
            rows = database.execute(
                "SELECT images.image_id, name, width, height FROM images JOIN cameras USING (camera_id) ORDER BY name"
            ).fetchall()
            position = {row[0]: k for k, row in enumerate(rows)}
            keypoints: list[NDArray[Any]] = [np.zeros((0, 2), np.float32)] * len(rows)
            for image, table in _tables(database, "image_id", "keypoints", "<f4"):
                if image in position:
                    keypoints[position[image]] = from_colmap(table[:, :2])
            matches = {}
            for pair, table in _tables(database, "pair_id", "two_view_geometries", "<u4"):
                i, j = (position[image] for image in divmod(pair, PAIR_BASE))
                matches[(i, j)] = table.astype(np.int64)
    except (sqlite3.Error, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be read ({error}); expected a COLMAP database. Repeat the run") from error
    names, sizes = tuple(row[1] for row in rows), tuple((row[2], row[3]) for row in rows)
    return MatchedImages(names, sizes, tuple(keypoints), dict(sorted(matches.items())))


def _address(path: Path) -> str:
    """For reading without leaving a trace: SQLite would put a log and its index beside a database of COLMAP's kind.

    One that another program has open, whose log or journal is not empty, is read with it.
    """
    path = path.resolve()
    beside = [path.with_name(path.name + ending) for ending in ("-wal", "-journal")]
    is_open = any(file.is_file() and file.stat().st_size > 0 for file in beside)
    return f"{path.as_uri()}?mode=ro" + ("" if is_open else "&immutable=1")


def _tables(database: sqlite3.Connection, key: str, table: str, kind: str) -> Iterator[tuple[int, NDArray[Any]]]:
    """The non-empty matrices of a table, by their key."""
    for number, rows, columns, content in database.execute(f"SELECT {key}, rows, cols, data FROM {table}"):
        if rows and content:
            yield number, np.frombuffer(content, kind).reshape(rows, columns)
