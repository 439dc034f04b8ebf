"""Statistics of pictures: known gradients, ratios, and what is refused."""

import cv2
import numpy as np
import pytest

from dd_sfm.errors import InputError
from dd_sfm.evaluation.realism import picture_statistics, ratios_to_real

MASK = np.ones((500, 500), bool)


def ramp(step: float) -> np.ndarray:
    return np.repeat(np.clip(40 + step * np.arange(500), 0, 255).astype(np.uint8)[None, :, None], 500, 0).repeat(3, 2)


def test_a_ramp_has_its_gradient_and_no_keypoint():
    found = picture_statistics([ramp(0.25), ramp(0.25)], MASK)
    assert found.keypoints == found.matches == 0
    assert found.brightness == pytest.approx(102, abs=1)
    assert found.red_to_green == pytest.approx(1.0)
    assert found.texture < 0.5


def test_noise_matches_itself():
    rng = np.random.default_rng(0)
    image = np.clip(cv2.GaussianBlur(rng.normal(120, 200, (500, 500, 3)), (0, 0), 3), 0, 255).astype(np.uint8)
    found = picture_statistics([image, image], MASK)
    assert found.weak_keypoints > 200
    assert found.matches > 0.9 * found.weak_keypoints
    assert set(ratios_to_real(found, [found, found]).values()) == {1.0}


def test_nothing_to_measure():
    with pytest.raises(InputError, match="expected at least two frames"):
        picture_statistics([ramp(0.1)], MASK)
    with pytest.raises(InputError, match="0 usable pixels"):
        picture_statistics([ramp(0.1)] * 2, ~MASK)
