import numpy as np
import pytest
from conftest import texture
from PIL import Image, ImageSequence

from dd_sfm.errors import OutputError
from dd_sfm.io.gif_writer import write_gif


def test_frames_come_back_in_their_colours_and_time(tmp_path):
    frames = [texture(60, 80, seed=k) for k in range(4)]
    frames[2][:, :40] = [0, 0, 255]
    assert write_gif(tmp_path / "a.gif", iter(frames), fps=12.5) == 4
    with Image.open(tmp_path / "a.gif") as gif:
        read = [(np.array(f.convert("RGB")), f.info["duration"]) for f in ImageSequence.Iterator(gif)]
        assert gif.info["loop"] == 0
    assert [duration for _, duration in read] == [80] * 4
    for frame, (found, _) in zip(frames, read, strict=True):
        assert np.abs(frame.astype(int) - found).mean() < 4
    assert [p.name for p in tmp_path.iterdir()] == ["a.gif"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"a.gif: cannot be written"):
        write_gif(tmp_path / "file" / "a.gif", [texture(20, 20)], fps=5)


def test_a_frame_that_cannot_be_read_is_not_told_as_one_that_cannot_be_written(tmp_path):
    def frames():
        yield texture(60, 80)
        raise FileNotFoundError(2, "gone", "00000001.png")

    with pytest.raises(FileNotFoundError, match="gone: '00000001.png'"):
        write_gif(tmp_path / "a.gif", frames(), fps=5)
    assert not list(tmp_path.iterdir())


def test_frames_that_fail_leave_nothing_behind(tmp_path):
    def frames():
        yield texture(60, 80)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_gif(tmp_path / "a.gif", frames(), fps=5)
    assert not list(tmp_path.iterdir())
