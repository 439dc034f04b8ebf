"""Formats of ``dd-sfm convert`` as the tools read them that they are for."""

import importlib.util
import json
import struct
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from converting import write_small_run

from dd_sfm.cameras import camera_centres, inverse_pose, world_to_camera
from dd_sfm.errors import InputError
from dd_sfm.export import las
from dd_sfm.export.convert import convert
from dd_sfm.export.metashape import comment_text
from dd_sfm.io.clouds import write_cloud
from dd_sfm.io.scene import open_scene
from dd_sfm.io.transforms import read_transform
from dd_sfm.progress import silent
from dd_sfm.registration.metric_scale import find_scale
from dd_sfm.sfm.point_cloud import to_cloud

FACTOR = 2.5


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tools") / "run"
    write_small_run(folder)
    model = open_scene(folder).model
    uncertainty = np.linspace(0.001, 0.02, len(model.xyz))
    write_cloud(folder / "points.ply", to_cloud(model, uncertainty))
    return folder


@pytest.fixture(scope="module")
def scene(run):
    return open_scene(run)


def in_mm(run, out, target):
    return convert(run, out, target, metric=lambda scene: find_scale(f"{FACTOR}", lambda: scene))


def test_gaussian_splatting_has_images_and_pinhole_cameras(run, scene, tmp_path):
    pycolmap = pytest.importorskip("pycolmap")
    source = tmp_path / "model"
    convert(run, source, "colmap-text")
    cameras = (source / "cameras.txt").read_text().replace("PINHOLE", "OPENCV").splitlines()
    (source / "cameras.txt").write_text("".join(f"{line} 0 0 0 0\n" if line[0] != "#" else "" for line in cameras))
    for start, name in ((run, "of_run"), (source, "of_opencv")):
        out = tmp_path / name
        convert(start, out, "3dgs", images=run / "frames")
        model = pycolmap.Reconstruction(str(out / "sparse" / "0"))
        assert {camera.model.name for camera in model.cameras.values()} == {"PINHOLE"}
        camera = scene.model.camera
        assert next(iter(model.cameras.values())).params == pytest.approx(
            [camera.fx, camera.fy, camera.cx + 0.5, camera.cy + 0.5]
        )
        names = {image.name for image in model.images.values() if image.has_pose}
        assert names == {path.name for path in (out / "images").iterdir()}
        assert len(names) == len(scene.registered)
        assert len(model.points3D) == len(scene.model.xyz)


