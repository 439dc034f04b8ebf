import cv2
import numpy as np
import pytest
from conftest import moving_frames, write_video
from plane_sequence import images, write_clip, write_jhu, write_run

from dd_sfm.errors import UsageError
from dd_sfm.io.images import write_image
from dd_sfm.training.config import TrainConfig
from dd_sfm.training.leakage import check_no_leakage
from dd_sfm.training.sources.open_sources import open_source
from dd_sfm.training.sources.spec import DataPath


def opened(path):
    config = TrainConfig(working_height_px=112)
    return open_source(DataPath.parse(str(path)), config, lambda f, where: np.ones(f[0].shape[:2], bool))


def test_ranges_of_one_path(tmp_path):
    folder = write_run(tmp_path / "seq")
    check_no_leakage([opened(f"{folder}:0-5")], [opened(f"{folder}:6-11")])
    with pytest.raises(UsageError, match=r"share 1 frames \(5 to 5\)"):
        check_no_leakage([opened(f"{folder}:0-5")], [opened(f"{folder}:5-11")])
    link = tmp_path / "link"
    link.symlink_to(folder)
    with pytest.raises(UsageError, match="share 12 frames"):
        check_no_leakage([opened(folder)], [opened(link)])


def test_the_same_sequence_elsewhere_in_another_form(tmp_path):
    run = opened(write_run(tmp_path / "run"))
    with pytest.raises(UsageError, match="show the same frames"):
        check_no_leakage([run], [opened(write_jhu(tmp_path / "jhu"))])
    clip = write_clip(tmp_path / "clip.avi")
    with pytest.raises(UsageError, match="show the same frames"):
        check_no_leakage([opened(clip)], [run])


def test_one_copied_image_is_enough_for_a_single_image(tmp_path):
    run = opened(write_run(tmp_path / "run"))
    picture = tmp_path / "picture.png"
    write_image(picture, list(images(12))[7])
    with pytest.raises(UsageError, match="1 of 1 alike"):
        check_no_leakage([run], [opened(picture)])


def test_darker_and_smaller_copies_are_seen(tmp_path):
    run = opened(write_run(tmp_path / "run"))
    copy = [cv2.resize((f * 0.7).astype(np.uint8), (128, 96), interpolation=cv2.INTER_AREA) for f in images(12)]
    with pytest.raises(UsageError, match="show the same frames"):
        check_no_leakage([run], [opened(write_video(tmp_path / "copy.avi", copy))])


def test_other_sequences_pass(tmp_path):
    run = opened(write_run(tmp_path / "run"))
    other = opened(write_run(tmp_path / "other", seed=5))
    video = opened(write_video(tmp_path / "moving.avi", moving_frames()))
    check_no_leakage([run], [other, video])
    check_no_leakage([run], [])
