"""Find out what a calibration is, read it, and fit it to the frames."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dd_sfm.documents import regular
from dd_sfm.errors import InputError
from dd_sfm.io.calibration import bare_numbers, colmap_cameras, ocam, opencv, robotics, transforms
from dd_sfm.io.calibration.found import FoundLens, Size, bad
from dd_sfm.io.calibration.tree import load_tree
from dd_sfm.io.lens import Lens
from dd_sfm.notes import Note, NoteCode

FORMS = (
    "'fx,fy,cx,cy', or a file of OpenCV, ROS, Kalibr, ORB-SLAM, OCamCalib, nerfstudio, COLMAP or JHU "
    "(docs/calibrate.md lists them). dd-sfm calibrate makes one; without --calibration the camera is estimated from "
    "the clip"
)
TREE_SUFFIXES = (".yaml", ".yml", ".json", ".xml")
"""A file so named that cannot be parsed is taken for a damaged one, any other for something else."""
MOST_PARAMETER = 1e9
"""Of a lens, in whatever unit."""
LEAST_FIELD_DEG = 0.2
"""A lens that turns back closer to its axis shows nothing."""
SHOWN = 40
"""Characters of a file's first line that are shown where it is no calibration."""
Part = tuple[int, int, int, int]
"""x, y, width and height of a part of a picture."""

READERS: tuple[tuple[Callable[..., bool], Callable[..., FoundLens]], ...] = (
    (robotics.is_camodocal, robotics.read_camodocal),
    (robotics.is_kalibr, robotics.read_kalibr),
    (transforms.is_transforms, transforms.read_transforms),
    (opencv.is_opencv, opencv.read_opencv),
)
"""How a tree of a single camera is recognised and read, in the order in which they are tried."""


@dataclass(frozen=True)
class Calibration:
    """The lens of the frames, and what the user should know of how it was read."""

    lens: Lens
    notes: tuple[Note, ...] = ()


def read_calibration(text: str, *, width: int, height: int) -> Lens:
    """Read a calibration as the lens of frames of a size; see :func:`open_calibration`."""
    return open_calibration(text, width=width, height=height).lens


def open_calibration(
    text: str, *, width: int, height: int, part: Part | None = None, exact: bool = False
) -> Calibration:
    """Read a calibration and fit it to the frames.

    Args:
        text: Numbers, ``fx,fy,cx,cy`` and maybe ``k1,k2,p1,p2``, at source size in COLMAP's pixels; or the path of a
            file; of a file of several cameras ``path#name``.
        width: Width of the frames.
        height: Height of the frames.
        part: What of the calibrated picture the frames show, in its pixels; None for all.
        exact: Refuse a calibration of another size of the same shape, which is scaled otherwise.

    Raises:
        InputError: If it does not parse, or does not fit the frames.
    """
    found = _find(text, part[2:] if part else (width, height))
    lens, notes = _fitted(found, text, (width, height), part, exact=exact)
    _check(lens, text, is_part=part is not None)
    return Calibration(lens, tuple(notes))


def calibration_file(text: str) -> tuple[Path, str] | None:
    """The file that a calibration is in, and the name of the camera in it that was asked for; None for numbers."""
    path, _, camera = (text, "", "") if _exists(Path(text)) else text.rpartition("#")
    place = Path(path or text)
    if not _exists(place):
        return None
    inside = colmap_cameras.cameras_in(place) if place.is_dir() else place
    return (inside, camera if path else "") if inside else None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        # A text that is no path: too long, or with a zero in it.
        return False


def _looks_like_path(text: str) -> bool:
    """Whether a text was meant as the name of a file: it has an ending, as numbers have none, or names folders."""
    path = Path(text.partition("#")[0])
    return len(path.parts) > 1 or path.suffix[1:2].isalpha()


