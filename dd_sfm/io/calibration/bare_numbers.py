"""Calibrations that are numbers alone: on the command line, a matrix, an archive of NumPy's, JHU's intrinsics."""

from pathlib import Path
from typing import Any

from dd_sfm.io.arrays import READ_ERRORS, read_array, read_arrays
from dd_sfm.io.calibration.found import FoundLens, Size, bad, numbers
from dd_sfm.io.calibration.lenses import Intrinsics, pinhole
from dd_sfm.io.calibration.opencv import is_opencv, matrix_intrinsics, read_opencv
from dd_sfm.io.lens import Lens
from dd_sfm.ops.coordinates import from_colmap

ON_THE_COMMAND_LINE = (
    "fx,fy,cx,cy, and of a lens with distortion k1,k2,p1,p2 or k1,k2,p1,p2,k3 after them, or the matrix "
    "fx,0,cx,0,fy,cy,0,0,1"
)


def read_text(text: str, frames: Size, where: str = "") -> FoundLens:
    """Read numbers separated by commas, in COLMAP's pixels, or a matrix row by row, in OpenCV's.

    Args:
        text: The numbers.
        frames: Width and height of the frames.
        where: Names the file that they are from.

    Raises:
        InputError: If something is no number, or their number is another.
    """
    where = where or text
    values = numbers(where, "it", text.replace("[", " ").replace("]", " ").split(","))
    rows = matrix_rows(values)
    if rows:
        return read_matrix(where, rows, frames)
    if len(values) not in (4, 8, 9, 12):
        raise bad(where, f"{len(values)} numbers", ON_THE_COMMAND_LINE)
    fx, fy, cx, cy = values[:4]
    return pinhole(Intrinsics(where, fx, fy, from_colmap(cx), from_colmap(cy), frames, sized=False), values[4:])


def matrix_rows(values: list[float]) -> list[list[float]]:
    """The rows of a camera matrix, or of a projection matrix, that numbers are row by row; none of other numbers.

    The zeros below its diagonal and the one at its end tell it: read as fx, fy, cx, cy, a centre of 0 or a focal length
    of 0 would be among them. A matrix that is transposed, as MATLAB has it, is known by the zeros above its diagonal.
    """
    if len(values) not in (9, 12):
        return []
    columns = len(values) // 3
    rows = [values[start : start + columns] for start in range(0, len(values), columns)]
    below, above = (rows[1][0], rows[2][0], rows[2][1]), (rows[0][1], rows[0][2], rows[1][2])
    return rows if rows[2][2] == 1 and not (any(below) and any(above)) else []


def is_matrix(rows: list[list[str]]) -> bool:
    """Whether rows of words are those of a 3 x 3 matrix, or of a 3 x 4 projection matrix."""
    return [len(row) for row in rows] in ([3, 3, 3], [4, 4, 4])


def read_matrix(where: str, rows: Any, frames: Size) -> FoundLens:
    """Read a camera matrix without distortion, whose principal point has pixel centres at integers, as OpenCV's has.

    Raises:
        InputError: If it has not the form of one, or is the projection matrix of a second camera.
    """
    if any(float(value) for row in rows for value in row[3:]):
        raise bad(
            where, "a projection matrix whose fourth column is not 0, as of a second, rectified camera",
            "the camera matrix of pictures as the scope shows them: fx, 0, cx; 0, fy, cy; 0, 0, 1",
        )  # fmt: skip
    return pinhole(matrix_intrinsics([row[:3] for row in rows], where, frames, sized=False), [])


def read_numpy(where: str, path: Path, frames: Size) -> FoundLens:
    """Read a matrix from a .npy, or matrix and distortion from a .npz, as scripts around OpenCV write them.

    Raises:
        InputError: If it cannot be read, or holds no camera matrix.
    """
    try:
        if path.suffix.lower() == ".npy":
            matrix = read_array(path)
            if matrix.shape not in ((3, 3), (3, 4)) or matrix.dtype.kind not in "iuf":
                raise ValueError(f"an array of {matrix.dtype} of the shape {matrix.shape}, no 3 x 3 matrix of numbers")
            return read_matrix(where, matrix.tolist(), frames)
        tree = {name: array.tolist() for name, array in read_arrays(path).items() if array.size < 100}
    except READ_ERRORS as error:
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
