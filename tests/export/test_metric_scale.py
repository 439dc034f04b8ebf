"""``--scale`` of the commands that write files."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from converting import write_dense_run, write_small_run
from plane import OWN

from dd_sfm import api
from dd_sfm.cameras import camera_centres
from dd_sfm.errors import ConfigError, InputError
from dd_sfm.export.convert import convert
from dd_sfm.io.clouds import read_cloud, read_ply
from dd_sfm.io.known_poses import KnownPoses, write_known_poses
from dd_sfm.io.metric import MEDIAN_SIGMA
from dd_sfm.io.scene import open_scene
from dd_sfm.registration import seen_scale
from dd_sfm.registration.known_scale import metric_of
from dd_sfm.registration.metric_scale import find_scale
from dd_sfm.sfm.observation_geometry import mean_distances


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("metric") / "run"
    write_small_run(folder)
    return folder


@pytest.fixture(scope="module")
def scene(run):
    return open_scene(run)


def centres_of(scene):
    return camera_centres(np.stack([scene.model.cam_from_world[k] for k in scene.registered]))


def registration(folder, **changed):
    path = folder / "registration.json"
    content = {"scale": 0.5, "unit": "mm", "surface": "a/ct.stl", "ambiguous": False, **changed}
    path.write_text(json.dumps(content))
    return f"registration:{path}"


def positions(folder, scene, factor=2.0, *, by="time", noise=0.0):
    """A TUM file of the cameras, turned and moved, in metres."""
    centres = centres_of(scene)[:, [1, 2, 0]] * factor / 1000 + 7
    centres = centres + noise * np.random.default_rng(0).standard_normal(centres.shape)
    images = [scene.images[k] for k in scene.registered]
    keys = [i.time_s if by == "time" else i.number for i in images]
    rows = [f"{key} {x} {y} {z} 0 0 0 1" for key, (x, y, z) in zip(keys, centres, strict=True)]
    (folder / "path.tum").write_text("# time x y z\n" + "\n".join(rows) + "\n")
    return f"tum:{folder / 'path.tum'}"


@pytest.mark.parametrize(
    ("text", "factor"),
    [
        ("0.31", 0.31),
        ("2mm", 2.0),
        ("0.3 cm", 3.0),
        ("1e-3m", 1.0),
        ("12.5mm@0,0,0:0,3,4", 2.5),
        ("1cm@1,0,0:-1,0,0", 5.0),
    ],
)
def test_factors_and_distances(text, factor):
    found = find_scale(text, lambda: None)
    assert found.factor == pytest.approx(factor)
    assert found.unit == "mm"


def test_the_errors_of_the_points_tell_how_sure_a_known_distance_is(tmp_path):
    write_dense_run(tmp_path / "run", 0.02)
    scene = open_scene(tmp_path / "run")
    ends = scene.model.xyz[[0, -1]]
    picked = ":".join(",".join(f"{v:.9g}" for v in point) for point in ends)
    found = find_scale(f"12mm@{picked}", lambda: scene, tmp_path / "run")
    apart = np.linalg.norm(ends[1] - ends[0])
    errors = 0.02 * mean_distances(scene.model)[[0, -1]]
    assert found.error == pytest.approx(np.linalg.norm(errors) / apart, rel=1e-6)
    assert found.figures["scale_sigma"] == pytest.approx(found.error / MEDIAN_SIGMA)
    assert f"+- {100 * found.figures['scale_sigma']:.2g} %" in found.notes[0]
    with pytest.raises(InputError, match="1000,0,0 is .* units from the nearest point"):
        find_scale("12mm@1e3,0,0:1e3,0,4", lambda: scene, tmp_path / "run")
    near = ":".join(",".join(f"{v:.9g}" for v in point) for point in scene.model.xyz[[0, 1]])
    with pytest.raises(InputError, match=r"leaves the scale open by \d+ %; expected 20 % or less"):
        find_scale(f"12mm@{near}", lambda: scene, tmp_path / "run")
    write_dense_run(tmp_path / "unsure", None)
    unknown = find_scale(f"12mm@{picked}", lambda: open_scene(tmp_path / "unsure"), tmp_path / "unsure")
    assert (unknown.factor, unknown.error, unknown.notes) == (found.factor, 0.0, ())
    with pytest.raises(InputError, match="units from the nearest point"):
        find_scale("12mm@1e3,0,0:1e3,0,4", lambda: open_scene(tmp_path / "unsure"), tmp_path / "unsure")


@pytest.mark.parametrize("text", ["", "big", "0", "-1", "nan", "3mm@1,2,3:1,2,3", "3mm@1,2:3,4", "3km", "1e300"])
def test_what_is_no_scale_is_refused(text):
    with pytest.raises(ConfigError, match="expected"):
        find_scale(text, lambda: None)


def test_a_registration_gives_the_scale(tmp_path):
    assert find_scale(registration(tmp_path), lambda: None).factor == 0.5
    found = find_scale(registration(tmp_path, unit="cm", ambiguous=True), lambda: None)
    assert (found.factor, found.unit) == (5.0, "mm")
    assert "ambiguous" in found.notes[0]
    with pytest.raises(InputError, match="no registration"):
        find_scale(registration(tmp_path, scale=None), lambda: None)


def test_a_registration_of_another_run_is_told(tmp_path):
    text = registration(tmp_path, run=str(tmp_path / "nose" / "points.ply"))
    assert not find_scale(text, lambda: None, tmp_path / "nose").notes
    (note,) = find_scale(text, lambda: None, tmp_path / "colon").notes
    assert "the same reconstruction" in note


@pytest.mark.parametrize("by", ["time", "number"])
def test_camera_positions_give_the_scale(scene, tmp_path, by):
    found = find_scale(positions(tmp_path, scene, by=by), lambda: scene)
    assert found.factor == pytest.approx(2.0, rel=1e-6)
    assert found.figures["scale_cameras"] == len(scene.registered)
    assert "mm" in found.notes[0]
    assert find_scale(positions(tmp_path, scene, by=by) + "@cm", lambda: scene).factor == pytest.approx(0.02, rel=1e-6)


def test_a_unit_that_was_not_given_or_is_none_is_told(scene, tmp_path):
    text = positions(tmp_path, scene)
    assert any("read as metres" in note for note in find_scale(text, lambda: scene).notes)
    assert not any("read as metres" in note for note in find_scale(text + "@m", lambda: scene).notes)
    with pytest.raises(ConfigError, match="unit inch; expected one of mm, cm, m"):
        find_scale(text + "@inch", lambda: scene)


def test_whole_seconds_are_told_from_numbers_of_frames(scene, tmp_path):
    slow = replace(scene, images=[replace(image, time_s=4.0 * image.number) for image in scene.images])
    assert find_scale(positions(tmp_path, slow, by="time"), lambda: slow).factor == pytest.approx(2.0, rel=1e-6)
    assert find_scale(positions(tmp_path, slow, by="number"), lambda: slow).factor == pytest.approx(2.0, rel=1e-6)


def test_whole_numbers_that_fit_both_ways_are_refused(scene, tmp_path):
    slow = replace(scene, images=[replace(image, time_s=4.0 * image.number) for image in scene.images])
    poses = {k: np.column_stack([np.eye(3), [-float(slow.images[k].number), 0, 0]]) for k in slow.registered}
    straight = replace(slow, model=replace(slow.model, cam_from_world=poses))
    last = 4 * max(slow.images[k].number for k in slow.registered)
    (tmp_path / "path.tum").write_text("\n".join(f"{k} {k} 0 0" for k in range(last + 1)))
    with pytest.raises(InputError, match="as seconds and as numbers of frames"):
        find_scale(f"tum:{tmp_path / 'path.tum'}", lambda: straight)


def test_cameras_that_do_not_fit_their_positions_do_not_count(scene, tmp_path):
    text = positions(tmp_path, scene)
    lines = (tmp_path / "path.tum").read_text().splitlines()
    lines[2] = " ".join([lines[2].split()[0], "7.5", "7.5", "7.5", "0", "0", "0", "1"])
    (tmp_path / "path.tum").write_text("\n".join(lines))
    found = find_scale(text, lambda: scene)
    assert found.factor == pytest.approx(2.0, rel=1e-4)
    assert found.figures["scale_cameras_left_out"] == 1
    assert "1 left out" in found.notes[0]


def test_positions_that_leave_the_scale_open_are_refused(scene, tmp_path):
    with pytest.raises(InputError, match="the scale is open"):
        find_scale(positions(tmp_path, scene, noise=0.01), lambda: scene)
    (tmp_path / "few.tum").write_text("100 1 2 3\n101 1 2 3\n")
    with pytest.raises(InputError, match="expected 4 or more"):
        find_scale(f"tum:{tmp_path / 'few.tum'}", lambda: scene)
    with pytest.raises(InputError, match="no camera path"):
        find_scale(f"tum:{tmp_path / 'none.tum'}", lambda: scene)


def test_all_that_is_converted_is_in_the_unit(dd_sfm, run, scene, tmp_path):
    cases = (("ply", "points.ply"), ("tum", "path.tum"), ("colmap", "model"), ("nerfstudio", "nerf"))
    for target, name in cases:
        ran = dd_sfm("convert", run, "-o", tmp_path / name, "--to", target, "--scale", "2.5")
        assert ran.code == 0, ran.err
    head = read_ply(tmp_path / "points.ply").comments
    assert head[0] == "unit: mm"
    assert head[1].startswith("scale: 2.5 mm")
    expected = 2.5 * scene.model.xyz
    assert np.allclose(np.sort(read_cloud(tmp_path / "points.ply").xyz, 0), np.sort(expected, 0), atol=1e-4)
    read = open_scene(tmp_path / "model")
    assert np.allclose(np.sort(read.model.xyz, 0), np.sort(expected, 0), atol=1e-6)
    centres = 2.5 * centres_of(scene)
    assert np.allclose(centres_of(read), centres)
    assert "# unit: mm" in (tmp_path / "path.tum").read_text()
    assert np.allclose(np.loadtxt(tmp_path / "path.tum")[:, 1:4], centres)
    for name in ("convert.json", "transforms.json"):
        content = json.loads((tmp_path / "nerf" / name).read_text())
        assert (content["unit"], content["scale"]) == ("mm", 2.5)
    poses = np.array([frame["transform_matrix"] for frame in content["frames"]])
    assert np.allclose(poses[:, :3, 3], centres)
    assert read_ply(tmp_path / "nerf" / "sparse_pc.ply").comments[0] == "unit: mm"


def test_the_path_may_be_any_file_of_poses(scene, tmp_path):
    centres = 2 * centres_of(scene)
    rows = [f"{scene.images[k].name},{x},{y},{z}" for k, (x, y, z) in zip(scene.registered, centres, strict=True)]
    (tmp_path / "path.csv").write_text("name,x_mm,y_mm,z_mm\n" + "\n".join(rows) + "\n")
    found = find_scale(f"tum:{tmp_path / 'path.csv'}", lambda: scene)
    assert found.factor == pytest.approx(2.0, rel=1e-6)
    assert not any("read as metres" in note for note in found.notes)


def test_a_known_diameter_gives_the_scale(scene):
    """15 mm are 75 pixels wide at 20 mm; the run's unit is 2.5 mm."""
    number = scene.images[scene.registered[4]].number
    found = find_scale(f"tool:{number}:42,59.5,117,59.5:15mm", lambda: scene)
    assert found.factor == pytest.approx(1 / OWN.scale, rel=0.03)
    assert (found.unit, found.figures["known_diameter_mm"]) == ("mm", 15.0)
    assert abs(found.factor * OWN.scale - 1) < 3 * found.figures["scale_sigma"]
    assert find_scale(f"tool:{number}:42,59.5,117,59.5:1.5cm", lambda: scene).factor == found.factor


