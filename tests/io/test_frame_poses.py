import pytest

from dd_sfm.errors import InputError
from dd_sfm.io.frame_poses import FRAME_POSES, FramePose, read_frame_poses, write_frame_poses

POSES = [FramePose("00000003", 0, 0.75), FramePose("00000004", 1, None), FramePose("00000005", None, None, "blurred")]


def test_what_is_written_is_read(tmp_path):
    write_frame_poses(tmp_path, POSES)
    assert read_frame_poses(tmp_path) == POSES


def test_runs_of_older_versions_have_none(tmp_path):
    assert read_frame_poses(tmp_path) == []


@pytest.mark.parametrize("text", ["{", "[1]", '[{"frame": "a"}]', '[{"frame": "a", "model": -1, "confidence": 1}]'])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / FRAME_POSES).write_text(text)
    with pytest.raises(InputError, match=r"frame_poses\.json: damaged"):
        read_frame_poses(tmp_path)