def test_las_has_all_columns_in_the_unit(run, scene, tmp_path):
    laspy = pytest.importorskip("laspy")
    in_mm(run, tmp_path / "cloud.las", "las")
    read = laspy.read(tmp_path / "cloud.las")
    xyz = FACTOR * scene.model.xyz
    assert np.allclose(read.xyz, xyz, atol=1e-7 * np.ptp(xyz, axis=0).max())
    assert (np.stack([read.red, read.green, read.blue], 1) // 257 == scene.model.rgb).all()
    assert np.allclose(read["uncertainty"], np.linspace(0.001, 0.02, len(xyz)), atol=1e-6)
    assert (read["track_length"] == np.bincount(scene.model.point)).all()
    assert {"nx", "ny", "nz", "error_px"} <= set(read.point_format.extra_dimension_names)
    record = next(vlr for vlr in read.header.vlrs if vlr.user_id == "dd-sfm")
    unit = json.loads(record.record_data_bytes())
    assert (unit["unit"], unit["scale"]) == ("mm", FACTOR)


@pytest.mark.parametrize("extent", [0.0, 1e-6, 0.03, 1e6])
@pytest.mark.parametrize("place", [-0.01, 0.0, 12345.678, -1e6])
def test_las_holds_clouds_of_every_size_and_place(run, scene, tmp_path, extent, place):
    laspy = pytest.importorskip("laspy")
    # Last places of numbers far from zero.
    xyz = place + extent * np.random.default_rng(0).random((len(scene.model.xyz), 3))
    moved = replace(scene, run=None, model=replace(scene.model, xyz=xyz))
    las.write(moved, tmp_path, silent)
    read = laspy.read(tmp_path / las.NAME)
    assert np.allclose(read.xyz, xyz, rtol=1e-15, atol=1e-8 * extent)


def test_e57_has_all_columns_in_metres(run, scene, tmp_path):
    pye57 = pytest.importorskip("pye57")
    in_mm(run, tmp_path / "cloud.e57", "e57")
    with pye57.E57(str(tmp_path / "cloud.e57")) as file:
        read = file.read_scan(0, colors=True)
        names = file.get_header(0).point_fields
        scan = file.data3d[0]
        unit = json.loads(scan["description"].value())
    xyz = np.stack([read[f"cartesian{axis}"] for axis in "XYZ"], 1)
    assert np.allclose(xyz, FACTOR / 1000 * scene.model.xyz, rtol=0, atol=1e-12)
    assert (np.stack([read[f"color{c}"] for c in ("Red", "Green", "Blue")], 1) == scene.model.rgb).all()
    assert {"nor:normalX", "dds:uncertainty", "dds:trackLength", "dds:errorPx"} <= set(names)
    assert (unit["unit"], unit["scale"]) == ("mm", FACTOR)


def test_e57_of_an_unknown_unit_says_so(run, tmp_path):
    pytest.importorskip("pye57")
    assert any("metres" in note for note in convert(run, tmp_path / "cloud.e57", "e57").notes)


@pytest.mark.parametrize("text", ["a--b", "a---b", "------", "a-", "-", "a\n--\n-"])
def test_a_comment_of_xml_is_well_formed(text):
    root = ElementTree.fromstring(f"<a><!--{comment_text(text)}--></a>")
    assert root.tag == "a"
    assert comment_text(text).count("-") == text.count("-")


def test_slicer_files_are_read_by_vtk(run, scene, tmp_path):
    in_mm(run, tmp_path, "slicer")
    assert (read_transform(tmp_path / "transform.tfm") == np.eye(4)).all()
    pytest.importorskip("vtk")
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkIOXML import vtkXMLPolyDataReader

    read = {}
    for name in ("points", "cameras"):
        reader = vtkXMLPolyDataReader()
        reader.SetFileName(str(tmp_path / f"{name}.vtp"))
        reader.Update()
        read[name] = reader.GetOutput()
    cloud, path = read["points"], read["cameras"]
    assert np.allclose(vtk_to_numpy(cloud.GetPoints().GetData()), FACTOR * scene.model.xyz)
    arrays = {cloud.GetPointData().GetArrayName(k): k for k in range(cloud.GetPointData().GetNumberOfArrays())}
    assert {"Colour", "Normals", "error_px", "track_length", "uncertainty"} <= set(arrays)
    assert (vtk_to_numpy(cloud.GetPointData().GetArray("Colour")) == scene.model.rgb).all()
    assert cloud.GetNumberOfVerts() == len(scene.model.xyz)
    assert cloud.GetFieldData().GetAbstractArray("unit").GetValue(0) == "mm"
    poses = np.stack([scene.model.cam_from_world[k] for k in scene.registered])
    assert np.allclose(vtk_to_numpy(path.GetPoints().GetData()), FACTOR * camera_centres(poses))
    assert path.GetNumberOfLines() == 1
    numbers = [scene.images[k].number for k in scene.registered]
    assert vtk_to_numpy(path.GetPointData().GetArray("frame")).tolist() == numbers


def test_openmvs_has_the_points_and_who_sees_them(run, scene, tmp_path):
    in_mm(run, tmp_path / "mvs", "openmvs")
    content = (tmp_path / "mvs" / "scene.mvs").read_bytes()
    assert content[:12] == b"MVSI" + struct.pack("<II", 3, 0)
    model, count, images = scene.model, len(scene.model.xyz), len(scene.registered)
    lens = content.index(struct.pack("<II", 160, 120)) + 8
    assert np.allclose(np.frombuffer(content, "<f8", 9, lens), model.camera.matrix.ravel())
    poses = lens + 8 * (9 + 9 + 3)
    assert struct.unpack_from("<Q", content, poses) == (images,)
    first = np.frombuffer(content, "<f8", 12, poses + 8)
    pose = model.cam_from_world[scene.registered[0]]
    assert np.allclose(first[:9], pose[:, :3].ravel())
    assert np.allclose(first[9:], FACTOR * camera_centres(pose))
    at = content.index(b"images/", poses)
    for number, k in enumerate(scene.registered):
        name = f"images/{scene.images[k].name}".encode()
        assert content[at : at + len(name)] == name
        assert struct.unpack_from("<4I", content, at + len(name)) == (0, 0, number, number)
        at += len(name) + 16 + 8
    place = {k: number for number, k in enumerate(scene.registered)}
    # The last name had no length after it, but the points their number.
    for point in range(count):
        frames = [place[k] for k in model.frame[model.point == point].tolist()]
        assert np.allclose(np.frombuffer(content, "<f4", 3, at), FACTOR * model.xyz[point])
        assert struct.unpack_from("<Q", content, at + 12) == (len(frames),)
        assert np.frombuffer(content, "<u4", 2 * len(frames), at + 20)[::2].tolist() == frames
        at += 20 + 8 * len(frames)
    colours = at + 8 + 12 * count + 8
    assert (np.frombuffer(content, np.uint8, 3 * count, colours).reshape(-1, 3)[:, ::-1] == model.rgb).all()
    assert len(content) == colours + 3 * count + 3 * 8 + 128


def test_metashape_cameras_are_read_as_nerfstudio_does(run, scene, tmp_path):
    in_mm(run, tmp_path / "cameras.xml", "metashape")
    text = (tmp_path / "cameras.xml").read_text()
    assert "unit: mm; scale: 2.5" in text
    # As nerfstudio/process_data/metashape_utils.py goes through it.
    chunk = ElementTree.fromstring(text)[0]
    calibrated = [s for s in chunk.findall("sensors")[0].iter("sensor") if s.find("calibration") is not None]
    camera = scene.model.camera
    for sensor in calibrated:
        values = sensor.find("calibration")
        size = values.find("resolution")
        assert (int(size.get("width")), int(size.get("height"))) == camera.size
        f, cx, cy, b1 = (float(values.find(name).text) for name in ("f", "cx", "cy", "b1"))
        assert (f + b1, f) == pytest.approx((camera.fx, camera.fy))
        assert (cx + camera.width / 2, cy + camera.height / 2) == pytest.approx((camera.cx + 0.5, camera.cy + 0.5))
    found = {}
    for each in chunk.findall("cameras")[0].iter("camera"):
        assert each.get("sensor_id") in {sensor.get("id") for sensor in calibrated}
        found[each.get("label")] = np.array([float(v) for v in each.find("transform").text.split()]).reshape(4, 4)
    assert len(found) == len(scene.registered)
    for k in scene.registered:
        expected = inverse_pose(scene.model.cam_from_world[k])
        expected[:, 3] *= FACTOR
        assert np.allclose(found[scene.images[k].name.removesuffix(".png")][:3], expected)


def test_usd_shows_points_where_the_cameras_see_them(run, scene, tmp_path):
    pxr = pytest.importorskip("pxr")
    from pxr import Gf, Usd, UsdGeom

    assert pxr
    in_mm(run, tmp_path / "scene.usdc", "usd")
    stage = Usd.Stage.Open(str(tmp_path / "scene.usdc"))
    assert UsdGeom.GetStageMetersPerUnit(stage) == pytest.approx(0.001)
    assert stage.GetDefaultPrim().GetCustomDataByKey("unit") == "mm"
    cloud = UsdGeom.Points(stage.GetPrimAtPath("/Scene/Points"))
    points = np.array(cloud.GetPointsAttr().Get())
    assert np.allclose(points, FACTOR * scene.model.xyz, rtol=1e-5)
    assert len(UsdGeom.PrimvarsAPI(cloud).GetPrimvar("uncertainty").Get()) == len(points)
    to_world = cloud.ComputeLocalToWorldTransform(Usd.TimeCode.Default())
    for k in scene.registered[::5]:
        path = f"/Scene/Cameras/frame_{scene.images[k].number:08d}"
        frustum = UsdGeom.Camera(stage.GetPrimAtPath(path)).GetCamera(Usd.TimeCode.Default()).frustum
        matrix = frustum.ComputeViewMatrix() * frustum.ComputeProjectionMatrix()
        seen = scene.model.point[scene.model.frame == k][:5]
        camera = scene.model.camera
        expected, _ = camera.project(world_to_camera(scene.model.xyz[seen], scene.model.cam_from_world[k]))
        for point, xy in zip(points[seen], expected, strict=True):
            place = matrix.Transform(to_world.Transform(Gf.Vec3d(*map(float, point))))
            pixel = (place[0] + 1) / 2 * camera.width - 0.5, (1 - place[1]) / 2 * camera.height - 0.5
            assert pixel == pytest.approx(tuple(xy), abs=1e-2)


@pytest.mark.parametrize(
    ("target", "module", "extra"), [("las", "laspy", "las"), ("usd", "pxr", "usd"), ("e57", "pye57", "e57")]
)
def test_a_missing_package_is_named(run, tmp_path, monkeypatch, target, module, extra):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        f"dd_sfm.export.{target}.find_spec", lambda name, *more: None if name == module else found(name, *more)
    )
    with pytest.raises(InputError, match=rf'is not installed; expected it .* pip install "dd-sfm\[{extra}\]"'):
        convert(run, tmp_path / "out", target)
    assert not (tmp_path / "out").exists()
