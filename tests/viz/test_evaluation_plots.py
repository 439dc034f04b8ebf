from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dd_sfm.errors import OutputError
from dd_sfm.evaluation.model.alignment import align_cameras
from dd_sfm.evaluation.model.evaluate import Evaluation
from dd_sfm.evaluation.model.frame_numbering import Numbering
from dd_sfm.evaluation.model.trajectory import Trajectory
from dd_sfm.viz.render.evaluation_plots import (
    cloud_figure,
    error_figure,
    trajectory_figure,
    viewing_axes,
    write_figures,
)


def evaluation(error):
    poses = np.stack([np.column_stack([np.eye(3), [-0.1 * k, 0, 0]]) for k in range(5)])
    xyz = np.random.default_rng(0).normal(size=(len(error), 3)) + np.array([0, 0, 5])
    trajectory = Trajectory(np.arange(5), poses, poses, 0.4)
    alignment = align_cameras(poses, poses)
    numbering = Numbering.SAME_NUMBERS
    return Evaluation({}, trajectory, xyz, np.array(error), "mm", "mm", {}, alignment, numbering)


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


def test_axes_are_those_of_the_reference():
    axes = viewing_axes(evaluation([1.0]))
    assert [(a.index, a.sign) for a in axes] == [(0, 1.0), (1, 1.0), (2, 1.0)]
    # Cameras that look along -x of the reference with its z axis up, tilted by 20 degrees.
    turn = Rotation.from_euler("x", 20, degrees=True).as_matrix() @ [[0, 1, 0], [0, 0, -1], [-1, 0, 0]]
    poses = np.stack([np.column_stack([turn, [0.1 * k, 0, 0]]) for k in range(5)])
    turned = replace(evaluation([1.0]), trajectory=Trajectory(np.arange(5), poses, poses, 0.4))
    axes = viewing_axes(turned)
    assert [(a.index, a.sign) for a in axes] == [(1, 1.0), (2, -1.0), (0, -1.0)]
    panel = cloud_figure(turned).axes[0]
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("y of the reference [mm]", "z [mm]")
    assert not panel.xaxis_inverted()
    assert not panel.yaxis_inverted()


def test_both_pictures_show_the_same_coordinates():
    drawn = evaluation(np.linspace(0, 3, 50))
    paths = [f(drawn).axes[0].lines for f in (cloud_figure, trajectory_figure)]
    cloud, model = paths[0][0], next(line for line in paths[1] if line.get_label() == "model")
    assert cloud.get_xydata() == pytest.approx(model.get_xydata())
    # Down in the picture is down for the cameras.
    assert cloud_figure(drawn).axes[0].yaxis_inverted()
    assert trajectory_figure(drawn).axes[0].yaxis_inverted()


def test_the_histogram_says_what_it_counts():
    figure = error_figure(evaluation([0.5, np.nan, 1.0, 2.0]))
    axes = figure.axes[0]
    assert axes.get_title() == "3 points with a known error"
    assert axes.get_xlabel() == "error of a point, median of its observations [mm]"
    assert "median: 1 mm" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert axes.get_legend() is None


def test_the_far_end_of_a_cloud_is_in_the_picture_and_strays_are_not():
    drawn = evaluation(np.linspace(0.1, 3, 1200))
    rng = np.random.default_rng(0)
    wall, end = rng.uniform([-1, -1, 2], [1, 1, 6], (1150, 3)), rng.uniform([2.5, -1, 9], [3, 1, 9.5], (48, 3))
    strays = np.array([[80.0, 0, 5], [0, -90.0, 5]])
    figure = cloud_figure(replace(drawn, xyz=np.concatenate([wall, end, strays])))
    left, right = figure.axes[:2]
    assert 3 < left.get_xlim()[1] < 10
    assert 9.5 < right.get_xlim()[1] < 15
    assert left.get_ylim() == right.get_ylim()
    assert left.get_legend() is right.get_legend() is None


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        write_figures(tmp_path / "none", evaluation([1.0]))
