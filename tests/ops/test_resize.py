import numpy as np
import pytest

from dd_sfm.ops.coordinates import resize_xy
from dd_sfm.ops.resize import resize_image, working_scale


def test_the_field_of_view_gets_the_working_height():
    assert working_scale(1000, 500) == 0.5
    assert working_scale(100, 500) == 1.5


@pytest.mark.parametrize("scale", [500 / 1052, 1.0, 1.31])
def test_a_pixel_lands_where_the_convention_says_up_to_the_far_edge(scale):
    ramp = np.tile(np.arange(1920, dtype=np.float32), (8, 1))
    resized = resize_image(ramp, scale)
    columns = np.arange(resized.shape[1])[5:-5]
    source = resize_xy(columns.astype(np.float64), 1 / scale)
    assert resized.shape[1] == round(1920 * scale)
    assert resized[2, 5:-5] == pytest.approx(source, abs=0.03)
