"""Blank frames and frames of another field of view among good ones."""

import cv2
import numpy as np
import pytest
from conftest import circle_mask, moving_frames, texture, write_video

from dd_sfm.config import Config, load_config
from dd_sfm.errors import InputError
from dd_sfm.io.images import read_mask
from dd_sfm.io.run_folder import read_frames
from dd_sfm.pipeline.frame_content import main_group, one_colour, overview
from dd_sfm.pipeline.frames import extract_frames
from dd_sfm.pipeline.scene_samples import scene_samples
from dd_sfm.progress import silent
from dd_sfm.structures import DropReason

BLANK, OTHER_FIELD, NO_MOTION, BLURRED = (
    DropReason.BLANK, DropReason.OTHER_FIELD, DropReason.NO_MOTION, DropReason.BLURRED
)  # fmt: skip


def extracted(tmp_path, frames, *overrides, mask=None):
    config = load_config(Config, None, ["camera.estimate=false", *overrides])
    clip = write_video(tmp_path / "clip.avi", frames)
    extract_frames(clip, tmp_path / "run", config, calibration=None, mask=mask, progress=silent)
    return read_frames(tmp_path / "run")


def drops(found):
    return {record.index: record.dropped for record in found.records if not record.kept}


def plain(colour, noise=0):
    rng = np.random.default_rng(0)
    return np.clip(np.full((120, 160, 3), colour) + rng.normal(0, noise, (120, 160, 3)), 0, 255).astype(np.uint8)


def inserted(place, others, count=24):
    frames = moving_frames(count)
    return frames[:place] + list(others) + frames[place:]


def full_screen(count):
    """A picture that fills the frame and moves, as that of a room."""
    return [np.ascontiguousarray(texture(seed=3)[40:160, 2 * k : 2 * k + 160]) for k in range(count)]


def with_text(frame, colour=(255, 255, 255)):
    frame = frame.copy()
    for k in range(3):
        cv2.putText(frame, "NAME 1970", (12, 35 + 25 * k), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1)
    return frame


def resized(frame, factor):
    turn = cv2.getRotationMatrix2D((80, 60), 0, factor)
    return cv2.warpAffine(frame, turn, (160, 120))


@pytest.mark.parametrize("colour", [(0, 0, 0), (0, 0, 255), (255, 255, 255), (90, 90, 90)])
@pytest.mark.parametrize(("place", "count"), [(0, 5), (12, 10), (24, 3)])
def test_blank_frames_are_dropped_and_the_others_kept(tmp_path, colour, place, count):
    found = extracted(tmp_path, inserted(place, [plain(colour, 2)] * count))
    assert drops(found) == dict.fromkeys(range(place, place + count), BLANK)
    assert found.field_of_view_px == pytest.approx(104, abs=4)
    assert [note.code.value for note in found.notes] == ["frames_blank"]
    assert found.notes[0].text.startswith(f"{count} of {24 + count} frames left out as blank")


def test_blank_frames_are_dropped_where_frames_are_thinned(tmp_path):
    found = extracted(tmp_path, inserted(12, [plain(0)] * 10), "frames.max_frames=20")
    assert list(drops(found).values()).count(BLANK) == 10
    assert len(found.kept) == 20


def test_sharpness_is_compared_among_good_frames_alone(tmp_path):
    # Two blank frames for each good one: beside their sharpness of zero the blurred one would pass for sharp.
    frames = [f for frame in moving_frames(16) for f in (frame, plain(0), plain(0))]
    frames[24] = cv2.GaussianBlur(frames[24], (0, 0), 5)
    found = drops(extracted(tmp_path, frames))
    assert [k for k, reason in found.items() if reason is BLURRED] == [24]
    assert [k for k in range(48) if k not in found] == [k for k in range(0, 48, 3) if k != 24]


def test_the_field_of_view_is_found_where_all_first_samples_are_blank():
    frames = moving_frames(80)
    sampled = {int(k) for k in np.linspace(0, 79, 16)}
    frames = [plain(0) if k in sampled else frame for k, frame in enumerate(frames)]
    looked = []

    def read(numbers):
        for number in numbers:
            looked.append(number)
            yield number, frames[number]

    samples = scene_samples(range(80), read, "clip")
    assert 6 <= len(samples) <= 16
    assert all(sample.any() for sample in samples)
    assert len(looked) == len(set(looked))


def test_a_clip_of_blank_frames_is_refused(tmp_path):
    with pytest.raises(InputError, match="all frames are blank, of one colour"):
        extracted(tmp_path, [plain((0, 0, 255))] * 8)


