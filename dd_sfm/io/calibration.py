"""Calibrations in the forms people have them: text, OpenCV or ROS YAML, COLMAP cameras.txt, JHU intrinsics."""

import re
from pathlib import Path
from typing import Any

import yaml

from dd_sfm.errors import InputError
from dd_sfm.io.lens import LENS_MODELS, Lens

FORMS = "'fx,fy,cx,cy', an OpenCV YAML, a COLMAP cameras.txt or a JHU camera_intrinsics_per_view"


def read_calibration(text: str, *, width: int, height: int) -> Lens:
    """Read a calibration and check that it fits the frames.

    Args:
        text: ``fx,fy,cx,cy`` at source size in COLMAP's pixel convention, or the path of a file.
        width: Width of the frames.
        height: Height of the frames.

    Raises:
        InputError: If it does not parse, or does not fit the frames.
    """
    numbers = _numbers(text.split(",")) if "," in text and not Path(text).exists() else None
    if numbers is not None:
        if len(numbers) != 4:
            raise InputError(f"--calibration {text}: {len(numbers)} numbers; expected fx,fy,cx,cy")
        found = Lens("PINHOLE", tuple(numbers), width, height)
    else:
        found = _read_file(Path(text), width, height)
    _check(found, text, width, height)
    return found


def _numbers(parts: list[str]) -> list[float] | None:
    try:
        return [float(p) for p in parts]
    except ValueError:
        return None


def _read_file(path: Path, width: int, height: int) -> Lens:
    try:
        content = path.read_text()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"--calibration {path}: neither four numbers nor a readable file; expected {FORMS}") from error
    if "camera_matrix" in content:
        return _read_opencv(path, content, width, height)
    rows = [line.split() for line in content.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if rows and len(rows[0]) > 4 and rows[0][1] in LENS_MODELS:
        return _read_cameras_txt(path, rows)
    values = _numbers([v for row in rows for v in row])
    if values and all(len(row) == 1 for row in rows):
        return _read_jhu(path, values, width, height)
    raise InputError(f"--calibration {path}: not a calibration that can be parsed; expected {FORMS}")


def _read_cameras_txt(path: Path, rows: list[list[str]]) -> Lens:
    _, model, *rest = rows[0]
    values = _numbers(rest)
    if values is None or len(values) - 2 != len(LENS_MODELS[model]):
        raise InputError(
            f"--calibration {path}: {max(0, len(rest) - 2)} parameters of model {model} that can be read; "
            f"expected {len(LENS_MODELS[model])}"
        )
    return Lens(model, tuple(values[2:]), int(values[0]), int(values[1]))


def _read_jhu(path: Path, values: list[float], width: int, height: int) -> Lens:
    """f, cx, cy or fx, fy, cx, cy a view: the first view, told apart by which period repeats."""
    period = next((n for n in (3, 4) if len(values) % n == 0 and values[:n] == values[n : 2 * n]), None)
    period = period or (len(values) if len(values) in (3, 4) else None)
    if period is None:
        raise InputError(f"--calibration {path}: {len(values)} numbers; expected 3 or 4 a view, the same for all views")
    first = values[:period]
    params = (first[0], first[0], first[1], first[2]) if period == 3 else tuple(first)
    return Lens("PINHOLE", params, width, height)


def _read_opencv(path: Path, content: str, width: int, height: int) -> Lens:
    """OpenCV's FileStorage and ROS's camera_info; principal points have pixel centres at integers there."""
    # FileStorage writes '%YAML:1.0' and '!!opencv-matrix', which are not YAML to other readers.
    plain = re.sub(r"^%YAML.*$", "", content, flags=re.M).replace("!!opencv-matrix", "")
    try:
        values = yaml.safe_load(plain)
        matrix = _matrix(values["camera_matrix"])
        distortion = _matrix(values.get("distortion_coefficients", values.get("dist_coeffs", [])))
        size = (int(values.get("image_width", width)), int(values.get("image_height", height)))
        name = str(values.get("distortion_model", "")).lower()
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"--calibration {path}: not an OpenCV YAML that can be parsed; expected {FORMS}") from error
    if len(matrix) != 9:
        raise InputError(f"--calibration {path}: camera_matrix has {len(matrix)} numbers; expected 9")
    pinhole = (matrix[0], matrix[4], matrix[2] + 0.5, matrix[5] + 0.5)
    if name in ("fisheye", "equidistant", "kannala_brandt"):
        return Lens("OPENCV_FISHEYE", pinhole + _padded(distortion, 4, path), *size)
    if not any(distortion):
        return Lens("PINHOLE", pinhole, *size)
    if len(distortion) <= 4:
        return Lens("OPENCV", pinhole + _padded(distortion, 4, path), *size)
    return Lens("FULL_OPENCV", pinhole + _padded(distortion, 8, path), *size)


def _padded(values: list[float], count: int, path: Path) -> tuple[float, ...]:
    if any(values[count:]):
        raise InputError(f"--calibration {path}: {len(values)} distortion coefficients; at most {count} are supported")
    return tuple((values + [0.0] * count)[:count])


def _matrix(value: Any) -> list[float]:
    data = value["data"] if isinstance(value, dict) else value
    flat = [v for row in data for v in (row if isinstance(row, list) else [row])]
    return [float(v) for v in flat]


def _check(found: Lens, text: str, width: int, height: int) -> None:
    if (found.width, found.height) != (width, height):
        raise InputError(
            f"--calibration {text}: made for {found.width}x{found.height} pixels; expected {width}x{height}, as the "
            "frames. Calibrate at the size of the video"
        )
    fx, fy, cx, cy = found.focal_and_centre
    if not (fx > 0 and fy > 0 and 0 < cx < width and 0 < cy < height):
        raise InputError(
            f"--calibration {text}: focal {fx:g}, {fy:g} and centre {cx:g}, {cy:g} do not fit {width}x{height} frames; "
            "expected positive focal lengths and a centre inside the frame"
        )
