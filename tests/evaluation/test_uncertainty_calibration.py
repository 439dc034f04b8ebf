"""Expected against true errors: right ones, wrong ones, and what cannot be told."""

import numpy as np
import pytest

from dd_sfm.evaluation.model.uncertainty_calibration import calibration_figures

PREDICTED = np.geomspace(0.002, 0.064, 505)


def test_right_expectations():
    rng = np.random.default_rng(0)
    # Half of such points stay below what is expected.
    actual = PREDICTED * rng.uniform(0, 2, len(PREDICTED))
    found = calibration_figures(PREDICTED, actual)
    assert found["points"] == 505
    assert [row["points"] for row in found["bins"]] == [101] * 5
    assert [row["actual_over_predicted"] for row in found["bins"]] == pytest.approx([1.0] * 5, abs=0.25)
    assert found["growth_when_doubled"] == pytest.approx(2.0, abs=0.2)
    assert found["rank_correlation"] > 0.6
    assert found["gross_share"] == 0
    # The same errors at other points tell nothing.
    shuffled = calibration_figures(rng.permutation(PREDICTED), actual)
    assert abs(shuffled["rank_correlation"]) < 0.15
    assert shuffled["growth_when_doubled"] == pytest.approx(1.0, abs=0.25)


def test_known_bins():
    found = calibration_figures(PREDICTED, 3 * PREDICTED**2)
    assert found["rank_correlation"] == pytest.approx(1.0)
    assert found["growth_when_doubled"] == pytest.approx(4.0, rel=1e-4)
    assert found["gross_share"] == 0
    assert calibration_figures(PREDICTED, PREDICTED * np.where(np.arange(505) < 101, 3.1, 1))["gross_share"] == 0.2
    middle = found["bins"][2]
    assert middle["predicted_median"] == pytest.approx(np.sqrt(0.002 * 0.064), rel=0.01)
    assert middle["actual_median"] == pytest.approx(3 * middle["predicted_median"] ** 2)
    assert middle["actual_over_predicted"] == pytest.approx(3 * middle["predicted_median"])


def test_points_of_which_something_is_unknown_do_not_count():
    predicted, actual = PREDICTED.copy(), PREDICTED.copy()
    predicted[::2], actual[1::4] = np.nan, np.nan
    assert calibration_figures(predicted, actual)["points"] == 126
    assert calibration_figures(np.full(505, np.nan), actual) is None
    assert calibration_figures(PREDICTED[:49], PREDICTED[:49]) is None


def test_without_a_spread_nothing_grows():
    found = calibration_figures(np.full(100, 0.01), np.linspace(0, 1, 100))
    assert found["rank_correlation"] is None
    assert found["growth_when_doubled"] is None
    exact = calibration_figures(PREDICTED, np.zeros(505))
    assert (exact["rank_correlation"], exact["growth_when_doubled"]) == (None, None)
    assert exact["bins"][4]["actual_over_predicted"] == 0.0
