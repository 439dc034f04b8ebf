"""Key frames, and the frames between them."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
from conftest import moving_frames, texture, write_video

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config, FramesConfig, load_config
from dd_sfm.errors import InputError
from dd_sfm.io.run_folder import load_frames, read_frames, write_frames
from dd_sfm.io.trajectory import FramePose, read_trajectory, write_trajectory
from dd_sfm.notes import NoteCode
from dd_sfm.pipeline.between_frames import KeyPoints, find_poses_between, has_frames_between
from dd_sfm.pipeline.frame_motion import MotionMeter, key_frames
from dd_sfm.pipeline.frame_selection import with_every
from dd_sfm.pipeline.frames import decide_every, extract_frames
from dd_sfm.pipeline.run import fingerprints, with_decisions
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


def picture(shift: float, seed: int = 0) -> np.ndarray:
    """A wall seen at some shift to the right, in pixels."""
    wall = texture(260, 460, seed)
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
    assert [round(k * 0.5) for k in slow[:-1]] == pytest.approx(np.arange(0, 40, 3)[: len(slow) - 1], abs=5)
    assert 8 <= len(slow) <= 14
    assert 8 <= len(fast) <= 14


def test_the_sharpest_frame_near_the_wanted_motion_is_taken():
    shifts = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    sharpness = [1.0, 1, 1, 1, 1.5, 1, 1, 1, 1, 1, 1]
    assert chosen(path(shifts, sharpness))[:2] == [0, 4]


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


def test_extracted_key_frames_and_those_between_them(tmp_path):
    clip = write_video(tmp_path / "clip.avi", moving_frames(24, 0.5))
    config = load_config(Config, None, ["camera.estimate=false", "frames.every=auto", "frames.key_motion_px=8"])
    frames = extract_frames(clip, tmp_path / "run", config, calibration="150,150,79.5,59.5", mask=None, progress=silent)
    found = read_frames(tmp_path / "run")
    assert 3 <= len(frames) <= 12
    assert found.count(DropReason.BETWEEN_KEYS) == 24 - len(frames)
    assert NoteCode.KEY_FRAMES in [note.code for note in found.notes]
    assert has_frames_between(tmp_path / "run")


def wall_run(tmp_path):
    """A run of a scope that moves along a flat wall: key frames 0, 6, 12, and points all over the wall."""
    frames = [picture(k * STEP_MM * CAMERA.fx / DEPTH_MM) for k in range(13)]
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


def test_nothing_is_read_where_no_frame_was_left_out(tmp_path):
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
