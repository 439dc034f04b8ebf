"""Paths that trackers, robots and other reconstructions write."""

import numpy as np
import pytest
from converting import FIRST, write_small_run
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import inverse_pose
from dd_sfm.config import PosesConfig
from dd_sfm.errors import ConfigError, InputError
from dd_sfm.io.camera_paths import read_camera_path, split_unit
from dd_sfm.io.known_poses import KnownPoses, write_known_poses
from dd_sfm.io.scene import open_scene
from dd_sfm.io.trajectory import FramePose, write_trajectory
from dd_sfm.sfm.known_poses import open_given
from dd_sfm.structures import FrameRecord

QUATERNION = Rotation.from_rotvec([0.3, -0.2, 0.5]).as_quat()
PLACE = (1.0, -2.0, 3.5)


def written(folder, name, text):
    (folder / name).write_text(text)
    return folder / name


def values(*order):
    known = dict(zip(("x", "y", "z"), PLACE, strict=True)) | dict(
        zip(("qx", "qy", "qz", "qw"), QUATERNION, strict=True)
    )
    return [repr(float(known[name])) for name in order]


def holds(path, *, place=PLACE):
    assert path.has_rotations
    assert np.allclose(path.centres[0], place)
    assert np.allclose(path.world_from_sensor[0, :, :3], Rotation.from_quat(QUATERNION).as_matrix())


def test_tum_lines_may_stand_in_any_order(tmp_path):
    row = " ".join(values("x", "y", "z", "qx", "qy", "qz", "qw"))
    path = read_camera_path(written(tmp_path, "a.tum", f"# a remark\n2.5 {row}\n\n1.25 {row} # another\n"))
    assert path.stamps.tolist() == [1.25, 2.5]
    assert path.kind == "either"
    holds(path)


@pytest.mark.parametrize(
    ("head", "order", "kind", "stamp", "unit"),
    [
        ("time,x_mm,y_mm,z_mm,qw,qx,qy,qz", ("x", "y", "z", "qw", "qx", "qy", "qz"), "times", 1.5, "mm"),
        ("frame;tx;ty;tz;qx;qy;qz;qw", ("x", "y", "z", "qx", "qy", "qz", "qw"), "numbers", 1.5, ""),
        ("timestamp_ms,Q0,Qx,Qy,Qz,Tx,Ty,Tz", ("qw", "qx", "qy", "qz", "x", "y", "z"), "times", 0.0015, ""),
        (
            "#timestamp [ns],p_RS_R_x [m],p_RS_R_y [m],p_RS_R_z [m],q_RS_w [],q_RS_x [],q_RS_y [],q_RS_z []",
            ("x", "y", "z", "qw", "qx", "qy", "qz"), "times", 1.5e-9, "m",
        ),
        ("name,x,y,z,qx,qy,qz,qw", ("x", "y", "z", "qx", "qy", "qz", "qw"), "names", 0.0, ""),
    ],
)  # fmt: skip
def test_tables_name_their_columns(tmp_path, head, order, kind, stamp, unit):
    separator = ";" if ";" in head else ","
    path = read_camera_path(written(tmp_path, "a.csv", f"{head}\n{separator.join(['1.5', *values(*order)])}\n"))
    assert (path.kind, path.unit) == (kind, unit)
    assert path.stamps[0] == pytest.approx(stamp)
    holds(path)


def test_the_trajectory_of_a_run_holds_poses_the_other_way_round(tmp_path):
    pose = inverse_pose(np.column_stack([Rotation.from_quat(QUATERNION).as_matrix(), PLACE]))
    write_trajectory(tmp_path, [FramePose(FrameRecord(7, 0.25, 1.0), 0, pose)])
    path = read_camera_path(tmp_path / "trajectory.csv")
    assert (path.kind, path.stamps.tolist()) == ("numbers", [7.0])
    holds(path)


def test_of_the_trajectory_of_a_run_the_first_model_is_taken_in_its_unit(tmp_path):
    pose = np.eye(3, 4)
    write_trajectory(tmp_path, [FramePose(FrameRecord(k, k / 25, 1.0), int(k < 3), pose + 0) for k in range(8)])
    path = read_camera_path(tmp_path / "trajectory.csv")
    assert path.stamps.tolist() == [3, 4, 5, 6, 7]
    assert "3 of 8 frames were left out: of other models than 0" in path.notes[0]
    given = open_given(PosesConfig(str(tmp_path / "trajectory.csv")))
    assert given.unit == ""
    assert [note.text for note in given.notes] == list(path.notes)
    write_known_poses(tmp_path, KnownPoses("a.tum", True, "mm", 1.0, 1.0, {}, {}))
    assert open_given(PosesConfig(str(tmp_path / "trajectory.csv"))).unit == "mm"


