"""A clip in which the camera hardly moves: more than one model explains it, and only one of them is right."""

from pathlib import Path

import numpy as np
import pytest

from dd_sfm.cameras import camera_centres, stack_poses
from dd_sfm.io.run_folder import read_poses

DEMO = Path(__file__).parents[2] / "demo_videos" / "sinus"


@pytest.mark.slow
def test_a_model_that_is_turned_inside_out_is_not_taken(dd_sfm, tmp_path):
    run, calibration = tmp_path / "run", DEMO / "calibration.txt"
    ran = dd_sfm(
        "map", DEMO / "clip.mp4", "-o", run, "--calibration", calibration, "--quality", "preview", "--end", "12"
    )
    assert ran.code == 0, ran.err
    found = read_poses(run).models[0]
    assert len(found) >= 11
    truth, rows = np.load(DEMO / "truth.npz"), sorted(found)
    poses = stack_poses(found)[rows]
    # The directions of a short path say little: the rotations align the two.
    between = truth["R"][rows] @ poses[:, :, :3]
    u, _, v = np.linalg.svd(between.sum(0))
    turned = camera_centres(poses) @ (u @ v).T
    turned, true = turned - turned.mean(0), truth["c"][rows] - truth["c"][rows].mean(0)
    scale = (turned * true).sum() / np.square(turned).sum()
    path = np.linalg.norm(np.diff(truth["c"][:12], axis=0), axis=1).sum()
    # The wrong model is off by 24 % of the path.
    assert scale > 0
    assert np.sqrt(np.square(scale * turned - true).sum(1).mean()) < 0.05 * path
