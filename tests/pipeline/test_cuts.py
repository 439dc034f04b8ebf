"""Cuts are found where the scene changes, and nowhere else."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dd_sfm.io.video import iter_frames, open_source
from dd_sfm.pipeline.cuts import Boundary, PathFollower, find_cuts
from dd_sfm.structures import DropReason, FrameRecord

DEMO = Path(__file__).parents[2] / "demo_videos"
SIZE = 256, 144


def greys(name: str, numbers: range) -> list[np.ndarray]:
    """Small grey frames of a demo clip, of the size in which motion is looked at."""
    read = iter_frames(open_source(DEMO / name / "clip.mp4"), numbers)
    return [cv2.cvtColor(cv2.resize(f, SIZE, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY) for _, f in read]


@pytest.fixture(scope="module")
def sinus() -> list[np.ndarray]:
    return greys("sinus", range(0, 75, 3))


@pytest.fixture(scope="module")
def colon() -> list[np.ndarray]:
    return greys("colon", range(0, 24, 3))


def cuts(frames: list[np.ndarray], records: list[FrameRecord] | None = None) -> list[int]:
    """Positions of the first frames after cuts."""
    follower = PathFollower(cv2.erode((np.mean(frames, axis=0) > 12).astype(np.uint8), np.ones((5, 5))) > 0)
    for number, frame in enumerate(frames):
        follower.see(number, frame)
    return [cut.after for cut in find_cuts(follower.boundaries, records or [])]


def test_a_scene_change_is_a_cut(sinus, colon):
    assert cuts(sinus[:10] + colon) == [10]
    assert cuts(sinus[:8] + colon + sinus[12:20]) == [8, 16]


def test_swapped_halves_have_a_cut_between_them():
    swapped = greys("sinus", range(66, 75)) + greys("sinus", range(0, 9))
    assert cuts(swapped) == [9]


def test_a_steady_path_has_none(sinus, colon):
    assert cuts(sinus) == []
    assert cuts(colon) == []


def test_one_flash_or_foreign_frame_is_no_cut(sinus, colon):
    flash = np.where(sinus[6] > 12, np.clip(sinus[6].astype(int) + 150, 0, 255), sinus[6]).astype(np.uint8)
    assert cuts([*sinus[:6], flash, *sinus[7:12]]) == []
    assert cuts([*sinus[:6], np.full_like(flash, 250), *sinus[7:12]]) == []
    assert cuts([*sinus[:6], colon[0], *sinus[6:12]]) == []


def test_light_and_blur_are_no_cuts(sinus):
    darker = [(frame * 0.35).astype(np.uint8) for frame in sinus[5:10]]
    assert cuts([*sinus[:5], *darker]) == []
    blurred = [cv2.GaussianBlur(frame, (0, 0), 4) for frame in sinus[5:8]]
    assert cuts([*sinus[:5], *blurred, *sinus[8:12]]) == []


def test_a_fast_pan_is_no_cut(sinus):
    wide = cv2.resize(np.hstack([sinus[0][:, 60:196], sinus[0][:, 60:196][:, ::-1]]), (600, 300))
    places = [*range(0, 12, 2), *range(12, 300, 48), *range(300, 312, 2)]
    assert cuts([wide[60:204, x : x + 256] for x in places]) == []


def test_frames_that_are_all_far_apart_are_left_alone():
    rng = np.random.default_rng(0)
    noise = [cv2.GaussianBlur(rng.integers(20, 255, SIZE[::-1]).astype(np.float32), (0, 0), 3) for _ in range(9)]
    apart = [cv2.normalize(frame, None, 20, 255, cv2.NORM_MINMAX).astype(np.uint8) for frame in noise]
    assert cuts(apart) == []


def test_a_long_gap_is_a_cut_where_the_view_does_not_follow():
    boundaries = [Boundary(k, k + 1, is_followed=False) for k in range(0, 8)]
    boundaries[4] = Boundary(4, 105, is_followed=False)
    blank = [FrameRecord(k, k / 25, 1.0, DropReason.BLANK) for k in range(5, 105)]
    records = [*(FrameRecord(k, k / 25, 1.0) for k in range(5)), *blank, FrameRecord(105, 105 / 25, 1.0)]
    assert [cut.after for cut in find_cuts(boundaries, records)] == [105]
    short = [r for r in records if r.kept or r.index < 40]
    assert find_cuts(boundaries, short) == []
