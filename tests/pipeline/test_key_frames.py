"""Key frames, and the frames between them."""

import json
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
from conftest import moving_frames, texture, write_video

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config, FramesConfig, load_config
from dd_sfm.errors import InputError
from dd_sfm.export.formats import FORMATS
from dd_sfm.export.tum import write as write_tum
from dd_sfm.io.run_folder import load_frames, read_frames, write_frames
from dd_sfm.io.scene import Scene
from dd_sfm.io.trajectory import FramePose, read_trajectory, write_trajectory
from dd_sfm.notes import NoteCode
from dd_sfm.pipeline.between_frames import KeyPoints, find_poses_between, has_frames_between
from dd_sfm.pipeline.frame_motion import MotionMeter, key_frames
from dd_sfm.pipeline.frame_selection import with_every
from dd_sfm.pipeline.frames import decide_every, extract_frames
from dd_sfm.pipeline.run import fingerprints, with_decisions
from dd_sfm.pipeline.stage_summary import key_frames_line
from dd_sfm.pipeline.stage_work import RunRequest
from dd_sfm.progress import silent
from dd_sfm.sfm.frame_tracking import between, spread_points
from dd_sfm.structures import DropReason, FinishedModel, FrameRecord, Model

SIZE = 200, 160
CAMERA = PinholeCamera(*SIZE, 150.0, 150.0, 99.5, 79.5)
METER = MotionMeter(np.ones(SIZE[::-1], bool), 1.0)
STEP_MM, DEPTH_MM = 0.01, 1.0
"""A frame moves the picture by 1.5 px."""


@dataclass
class Moved:
    number: int
    grey: np.ndarray
    sharpness: float = 1.0


def picture(shift: float, seed: int = 0, blur: float = 3.0) -> np.ndarray:
    """A wall seen at some shift to the right, in pixels."""
    wall = cv2.GaussianBlur(texture(260, 460, seed), (0, 0), blur)
    move = np.float32([[1, 0, -shift], [0, 1, 0]])
    return cv2.warpAffine(wall, move, SIZE, flags=cv2.INTER_CUBIC)


def path(shifts, sharpness=None) -> list[Moved]:
    return [
        Moved(k, cv2.cvtColor(picture(shift), cv2.COLOR_RGB2GRAY), sharpness[k] if sharpness else 1.0)
        for k, shift in enumerate(shifts)
    ]


def chosen(frames, spacing=5.0):
    dropped = {}
    keys = [frame.number for frame in key_frames(frames, METER, spacing, dropped)]
    assert sorted([*keys, *dropped]) == [frame.number for frame in frames]
    assert {reason for reason, _ in dropped.values()} <= {DropReason.BETWEEN_KEYS}
    return keys


def test_key_frames_are_so_far_apart_whatever_the_speed():
    slow, fast = chosen(path(np.arange(0, 40, 0.5))), chosen(path(np.arange(0, 40, 2)))
    assert [k * 0.5 for k in slow[:-1]] == pytest.approx(np.arange(0, 40, 5), abs=1)
    assert [k * 2 for k in fast[:-1]] == pytest.approx(np.arange(0, 40, 6), abs=2)


def test_the_sharpest_frame_near_the_wanted_motion_is_taken():
    shifts = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    sharpness = [1.0, 1, 1, 1, 1.5, 1, 1, 1, 1, 1, 1]
    assert chosen(path(shifts, sharpness))[:2] == [0, 4]
    assert chosen(path(shifts))[:2] == [0, 5]


class Stub(MotionMeter):
    """Frames whose grey value is their place along a line; flow does not lead over steps of more than 8."""

    def flow(self, first, second):
        return second - first

    def motion_px(self, flow):
        return float(abs(flow))

    def is_followed(self, first, second, flow):
        return True


class Lost(Stub):
    def is_followed(self, first, second, flow):
        return False


def line(places, sharpness=None):
    return [Moved(k, place, sharpness[k] if sharpness else 1.0) for k, place in enumerate(places)]