OTHERS = {
    "room": full_screen(10),
    "menu on grey": [with_text(plain((70, 80, 90)))] * 10,
    "text on black": [with_text(plain(0), (200, 200, 200))] * 10,
    "smaller": [resized(frame, 0.6) for frame in moving_frames(10)],
    "larger": [resized(frame, 1.5) for frame in moving_frames(10)],
    "picture in picture": [np.where(resized(np.ones((120, 160, 3), np.uint8), 0.4) > 0, resized(f, 0.4), 60)
                           for f in moving_frames(10)],
    "beside": [np.roll(frame, 50, axis=1) for frame in moving_frames(10)],
}  # fmt: skip


@pytest.mark.parametrize("place", [0, 12])
@pytest.mark.parametrize("name", OTHERS)
def test_frames_of_another_field_are_dropped(tmp_path, name, place):
    found = extracted(tmp_path, inserted(place, [frame.astype(np.uint8) for frame in OTHERS[name]]))
    dropped = drops(found)
    assert set(dropped) == set(range(place, place + 10))
    assert set(dropped.values()) <= {OTHER_FIELD, BLANK}
    # Focal length guessed from a field of 104 pixels.
    assert found.camera.fx == pytest.approx(52 / np.tan(np.radians(37.5)), rel=0.04)


def test_a_circle_among_full_screen_frames_is_another_field(tmp_path):
    frames = full_screen(20)
    found = extracted(tmp_path, frames[:10] + moving_frames(8) + frames[10:])
    assert drops(found) == dict.fromkeys(range(10, 18), OTHER_FIELD)
    assert read_mask(tmp_path / "run" / "field_of_view.png").mean() > 0.9


def test_a_menu_held_longer_than_the_scene_is_shown_does_not_win():
    menu = overview(with_text(plain((70, 160, 90))))
    scene = [overview(frame) for frame in moving_frames(6)]
    assert main_group([menu] * 10 + scene) == list(range(10, 16))


GOOD = {
    "dim": lambda frame: (frame * 0.12).astype(np.uint8),
    "another colour": lambda frame: np.ascontiguousarray(frame[..., ::-1]),
    "bright": lambda frame: np.clip(frame * 1.6, 0, 255).astype(np.uint8),
    "a still beside the picture": lambda frame: np.maximum(
        frame, np.pad(np.full((26, 26, 3), 150, np.uint8), ((94, 0), (0, 134), (0, 0)))
    ),
    "a dark instrument": lambda frame: cv2.line(frame.copy(), (80, 60), (150, 100), (2, 2, 2), 30),
    "a dark lumen": lambda frame: cv2.circle(frame.copy(), (80, 60), 35, (3, 2, 2), -1),
}


@pytest.mark.parametrize("name", GOOD)
def test_frames_that_look_different_but_show_the_scene_are_kept(tmp_path, name):
    frames = [GOOD[name](frame) if 8 <= k < 16 else frame for k, frame in enumerate(moving_frames(24))]
    assert not set(drops(extracted(tmp_path, frames, "frames.min_sharpness=0")).values()) & {BLANK, OTHER_FIELD}


def test_a_small_picture_on_a_large_canvas(tmp_path):
    frames = [np.pad(frame, ((100, 260), (100, 400), (0, 0))) for frame in moving_frames(12)]
    found = extracted(tmp_path, frames)
    assert drops(found) == {}
    assert found.field_of_view_px == pytest.approx(104, abs=4)


def test_a_fade_in_is_blank_only_where_nothing_shows(tmp_path):
    frames = [(frame * min(1.0, k / 20)).astype(np.uint8) for k, frame in enumerate(moving_frames(40))]
    blank = [k for k, reason in drops(extracted(tmp_path, frames)).items() if reason is BLANK]
    assert blank in ([0], [0, 1])


def test_frames_after_a_wall_filled_the_picture_are_kept(tmp_path):
    rows, columns = np.mgrid[:120, :160]
    glow = np.clip(1 - np.hypot(rows - 60, columns - 80) / 120, 0, 1) * circle_mask()
    wall = (glow[..., None] * (200, 60, 50)).astype(np.uint8)
    found = drops(extracted(tmp_path, inserted(12, [wall] * 8)))
    assert all(12 <= k < 20 for k in found)


def test_frames_held_still_and_blank_ones_together(tmp_path):
    frames = moving_frames(24)
    frames = frames[:8] + [frames[7]] * 4 + [plain(0)] * 4 + [frames[7]] * 3 + frames[8:]
    expected = dict.fromkeys((8, 9, 10, 11, 16, 17, 18), NO_MOTION) | dict.fromkeys(range(12, 16), BLANK)
    assert drops(extracted(tmp_path, frames)) == expected


def test_noise_does_not_make_a_blank_frame_one_that_shows_something():
    assert one_colour(overview(plain((0, 0, 200), noise=6)))
    assert not one_colour(overview(moving_frames(1)[0]))
