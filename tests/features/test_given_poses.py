"""Measured poses in a run, up to the models of the map stage."""

from dataclasses import replace

import numpy as np
import pycolmap
import pytest
import torch
from scene import CAMERA, camera_centres, make_scene
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import inverse_pose
from dd_sfm.config import Config, load_config
from dd_sfm.errors import ConfigError, InputError
from dd_sfm.features import given_poses
from dd_sfm.features.given_poses import check_given, map_given, on_path, pose_priors
from dd_sfm.features.method import Job
from dd_sfm.io.known_poses import hand_on_unit, read_known_poses, run_metric
from dd_sfm.io.run_folder import ExtractedFrames, write_frames
from dd_sfm.notes import NoteCode
from dd_sfm.pipeline.metrics import known_figures
from dd_sfm.progress import silent
from dd_sfm.sfm.known_poses import check_poses_settings, poses_inputs
from dd_sfm.structures import FrameRecord, MapResult, VerifiedPairs

FRAMES = 14
MM = 5.0
"""Of the unit of the scene."""


@pytest.fixture(scope="module")
def scene():
    return make_scene(frames=FRAMES, points=350, outliers=0.0)


def world_from_cam(truth, factor=MM):
    poses = inverse_pose(np.stack([truth.cam_from_world[k] for k in range(FRAMES)]))
    poses[:, :, 3] *= factor
    return poses


def tum(folder, poses, frames=range(FRAMES), name="path.tum"):
    rows = []
    for k, pose in zip(frames, poses, strict=True):
        values = (*pose[:, 3], *Rotation.from_matrix(pose[:, :3]).as_quat())
        rows.append(" ".join([str(k), *(f"{float(v):.10f}" for v in values)]))
    (folder / name).write_text("\n".join(rows) + "\n")
    return f"{folder / name}@mm"


def job(folder, scene, file, *more):
    """A run of the scene up to its tracks; the images are not there."""
    records = tuple(FrameRecord(k, k / 25, 1.0) for k in range(FRAMES))
    extracted = ExtractedFrames("clip.mp4", 960, 720, 25.0, FRAMES, CAMERA, None, 720, "png", records)
    folder.mkdir(exist_ok=True)
    write_frames(folder, extracted)
    config = load_config(Config, None, ["runtime.threads=1", f"poses.file={file}", *more])
    return Job(scene[0], folder, config, torch.device("cpu"), silent)


def found(truth):
    """What a mapper found: the truth in a world of its own."""
    return MapResult([dict(truth.cam_from_world)], [CAMERA], "global", VerifiedPairs(1, 1, 1), {})


def test_exact_poses_are_those_of_the_run_and_in_millimetres(scene, tmp_path):
    work = job(tmp_path / "run", scene, tum(tmp_path, world_from_cam(scene[2])))
    result = map_given(work, scene[1])
    assert (result.mapper, len(result.models[0]), result.notes) == ("given", FRAMES, [])
    assert np.allclose(inverse_pose(result.models[0][5]), world_from_cam(scene[2])[5], atol=1e-8)
    assert min(result.confidence[0].values()) > 0.9
    model = pycolmap.Reconstruction(str(work.out / "poses" / "0"))
    assert (model.num_reg_images(), model.num_points3D() > 60) == (FRAMES, True)
    known = read_known_poses(work.out)
    assert (known.are_exact, known.unit, run_metric(work.out).factor) == (True, "mm", 1.0)
    assert pose_priors(work).are_exact
    assert known_figures(work.out)["unit"] == "mm"


def test_frames_without_a_pose_and_wrong_poses_are_named(scene, tmp_path):
    poses = world_from_cam(scene[2])
    poses[9, :, 3] += [0.0, 4.0, 3.0]
    kept = [k for k in range(FRAMES) if k != 4]
    result = map_given(job(tmp_path / "run", scene, tum(tmp_path, poses[kept], kept)), scene[1])
    told = {note.code: note.text for note in result.notes}
    assert "1 of 14 frames have no pose in path.tum: 4" in told[NoteCode.FRAMES_NOT_REGISTERED]
    assert told[NoteCode.KNOWN_POSES_DISAGREE].endswith("in 1 of 13 frames: 9")


