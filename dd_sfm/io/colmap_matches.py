"""Keypoints and verified matches of a COLMAP database, read without leaving a trace beside it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.documents import regular
from dd_sfm.errors import InputError
from dd_sfm.ops.coordinates import from_colmap

# COLMAP numbers a pair of images as first * this + second.
PAIR_BASE = 2147483647
MATRICES = {"keypoints": 4, "descriptors": 1, "matches": 4, "two_view_geometries": 4}
"""Tables of matrices, and bytes of a number in them."""


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


def read_database_matches(path: Path) -> MatchedImages:
    """Keypoints and verified matches of a COLMAP database, which is opened for reading only.

    Raises:
        InputError: If it is no COLMAP database.
    """
    try:
        with closing(sqlite3.connect(_address(regular(path)), uri=True)) as database:
            rows = database.execute(
                "SELECT images.image_id, name, width, height FROM images JOIN cameras USING (camera_id) ORDER BY name"
            ).fetchall()
            if not all(list(map(type, row)) == [int, str, int, int] for row in rows):
                raise ValueError("images without a name or a size")
            position = {row[0]: k for k, row in enumerate(rows)}
            keypoints: list[NDArray[Any]] = [np.zeros((0, 2), np.float32)] * len(rows)
            for image, table in _tables(database, "image_id", "keypoints", "<f4"):
                if image in position:
                    keypoints[position[image]] = from_colmap(table[:, :2])
            matches = {}
            for pair, table in _tables(database, "pair_id", "two_view_geometries", "<u4"):
                i, j = (position[image] for image in divmod(pair, PAIR_BASE))
                matches[(i, j)] = _of_keypoints(table.astype(np.int64), len(keypoints[i]), len(keypoints[j]))
    except (sqlite3.Error, OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise _damaged(path, error) from error
    names, sizes = tuple(row[1] for row in rows), tuple((row[2], row[3]) for row in rows)
    return MatchedImages(names, sizes, tuple(keypoints), dict(sorted(matches.items())))


def read_database_descriptors(path: Path) -> dict[str, NDArray[np.uint8]]:
    """Descriptors (N, D) uint8 of the images of a COLMAP database that have some, by name.

    Raises:
        InputError: If it is no COLMAP database.
    """
    try:
        with closing(sqlite3.connect(_address(regular(path)), uri=True)) as database:
            names = dict(database.execute("SELECT image_id, name FROM images").fetchall())
            found = _tables(database, "image_id", "descriptors", "u1")
            return {str(names[image]): table for image, table in found if image in names}
    except (sqlite3.Error, OSError, ValueError, TypeError, OverflowError) as error:
        raise _damaged(path, error) from error


def copy_database(path: Path, copy: Path) -> None:
    """Copy a COLMAP database as it reads, also while another program has it open; nothing is left beside it.

    Raises:
        InputError: If it is no database.
    """
    try:
        with (
            closing(sqlite3.connect(_address(regular(path)), uri=True)) as database,
            closing(sqlite3.connect(copy)) as to,
        ):
            database.backup(to)
    except (sqlite3.Error, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def database_matches(path: Path, names: tuple[str, str]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Places (N, 2) of the matches of two images, pixel centres at integers, not verified; None when not matched.

    Raises:
        InputError: If it is no COLMAP database, or lacks an image.
    """
    try:
        with closing(sqlite3.connect(_address(regular(path)), uri=True)) as database:
            ids = dict(database.execute("SELECT name, image_id FROM images WHERE name IN (?, ?)", names).fetchall())
            if not set(names) <= set(ids):
                raise ValueError(f"image {names[0]} or {names[1]} is missing")
            first, second = (int(ids[name]) for name in names)
            low, high = sorted((first, second))
            found = dict(_tables(database, "pair_id", "matches", "<u4", low * PAIR_BASE + high))
            if not found:
                return None
            (matches,) = found.values()
            columns = matches.astype(np.int64).T[:: 1 if first < second else -1]
            places = []
            for image, rows in zip((first, second), columns, strict=True):
                keypoints = dict(_tables(database, "image_id", "keypoints", "<f4", image))[image]
                places.append(from_colmap(keypoints[rows, :2].astype(np.float64)))
    except (sqlite3.Error, OSError, ValueError, LookupError, TypeError, OverflowError) as error:
        raise _damaged(path, error) from error
    return places[0], places[1]


def check_matrices(path: Path) -> None:
    """See that matrices in a COLMAP database have as many bytes as rows and columns, which COLMAP takes on trust.

    Raises:
        InputError: If they have not, or it is no COLMAP database.
    """
    try:
        with closing(sqlite3.connect(_address(regular(path)), uri=True)) as database:
            for table, size in MATRICES.items():
                wrong = database.execute(
                    f"SELECT count(*) FROM {table} WHERE typeof(rows) != 'integer' OR typeof(cols) != 'integer' "
                    f"OR rows < 0 OR cols < 0 OR length(coalesce(data, '')) != rows * cols * {size} "
                    "OR typeof(data) NOT IN ('blob', 'null')"
                ).fetchone()[0]
                if wrong:
                    raise ValueError(f"{wrong} rows of {table} are not of the size that they state")
    except (sqlite3.Error, OSError, ValueError, RuntimeError) as error:
        raise _damaged(path, error) from error


def _of_keypoints(matches: NDArray[np.int64], first: int, second: int) -> NDArray[np.int64]:
    """Matches (M, 2) of images with so many keypoints.

    Raises:
        ValueError: If they are of others.
    """
    if matches.shape[1] != 2 or (matches.max(0, initial=-1) >= (first, second)).any():
        raise ValueError("matches of keypoints that are not there")
    return matches


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: cannot be read ({error}); expected a COLMAP database. Repeat the run")


def _address(path: Path) -> str:
    """For reading without leaving a trace: SQLite would put a log and its index beside a database of COLMAP's kind.

    One that another program has open, whose log or journal is not empty, is read with it.
    """
    path = path.resolve()
    beside = [path.with_name(path.name + ending) for ending in ("-wal", "-journal")]
    is_open = any(file.is_file() and file.stat().st_size > 0 for file in beside)
    return f"{path.as_uri()}?mode=ro" + ("" if is_open else "&immutable=1")


def _tables(
    database: sqlite3.Connection, key: str, table: str, kind: str, one: int | None = None
) -> Iterator[tuple[int, NDArray[Any]]]:
    """The non-empty matrices of a table, by their key; ``one``: only that of this key."""
    only = "" if one is None else f" WHERE {key} = {one:d}"
    for number, rows, columns, content in database.execute(f"SELECT {key}, rows, cols, data FROM {table}{only}"):
        if rows and content:
            if not isinstance(content, bytes):
                raise ValueError(f"{table} hold {type(content).__name__}, no numbers")
            yield number, np.frombuffer(content, kind).reshape(rows, columns)
