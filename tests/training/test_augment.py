import numpy as np
import pytest
from conftest import texture

from dd_sfm.training.augment import AugmentConfig, crop_homography, photometric


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
    changes = [np.abs(photometric(image, rng, strength) - image / 255.0).max() for _ in range(100)]
    assert least <= np.mean(np.array(changes) > 0.1) <= most