@pytest.mark.parametrize(
    ("places", "sharpness", "keys"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], None, [0, 5, 10]),
        ([0, 3.5, 20, 21], [1, 1, 9, 1], [0, 1, 2, 3]),
        ([0, 2, 20, 21], [1, 1, 9, 1], [0, 1, 2, 3]),
        ([0, 1, 2, 3, 4, 5, 6, 7.5], None, [0, 5, 7]),
        ([0, 4, 4.5, 5.5], [1, 3, 1, 2], [0, 1, 3]),
        ([0, 0.5], None, [0]),
        ([0], None, [0]),
        ([], None, []),
    ],
)
def test_which_frames_of_a_line_are_key_frames(places, sharpness, keys):
    dropped = {}
    found = key_frames(line(places, sharpness), Stub(np.ones((1, 1), bool), 1.0), 5.0, dropped)
    assert [frame.number for frame in found] == keys
    assert sorted([*keys, *dropped]) == list(range(len(places)))


def test_frames_that_flow_does_not_lead_to_are_all_key_frames():
    lost = Lost(np.ones((1, 1), bool), 1.0)
    assert [frame.number for frame in key_frames(line([0, 0.1, 0.2]), lost, 5.0, {})] == [0, 1, 2]


def test_a_scope_at_rest_gives_one_key_frame_and_a_cut_gives_one_at_once():
    assert chosen(path([0.0] * 6)) == [0]
    other = [Moved(k, cv2.cvtColor(picture(0, seed=3), cv2.COLOR_RGB2GRAY)) for k in range(3, 6)]
    assert chosen([*path([0.0] * 3), *other]) == [0, 3]


def test_from_401_frames_on_key_frames_are_used_unless_the_user_says_which():
    assert with_every(FramesConfig(), 400).every == 1
    assert with_every(FramesConfig(), 401).every == "auto"
    assert with_every(FramesConfig(max_frames=300), 5000).every == 1
    assert with_every(FramesConfig(every=1), 5000).every == 1
    assert with_every(FramesConfig(every="auto"), 10).every == "auto"


def test_a_run_keeps_what_was_decided_and_old_runs_hold(tiny_clip, tmp_path):
    def request(*overrides):
        return RunRequest(tiny_clip, tmp_path, load_config(Config, None, list(overrides)))

    decided = with_decisions(request())
    assert decided.config.frames.every == 1
    assert decide_every(tiny_clip, decided.config.frames) == decided.config.frames
    assert fingerprints(decided) == fingerprints(request("frames.every=1"))
    assert fingerprints(request("frames.every=1", "frames.key_motion_px=9")) == fingerprints(decided)
    auto = fingerprints(request("frames.every=auto"))
    assert auto["frames"] != fingerprints(decided)["frames"]
    assert auto != fingerprints(request("frames.every=auto", "frames.key_motion_px=9"))


def test_extracted_key_frames_and_those_between_them(tmp_path, monkeypatch):
    monkeypatch.setattr("dd_sfm.pipeline.frames.FEWEST_KEYS", 2)
    clip = write_video(tmp_path / "clip.avi", smooth_frames(24, 0.5))
    config = load_config(Config, None, ["camera.estimate=false", "frames.every=auto", "frames.key_motion_px=3"])
    frames = extract_frames(clip, tmp_path / "run", config, calibration="150,150,79.5,59.5", mask=None, progress=silent)
    found = read_frames(tmp_path / "run")
    assert 3 <= len(frames) <= 14
    assert found.count(DropReason.BETWEEN_KEYS) == 24 - len(frames)
    assert NoteCode.KEY_FRAMES in [note.code for note in found.notes]
    assert has_frames_between(tmp_path / "run")
    told = key_frames_line(found)
    assert told.startswith(f"key frames: {len(frames)} of 24 frames; those between them are located")
    assert key_frames_line(replace(found, records=tuple(found.kept))) == ""


def smooth_frames(count, step):
    return [cv2.GaussianBlur(frame, (0, 0), 2) for frame in moving_frames(count, step)]


