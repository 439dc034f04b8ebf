"""Paths of a camera or of a sensor on it that others measured: TUM, tables (csv), COLMAP models, JHU sequences."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import inverse_pose
from dd_sfm.documents import regular
from dd_sfm.errors import ConfigError, InputError, reason_of
from dd_sfm.io.colmap_model import read_poses
from dd_sfm.io.colmap_source import as_binary, is_model
from dd_sfm.io.jhu import read_sequence
from dd_sfm.io.known_poses import run_metric
from dd_sfm.io.metric import UNITS
from dd_sfm.structures import FloatArray

SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
MOST_BYTES = 200_000_000
MODEL_FILES = ("images.txt", "images.bin")
TIMES = ("time", "timestamp", "timestamps", "t", "stamp", "seconds", "sec", "timestampsec")
NUMBERS = ("frame", "framenumber", "framenr", "frameid", "index")
NAMES = ("name", "image", "imagename", "filename", "file")
FROM_WORLD = "cam_from_world"
EXPECTED = (
    "lines of time x y z qx qy qz qw (TUM), a table (.csv) whose first line names such columns, a COLMAP model (its "
    "folder, images.txt or images.bin), or a JHU sequence"
)


@dataclass(frozen=True)
class CameraPath:
    """Poses of a camera, or of a sensor that is fixed to it, as a file has them.

    ``stamps`` (N,): what each pose is known by, ascending; ``kind``: what they are: "times", "numbers" of frames, or
    "either", where a format leaves that open and whole numbers may be both; ``names`` of images where they are known
    by these, ascending, ``stamps`` then count them; ``world_from_sensor`` (N, 3, 4), rotations of NaN where the file
    has positions alone; ``unit``: of lengths where the file names it, else ""; ``first``: the number that the first
    frame of the video may have; ``is_of_run``: whether it is the trajectory of a run, in its unit; ``notes``: what was
    left out.
    """

    path: Path
    stamps: FloatArray
    world_from_sensor: FloatArray
    kind: Literal["times", "numbers", "either", "names"] = "either"
    names: tuple[str, ...] = ()
    unit: str = ""
    first: int = 0
    is_of_run: bool = False
    notes: tuple[str, ...] = ()

    @property
    def centres(self) -> FloatArray:
        """Positions (N, 3)."""
        return self.world_from_sensor[:, :, 3]

    @property
    def has_rotations(self) -> bool:
        """Whether orientations are known."""
        return bool(np.isfinite(self.world_from_sensor).all())


def split_unit(text: str) -> tuple[Path, str]:
    """The path and the unit of ``FILE@mm``; "" where none is given, or where a file is really called so.

    Raises:
        ConfigError: If what follows is no unit of :data:`UNITS`.
    """
    path, at, unit = text.rpartition("@")
    if not at or "/" in unit or Path(text).exists():
        return Path(text), ""
    if unit not in UNITS:
        raise ConfigError(f"{text}: unit {unit}; expected one of {', '.join(UNITS)}, as in FILE@mm")
    return Path(path), unit


def read_camera_path(path: Path) -> CameraPath:
    """Read a path in any of the formats.

    Raises:
        InputError: If it cannot be read.
    """
    if path.is_dir() and (path / "motion.yaml").is_file():
        sequence = read_sequence(path)
        numbers = sorted(sequence.cam_from_world)
        world = inverse_pose(np.stack([sequence.cam_from_world[k] for k in numbers]))
        return CameraPath(path, np.array(numbers, np.float64), world, "numbers", first=min(sequence.frames))
    if path.is_dir() or path.name in MODEL_FILES:
        return _of_model(path)
    try:
        if regular(path).stat().st_size > MOST_BYTES:
            raise ValueError("too large for a path")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        return _of_lines(path, lines)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no camera path ({reason_of(error)}); expected {EXPECTED}") from error


def _of_model(path: Path) -> CameraPath:
    folder = path if path.is_dir() else path.parent
    places = (folder, folder / "sparse" / "0", folder / "sparse", folder / "0")
    found = next((place for place in places if is_model(place)), None)
    if found is None:
        raise InputError(f"{path}: no camera path in the folder; expected {EXPECTED}")
    if path.name == "images.txt":
        poses = _images_text(path)
    else:
        with as_binary(found) as binary:
            poses = read_poses(binary)
    if not poses:
        raise InputError(f"{path}: the model has no image with a pose; expected one a frame")
    names = sorted(poses)
    world = inverse_pose(np.stack([poses[name] for name in names]))
    return CameraPath(path, np.arange(len(names), dtype=np.float64), world, "names", tuple(names))


def _images_text(path: Path) -> dict[str, FloatArray]:
    """Poses cam_from_world (3, 4) by name of an images.txt, which stands alone where only poses are handed on.

    Raises:
        InputError: If it cannot be read.
    """
    found: dict[str, FloatArray] = {}
    try:
        if regular(path).stat().st_size > MOST_BYTES:
            raise ValueError("too large for poses")
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        # Every second line holds what the image sees, and may be empty.
        for line in lines[::2]:
            words = line.split(maxsplit=9)
            if words:
                w, x, y, z, *shift = (float(word) for word in words[1:8])
                found[words[9]] = np.column_stack([_rotations(np.array([[x, y, z, w]]))[0], shift])
    except (OSError, ValueError, IndexError) as error:
        raise InputError(
            f"{path}: no poses ({reason_of(error)}); expected COLMAP's images.txt: two lines an image"
        ) from error
    return found


def _of_lines(path: Path, lines: Sequence[str]) -> CameraPath:
    """A table with a head, or lines of TUM: all with an orientation, or all without."""
    head = next((line for line in lines if line.strip() and not _is_remark(line)), "")
    if _columns(_words(head.lstrip("# "))):
        return _of_table(path, lines, head)
    rows: list[list[float]] = []
    first = 0
    for number, line in enumerate(lines, 1):
        plain = line.partition("#")[0].strip()
        if not plain:
            continue
        row = _row(plain, _separator_of_row(plain), f"line {number}")
        first = first or number
        if len(row) not in (4, 8):
            raise ValueError(f"line {number} has {len(row)} values, and not 4 or 8")
        if rows and len(row) != len(rows[0]):
            raise ValueError(f"line {number} has {len(row)} values, line {first} has {len(rows[0])}")
        rows.append(row)
    if not rows:
        raise ValueError("no positions")
    values = np.array(rows, np.float64)
    has_rotations = values.shape[1] == 8
    rotations = _rotations(values[:, 4:]) if has_rotations else np.full((len(rows), 3, 3), np.nan)
    return _sorted(path, values[:, 0], rotations, values[:, 1:4], "either")


def _row(line: str, separator: str, where: str) -> list[float]:
    return [_number(word, separator, where) for word in _cells(line, separator)]


def _number(word: str, separator: str, where: str) -> float:
    """A number, whose decimal mark may be a comma where values are separated by something else.

    Raises:
        ValueError: If it is none.
    """
    is_comma = separator != "," and word.count(",") == 1 and "." not in word
    try:
        return float(word.replace(",", ".") if is_comma else word)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _is_remark(line: str) -> bool:
    """Whether a line is a comment, and not the head of a table behind a "#"; TUM files have comments that look so."""
    is_table = _separator(line) != "" and bool(_columns(_words(line.lstrip("# "))))
    return line.lstrip().startswith("#") and not is_table


def _separator(head: str) -> str:
    """What separates the words of a head: a semicolon, a tab, a comma, or "" for spaces."""
    return next((mark for mark in ";\t," if mark in head), "")


def _separator_of_row(line: str) -> str:
    """The same of a line of numbers, whose decimal mark may be a comma."""
    mark = _separator(line)
    return "" if mark == "," and any(len(cell.split()) > 1 for cell in line.split(",")) else mark


def _cells(line: str, separator: str, count: int = 0) -> list[str]:
    """The values of a line, without empty ones at its end beyond a count."""
    if not separator:
        return line.split()
    try:
        cells = [cell.strip().strip('"') for cell in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error as error:
        raise ValueError(str(error)) from error
    while len(cells) > count and not cells[-1]:
        cells.pop()
    return cells


def _words(line: str) -> list[str]:
    return _cells(line, _separator(line))


def _columns(words: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Where a table has what, and in which unit, by the words of its head; empty where these are no such words."""
    found: dict[str, tuple[int, str]] = {}
    for place, word in enumerate(words):
        name, unit = _named(word)
        if name and name not in found:
            found[name] = place, unit
    return found if {"x", "y", "z"} <= set(found) else {}


