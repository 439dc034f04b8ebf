"""The page of a single run: well-formed, whole, and safe whatever the run holds."""

import base64
import json
import re

import numpy as np
import pytest
from comparing import write_comparison_run
from plane import FRAMES, plane_model
from test_report import SCRIPT, Outline, hostile

from dd_sfm.io.clouds import read_cloud, write_cloud
from dd_sfm.io.run_folder import read_frames, read_metrics, write_coverage, write_metrics
from dd_sfm.mvs.coverage_surface import MIN_POINTS
from dd_sfm.sfm.point_cloud import to_cloud
from dd_sfm.structures import PointCloud
from dd_sfm.viz.report.facts import facts_of
from dd_sfm.viz.report.run_page import FrameState, RunPictures, run_page
from dd_sfm.viz.report.run_report import write_run_report
from dd_sfm.viz.report.summary import summarise

COVERAGE = {"measured_share": None, "reason": f"7 points; expected {MIN_POINTS}"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    model = plane_model()
    folder = write_comparison_run(tmp_path_factory.mktemp("one") / "learned", model, features="learned")
    write_cloud(folder / "points.ply", to_cloud(model))
    poses = [
        {"frame": f"{k:08d}", "model": 0 if k else None, "confidence": 0.95 if k > 1 else None, "reason": ""}
        for k in range(FRAMES)
    ]
    (folder / "frame_poses.json").write_text(json.dumps(poses))
    figures = {"frames_used": FRAMES, "frames_registered": FRAMES - 1, "points": len(model.xyz), "coverage": COVERAGE}
    write_metrics(folder, read_metrics(folder) | figures)
    write_coverage(folder, COVERAGE)
    return folder


def test_the_page_is_one_well_formed_file_that_fetches_nothing(run):
    path = write_run_report(run, title="clip <1>.mp4")
    assert path == run / "report.html"
    text = path.read_text()
    outline = Outline(text)
    assert outline.open == []
    assert all(link.startswith("data:") for link in outline.links)
    # Two frames beside their clouds, two views from outside, three histograms.
    assert outline.tags.count("img") == 9
    plain = re.sub(r"<(script|style).*?</\1>", "", text, flags=re.S)
    assert "clip &lt;1&gt;.mp4" in plain
    assert f"{FRAMES - 1} of {FRAMES} frames" in plain
    assert f"Not known: {COVERAGE['reason']}" in plain
    assert plain.count('<rect class="sure"') == FRAMES - 2
    assert plain.count('<rect class="lost"') == plain.count('<rect class="unchecked"') == 1
    assert "Left out before: 1 blurred." in plain
    # Nothing is known of how sure these points are.
    assert 'value="uncertainty"' not in plain


def test_the_cloud_to_turn_has_the_uncertainty_of_its_own_points(run, tmp_path):
    cloud = read_cloud(run / "points.ply")
    expected = np.linspace(0.001, 0.2, len(cloud.xyz))
    for path in run.iterdir():
        if path.name != "points.ply":
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "report.html").unlink(missing_ok=True)
    # In another order than the model has them.
    turned = slice(None, None, -1)
    write_cloud(
        tmp_path / "points.ply",
        PointCloud(*(getattr(cloud, name)[turned] for name in ("xyz", "rgb", "normals", "error_px", "track_length")),
                   None, expected[turned]),
    )  # fmt: skip
    text = write_run_report(tmp_path, title="clip").read_text()
    assert 'value="uncertainty"' in text
    payload = json.loads(re.search(r'id="clouds">(.*?)</script>', text, re.S)[1])
    found = np.frombuffer(base64.b64decode(payload["clouds"][0]["uncertainty"]), "<u2") / 10_000
    assert found == pytest.approx(expected, abs=1e-4)
    assert payload["ranges"]["uncertainty"][0] == pytest.approx(np.percentile(expected, 2), rel=1e-3)


def made(metrics, frames, script=""):
    facts = facts_of(metrics, frames, extent=3.0)
    pictures = RunPictures({"side" + script: b"png"}, {"frame 1" + script: b"\xff\xd8jpeg"})
    states = [FrameState("1" + script, True, 0.5), FrameState("2", False)]
    return run_page(facts, summarise(facts), pictures, [], None, poses=states, title="clip" + script)


def test_a_run_with_a_unit_is_told_in_it(run):
    metrics, frames = read_metrics(run), read_frames(run)
    assert "3 scene units long, as one camera alone" in made(metrics, frames)
    told = made(metrics | {"unit": "mm"}, frames)
    assert "3 mm long" in told
    assert "scene units" not in told


def test_a_script_in_what_the_page_shows_does_not_run(run):
    holes = [{"kind": "at_edge", "area_share": 0.02, "width": 1.5, "frame": 4}, {"kind": "out_of_view", "frame": None}]
    coverage = {"measured_share": 0.7, "views_most": 9, "holes": holes}
    metrics = read_metrics(run) | {
        "coverage": coverage, "degradations": ["a note"], "degradation_codes": ["key_frames"], "camera_from": "clip",
        "pose_confidence": {"a": 0.1}, "seconds": {"total": 3.0},
    }  # fmt: skip
    usual = made(metrics, read_frames(run))
    assert "at the edge of the model" in usual
    spoilt = metrics | {"degradations": ["a note" + SCRIPT], "pose_confidence": {"a" + SCRIPT: 0.1}}
    spoilt["coverage"] = coverage | {"holes": [holes[0] | {"frame": SCRIPT}, holes[1] | {"kind": SCRIPT}]}
    text = made(spoilt, read_frames(run), SCRIPT)
    assert SCRIPT not in text
    assert Outline(text).open == []
    assert Outline(text).tags == Outline(usual).tags
    assert SCRIPT not in made(hostile(metrics), read_frames(run), SCRIPT)


def test_a_run_without_points_has_a_page_too(run):
    text = made(read_metrics(run) | {"points": 0}, read_frames(run))
    assert "It has no point." in text
    assert "<canvas" not in text
    assert 'id="clouds"' not in text