def _find(text: str, frames: Size) -> FoundLens:
    file = calibration_file(text)
    if file is None:
        if Path(text).is_dir():
            raise bad(text, "a folder without cameras.bin or cameras.txt", "a file, or the folder of a COLMAP model")
        if "," in text and any(c.isdecimal() for c in text) and not Path(text.split(",")[0]).suffix.isalpha():
            return bare_numbers.read_text(text, frames)
        raise bad(text, "not found" if _looks_like_path(text) else "neither numbers nor a readable file", FORMS)
    path, camera = file
    return _choose(text, _read_file(text, path, frames), camera, frames)


def _read_file(where: str, path: Path, frames: Size) -> list[FoundLens]:
    suffix = path.suffix.lower()
    if suffix == ".bin":
        return colmap_cameras.read_binary(where, path)
    if suffix in (".npy", ".npz"):
        return [bare_numbers.read_numpy(where, path, frames)]
    if suffix == ".mat":
        raise bad(where, "a file of MATLAB's", "what the lines in docs/calibrate.md write from it")
    try:
        content = regular(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise bad(where, f"cannot be read ({error.strerror})", FORMS) from error
    except UnicodeDecodeError as error:
        raise bad(where, "not a text file", FORMS) from error
    if not content.strip():
        raise bad(where, "an empty file", FORMS)
    tree = None if _rows(content) else _tree(where, suffix, content)
    if tree is not None:
        return _read_tree(where, tree, frames)
    return _read_lines(where, content, frames)


def _tree(where: str, suffix: str, content: str) -> dict[str, Any] | None:
    try:
        return load_tree(where, content)
    except InputError:
        if suffix in TREE_SUFFIXES or content.startswith("%YAML"):
            raise
        return None


def _rows(content: str) -> list[list[str]] | None:
    """The words of a text's lines, when these are numbers but for names of camera models; None for other text."""
    lines = [line for line in content.splitlines() if line.strip() and not line.lstrip().startswith(("#", "%", "//"))]
    rows = [re.sub(r"[,;\[\]]", " ", line).split() for line in lines]
    rows = [row for row in rows if row]
    is_camera = colmap_cameras.is_text(rows)
    return rows if rows and (is_camera or all(_is_number(word) for row in rows for word in row)) else None


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _read_lines(where: str, content: str, frames: Size) -> list[FoundLens]:
    rows = _rows(content)
    if rows is None:
        named = ocam.read_named(where, content, frames)
        if named is None:
            first = content.strip().splitlines()[0]
            begins = first[:SHOWN] + ("..." if len(first) > SHOWN else "")
            raise bad(where, f"a text file that begins '{begins}', which is no calibration", FORMS)
        return [named]
    if colmap_cameras.is_text(rows):
        return colmap_cameras.read_text(where, rows)
    if ocam.is_ocam_results(rows):
        return [ocam.read_ocam_results(where, rows)]
    if len(rows) == 1 and len(rows[0]) > 3:
        return [bare_numbers.read_text(",".join(rows[0]), frames, where)]
    column = [row[0] for row in rows] if all(len(row) == 1 for row in rows) else []
    if bare_numbers.matrix_rows(list(map(float, column))):
        return [bare_numbers.read_text(",".join(column), frames, where)]
    if bare_numbers.is_matrix(rows):
        return [bare_numbers.read_matrix(where, rows, frames)]
    if column:
        return [bare_numbers.read_jhu(where, [float(row[0]) for row in rows], frames)]
    raise bad(where, f"{len(rows)} lines of numbers that are no calibration that can be parsed", FORMS)


def _read_tree(where: str, tree: Mapping[str, Any], frames: Size) -> list[FoundLens]:
    prefixes = robotics.orb_slam_cameras(tree)
    if prefixes:
        return [_named(robotics.read_orb_slam(where, tree, prefix, frames), prefix.rstrip(".")) for prefix in prefixes]
    for is_such, read in READERS:
        if is_such(tree):
            return [read(where, tree, frames)]
    stereo = opencv.stereo_cameras(tree)
    if stereo:
        return [_named(opencv.read_opencv(where, one, frames), name) for name, one in stereo.items()]
    inside = {key: value for key, value in tree.items() if isinstance(value, Mapping)}
    found = [
        _named(one, one.name or key) for key, value in inside.items() for one in _read_inside(where, value, frames)
    ]
    if not found:
        names = ", ".join(list(tree)[:8]) or "nothing"
        raise bad(where, f"not a calibration that can be parsed: it holds {names}", FORMS)
    return found


def _read_inside(where: str, tree: Mapping[str, Any], frames: Size) -> list[FoundLens]:
    """The cameras of a part of a file; none in a part that is something else."""
    keyed = {str(key): value for key, value in tree.items()}
    is_known = opencv.stereo_cameras(keyed) or any(is_such(keyed) for is_such, _ in READERS)
    return _read_tree(where, keyed, frames) if is_known else []


def _named(found: FoundLens, name: str) -> FoundLens:
    return replace(found, name=name)


def _choose(text: str, found: list[FoundLens], camera: str, frames: Size) -> FoundLens:
    if not found:
        raise bad(text, "a file without cameras", FORMS)
    names = ", ".join(one.name for one in found)
    if camera:
        chosen = [one for one in found if one.name == camera]
        if not chosen:
            raise bad(text, f"no camera '{camera}'", f"one of {names}" if names else "no name, as there is one camera")
        return chosen[0]
    fitting = [one for one in found if one.lens.size == frames] or found
    if any(one.lens != fitting[0].lens for one in fitting):
        raise bad(text, f"{len(found)} cameras ({names})", f"the name of one after the file: {text}#{fitting[0].name}")
    return fitting[0]


def _fitted(found: FoundLens, text: str, frames: Size, part: Part | None, *, exact: bool) -> tuple[Lens, list[Note]]:
    """The lens at the size of the frames, and notes of how it got there."""
    lens, notes = found.lens, []
    if part is not None:
        x, y, width, height = part
        if found.from_size and not found.sized:
            raise bad(text, "no size of its picture, from which its centre or focal length would follow", "w and h")
        if found.sized and (min(x, y) < 0 or x + width > lens.width or y + height > lens.height):
            raise bad(
                text, f"made for {lens.width}x{lens.height} pixels", f"--calibration-crop within them, not {part}"
            )
        lens = lens.cropped((x, y), (width, height))
        text_of_part = (
            f"calibration: the frames are taken to show {width}x{height} pixels from ({x}, {y}) of its picture"
        )
        notes.append(Note(NoteCode.CALIBRATION_CROPPED, text_of_part))
    if lens.size == frames:
        return lens, notes
    made_for = f"made for {lens.width}x{lens.height} pixels, the frames have {frames[0]}x{frames[1]}"
    if abs(lens.width * frames[1] - lens.height * frames[0]) > max(*lens.size, *frames):
        raise bad(
            text, f"{made_for}, another shape",
            "the same picture at any size. If they show a part of it: --calibration-crop x,y,w,h in its pixels",
        )  # fmt: skip
    if exact:
        raise bad(text, made_for, "the same size")
    scaled = f"calibration: {made_for}, the same shape: scaled, as of the same picture at another size"
    notes.append(Note(NoteCode.CALIBRATION_SCALED, scaled))
    return lens.resized(frames), notes


def _check(lens: Lens, text: str, *, is_part: bool) -> None:
    if not all(abs(value) < MOST_PARAMETER for value in lens.params):
        raise bad(text, "a parameter that is not finite, or far too large", "numbers of a real lens")
    fx, fy, cx, cy = lens.focal_and_centre
    inside = is_part or (0 < cx < lens.width and 0 < cy < lens.height)
    if not (fx > 0 and fy > 0 and inside):
        raise InputError(
            f"--calibration {text}: focal {fx:g}, {fy:g} and centre {cx:g}, {cy:g} do not fit {lens.width}x"
            f"{lens.height} frames; expected positive focal lengths and a centre inside the frame"
        )
    if lens.has_distortion and lens.field_limit_deg < LEAST_FIELD_DEG:
        raise bad(text, "a distortion that turns the picture back at once", "that of a real lens")
