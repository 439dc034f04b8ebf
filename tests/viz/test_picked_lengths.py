import numpy as np
import pytest

from dd_sfm.io.metric import MEDIAN_SIGMA
from dd_sfm.viz.render.measure import measure

SQUARE = np.array([[0, 0, 5.0], [2, 0, 5], [2, 3, 5], [0, 3, 5]])


def test_a_distance_and_its_error():
    found = measure("distance", np.array([[0, 0, 0.0], [3, 4, 0]]), np.array([0.3, 0.4]))
    assert (found.value, found.error) == pytest.approx((5.0, 0.5))
    assert found.text() == "5 ± 0.5 scene units"
    assert found.text(2.0) == "10 ± 1 mm"


def test_a_straight_path_does_not_depend_on_the_points_within():
    path = np.array([[0, 0, 0.0], [1, 0, 0], [4, 0, 0]])
    found = measure("path", path, np.array([0.1, 5.0, 0.1]))
    assert (found.value, found.error) == pytest.approx((4.0, np.hypot(0.1, 0.1)))


def test_an_area_and_its_error():
    found = measure("area", SQUARE, np.full(4, 0.1))
    assert found.value == pytest.approx(6.0)
    # Each corner moves half the diagonal between its neighbours.
    assert found.error == pytest.approx(0.1 * np.hypot(2, 3) / 2 * 2)
    assert found.text(10.0).endswith(" mm²")
    assert found.text(10.0).startswith("600 ± ")


@pytest.mark.parametrize("kind", ["path", "area"])
def test_errors_are_what_repeated_measurements_have(kind):
    rng = np.random.default_rng(0)
    points = np.array([[0, 0, 0.0], [2, 0.3, 0], [3, 2, 0.2], [0.5, 2.5, 0]])
    sigma = np.array([0.01, 0.02, 0.005, 0.01])
    noise = rng.normal(size=(1500, 4, 3)) * sigma[:, None]
    values = [measure(kind, points + n, sigma).value for n in noise]
    found = measure(kind, points, MEDIAN_SIGMA * sigma)
    assert np.median(np.abs(np.array(values) - found.value)) == pytest.approx(found.error, rel=0.1)


def test_too_few_points_and_unknown_errors():
    assert measure("distance", SQUARE[:1], np.ones(1)) is None
    assert measure("area", SQUARE[:2], np.ones(2)) is None
    assert measure("distance", SQUARE[:2], np.array([np.nan, 1])).text() == "2 scene units"


def test_one_place_twice():
    found = measure("distance", SQUARE[[0, 0]], np.array([0.3, 0.4]))
    assert (found.value, found.error) == pytest.approx((0.0, 0.5))
    assert measure("area", SQUARE[[0, 0, 0]], np.ones(3)).value == 0


def test_the_error_of_the_scale_adds_to_lengths_once_and_to_areas_twice():
    found = measure("distance", np.array([[0, 0, 0.0], [3, 4, 0]]), np.array([0.3, 0.4]))
    assert found.text(2.0, 0.24) == f"10 ± {2 * np.hypot(0.5, 5 * 0.24):.2g} mm"
    assert found.text(None, 0.24) == "5 ± 0.5 scene units"
    flat = measure("area", SQUARE, np.zeros(4))
    assert flat.text(10.0, 0.1) == "600 ± 1.2e+02 mm²"
    assert measure("distance", SQUARE[:2], np.array([np.nan, 1])).text(1.0, 0.1) == "2 mm"
