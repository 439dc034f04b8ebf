"""The cloud and the cameras as a stage of Universal Scene Description (.usdc), for Blender, Houdini, Omniverse."""

from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dd_sfm.cameras import PinholeCamera
from dd_sfm.errors import InputError
from dd_sfm.export.images import need_pinhole
from dd_sfm.export.nerfstudio import opengl_from_pose
from dd_sfm.export.points import scene_points, unit_of
from dd_sfm.io.scene import Scene
from dd_sfm.ops.coordinates import to_colmap
from dd_sfm.progress import Progress

NAME = "scene.usdc"
METERS = {"mm": 0.001}
APERTURE = 36.0
"""Width of the film that focal lengths are told for: USD knows no pixels."""


def write(scene: Scene, folder: Path, progress: Progress) -> list[str]:
    """Write scene.usdc: /Scene/Points with its columns as primvars, and /Scene/Cameras with a camera an image.

    Raises:
        InputError: If usd-core is not installed.
    """
    need_pinhole(scene, "USD")
    if find_spec("pxr") is None:
        raise InputError(
            'USD files: usd-core is not installed; expected it for this format. Try pip install "dd-sfm[usd]", or '
            "pip install usd-core"
        )
    from pxr import Gf, Sdf, Usd, UsdGeom, Vt

    points = scene_points(scene)
    stage = Usd.Stage.CreateNew(str(folder / NAME))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    if scene.metric is not None and scene.metric.unit in METERS:
        UsdGeom.SetStageMetersPerUnit(stage, METERS[scene.metric.unit])
    top = UsdGeom.Xform.Define(stage, "/Scene")
    for name, value in unit_of(scene).items():
        top.GetPrim().SetCustomDataByKey(name, str(value))
    stage.SetDefaultPrim(top.GetPrim())
    # The world of a reconstruction is that of its first camera, as a rule: y points down and z ahead.
    top.AddRotateXOp().Set(180.0)
    cloud = UsdGeom.Points.Define(stage, "/Scene/Points")
    cloud.GetPointsAttr().Set(Vt.Vec3fArray.FromNumpy(points.cloud.xyz.astype(np.float32)))
    cloud.GetNormalsAttr().Set(Vt.Vec3fArray.FromNumpy(points.cloud.normals.astype(np.float32)))
    columns, kinds = UsdGeom.PrimvarsAPI(cloud), Sdf.ValueTypeNames
    colours = columns.CreatePrimvar("displayColor", kinds.Color3fArray, UsdGeom.Tokens.vertex)
    colours.Set(Vt.Vec3fArray.FromNumpy((points.cloud.rgb / 255).astype(np.float32)))
    for name, values in points.columns.items():
        if name not in ("nx", "ny", "nz"):
            column = columns.CreatePrimvar(name, kinds.FloatArray, UsdGeom.Tokens.vertex)
            column.Set(Vt.FloatArray.FromNumpy(values.astype(np.float32)))
    UsdGeom.Scope.Define(stage, "/Scene/Cameras")
    for k in scene.registered:
        image = scene.images[k]
        camera = UsdGeom.Camera.Define(stage, f"/Scene/Cameras/frame_{image.number:08d}")
        camera.AddTransformOp().Set(Gf.Matrix4d(opengl_from_pose(scene.model.cam_from_world[k]).T.tolist()))
        camera.GetPrim().SetCustomDataByKey("image", image.name)
        for name, value in _lens(image.camera).items():
            camera.GetPrim().GetAttribute(name).Set(value)
    stage.GetRootLayer().Save()
    return list(points.notes)


def _lens(camera: PinholeCamera) -> dict[str, float]:
    """Focal length and film of a camera, in USD's tenths of a unit of the scene, with the offsets of its centre."""
    a_pixel = APERTURE / camera.width
    right, down = to_colmap(camera.principal_point) - np.array(camera.size) / 2
    return {
        "focalLength": camera.fx * a_pixel,
        "horizontalAperture": APERTURE,
        "verticalAperture": camera.height * a_pixel * camera.fx / camera.fy,
        "horizontalApertureOffset": -float(right) * a_pixel,
        "verticalApertureOffset": float(down) * a_pixel * camera.fx / camera.fy,
    }


def is_one(file: BinaryIO) -> bool:
    """Whether an open file begins as a stage of USD does, in its binary form or as text."""
    return file.read(8).startswith((b"PXR-USDC", b"#usda"))