def test_exact_poses_of_another_clip_are_refused_in_one_line(scene, tmp_path):
    other = world_from_cam(scene[2])[::-1].copy()
    other[:, :, 3] = np.random.default_rng(0).normal(size=(FRAMES, 3))
    with pytest.raises(InputError, match=r"agree with \d+ % of the matches.*--poses-sigma") as raised:
        map_given(job(tmp_path / "run", scene, tum(tmp_path, other)), scene[1])
    assert "\n" not in str(raised.value)
    # Before anything is removed, too.
    with pytest.raises(InputError, match="agree with"):
        check_given(job(tmp_path / "run", scene, tum(tmp_path, other)), scene[1])
    check_given(job(tmp_path / "run", scene, tum(tmp_path, world_from_cam(scene[2]))), scene[1])


def test_poses_with_errors_give_place_and_unit(scene, tmp_path):
    poses = world_from_cam(scene[2])
    rng = np.random.default_rng(1)
    turned = Rotation.from_euler("xyz", [40, -70, 20], degrees=True).as_matrix()
    places = poses[:, :, 3] @ turned.T + [100, 50, -20] + rng.normal(0, 0.05, (FRAMES, 3))
    measured = np.concatenate([turned @ poses[:, :, :3], places[:, :, None]], -1)
    work = job(tmp_path / "run", scene, tum(tmp_path, measured), "poses.sigma=[0.05,0.05]")
    result = on_path(work, scene[1], found(scene[2]))
    centres, true = camera_centres(result.models[0]), places
    assert np.linalg.norm(centres - true, axis=1).max() < 0.3
    assert result.scales[0].scale == 1.0
    text = next(note.text for note in result.notes if note.code is NoteCode.KNOWN_POSES)
    assert "by numbers of frames: 14 cameras lie" in text
    figures = known_figures(work.out)["known_poses"]
    assert 0 < figures["residual_rms_mm"] < 0.2
    assert figures["scale_sigma"] < 0.05
    assert len(figures["residuals"]) == FRAMES
    priors = pose_priors(work)
    assert (len(priors.cam_from_world), priors.sigma_mm) == (FRAMES, pytest.approx(0.05, rel=0.5))


def test_a_model_without_a_unit_gives_none(scene, tmp_path):
    lines = []
    for k, pose in scene[2].cam_from_world.items():
        x, y, z, w = Rotation.from_matrix(pose[:, :3]).as_quat()
        shift = " ".join(str(float(v)) for v in pose[:, 3])
        lines.append(f"{k + 1} {w} {x} {y} {z} {shift} 1 some/{k:08d}.png\n\n")
    (tmp_path / "images.txt").write_text("".join(lines))
    work = job(tmp_path / "run", scene, tmp_path / "images.txt")
    result = map_given(work, scene[1])
    assert np.allclose(result.models[0][3], scene[2].cam_from_world[3], atol=1e-8)
    assert (run_metric(work.out), known_figures(work.out)["unit"]) == (None, None)


def test_images_that_are_counted_from_one_are_told(scene, tmp_path):
    lines = []
    for k, pose in scene[2].cam_from_world.items():
        x, y, z, w = Rotation.from_matrix(pose[:, :3]).as_quat()
        shift = " ".join(str(float(v)) for v in pose[:, 3])
        lines.append(f"{k + 1} {w} {x} {y} {z} {shift} 1 frame_{k + 1}.png\n\n")
    (tmp_path / "images.txt").write_text("".join(lines))
    result = map_given(job(tmp_path / "run", scene, tmp_path / "images.txt"), scene[1])
    assert len(result.models[0]) == FRAMES
    assert np.allclose(result.models[0][3], scene[2].cam_from_world[3], atol=1e-8)
    assert [note.code for note in result.notes] == [NoteCode.KNOWN_POSES]
    assert "counted from one" in result.notes[0].text