def extracted(clip, out, *overrides):
    config = load_config(Config, None, ["camera.estimate=false", "frames.every=auto", *overrides])
    return extract_frames(clip, out, config, calibration="150,150,79.5,59.5", mask=None, progress=silent)


def test_a_scope_that_hardly_moves_gives_key_frames_that_are_nearer(tmp_path):
    clip = write_video(tmp_path / "clip.avi", smooth_frames(24, 0.3))
    frames = extracted(clip, tmp_path / "run", "frames.key_motion_px=40")
    assert len(frames) >= 3
    assert {path.stem for path in (tmp_path / "run/frames").iterdir()} == {f.path.stem for f in frames.frames}


def test_key_frames_are_thinned_to_the_most_that_are_wanted(tmp_path, monkeypatch):
    monkeypatch.setattr("dd_sfm.pipeline.frames.FEWEST_KEYS", 2)
    clip = write_video(tmp_path / "clip.avi", smooth_frames(24, 2.0))
    frames = extracted(clip, tmp_path / "run", "frames.key_motion_px=3", "frames.max_frames=5")
    assert len(frames) == 5
    found = read_frames(tmp_path / "run")
    assert found.count(DropReason.THINNED) >= 1
    assert {path.stem for path in (tmp_path / "run/frames").iterdir()} == {f.path.stem for f in frames.frames}
    assert len(list((tmp_path / "run/masks").iterdir())) == 5
    assert len(json.loads((tmp_path / "run/masks.json").read_text())["written"]) == 5


def test_too_few_key_frames_are_named(tmp_path):
    clip = write_video(tmp_path / "still.avi", moving_frames(12, 0.0))
    with pytest.raises(InputError, match="11 between key frames.*--every 1"):
        extracted(clip, tmp_path / "run")


def wall_run(tmp_path):
    """A run of a scope that moves along a flat wall: key frames 0, 6, 12, and points all over the wall."""
    frames = [picture(k * STEP_MM * CAMERA.fx / DEPTH_MM, blur=0.5) for k in range(13)]
    clip = write_video(tmp_path / "wall.avi", frames)
    config = load_config(Config, None, ["camera.estimate=false", "masks.erode_px=0"])
    out = tmp_path / "run"
    extract_frames(clip, out, config, calibration="150,150,99.5,79.5", mask=None, progress=silent)
    extracted = read_frames(out)
    records = [replace(r, dropped=None if r.index % 6 == 0 else DropReason.BETWEEN_KEYS) for r in extracted.records]
    write_frames(out, replace(extracted, records=tuple(records)))
    poses = {k: np.column_stack([np.eye(3), [-STEP_MM * 6 * k, 0, 0]]) for k in range(len(load_frames(out)))}
    rows, columns = np.mgrid[8:152:8, 8:190:8]
    xy = np.column_stack([columns.ravel(), rows.ravel()]).astype(np.float64)
    xyz = np.column_stack([(xy - [99.5, 79.5]) / 150.0, np.ones(len(xy))]) * DEPTH_MM
    seen = {k: CAMERA.project(xyz + poses[k][:, 3])[0] for k in poses}
    inside = {k: np.flatnonzero(((s >= 0) & (s < SIZE)).all(1)) for k, s in seen.items()}
    point = np.concatenate([inside[k] for k in poses])
    frame = np.concatenate([np.full(len(inside[k]), k) for k in poses])
    order = np.lexsort((frame, point))
    places = np.concatenate([seen[k][inside[k]] for k in poses])
    zeros = np.zeros(len(xyz))
    model = Model(
        CAMERA, poses, xyz, np.zeros((len(xyz), 3), np.uint8), zeros, point[order], frame[order], places[order]
    )
    return clip, out, config, FinishedModel(model, zeros + 0.01)