def test_hidden_points_do_not_tell_the_scale(scene, monkeypatch):
    monkeypatch.setattr(seen_scale, "_surface_depth", lambda *given: 0.5 * given[-1])
    number = scene.images[scene.registered[4]].number
    with pytest.raises(InputError, match=r"0 points around the picked edges, and \d+ behind a nearer surface"):
        find_scale(f"tool:{number}:42,59.5,117,59.5:15mm", lambda: scene)


@pytest.mark.parametrize(
    ("text", "error", "told"),
    [
        ("tool:12", ConfigError, "expected tool:FRAME"),
        ("tool:14:1,1,1,1:5mm", ConfigError, "some pixels apart"),
        ("tool:14:1,1,900,1:5mm", InputError, "outside of frame 14"),
        ("tool:9999:1,1,50,1:5mm", InputError, "frame 9999 has no pose"),
        ("tool:14:60,60,64,60:1mm", InputError, "points around the picked edges|leaves the scale open"),
        ("baseline:far", ConfigError, "as baseline:4.2mm"),
        ("baseline:4mm", InputError, "frames of 1 source; expected a run of two"),
    ],
)
def test_what_frames_cannot_tell_is_refused(scene, text, error, told):
    with pytest.raises(error, match=told):
        find_scale(text, lambda: scene)


