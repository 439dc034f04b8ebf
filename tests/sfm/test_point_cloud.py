"""Normals of the points that are handed out."""

import numpy as np
import pytest
from scene import make_scene

from dd_sfm.sfm.point_cloud import point_normals


@pytest.fixture(scope="module")
def truth():
    """A model without errors."""
    return make_scene(points=800, outliers=0.2)[2]


def test_normals_look_into_the_tube(truth):
    normals = point_normals(truth)
    assert np.linalg.norm(normals, axis=1) == pytest.approx(np.ones(len(normals)))
    seen = np.unique(truth.point)
    inwards = -truth.xyz[seen, :2] / np.linalg.norm(truth.xyz[seen, :2], axis=1, keepdims=True)
    assert np.median((normals[seen, :2] * inwards).sum(1)) > 0.85