def test_frames_between_key_frames_get_poses(tmp_path):
    clip, out, config, finished = wall_run(tmp_path)
    poses = find_poses_between(clip, out, config, [KeyPoints.of(finished)], silent)
    assert [pose.record.index for pose in poses] == list(range(13))
    assert [pose.inliers is None for pose in poses] == [k % 6 == 0 for k in range(13)]
    along = [-pose.cam_from_world[0, 3] for pose in poses]
    assert along == pytest.approx(STEP_MM * np.arange(13), abs=0.1 * STEP_MM)
    write_trajectory(out, poses)
    back = read_trajectory(out)[0]
    assert all(np.allclose(back[pose.record.index], pose.cam_from_world, atol=1e-7) for pose in poses)


def test_frames_far_from_every_registered_frame_get_none(tmp_path):
    clip, out, config, finished = wall_run(tmp_path)
    poses = {k: pose for k, pose in finished.model.cam_from_world.items() if k == 0}
    alone = replace(KeyPoints.of(finished), cam_from_world=poses)
    found = find_poses_between(clip, out, config, [alone], silent)
    assert {pose.record.index for pose in found} <= set(range(6))


def test_without_key_frames_nothing_is_located(tiny_clip, tmp_path):
    config = load_config(Config, None, ["camera.estimate=false", "frames.every=2"])
    extract_frames(tiny_clip, tmp_path, config, calibration="150,150,79.5,59.5", mask=None, progress=silent)
    assert not has_frames_between(tmp_path)
    assert find_poses_between(tiny_clip, tmp_path, config, [], silent) == []
    assert read_trajectory(tmp_path) == {}


def test_a_pose_between_two():
    first, second = np.eye(3, 4), np.column_stack([np.eye(3), [0, 0, -2.0]])
    assert np.allclose(between(first, second, 0.25)[:, 3], [0, 0, -0.5])


def test_points_are_taken_from_all_over_the_picture():
    crowd = np.tile([[3.0, 3.0]], (50, 1))
    alone = np.array([[190.0, 150.0]])
    rows = spread_points(np.concatenate([crowd, alone]), SIZE, 2)
    assert rows.tolist() == [0, 50]


def test_a_trajectory_names_frames_and_models(tmp_path):
    record = FrameRecord(7, 0.28, 1.0, stem="left_00000007")
    write_trajectory(tmp_path, [FramePose(record, 1, np.eye(3, 4), 50)])
    assert (tmp_path / "trajectory.csv").read_text().splitlines()[1] == "7,0.28,left_00000007,1,50,1,0,0,0,0,0,0"


def test_a_damaged_trajectory_is_named(tmp_path):
    (tmp_path / "trajectory.csv").write_text("frame,model\n1,0\n")
    with pytest.raises(InputError, match=r"trajectory\.csv: damaged"):
        read_trajectory(tmp_path)


def test_times_of_several_sources_follow_each_other_in_a_tum_file(tmp_path):
    clips = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        clips.append(write_video(tmp_path / name / "clip.avi", moving_frames(4)))
    run = tmp_path / "run"
    config = load_config(Config, None, ["camera.estimate=false"])
    extract_frames(clips, run, config, calibration="150,150,79.5,59.5", mask=None, progress=silent)
    write_trajectory(run, [FramePose(record, 0, np.eye(3, 4)) for record in read_frames(run).records])
    nothing = np.zeros(0, np.int64)
    model = Model(
        CAMERA, {}, np.zeros((0, 3)), np.zeros((0, 3), np.uint8), np.zeros(0), nothing, nothing, np.zeros((0, 2))
    )
    scene = Scene(run, "run", model, (), model_folder=run / "sparse" / "0", run=run)
    (tmp_path / "out").mkdir()
    write_tum(scene, tmp_path / "out", silent)
    times = [float(line.split()[0]) for line in (tmp_path / "out/trajectory.tum").read_text().splitlines()]
    assert times == pytest.approx(np.arange(8) / 25, abs=1e-6)
    # What is written is counted: frames between key frames are not in the model.
    assert FORMATS["tum"].count_images(scene) == 8
    assert FORMATS["colmap"].count_images(scene) == 0