def stereo(scene, apart, shake=0.0):
    """Two sources, the cameras of the second a fixed way beside those of the first."""
    rng = np.random.default_rng(0)
    images, poses = [], {}
    for k in scene.registered:
        for number, (name, shift) in enumerate((("left", 0.0), ("right", apart))):
            image, pose = scene.images[k], scene.model.cam_from_world[k].copy()
            pose[:, 3] -= [shift * (1 + shake * rng.standard_normal()), 0, 0]
            poses[len(images)] = pose
            images.append(replace(image, number=k + 1000 * number, source=name))
    return replace(scene, images=tuple(images), model=replace(scene.model, cam_from_world=poses))


def test_a_stereo_baseline_gives_the_scale(scene):
    found = find_scale("baseline:4.2mm", lambda: stereo(scene, 1.4))
    assert found.factor == pytest.approx(3.0, rel=1e-6)
    assert found.figures["scale_pairs"] == len(scene.registered)
    with pytest.raises(InputError, match="moves in that of left from frame to frame"):
        find_scale("baseline:4.2mm", lambda: stereo(scene, 1.4, shake=2.0))


def test_register_takes_units_that_are_known_and_scales_as_all_others(dd_sfm, run, tmp_path):
    (tmp_path / "ct.stl").write_text("solid a\nendsolid a\n")
    command = ("register", run, tmp_path / "ct.stl", "-o", tmp_path / "out")
    ran = dd_sfm(*command, "--unit", "inch")
    assert (ran.code, "--unit inch: unknown; expected the unit" in ran.err) == (2, True)
    ran = dd_sfm(*command, "--scale", "3km")
    assert (ran.code, "--scale 3km: not understood; expected 0.31" in ran.err) == (2, True)