def _named(word: str) -> tuple[str, str]:
    """What a column called so holds, "" for something else, and its unit."""
    parts = re.fullmatch(r"(.*?)\s*(?:[\[(]\s*(\w*)\s*[\])]|_(mm|cm|m|ns|us|ms|s))?", word.strip().lower())
    assert parts is not None
    name, unit = parts[1].strip(), parts[2] or parts[3] or ""
    plain = re.sub(r"[^a-z0-9]", "", name)
    for kind, names in (("time", TIMES), ("number", NUMBERS), ("name", NAMES)):
        if plain in names:
            return kind, unit
    if part := re.fullmatch(r"(?:q|quat\w*|q_\w*_|rot\w*|orientation\w*?)_?([wxyz0])", name):
        return f"q{part[1].replace('0', 'w')}", ""
    if part := re.fullmatch(r"(?:t|p|pos|position|translation|p_\w*)?_?([xyz])", name):
        return part[1], unit
    return "", ""


def _of_table(path: Path, lines: Sequence[str], head: str) -> CameraPath:
    """A table whose columns have names; that of a run's own trajectory.csv holds cam_from_world."""
    words = _words(head.lstrip("# "))
    columns = _columns(words)
    numbers, rows = _rows(lines, head, len(words))
    is_of_run, run_unit = {"inliers", "model"} <= set(words), ""
    notes: list[str] = []
    if is_of_run:
        chosen, run_unit, notes = _of_one_model(path, [row[words.index("model")] for row in rows])
        numbers, rows = [numbers[k] for k in chosen], [rows[k] for k in chosen]

    def column(name: str) -> FloatArray:
        place, separator = columns[name][0], _separator(head)
        where = f"column {words[place]}, line"
        values = [_number(row[place], separator, f"{where} {k}") for k, row in zip(numbers, rows, strict=True)]
        return np.array(values, np.float64)

    units = {unit for name, (_, unit) in columns.items() if name in "xyz"} - {""}
    if len(units) > 1 or units - set(UNITS):
        raise ValueError(f"positions in {', '.join(sorted(units))}")
    quaternion = ("qx", "qy", "qz", "qw")
    has_rotations = all(name in columns for name in quaternion)
    rotations = np.full((len(rows), 3, 3), np.nan)
    if has_rotations:
        rotations = _rotations(np.column_stack([column(name) for name in quaternion]))
    places = np.column_stack([column(name) for name in "xyz"])
    if is_of_run:
        world = inverse_pose(np.concatenate([rotations, places[:, :, None]], -1))
        rotations, places = world[:, :, :3], world[:, :, 3]
        columns.pop("name", None), columns.pop("time", None)
    unit = next(iter(units), run_unit)
    if "name" in columns and "time" not in columns and "number" not in columns:
        names = [row[columns["name"][0]] for row in rows]
        order = sorted(range(len(names)), key=names.__getitem__)
        world = np.concatenate([rotations, places[:, :, None]], -1)[order]
        stamps = np.arange(len(names), dtype=np.float64)
        return CameraPath(path, stamps, _finite(world), "names", tuple(names[k] for k in order), unit)
    by = "time" if "time" in columns else "number" if "number" in columns else ""
    if not by:
        raise ValueError("no column of time, frame or name")
    factor = SECONDS.get(columns[by][1] or "s", 0.0) if by == "time" else 1.0
    if not factor:
        raise ValueError(f"times in {columns[by][1]}")
    kind: Literal["times", "numbers"] = "times" if by == "time" else "numbers"
    found = _sorted(path, factor * column(by), rotations, places, kind, unit)
    return replace(found, is_of_run=is_of_run, notes=tuple(notes))


