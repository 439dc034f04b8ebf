import cv2
import numpy as np
import pytest

from dd_sfm.errors import OutputError
from dd_sfm.evaluation.model import Evaluation
from dd_sfm.evaluation.trajectory import Trajectory
from dd_sfm.viz.figures import viewing_axes, write_figures


def evaluation(error):
    poses = np.stack([np.column_stack([np.eye(3), [-0.1 * k, 0, 0]]) for k in range(5)])
    xyz = np.random.default_rng(0).normal(size=(len(error), 3)) + np.array([0, 0, 5])
    return Evaluation({}, Trajectory(np.arange(5), poses, poses, 0.4), xyz, np.array(error), "mm", "mm", {})


@pytest.mark.parametrize("error", [np.linspace(0, 3, 50), np.zeros(50), np.array([0.5, np.nan])])
def test_three_pictures_with_something_in_them(tmp_path, error):
    paths = write_figures(tmp_path, evaluation(error))
    assert sorted(p.name for p in paths) == ["cloud.png", "errors.png", "trajectory.png"]
    for path in paths:
        assert len(np.unique(cv2.imread(str(path)))) > 50


@pytest.mark.parametrize("error", [[], [np.nan, np.nan]])
def test_without_errors_there_is_no_cloud(tmp_path, error):
    paths = write_figures(tmp_path, evaluation(error))
    assert sorted(p.name for p in paths) == ["errors.png", "trajectory.png"]


def test_the_view_is_that_of_the_cameras():
    assert viewing_axes(evaluation([1.0])) == pytest.approx(np.eye(3))


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        write_figures(tmp_path / "none", evaluation([1.0]))