def test_models_are_known_by_names_as_text_and_binary(tmp_path):
    write_small_run(tmp_path / "run")
    scene = open_scene(tmp_path / "run")
    path = read_camera_path(tmp_path / "run")
    assert path.names[0] == f"{FIRST:08d}.png"
    assert len(path.names) == len(scene.registered)
    assert np.allclose(path.world_from_sensor[0], inverse_pose(scene.model.cam_from_world[scene.registered[0]]))
    x, y, z, w = QUATERNION
    text = f"# remark\n1 {w} {x} {y} {z} 1 2 3 1 a b.png\n\n2 {w} {x} {y} {z} 1 2 3 1 c.png\n1 2 -1\n"
    alone = tmp_path / "alone"
    alone.mkdir()
    assert read_camera_path(written(alone, "images.txt", text)).names == ("a b.png", "c.png")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no positions"),
        ("1 2 3", "line 1 has 3 values"),
        ("1 2 3 4 0 0 0 0", "quaternion of the length 0"),
        ("1 2 3 nan 0 0 0 1", "not finite"),
        ("time,x,y\n1,2,3", "could not convert|line 1"),
        ("time,x,y,z,qx,qy,qz,qw\n1,2,3,a,0,0,0,1", "column z"),
        ("time,x,y,z\n", "head without rows"),
        ("time,x_inch,y,z\n1,2,3,4", "could not|line"),
        ("0 1 2 3 0 0 0 1\n# a remark\n1 1 2 3 0 0 0\n", "line 3 has 7 values"),
        ("0 1 2 3 0 0 0 1\n1 1 2 3\n", "line 2 has 4 values, line 1 has 8"),
        ("0 1 2 3 0 0 0 1 9\n", "line 1 has 9 values"),
        ("time,x,y,z\n0,0,1,5,2,5,3,5\n", "line 2 has 8 values, the first line names 4"),
        ("time,x,y,z\n0,1,2,3\n\n1,2,3\n", "line 4 has 3 values, the first line names 4"),
        ("time;x;y;z\n0;1,250;2.5;3\n1;1,250.5;2;3\n", "column x, line 3: could not convert"),
        ("time x y z qx qy qz qw\n\n0 1 2 3 0 0 0 ?\n", "column qw, line 3"),
    ],
)
def test_what_is_no_path_is_refused(tmp_path, text, told):
    with pytest.raises(InputError, match=told) as raised:
        read_camera_path(written(tmp_path, "a.csv", text))
    assert "expected lines of time" in str(raised.value)


def test_positions_alone_have_no_orientations(tmp_path):
    assert not read_camera_path(written(tmp_path, "a.tum", "1 2 3 4\n2 3 4 5\n")).has_rotations


def test_the_unit_stands_behind_the_name(tmp_path):
    assert split_unit("a/b.tum@cm")[1] == "cm"
    assert split_unit("a@b/c.tum")[1] == ""
    (tmp_path / "odd@mm").write_text("")
    assert split_unit(str(tmp_path / "odd@mm"))[1] == ""
    with pytest.raises(ConfigError, match="unit inch; expected one of mm, cm, m"):
        split_unit("b.tum@inch")


def test_a_remark_of_tum_that_names_columns_is_a_remark(tmp_path):
    path = read_camera_path(written(tmp_path, "a.tum", "# timestamp tx ty tz qx qy qz qw\n3 1 2 3 0 0 0 1\n"))
    assert path.kind == "either"


@pytest.mark.parametrize(
    "text",
    [
        "time;x;y;z\n0,0;1,5;2,5;3,5\n\n0,5;1,5;2,5;4,5\n",
        "time\tx\ty\tz\n0,0\t1,5\t2,5\t3,5\n0,5\t1,5\t2,5\t4,5\n",
        "0,0;1,5;2,5;3,5\n0,5;1,5;2,5;4,5\n",
        "0,0 1,5 2,5 3,5\n0,5 1,5 2,5 4,5\n",
        "0.0, 1.5, 2.5, 3.5\n0.5, 1.5, 2.5, 4.5,\n",
        "# of a tracker\ntime x y z\n\n0 1.5 2.5 3.5\n# lost\n0.5 1.5 2.5 4.5\n",
        "time, x, y, z, remark\n0, 1.5, 2.5, 3.5, first\n0.5, 1.5, 2.5, 4.5,\n",
    ],
)
def test_marks_between_and_within_numbers_are_told_apart(tmp_path, text):
    path = read_camera_path(written(tmp_path, "a.csv", text))
    assert path.stamps.tolist() == [0.0, 0.5]
    assert path.centres.tolist() == [[1.5, 2.5, 3.5], [1.5, 2.5, 4.5]]
