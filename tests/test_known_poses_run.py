"""Known poses from the command to the cloud, on a part of the shipped demo clip."""

import json
from pathlib import Path

import numpy as np
import pytest

from dd_sfm.evaluation.model.evaluate import evaluate_model
from dd_sfm.io.clouds import read_cloud
from dd_sfm.io.truth import read_truth

DEMO = Path(__file__).parents[1] / "demo_videos" / "sinus"
SMALL = ("--end", 18, "--quality", "preview", "--set", "match.query_spacing_px=9", "--set", "masks.instruments=false")
CALIBRATION = ("--calibration", DEMO / "calibration.txt", "--device", "cpu")


@pytest.mark.slow
def test_poses_are_kept_and_then_adjusted_and_the_unit_is_everywhere(dd_sfm, tmp_path):
    command = ("reconstruct", DEMO / "clip.mp4", "-o", tmp_path / "run", *CALIBRATION, *SMALL)
    poses = f"{DEMO / 'positions.tum'}@mm"
    ran = dd_sfm(*command, "--poses", poses)
    assert ran.code == 0, ran.err
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (metrics["unit"], metrics["mapper"], metrics["known_poses"]["exact"]) == ("mm", "given", True)
    assert metrics["known_poses"]["matches_agreeing"] > 0.95
    kept = evaluate_model(tmp_path / "run", DEMO).figures
    # The file holds four digits after the point.
    assert kept["trajectory"]["ate_rms"] < 1e-3
    assert kept["alignment"]["scale"] == pytest.approx(1, abs=1e-3)
    assert b"unit: mm" in (tmp_path / "run" / "points.ply").read_bytes()[:800]
    truth = read_truth(DEMO)
    centres = -np.einsum("nij,ni->nj", truth.cam_from_world[:18, :, :3], truth.cam_from_world[:18, :, 3])
    distance = np.linalg.norm(read_cloud(tmp_path / "run" / "points.ply").xyz[:, None] - centres[None, ::6], axis=2)
    assert 3 < np.median(distance.min(1)) < 80

    ran = dd_sfm(*command, "--poses", poses, "--poses-sigma", "0.05,0.1")
    assert ran.code == 0, ran.err
    assert "match: done before" in ran.err
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["mapper"] != "given"
    known = metrics["known_poses"]
    assert known["residual_rms_mm"] < 0.1
    assert not known["hand_eye_estimated"]
    mended = evaluate_model(tmp_path / "run", DEMO).figures
    assert mended["alignment"]["scale"] == pytest.approx(1, abs=max(0.01, 3 * known["scale_sigma"]))
    assert "nothing to do" in dd_sfm(*command, "--poses", poses, "--poses-sigma", "0.05,0.1").err
