"""Grey images of the depth search: less shading, no highlights, read once."""

import cv2
import numpy as np
import pytest
from slanted import CONFIG, write_clip

from dd_sfm.io.working import working_grid
from dd_sfm.mvs.grey_images import GreyImages, brightness, search_image, small_highlights
from dd_sfm.ops.packed_image import pack_image


def colour(grey):
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


def test_an_even_picture_stays_even_and_loses_half():
    grey = search_image(colour(np.full((90, 120), 100)), np.ones((90, 120), bool))
    assert grey == pytest.approx(np.full((90, 120), 50.0), abs=0.01)


def test_slow_change_is_halved_and_texture_stays():
    columns = np.tile(np.arange(400), (160, 1))
    whole = np.ones((160, 400), bool)
    ramp = search_image(colour(columns // 2), whole)
    inner = slice(100, 300)
    assert np.polyfit(np.arange(100, 300), ramp[80, inner], 1)[0] == pytest.approx(0.25, rel=0.01)
    waves = np.round(100 + 40 * np.sin(2 * np.pi * columns / 16))
    fast = search_image(colour(waves), whole)
    assert np.ptp(fast[80, inner]) == pytest.approx(80, rel=0.05)


def test_what_is_masked_does_not_count_as_shading():
    mask = np.zeros((90, 120), bool)
    mask[:, 30:] = True
    picture = np.full((90, 120), 100)
    picture[:, :30] = 0
    grey = search_image(colour(picture), mask)
    # The final smoothing mixes two columns at the edge of the mask.
    assert grey[:, 33:] == pytest.approx(np.full((90, 87), 50.0), abs=0.01)
    # What is masked continues its surroundings, and has no rim.
    assert np.ptp(grey) < 0.5


def spotted(level, radius):
    return cv2.circle(colour(np.full((90, 120), 100)), (60, 42), radius, level, -1)


def test_small_white_spots_are_glints_and_vanish():
    picture = spotted((160, 150, 140), 2)
    found = small_highlights(picture)
    assert found[40:45, 58:63].all()
    assert found.sum() < 60
    grey = search_image(picture, np.ones((90, 120), bool))
    assert np.ptp(grey) < 0.5


@pytest.mark.parametrize(
    ("level", "radius"), [((200, 100, 100), 2), ((160, 150, 140), 20), ((40, 40, 40), 2), ((115, 115, 115), 2)]
)
def test_red_wide_dark_or_faint_spots_stay(level, radius):
    picture = spotted(level, radius)
    assert small_highlights(picture).mean() < 0.02  # at most single pixels of a rim
    assert np.ptp(search_image(picture, np.ones((90, 120), bool))) > 5


def test_many_spots_are_texture():
    rng = np.random.default_rng(3)
    picture = colour(100 + 80 * (rng.random((90, 120)) < 0.1))
    assert small_highlights(picture).mean() > 0.1
    assert np.ptp(search_image(picture, np.ones((90, 120), bool))) > 50


def test_brightness_is_that_of_the_frame():
    rows = np.mgrid[:120, :160][0]
    image = np.repeat((60 + rows // 2).astype(np.uint8)[..., None], 3, axis=2)
    found = brightness(search_image(image, np.ones((120, 160), bool)), 3.0)
    assert found[50:70, 60:100] == pytest.approx((60 + rows // 2)[50:70, 60:100], abs=3)


def test_images_are_read_once_while_there_is_room(tmp_path, monkeypatch):
    frames = write_clip(tmp_path)
    images = GreyImages(frames, working_grid(frames, CONFIG, 2))
    assert images.mask(0) is images.mask(0)
    grey, mask = images[1]
    assert grey.dtype == np.float32
    assert grey.shape == mask.shape == (images.grid.height, images.grid.width)
    monkeypatch.setattr("dd_sfm.mvs.grey_images.CACHE_BYTES", 0)
    tight = GreyImages(frames, images.grid)
    first = tight.mask(0)
    for position in (1, 2):
        tight[position]
    assert tight.mask(0) is not first
    assert (tight.mask(0) == first).all()


def test_slots_of_the_search_are_used_again(tmp_path, monkeypatch):
    monkeypatch.setattr("dd_sfm.mvs.grey_images.slots_for", lambda grid, frames: 3)
    frames = write_clip(tmp_path)
    images = GreyImages(frames, working_grid(frames, CONFIG, 2))
    for asked in ((0, 1, 2), (2, 3), (0, 3, 2), (4, 5, 6)):
        search, slots = images.on_device(asked)
        assert len(set(slots.tolist())) == len(asked)
        for frame, slot in zip(asked, slots, strict=True):
            assert (search._cells[slot] == pack_image(images[frame][0]).ravel()).all()
