"""The main job on a part of the shipped demo clip, by the command itself."""

import json
from pathlib import Path

import numpy as np
import pycolmap
import pytest

from dd_sfm.io.clouds import read_cloud
from dd_sfm.io.lock import LOCK
from dd_sfm.io.run_layout import OWN_FILES, is_own
from dd_sfm.io.truth import read_truth
from dd_sfm.sfm.geometry import similarity

DEMO = Path(__file__).parents[1] / "demo_videos" / "sinus"
SMALL = ("--end", 30, "--set", "match.query_spacing_px=8", "--device", "cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("end_to_end")


def reconstruct(dd_sfm, out, *more):
    command = ("reconstruct", DEMO / "clip.mp4", "-o", out, "--calibration", DEMO / "calibration.txt", *SMALL, *more)
    ran = dd_sfm(*command)
    assert ran.code == 0, ran.err
    for path in out.rglob("*"):
        assert path.is_dir() or path.name in (*OWN_FILES, LOCK) or is_own(out, path), path
    assert ran.err.splitlines()[-1] == (
        f"written: {out / 'points.ply'}, {out / 'sparse' / '0'}; look at it: dd-sfm view {out}"
    )
    return ran, json.loads((out / "metrics.json").read_text())


@pytest.mark.slow
def test_video_to_cloud_and_model(dd_sfm, folder):
    ran, metrics = reconstruct(dd_sfm, folder / "learned")
    assert metrics["frames_registered"] == metrics["frames_used"] == 30
    assert metrics["models"] == [30]
    assert metrics["points"] > 1500
    assert metrics["median_reprojection_error_px"] < 1.0
    assert metrics["degradations"] == []
    assert set(metrics["seconds"]) == {"frames", "describe", "match", "map", "densify", "total"}
    assert f"{metrics['points']:,}" in ran.out
    model = pycolmap.Reconstruction(str(folder / "learned" / "sparse" / "0"))
    assert model.num_points3D() == metrics["points"]
    assert len(read_cloud(folder / "learned" / "points.ply").xyz) == metrics["points"]
    truth = read_truth(DEMO)
    images = sorted(model.images.values(), key=lambda i: i.name)
    found = np.array([i.projection_center() for i in images])
    true = np.array([-p[:, :3].T @ p[:, 3] for p in truth.cam_from_world[:30]])
    scale, rotation, shift = similarity(found, true)
    error = np.linalg.norm(scale * found @ rotation.T + shift - true, axis=1)
    path = np.linalg.norm(np.diff(true, axis=0), axis=1).sum()
    assert np.sqrt((error**2).mean()) < 0.03 * path
    # The cloud is no grey fog: it has the reddish colour of the tissue.
    cloud = read_cloud(folder / "learned" / "points.ply")
    assert cloud.rgb[:, 0].mean() > cloud.rgb[:, 1].mean() + 10


@pytest.mark.slow
def test_repeating_does_nothing_and_a_late_setting_redoes_little(dd_sfm, folder):
    out = folder / "learned"
    if not out.exists():
        pytest.skip("needs the run of the test before")
    before = (out / "points.ply").read_bytes()
    (out / "metrics.json").write_text(
        json.dumps(json.loads((out / "metrics.json").read_text()) | {"peak_rss_mb": 123.0})
    )
    ran, metrics = reconstruct(dd_sfm, out)
    assert ran.err.count("done before") == 5
    # What this call took is not the run's, and what the run took is marked.
    assert metrics["peak_rss_mb"] == 123.0
    assert "0.12 GB, GPU 0.00 GB (kept)" in ran.out
    assert (out / "points.ply").read_bytes() == before
    ran, metrics = reconstruct(dd_sfm, out, "--set", "triangulation.min_angle_deg=3")
    assert ran.err.count("done before") == 3
    assert metrics["points"] > 500
    assert metrics["stages_kept"] == ["frames", "describe", "match"]
    assert metrics["seconds"]["total"] > sum(metrics["seconds"][stage] for stage in ("map", "densify"))


@pytest.mark.slow
def test_sift_on_the_same_frames(dd_sfm, folder):
    _, metrics = reconstruct(dd_sfm, folder / "sift", "--features", "sift")
    assert metrics["features"] == "sift"
    assert metrics["weights"] is None
    assert metrics["frames_registered"] >= 25
    assert metrics["points"] > 100


@pytest.mark.slow
def test_without_calibration_the_guess_is_said(dd_sfm, folder):
    out = folder / "guess"
    ran = dd_sfm("reconstruct", DEMO / "clip.mp4", "-o", out, *SMALL, "--quiet")
    assert ran.code == 0, ran.err
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["calibrated"] is False
    assert any("no calibration" in note for note in metrics["degradations"])
    assert 0.6 * 333 < metrics["focal_length_px"] < 1.8 * 333
