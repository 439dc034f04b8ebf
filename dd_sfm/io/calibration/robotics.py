"""Calibrations of Kalibr (camchain), ORB-SLAM (its settings) and camodocal (as VINS reads them)."""

from collections.abc import Callable, Mapping

from dd_sfm.io.calibration.found import (
    FoundLens,
    Size,
    Tree,
    bad,
    numbered,
    numbers,
    one_number,
    plain,
    refuse_unknown,
    size_of,
)
from dd_sfm.io.calibration.lenses import (
    Intrinsics,
    double_sphere,
    eucm,
    field_of_view,
    fisheye,
    mei,
    pinhole,
)

KALIBR_EXTRA = {"pinhole": 0, "omni": 1, "eucm": 2, "ds": 2}
"""Kalibr's camera models, and how many numbers come before their focal lengths and centre."""
KALIBR_KEYS = {"cameramodel", "distortionmodel", "distortioncoeffs", "intrinsics", "resolution"}
ORB_SLAM_TYPES = ("pinhole", "rectified", "kannalabrandt8")
CAMODOCAL_KEYS = {"modeltype", "distortionparameters", "projectionparameters", "mirrorparameters"}


def is_kalibr(tree: Tree) -> bool:
    """Whether a tree is one camera of a camchain."""
    return {"camera_model", "intrinsics"} <= set(tree)


def read_kalibr(where: str, tree: Tree, frames: Size) -> FoundLens:
    """Read one camera of a camchain.

    Raises:
        InputError: If its model or distortion is not known, or a number is missing.
    """
    refuse_unknown(where, tree, KALIBR_KEYS)
    model, bend = plain(tree["camera_model"]), plain(tree.get("distortion_model") or "none")
    values = numbers(where, "intrinsics", tree["intrinsics"])
    coefficients = numbers(where, "distortion_coeffs", tree.get("distortion_coeffs") or [])
    if model not in KALIBR_EXTRA:
        raise bad(where, f"camera_model '{tree['camera_model']}' is not known", "pinhole, omni, eucm or ds")
    extra = KALIBR_EXTRA[model]
    if len(values) != extra + 4:
        raise bad(where, f"{len(values)} intrinsics of model {model}", str(extra + 4))
    size = size_of(where, numbers(where, "resolution", tree["resolution"])) if "resolution" in tree else None
    fu, fv, pu, pv = values[extra:]
    k = Intrinsics(where, fu, fv, pu, pv, size or frames, size is not None)
    known: dict[tuple[str, str], Callable[[], FoundLens]] = {
        ("pinhole", "none"): lambda: pinhole(k, []),
        ("pinhole", "radtan"): lambda: pinhole(k, coefficients),
        ("pinhole", "equidistant"): lambda: fisheye(k, coefficients),
        ("pinhole", "equi"): lambda: fisheye(k, coefficients),
        ("pinhole", "fov"): lambda: field_of_view(k, coefficients[0] if coefficients else 0.0),
        ("omni", "none"): lambda: mei(k, values[0], []),
        ("omni", "radtan"): lambda: mei(k, values[0], coefficients),
        ("eucm", "none"): lambda: eucm(k, values[0], values[1]),
        ("ds", "none"): lambda: double_sphere(k, values[0], values[1]),
    }
    if (model, bend) not in known:
        raise bad(
            where, f"distortion_model '{tree.get('distortion_model')}' of a {model} camera is not known",
            "none, radtan, equidistant or fov with pinhole; none or radtan with omni; none with eucm and ds",
        )  # fmt: skip
    return known[model, bend]()


def orb_slam_cameras(tree: Tree) -> list[str]:
    """What the names of cameras' values begin with in ORB-SLAM's settings; none in other files."""
    return [prefix for prefix in ("Camera.", "Camera1.", "Camera2.") if prefix + "fx" in tree]


def read_orb_slam(where: str, tree: Tree, prefix: str, frames: Size) -> FoundLens:
    """Read a camera of ORB-SLAM's settings.

    Raises:
        InputError: If its type is not known, or a number is missing.
    """
    kind = plain(str(tree.get("Camera.type", "pinhole")))
    if kind not in ORB_SLAM_TYPES:
        raise bad(where, f"Camera.type '{tree['Camera.type']}' is not known", "PinHole, Rectified or KannalaBrandt8")
    names = ("k1", "k2", "k3", "k4") if kind == "kannalabrandt8" else ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
    own = {key.removeprefix(prefix): value for key, value in tree.items() if key.startswith(prefix)}
    refuse_unknown(where, own, names)
    sides = [f"Camera.{side}" for side in ("width", "height")]
    size = size_of(where, numbered(where, tree, sides))
    fx, fy, cx, cy = (one_number(where, tree, prefix + name) for name in ("fx", "fy", "cx", "cy"))
    k = Intrinsics(where, fx, fy, cx, cy, size or frames, size is not None)
    coefficients = numbered(where, tree, names, prefix)
    return fisheye(k, coefficients) if kind == "kannalabrandt8" else pinhole(k, coefficients)


def is_camodocal(tree: Tree) -> bool:
    """Whether a tree is a camera of camodocal."""
    return "model_type" in tree and "projection_parameters" in tree


def read_camodocal(where: str, tree: Tree, frames: Size) -> FoundLens:
    """Read a camera of camodocal.

    Raises:
        InputError: If its model is not known, or a number is missing.
    """
    refuse_unknown(where, tree, CAMODOCAL_KEYS)
    kind = plain(tree["model_type"])
    shape = {
        "pinhole": ("fx", "fy", "cx", "cy"),
        "kannalabrandt": ("mu", "mv", "u0", "v0"),
        "mei": ("gamma1", "gamma2", "u0", "v0"),
    }
    if kind not in shape:
        raise bad(where, f"model_type '{tree['model_type']}' is not known", "PINHOLE, KANNALA_BRANDT or MEI")
    projection, distortion = (_section(where, tree, key) for key in ("projection_parameters", "distortion_parameters"))
    size = size_of(where, numbered(where, tree, ("image_width", "image_height")))
    fx, fy, cx, cy = (one_number(where, projection, name) for name in shape[kind])
    k = Intrinsics(where, fx, fy, cx, cy, size or frames, size is not None)
    if kind == "kannalabrandt":
        return fisheye(k, numbered(where, projection, ("k2", "k3", "k4", "k5")))
    names = ("k1", "k2", "p1", "p2")
    refuse_unknown(where, distortion, names)
    coefficients = numbered(where, distortion, names)
    if kind == "pinhole":
        return pinhole(k, coefficients)
    return mei(k, one_number(where, _section(where, tree, "mirror_parameters"), "xi"), coefficients)


def _section(where: str, tree: Tree, key: str) -> Tree:
    value = tree.get(key) or {}
    if not isinstance(value, Mapping):
        raise bad(where, f"{key} holds no names", "values by their names")
    return value
