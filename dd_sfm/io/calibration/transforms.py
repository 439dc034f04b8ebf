"""Cameras of nerfstudio's and instant-ngp's transforms.json, whose pixels are COLMAP's."""

import math
from collections.abc import Mapping

from dd_sfm.io.calibration.found import (
    FoundLens,
    Size,
    Tree,
    bad,
    is_nothing,
    numbered,
    one_number,
    refuse_unknown,
    size_of,
)
from dd_sfm.io.lens import Lens

BENT = ("k1", "k2", "k3", "k4", "p1", "p2")
KEYS = ("fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x", "camera_angle_y", *BENT)
FISHEYE = ("OPENCV_FISHEYE", "FISHEYE")
NORMAL = ("", "OPENCV", "PERSPECTIVE", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "FULL_OPENCV")


def is_transforms(tree: Tree) -> bool:
    """Whether a tree is a transforms.json."""
    return "fl_x" in tree or "camera_angle_x" in tree or ("frames" in tree and _frames(tree) != [])


def _frames(tree: Tree) -> list[Tree]:
    frames = tree.get("frames")
    return [f for f in frames if isinstance(f, Mapping)] if isinstance(frames, list) else []


def read_transforms(where: str, tree: Tree, frames: Size) -> FoundLens:
    """Read the camera of all frames.

    Raises:
        InputError: If frames have cameras of their own, or its lens has terms that COLMAP's models do not have.
    """
    common = {key: value for key, value in tree.items() if key in (*KEYS, "camera_model", "is_fisheye")}
    cameras = [
        common | {key: f[key] for key in (*KEYS, "camera_model", "is_fisheye") if key in f} for f in _frames(tree)
    ]
    if any(camera != cameras[0] for camera in cameras):
        raise bad(where, "frames with cameras of their own", "one camera for all")
    camera = cameras[0] if cameras else common
    refuse_unknown(where, tree, {"isfisheye", "cameramodel", *BENT})
    size = size_of(where, numbered(where, camera, ("w", "h")))
    width, height = size or frames
    if "fl_x" in camera:
        fx = one_number(where, camera, "fl_x")
    elif "camera_angle_x" in camera:
        fx = width / 2 / math.tan(one_number(where, camera, "camera_angle_x") / 2)
    else:
        raise bad(where, "neither fl_x nor camera_angle_x", "a transforms.json with its camera")
    fy = one_number(where, camera, "fl_y") if "fl_y" in camera else fx
    cx, cy = (
        one_number(where, camera, n) if n in camera else half for n, half in (("cx", width / 2), ("cy", height / 2))
    )
    model, params = _model(where, camera)
    from_size = not {"fl_x", "cx", "cy"} <= set(camera)
    return FoundLens(Lens(model, (fx, fy, cx, cy, *params), width, height), size is not None, from_size=from_size)


def _model(where: str, camera: Tree) -> tuple[str, tuple[float, ...]]:
    k1, k2, k3, k4, p1, p2 = numbered(where, camera, BENT)
    name = str(camera.get("camera_model") or "").upper()
    if name in FISHEYE or not is_nothing(camera.get("is_fisheye")):
        if p1 or p2:
            raise bad(where, "p1 and p2 of a fisheye lens", "k1 to k4")
        return "OPENCV_FISHEYE", (k1, k2, k3, k4)
    if name not in NORMAL:
        raise bad(where, f"camera_model '{name}' is not known", "OPENCV, OPENCV_FISHEYE or PINHOLE")
    if k4:
        raise bad(where, "k4 of a normal lens, for which COLMAP has no model", "k4 0, or a fisheye lens")
    if k3:
        return "FULL_OPENCV", (k1, k2, p1, p2, k3, 0.0, 0.0, 0.0)
    return ("OPENCV", (k1, k2, p1, p2)) if any((k1, k2, p1, p2)) else ("PINHOLE", ())
