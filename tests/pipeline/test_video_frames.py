from fractions import Fraction

import cv2
import numpy as np
import pytest
from conftest import moving_frames
from videos import damage, numbered

from dd_sfm.config import Config, load_config
from dd_sfm.errors import InputError
from dd_sfm.io.images import write_mask
from dd_sfm.io.run_folder import read_frames
from dd_sfm.io.video import open_source
from dd_sfm.notes import NoteCode
from dd_sfm.pipeline.frames import extract_frames
from dd_sfm.pipeline.source_part import part_calibration
from dd_sfm.pipeline.user_masks import read_user_masks
from dd_sfm.progress import silent
from dd_sfm.structures import DropReason


def extract(source, out, *overrides, calibration=None, mask=None):
    config = load_config(Config, None, list(overrides))
    return extract_frames(source, out, config, calibration=calibration, mask=mask, progress=silent)


def test_start_and_end_may_be_times(tiny_clip, tmp_path):
    # Frame 3 is shown at 0.12 s, frame 9 at 0.36.
    frames = extract(tiny_clip, tmp_path / "a", "frames.start=0.1s", "frames.end=0:00.36")
    assert [f.index for f in frames.frames] == [3, 4, 5, 6, 7, 8]
    with pytest.raises(InputError, match=r"0 to 11, in 0.44 s; --start 1:02:30 is past the last one"):
        extract(tiny_clip, tmp_path / "b", "frames.start=1:02:30")
    folder = tmp_path / "images"
    folder.mkdir()
    for k, frame in enumerate(moving_frames(5)):
        cv2.imwrite(str(folder / f"{k}.png"), frame)
    with pytest.raises(InputError, match="--end 2s: images of a folder have no times"):
        extract(folder, tmp_path / "c", "frames.end=2s")


@pytest.mark.parametrize("aspect", [Fraction(64, 45), Fraction(3, 4)])
def test_calibration_and_mask_of_pixels_that_are_not_square(tmp_path, aspect):
    clip = numbered(tmp_path / "a.mp4", 6, aspect=aspect)
    width, height = (137, 64) if aspect > 1 else (96, 85)
    across, down = width / 96, height / 64
    mask = np.zeros((64, 96), bool)
    mask[8:60, 10:90] = True
    write_mask(tmp_path / "mask.png", mask)
    fx, fy, cx, cy = 100 / across, 100 / down, 50, 30
    (tmp_path / "stored.txt").write_text(f"1 OPENCV 96 64 {fx} {fy} {cx} {cy} 0 0 0 0\n")
    (tmp_path / "square.txt").write_text(f"1 PINHOLE {width} {height} 100 100 {cx * across} {cy * down}\n")
    given = ["stored.txt", "square.txt", f"{fx},{fy},{cx},{cy}", f"100,100,{cx * across},{cy * down}"]
    for text in given:
        text = str(tmp_path / text) if text.endswith(".txt") else text
        camera = part_calibration(text, open_source(clip), Config()).lens.pinhole
        assert (camera.width, camera.height) == (width, height)
        assert (camera.fx, camera.fy) == pytest.approx((100, 100), rel=0.01)
        assert (camera.cx, camera.cy) == pytest.approx((cx * across - 0.5, cy * down - 0.5), abs=0.5)
    usable = read_user_masks(tmp_path / "mask.png", open_source(clip)).common
    assert usable is not None
    assert usable.shape == (height, width)
    assert usable.mean() == pytest.approx(mask.mean(), abs=0.02)
    (tmp_path / "other.txt").write_text("1 PINHOLE 90 64 100 100 50 30\n")
    with pytest.raises(InputError, match="made for 90x64 pixels"):
        extract(clip, tmp_path / "other", calibration=str(tmp_path / "other.txt"))


def test_frames_that_cannot_be_decoded_are_counted_and_named(tmp_path):
    path = numbered(tmp_path / "a.mp4", 30)
    damage(path, [10])
    frames = extract(path, tmp_path / "run", "frames.min_motion_px=0")
    found = read_frames(tmp_path / "run")
    assert len(frames) == found.frames_in_source - 1 == 29
    (lost,) = [r for r in found.records if not r.kept]
    assert (lost.dropped, lost.time_s) == (DropReason.UNDECODABLE, round(lost.index / 25, 4))
    (note,) = [note for note in found.notes if note.code is NoteCode.FRAMES_UNDECODABLE]
    assert note.text.startswith("1 of 30 frames left out as they cannot be decoded")
