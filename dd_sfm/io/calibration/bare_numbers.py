"""Calibrations that are numbers alone: on the command line, a matrix, an archive of NumPy's, JHU's intrinsics."""

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from dd_sfm.io.calibration.found import FoundLens, Size, bad, numbers
from dd_sfm.io.calibration.lenses import Intrinsics, pinhole
from dd_sfm.io.calibration.opencv import is_opencv, matrix_intrinsics, read_opencv
from dd_sfm.io.lens import Lens
from dd_sfm.ops.coordinates import from_colmap

ON_THE_COMMAND_LINE = "fx,fy,cx,cy, and of a lens with distortion k1,k2,p1,p2 or k1,k2,p1,p2,k3 after them"


def read_text(text: str, frames: Size, where: str = "") -> FoundLens:
    """Read numbers separated by commas, in COLMAP's pixels; ``where`` names the file that they are from.

    Raises:
        InputError: If something is no number, or their number is another.
    """
    where = where or text
    values = numbers(where, "it", text.split(","))
    if len(values) not in (4, 8, 9, 12):
        raise bad(where, f"{len(values)} numbers", ON_THE_COMMAND_LINE)
    fx, fy, cx, cy = values[:4]
    return pinhole(Intrinsics(where, fx, fy, from_colmap(cx), from_colmap(cy), frames, sized=False), values[4:])


def is_matrix(rows: list[list[str]]) -> bool:
    """Whether rows of words are those of a 3 x 3 matrix, or of a projection matrix of the first camera, [K 0]."""
    lengths = [len(row) for row in rows]
    return lengths == [3, 3, 3] or (lengths == [4, 4, 4] and not any(float(row[3]) for row in rows))


def read_matrix(where: str, rows: Any, frames: Size) -> FoundLens:
    """Read a camera matrix without distortion, whose principal point has pixel centres at integers, as OpenCV's has.

    Raises:
        InputError: If it has not the form of one.
    """
    return pinhole(matrix_intrinsics([row[:3] for row in rows], where, frames, sized=False), [])


def read_numpy(where: str, path: Path, frames: Size) -> FoundLens:
    """Read a matrix from a .npy, or matrix and distortion from a .npz, as scripts around OpenCV write them.

    Raises:
        InputError: If it cannot be read, or holds no camera matrix.
    """
    try:
        content = np.load(path)
        if isinstance(content, np.ndarray):
            return read_matrix(where, content.tolist(), frames)
        with content:
            tree = {name: content[name].tolist() for name in content.files if content[name].size < 100}
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise bad(
            where, f"not a file of NumPy's that can be read ({error})", "camera_matrix and dist_coeffs"
        ) from error
    if not is_opencv(tree):
        raise bad(where, f"no camera matrix among {', '.join(tree) or 'nothing'}", "camera_matrix and dist_coeffs")
    return read_opencv(where, tree, frames)


def read_jhu(where: str, values: list[float], frames: Size) -> FoundLens:
    """f, cx, cy or fx, fy, cx, cy a view: the first view, told apart by which period repeats.

    Raises:
        InputError: If the views differ.
    """
    count = len(values)
    period = next((n for n in (3, 4) if count % n == 0 and values[:n] == values[n : 2 * n]), None)
    period = period or (count if count in (3, 4) else None)
    if period is None or values[:period] * (count // period) != values:
        raise bad(where, f"{count} numbers", "3 or 4 a view, the same for all views")
    first = values[:period]
    params = (first[0], first[0], first[1], first[2]) if period == 3 else tuple(first)
    return FoundLens(Lens("PINHOLE", params, *frames), sized=False)
