"""Frames that show nothing to match are left out, and no others."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import write_video
from interrupted import useless

from dd_sfm.config import Config, load_config
from dd_sfm.io.images import read_mask
from dd_sfm.io.run_folder import read_frames
from dd_sfm.io.video import iter_frames, open_source
from dd_sfm.pipeline.cuts import Comparison
from dd_sfm.pipeline.frame_selection import Drops, small_area
from dd_sfm.pipeline.frame_texture import Texture, TextureMeter, find_blurred, usual_texture, why_featureless
from dd_sfm.pipeline.frames import extract_frames
from dd_sfm.pipeline.obscured_frames import unobscured
from dd_sfm.progress import silent
from dd_sfm.structures import DropReason

DEMO = Path(__file__).parents[2] / "demo_videos" / "colon"
INSIDE = small_area(read_mask(DEMO / "mask.png"), 0.5)
JUNK = range(6, 10)


@pytest.fixture(scope="module")
def colon() -> list[np.ndarray]:
    """Frames of the demo colon at half the size."""
    read = iter_frames(open_source(DEMO / "clip.mp4"), range(0, 48, 3))
    return [cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for _, frame in read]


@dataclass
class Measured:
    number: int
    texture: Texture
    overview: Any


def drops(frames: list[np.ndarray]) -> dict[int, DropReason]:
    """Which frames are left out for what they show."""
    usual, meter, comparison = usual_texture(frames[::2], INSIDE, 500), TextureMeter(INSIDE, 1.0), Comparison.of(INSIDE)
    measured = [
        Measured(k, meter.of(frame), comparison.shrunk(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)))
        for k, frame in enumerate(frames)
    ]
    dropped: Drops = {f.number: why for f in measured if (why := why_featureless(f.texture))}
    left = [f for f in measured if f.number not in dropped]
    textures = {f.number: f.texture for f in unobscured(left, comparison, usual, dropped)}
    return {number: reason for number, (reason, _) in (dropped | find_blurred(textures, 0.4, usual)).items()}


def with_useless(kind: str, frames: list[np.ndarray]) -> list[np.ndarray]:
    some = frames[JUNK.start : JUNK.stop]
    return [*frames[: JUNK.start], *useless(kind, some, INSIDE, seed=0), *frames[JUNK.stop :]]


def test_the_lens_on_the_wall_is_left_out(colon):
    assert drops(with_useless("red-out", colon)) == dict.fromkeys(JUNK, DropReason.FEATURELESS)


@pytest.mark.parametrize(("kind", "least"), [("water", 2), ("bubbles", 4)])
def test_what_hides_the_scene_is_left_out(colon, kind, least):
    found = drops(with_useless(kind, colon))
    assert set(found) <= set(JUNK)
    assert len(found) >= least
    assert DropReason.OBSCURED in found.values()


def test_of_a_long_smear_one_in_four_frames_is_kept_for_the_path(colon):
    smeared = [*colon[:4], *useless("smear", colon[4:], INSIDE, seed=0)]
    found = drops([*colon, *colon[::-1], *smeared])
    assert len(found) == 9
    assert min(found) >= 2 * len(colon) + 4


def test_frames_that_are_dark_or_smooth_or_far_apart_are_kept(colon):
    rng = np.random.default_rng(0)
    smooth = [cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in colon[6:11]]
    dark = [np.clip(0.25 * frame + rng.normal(0, 1, frame.shape), 0, 255).astype(np.uint8) for frame in colon[11:]]
    assert drops(colon) == {}
    assert drops([*colon[:6], *smooth, *dark]) == {}
    assert drops(colon[::3]) == {}


def test_they_have_a_reason_and_a_note_and_begin_a_new_piece(colon, tmp_path):
    other = [np.ascontiguousarray(frame[::-1, ::-1]) for frame in colon[10:16]]
    frames = [*colon[:8], *useless("red-out", colon[:4], INSIDE, seed=0), *other]
    clip = write_video(tmp_path / "clip.avi", frames)
    for overrides, count in ((["frames.format=jpg"], 4), (["frames.min_sharpness=0", "frames.max_frames=12"], 0)):
        config = load_config(Config, None, ["camera.estimate=false", *overrides])
        extract_frames(clip, tmp_path / str(count), config, calibration=None, mask=None, progress=silent)
        found = read_frames(tmp_path / str(count))
        assert found.count(DropReason.FEATURELESS) == count
        says = [note.text for note in found.notes if "nothing to match (the lens on the wall)" in note.text]
        assert bool(says) == bool(count)
        assert (found.kept[-1].piece - found.kept[0].piece > 0) or not count