def _of_one_model(path: Path, models: Sequence[str]) -> tuple[list[int], str, list[str]]:
    """The rows of a run's trajectory that are of its first model, the unit of this, and what is said of the others."""
    first = min(models, key=lambda text: (len(text), text))
    chosen = [k for k, model in enumerate(models) if model == first]
    metric = run_metric(path.parent, path.parent / "sparse" / first)
    unit = metric.unit if metric is not None and metric.unit in UNITS else ""
    others = len(models) - len(chosen)
    text = f"{path.name}: {others} of {len(models)} frames were left out: of other models than {first}, each in a world"
    return chosen, unit, [f"{text} of its own"] if others else []


def _rows(lines: Sequence[str], head: str, count: int) -> tuple[list[int], list[list[str]]]:
    """The rows of a table and the numbers of their lines, without comments and empty lines.

    Raises:
        ValueError: If there is none, or one has another number of values than the head.
    """
    separator, start = _separator(head), list(lines).index(head) + 1
    numbers, rows = [], []
    for number, line in enumerate(lines[start:], start + 1):
        cells = [] if line.lstrip().startswith("#") else _cells(line, separator, count)
        if not any(cells):
            continue
        if len(cells) != count:
            raise ValueError(f"line {number} has {len(cells)} values, the first line names {count}")
        numbers.append(number)
        rows.append(cells)
    if not rows:
        raise ValueError("a head without rows")
    return numbers, rows


def _rotations(quaternions: FloatArray) -> FloatArray:
    """Rotations (N, 3, 3) of quaternions x, y, z, w (N, 4).

    Raises:
        ValueError: If some are none.
    """
    length = np.linalg.norm(quaternions, axis=1)
    bad = np.flatnonzero(~((length > 0.9) & (length < 1.1)))
    if len(bad):
        raise ValueError(f"pose {bad[0] + 1} has a quaternion of the length {length[bad[0]]:.3g}")
    return np.asarray(Rotation.from_quat(quaternions).as_matrix())


def _finite(world: FloatArray) -> FloatArray:
    if not np.isfinite(world[:, :, 3]).all():
        raise ValueError("positions that are not finite")
    return world


def _sorted(
    path: Path,
    stamps: FloatArray,
    rotations: FloatArray,
    places: FloatArray,
    kind: Literal["times", "numbers", "either"],
    unit: str = "",
) -> CameraPath:
    """Poses by ascending stamps, the first of several alike."""
    if not np.isfinite(stamps).all():
        raise ValueError("times that are not finite")
    order = np.unique(stamps, return_index=True)[1]
    world = np.concatenate([rotations, places[:, :, None]], -1)[order]
    return CameraPath(path, stamps[order], _finite(world), kind, unit=unit)
