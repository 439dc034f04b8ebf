"""Several sources of one camera as one."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import moving_frames, write_video

from dd_sfm.errors import InputError
from dd_sfm.io.images import write_image
from dd_sfm.io.several_sources import join_sources, source_labels
from dd_sfm.io.video import iter_frames, open_source


def folder_of(path: Path, frames: list[np.ndarray]) -> Path:
    path.mkdir()
    for k, frame in enumerate(frames):
        cv2.imwrite(str(path / f"{k:02d}.png"), frame[..., ::-1])
    return path


def test_labels_are_different_and_safe():
    names = ["a/clip.mp4", "b/clip.mp4", "Clip.avi", "Näse 1 (links).mp4", "x.y.z.mkv", "日本.mp4", "clip_2.mp4"]
    found = source_labels([Path(name) for name in names])
    assert found == ("clip", "clip_2", "Clip_3", "N_se_1_links", "x_y_z", "source", "clip_2_2")


def test_a_folder_is_named_with_its_dots(tmp_path):
    (tmp_path / "run.v2").mkdir()
    assert source_labels([tmp_path / "run.v2"]) == ("run_v2",)


def test_frames_follow_each_other(tmp_path):
    frames = moving_frames(10)
    video = open_source(write_video(tmp_path / "a.avi", frames[:6]))
    folder = open_source(folder_of(tmp_path / "more", frames[6:]))
    joined = join_sources([video, folder])
    assert joined.frame_count == 10
    assert joined.spans == (range(6), range(6, 10))
    assert joined.place(7) == (1, 1)
    assert [joined.stem(k) for k in (0, 5, 6)] == ["a_00000000", "a_00000005", "more_00000000"]
    assert [joined.file(k) for k in (5, 6)] == ["a.avi", "more/00.png"]
    assert joined.time_s(5) == pytest.approx(0.2)
    assert joined.time_s(6) == 0.0
    read = list(iter_frames(joined, [1, 5, 6, 9]))
    assert [number for number, _ in read] == [1, 5, 6, 9]
    assert np.array_equal(read[2][1], frames[6])
    assert np.abs(read[1][1].astype(int) - frames[5]).mean() < 6


def test_one_source_stays_as_it_is(tiny_clip):
    info = open_source(tiny_clip)
    assert join_sources([info]) is info
    assert info.stem(3) == "00000003"
    assert info.file(3) == ""


def test_sources_of_another_size_or_given_twice_are_refused(tmp_path):
    frames = moving_frames(3)
    first = open_source(write_video(tmp_path / "a.avi", frames))
    small = open_source(write_video(tmp_path / "b.avi", [frame[:100] for frame in frames]))
    with pytest.raises(InputError, match=r"b\.avi: 160x100 pixels; expected 160x120, as .*a\.avi"):
        join_sources([first, small])
    with pytest.raises(InputError, match="given twice"):
        join_sources([first, first])
    write_image(tmp_path / "c.png", frames[0])
    with pytest.raises(InputError, match=r"c\.png: a single picture; .* Name its folder"):
        join_sources([first, open_source(tmp_path / "c.png")])
