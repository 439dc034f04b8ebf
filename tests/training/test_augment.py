from dataclasses import replace

import cv2
import numpy as np
import pytest
from conftest import texture

from dd_sfm.ops.pixels import nearest_values
from dd_sfm.training.augment import AugmentConfig, bend_image, bend_points, crop_homography, displacement
from dd_sfm.training.config import TrainConfig
from dd_sfm.training.pairs import augment_pair
from dd_sfm.training.photometric import draw_recording, photometric, recorded
from dd_sfm.training.sources.pair_sample import PairSample

STILL = AugmentConfig(
    crop=(120, 140), photometric=0, rotation_deg=0, shared_rotation_deg=0, flip=False, scale=0, perspective=0
)
LOOKS = ("camera", "recesses", "motion_blur_px", "compression", "overlay")


def scales(config, count=200):
    rng = np.random.default_rng(0)
    found = [crop_homography(rng, np.array([50.0, 40.0]), 0.0, False, config) for _ in range(count)]
    return np.array([np.sqrt(np.linalg.det(h[:2, :2])) for h in found])


def test_scale_zero_leaves_the_scale_as_it_is():
    assert scales(AugmentConfig(rotation_deg=0, scale=0, perspective=0)) == pytest.approx(1.0)


def test_scale_is_within_what_its_setting_says():
    logarithm = np.log(scales(AugmentConfig(rotation_deg=0, perspective=0))) / AugmentConfig().scale
    assert logarithm.min() == pytest.approx(-0.9, abs=0.2)
    assert logarithm.max() == pytest.approx(1.3, abs=0.2)


@pytest.mark.parametrize(("strength", "least", "most"), [(0.0, 0.0, 0.0), (0.02, 0.0, 0.08), (1.0, 0.9, 1.0)])
def test_strength_is_a_factor_on_every_change_of_light(strength, least, most):
    image = texture(60, 80)
    rng = np.random.default_rng(0)
    before = image.astype(np.float32) / 255
    changes = [np.abs(photometric(before, rng, strength) - before).max() for _ in range(100)]
    assert least <= np.mean(np.array(changes) > 0.1) <= most


def recordings(config, image, count=60):
    rng = np.random.default_rng(0)
    return [recorded(image, rng, config, draw_recording(rng, config)) for _ in range(count)]


@pytest.mark.parametrize("name", LOOKS)
def test_what_is_not_asked_for_changes_nothing_and_draws_nothing(name):
    image = texture(120, 140)
    rng, other = np.random.default_rng(3), np.random.default_rng(3)
    assert np.abs(recorded(image, rng, STILL, draw_recording(rng, STILL)) - image / 255.0).max() < 1e-6
    assert displacement(rng, STILL) is None
    assert rng.random() == other.random()
    changed = recordings(replace(STILL, **{name: 1.0}), image, 30)
    assert max(np.abs(found - image / 255.0).max() for found in changed) > 0.02
    assert all(found.dtype == np.float32 and 0 <= found.min() <= found.max() <= 1 for found in changed)


def test_the_colours_of_another_camera_are_those_of_both_images():
    config = replace(STILL, camera=1.0)
    pair = augment_pair(pair_of(texture()), np.random.default_rng(2), TrainConfig(augment=config))
    means = (pair["images"] * pair["masks"][:, None]).sum((2, 3)) / pair["masks"].sum((1, 2))[:, None]
    first, second = means.numpy()
    assert np.abs(first - second).max() < 0.02 < np.abs(first - texture().mean((0, 1)) / 255).max()


def test_recesses_are_darker_on_one_side_and_noisier():
    flat = np.full((120, 140, 3), 150, np.uint8)
    blocks = np.array([cv2.resize(found, (4, 4), interpolation=cv2.INTER_AREA).mean(2)
                       for found in recordings(replace(STILL, recesses=1.0), flat)])  # fmt: skip
    assert np.median(blocks.min((1, 2)) / blocks.max((1, 2))) < 0.5


def test_motion_blurs_along_one_direction_and_keeps_the_brightness():
    image = texture(120, 140)
    for found in recordings(replace(STILL, motion_blur_px=9.0), image):
        assert found.mean() == pytest.approx(image.mean() / 255, abs=0.003)


def pair_of(image):
    mask = np.ones(image.shape[:2], bool)
    rows, columns = np.mgrid[20:180:6, 20:240:6]
    xy = np.stack([columns.ravel(), rows.ravel()], 1).astype(np.float64)
    return PairSample(image, image, mask, mask, xy, xy)


@pytest.mark.parametrize("change", [{"lens": 0.2}, {"deformation_px": 15.0}, {"lens": 0.1, "deformation_px": 8.0}])
def test_points_follow_what_bends_the_image(change):
    image, rng = cv2.GaussianBlur(texture(), (0, 0), 2), np.random.default_rng(1)
    config = replace(STILL, rotation_deg=40, **change)
    xy = pair_of(image).xy0
    for _ in range(4):
        homography = crop_homography(rng, np.array([130.0, 100.0]), 0.3, False, config)
        shift = displacement(rng, config)
        bent = bend_image(image, homography, shift, cv2.INTER_LINEAR)
        flat = np.c_[xy, np.ones(len(xy))] @ homography.T
        place = bend_points(flat[:, :2] / flat[:, 2:], shift)
        seen = ((place >= 1) & (place < np.array([139, 119]))).all(1)
        assert seen.sum() > 60
        there = nearest_values(bent, place[seen], 0).astype(float)
        here = nearest_values(image, xy[seen], 0).astype(float)
        assert np.median(np.abs(there - here)) <= 2
        assert np.median(np.linalg.norm(place - flat[:, :2] / flat[:, 2:], axis=1)[seen]) > 0.1


def test_points_below_burnt_in_text_are_left_out():
    config = replace(STILL, overlay=1.0)
    rng = np.random.default_rng(5)
    recording = draw_recording(rng, config)
    xy = np.argwhere(np.ones(config.crop, bool))[:, ::-1].astype(np.float64)
    covered = recording.covers(xy).reshape(config.crop)
    assert covered[recording.text > 0.1].all()
    assert 0.005 < covered.mean() < 0.5
    for seed in range(8):
        pair = augment_pair(pair_of(texture()), np.random.default_rng(seed), TrainConfig(augment=config))
        assert pair is not None
        assert pair["xy"].isfinite().all()