def test_view_takes_the_scales_of_all_others_and_that_of_known_poses(dd_sfm, run, tmp_path, monkeypatch):
    ran = dd_sfm("view", run, "--screenshot", tmp_path / "a.png", "--scale", "3km")
    assert (ran.code, "not understood" in ran.err) == (2, True)
    known = tmp_path / "known"
    shutil.copytree(run, known)
    write_known_poses(known, KnownPoses("path.tum", True, "mm", 0.0, 0.0, {"models_placed": [True]}))
    assert metric_of(None, known).unit == "mm"
    assert metric_of(None, run) is None
    assert metric_of("2cm", known).factor == 20.0
    asked = []
    monkeypatch.setattr(api, "run_registration", lambda request, _: asked.append(request.settings.scale))
    for scale in (None, "open", "2cm", 3):
        api.register(known, "ct.stl", scale=scale, unit="cm")
    api.register(run, "ct.stl")
    assert asked == [0.1, None, 2.0, 3, None]
    with pytest.raises(ConfigError, match="expected the unit of the surface's coordinates, mm, cm, m"):
        api.register(known, "ct.stl", unit="millimetres")
    convert(known, tmp_path / "cloud.ply", "ply")
    assert b"unit: mm" in (tmp_path / "cloud.ply").read_bytes()[:600]
    ran = dd_sfm("convert", known, "-o", tmp_path / "larger.ply", "--to", "ply", "--scale", "2")
    assert f"{known}: is in mm already, by known poses of path.tum; --scale 2 changes that" in ran.err
