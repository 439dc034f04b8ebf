"""Calibrations of OpenCV (FileStorage in YAML, XML or JSON) and of ROS (camera_info)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dd_sfm.io.calibration.found import (
    FoundLens,
    Size,
    Tree,
    bad,
    is_nothing,
    numbered,
    numbers,
    one_number,
    plain,
    refuse_unknown,
    size_of,
)
from dd_sfm.io.calibration.lenses import Intrinsics, fisheye, mei, pinhole

MATRIX = ("cameramatrix", "intrinsicmatrix", "intrinsics", "matrix", "mtx", "k")
DISTORTION = (
    "distortioncoefficients",
    "distortioncoeffs",
    "distcoeffs",
    "distcoeff",
    "distortion",
    "dist",
    "coeffs",
    "d",
)
SIZES = ("imagesize", "size", "resolution", "cameraresolution", "imgsize", "imageshape")
WIDTHS, HEIGHTS = ("imagewidth", "width", "w"), ("imageheight", "height", "h")
MODELS = ("distortionmodel", "cameramodel", "modeltype", "model", "type")
FISHEYE_FLAGS = ("fisheyemodel", "fisheye", "isfisheye", "usefisheye")
FLAT = ("fx", "fy", "cx", "cy", "ppx", "ppy", "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6", "skew")
ROI = ("x_offset", "y_offset", "width", "height")
BINNING = ("binningx", "binningy")
SIDES = ("1", "2", "left", "right", "l", "r")
"""What tells the names of the two cameras of a stereo calibration apart."""
KNOWN = {*MATRIX, *DISTORTION, *SIZES, *WIDTHS, *HEIGHTS, *MODELS, *FISHEYE_FLAGS, "xi"}

NORMAL = {
    "", "none", "pinhole", "perspective", "plumbbob", "radtan", "radialtangential", "rationalpolynomial", "rational",
    "opencv", "brown", "brownconrady", "standard", "normal", "thinprism", "tilted",
}  # fmt: skip
FISHEYE = {
    "fisheye",
    "equidistant",
    "equi",
    "kannalabrandt",
    "kannalabrandt4",
    "kannalabrandt8",
    "opencvfisheye",
    "kb4",
}
OMNI = {"omni", "omnidir", "omnidirectional", "mei", "unified", "cmei"}


def is_opencv(tree: Tree) -> bool:
    """Whether a file holds a camera matrix, or focal lengths and a centre."""
    names = {plain(key): value for key, value in tree.items()}
    return any(_is_matrix(names[key]) for key in MATRIX if key in names) or {"fx", "fy"} <= set(names)


def read_opencv(where: str, tree: Tree, frames: Size) -> FoundLens:
    """Read a camera matrix with its distortion; principal points have pixel centres at integers there.

    Raises:
        InputError: If something of it cannot be read.
    """
    values = {plain(key): value for key, value in tree.items()}
    key = _first(values, MATRIX)
    matrix = values[key] if key is not None and _is_matrix(values[key]) else None
    is_flat = matrix is None
    refuse_unknown(where, tree, KNOWN | set(FLAT) if is_flat else KNOWN)
    size = _size(where, values)
    _check_roi(where, values, size)
    place = (where, size or frames, size is not None)
    if is_flat:
        k, coefficients = _flat(values, *place)
    else:
        k = matrix_intrinsics(matrix, *place)
        name = _first(values, DISTORTION)
        coefficients = [] if name is None or values[name] is None else numbers(where, "distortion", values[name])
    return _lens(_binned(k, values), coefficients, _model(where, values), values)


def stereo_cameras(tree: Tree) -> dict[str, Tree]:
    """The two cameras of a stereo calibration (M1, D1, M2, D2, or KL, DL, KR, DR), by their sides; empty for others."""
    found: dict[str, Tree] = {}
    two = [f"{name}{side}" for side in SIDES for name in ("m", *MATRIX, *DISTORTION)]
    rest = {key: value for key, value in tree.items() if plain(key) not in two}
    for side in SIDES:
        own = {plain(key).removesuffix(side): value for key, value in tree.items() if plain(key).endswith(side)}
        matrix = next((own[key] for key in ("m", *MATRIX) if key in own and _is_matrix(own[key])), None)
        if matrix is not None:
            bend: Any = next((own[key] for key in DISTORTION if key in own), [])
            found[side] = {**rest, "camera_matrix": matrix, "distortion_coefficients": bend}
    return found


def matrix_intrinsics(value: Any, where: str, size: Size, sized: bool) -> Intrinsics:
    """Focal lengths and centre of a camera matrix.

    Raises:
        InputError: If it has not nine numbers, or not the form of one.
    """
    m = numbers(where, "camera_matrix", value)
    if len(m) != 9:
        raise bad(where, f"camera_matrix has {len(m)} numbers", "9")
    if not any((m[2], m[5])) and any(m[6:8]):
        raise bad(
            where, "camera_matrix has its principal point in the last row, as MATLAB and Open3D transpose it",
            "it in the last column; docs/calibrate.md has lines that write MATLAB's calibration",
        )  # fmt: skip
    if any((m[3], m[6], m[7])) or abs(m[8] - 1) > 1e-6:
        raise bad(where, f"camera_matrix {m}", "fx, skew, cx; 0, fy, cy; 0, 0, 1")
    return Intrinsics(where, m[0], m[4], m[2], m[5], size, sized, m[1])


def _lens(k: Intrinsics, coefficients: list[float], model: str, values: Tree) -> FoundLens:
    xi = one_number(k.where, values, "xi") if "xi" in values else None
    if xi is not None or model in OMNI:
        if xi is None:
            raise bad(k.where, "an omnidirectional lens without xi", "xi, as OpenCV's omnidir writes it")
        if model in FISHEYE:
            raise bad(k.where, f"both xi and distortion_model {model}", "one lens")
        return mei(k, xi, coefficients)
    if model in FISHEYE:
        return fisheye(k, coefficients)
    return pinhole(k, coefficients)


def _model(where: str, values: Tree) -> str:
    """The lens that a file names: of :data:`FISHEYE` or :data:`OMNI`, or a normal one."""
    key = next((key for key in MODELS if isinstance(values.get(key), str) and values[key].strip()), None)
    # RealSense's tools write distortion.brown_conrady.
    name = plain(values[key]).removeprefix("distortion.") if key else ""
    if name not in NORMAL | FISHEYE | OMNI:
        expected = "plumb_bob, rational_polynomial, fisheye, equidistant, omnidir or none"
        raise bad(where, f"{key} '{values[key or '']}' is not known", expected)
    flags = [key for key in FISHEYE_FLAGS if not is_nothing(values.get(key)) and plain(values[key]) != "false"]
    if flags and name in OMNI:
        raise bad(where, f"both {flags[0]} and {name}", "one lens")
    return "fisheye" if flags else name


def _flat(values: Tree, where: str, size: Size, sized: bool) -> tuple[Intrinsics, list[float]]:
    centre = [next((n for n in names if n in values), names[0]) for names in (("cx", "ppx"), ("cy", "ppy"))]
    fx, fy, cx, cy = (one_number(where, values, key) for key in ("fx", "fy", *centre))
    skew = one_number(where, values, "skew") if "skew" in values else 0.0
    k = Intrinsics(where, fx, fy, cx, cy, size, sized, skew)
    listed = _first(values, DISTORTION)
    if listed is not None and not is_nothing(values[listed]):
        return k, numbers(where, "distortion", values[listed])
    model = _model(where, values)
    names = ("k1", "k2", "k3", "k4") if model in FISHEYE else ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
    left = [n for n in ("p1", "p2", "k5", "k6") if n not in names and not is_nothing(values.get(n))]
    if left:
        raise bad(where, f"{', '.join(left)} of a fisheye lens", "k1 to k4")
    return k, [one_number(where, values, n) if n in values else 0.0 for n in names]


def _size(where: str, values: Tree) -> Size | None:
    key = _first(values, SIZES)
    if key is not None:
        return size_of(
            where, numbers(where, key, list(values[key].values()) if _is_named(values[key]) else values[key])
        )
    width, height = _first(values, WIDTHS), _first(values, HEIGHTS)
    if width is None or height is None:
        return None
    return size_of(where, (one_number(where, values, width), one_number(where, values, height)))


def _is_named(value: Any) -> bool:
    return isinstance(value, Mapping) and "data" not in value


def _check_roi(where: str, values: Tree, size: Size | None) -> None:
    """Refuse the calibration of a camera that sends a part of its picture only."""
    roi = values.get("roi")
    # A list is what OpenCV's scripts call so: where undistorted pictures have no black border.
    if not isinstance(roi, Mapping):
        return
    x, y, width, height = numbered(where, roi, ROI)
    is_whole = not (width or height) or size in (None, (width, height))
    if x or y or not is_whole:
        raise bad(
            where, f"a region of interest of {width:g}x{height:g} at ({x:g}, {y:g})",
            "that of the whole picture (all of it 0); say with --calibration-crop what the frames show",
        )  # fmt: skip


def _binned(k: Intrinsics, values: Tree) -> Intrinsics:
    """The same camera with pixels put together: ROS has matrix and size before that, and pictures after it.

    Raises:
        InputError: If it is not said by binning_x and binning_y how many are put together.
    """
    x, y = ((one_number(k.where, values, key) if key in values else 0.0) or 1.0 for key in BINNING)
    unknown = [
        key for key in values if key.startswith("binning") and key not in BINNING and not is_nothing(values[key])
    ]
    if unknown or min(x, y) < 1 or x != round(x) or y != round(y):
        raise bad(k.where, f"{unknown[0] if unknown else f'binning of {x:g} x {y:g}'}", "whole binning_x and binning_y")
    if x == y == 1:
        return k
    size = (int(k.size[0] // x), int(k.size[1] // y)) if k.sized else k.size
    # Pixel centres at integers: those of the first pixels that are put together have theirs at (x - 1) / 2.
    cx, cy = (k.cx + 0.5) / x - 0.5, (k.cy + 0.5) / y - 0.5
    return replace(k, fx=k.fx / x, fy=k.fy / y, cx=cx, cy=cy, skew=k.skew / x, size=size)


def _first(values: Tree, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in values), None)


def _is_matrix(value: Any) -> bool:
    return isinstance(value, list) or (isinstance(value, Mapping) and "data" in value)