def test_what_a_run_depends_on_follows_the_file(scene, tmp_path):
    file = tum(tmp_path, world_from_cam(scene[2]))
    settings = load_config(Config, None, [f"poses.file={file}"]).poses
    before = poses_inputs(settings)
    assert poses_inputs(Config().poses) == []
    assert poses_inputs(replace(settings, sigma=(1.0, 1.0))) != before
    tum(tmp_path, world_from_cam(scene[2], 2 * MM))
    assert poses_inputs(settings) != before


@pytest.mark.parametrize(
    ("overrides", "error", "told"),
    [
        (["poses.sigma=[1,1]"], ConfigError, "without --poses"),
        (["poses.file=none.tum"], InputError, "none.tum: not found"),
        (["poses.file=FILE", "features=sift"], ConfigError, "--features sift; expected learned"),
        (["poses.file=FILE", "poses.hand_eye=none.txt"], InputError, "none.txt: no transform"),
        (["poses.file=PLACES"], InputError, "positions without orientations"),
    ],
)
def test_what_cannot_be_used_is_told_before_any_work(scene, tmp_path, overrides, error, told):
    file = tum(tmp_path, world_from_cam(scene[2]))
    (tmp_path / "places.tum").write_text("1 2 3 4\n2 3 4 5\n")
    names = {"FILE": file, "PLACES": str(tmp_path / "places.tum")}
    texts = [text.replace("FILE", names["FILE"]).replace("PLACES", names["PLACES"]) for text in overrides]
    with pytest.raises(error, match=told):
        check_poses_settings(load_config(Config, None, texts))


def test_a_hand_eye_transform_may_be_a_file(scene, tmp_path):
    sensor = np.vstack(
        [np.column_stack([Rotation.from_rotvec([0.1, 0.3, -0.2]).as_matrix(), [20, -10, 5]]), [0, 0, 0, 1]]
    )
    np.savetxt(tmp_path / "sensor.txt", sensor)
    on_sensor = np.stack([(np.vstack([p, [0, 0, 0, 1]]) @ np.linalg.inv(sensor))[:3] for p in world_from_cam(scene[2])])
    work = job(tmp_path / "run", scene, tum(tmp_path, on_sensor), f"poses.hand_eye={tmp_path / 'sensor.txt'}")
    result = map_given(work, scene[1])
    assert np.allclose(inverse_pose(result.models[0][7]), world_from_cam(scene[2])[7], atol=1e-6)
    figures = read_known_poses(work.out).figures
    assert np.allclose(figures["sensor_from_camera"], sensor, atol=1e-5)
    assert figures["hand_eye_mm"] == pytest.approx(np.linalg.norm(sensor[:3, 3]), abs=1e-3)


def test_a_sensor_is_only_estimated_for_poses_that_are_kept_where_asked_for(scene, tmp_path, monkeypatch):
    asked = []

    def aligned(_models, _keys, _given, settings):
        asked.append((settings.hand_eye, settings.within_s))
        raise InputError("enough")

    monkeypatch.setattr(given_poses, "align_models", aligned)
    monkeypatch.setattr(given_poses, "map_poses", lambda *_: found(scene[2]))
    file = tum(tmp_path, world_from_cam(scene[2]))
    for more in (["poses.within_s=0.5"], ["poses.hand_eye=estimate"]):
        with pytest.raises(InputError, match="enough"):
            map_given(job(tmp_path / "run", scene, file, *more), scene[1])
    assert asked == [("none", 0.5), ("estimate", 0.0)]


def test_the_unit_is_handed_on_to_what_is_made_in_the_world_of_a_run(scene, tmp_path):
    work = job(tmp_path / "run", scene, tum(tmp_path, world_from_cam(scene[2])))
    map_given(work, scene[1])
    (tmp_path / "other").mkdir()
    assert hand_on_unit(work.out, tmp_path / "other") == "mm"
    assert run_metric(tmp_path / "other").unit == "mm"
    assert hand_on_unit(tmp_path, tmp_path / "other") is None
