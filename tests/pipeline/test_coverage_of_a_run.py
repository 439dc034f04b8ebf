"""The coverage in a run's files: its figures, and the surface."""

import json

import numpy as np
import pytest
from comparing import write_comparison_run
from plane import plane_model

from dd_sfm.errors import ReconstructionError
from dd_sfm.io.clouds import read_ply, write_cloud
from dd_sfm.io.colmap_mesh import PoissonSurface
from dd_sfm.pipeline import coverage
from dd_sfm.pipeline.coverage import is_covered, run_coverage
from dd_sfm.sfm.point_cloud import to_cloud
from dd_sfm.viz.report.coverage_pictures import read_surface


@pytest.fixture
def run(tmp_path):
    model = plane_model()
    folder = write_comparison_run(tmp_path / "learned", model, features="learned")
    write_cloud(folder / "points.ply", to_cloud(model))
    return folder


def test_too_few_points_are_said(run, monkeypatch):
    monkeypatch.setattr(coverage, "MIN_POINTS", 10**9)
    found = run_coverage(run)
    assert found["measured_share"] is None
    assert is_covered(run)
    assert "points with normals; expected at least" in found["reason"]
    assert not (run / "coverage.ply").exists()
    assert json.loads((run / "coverage.json").read_text()) == found


def test_the_figures_and_the_surface_are_written_once(run, monkeypatch):
    xyz = plane_model().xyz
    low, high = xyz.min(0), xyz.max(0)
    across, along = np.meshgrid(np.linspace(low[0], high[0], 60), np.linspace(low[1], high[1], 60), indexing="ij")
    vertices = np.stack([across, along, np.full_like(across, np.median(xyz[:, 2]))], -1).reshape(-1, 3)
    index = np.arange(3600).reshape(60, 60)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[:-1, 1:], index[1:, 1:]
    faces = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])
    calls = []

    def surface(cloud, distance):
        calls.append(distance)
        return PoissonSurface(vertices, faces, np.ones(len(vertices)))

    monkeypatch.setattr(coverage, "closed_surface", surface)
    assert not is_covered(run)
    found = run_coverage(run)
    assert is_covered(run)
    assert found["measured_share"] > 0.9
    assert found["frames_asked"] == len(json.loads((run / "frames.json").read_text())["frames"]) - 1
    vertex = read_ply(run / "coverage.ply")["vertex"].data
    assert {"views", "place", "hole", "red"} <= set(vertex.dtype.names)
    assert vertex["views"].max() == found["frames_asked"]
    assert run_coverage(run) == found
    assert len(calls) == 1
    stored = json.loads((run / "coverage.json").read_text())
    for spoilt in (json.dumps(stored | {"format": 0}), "{", "[]"):
        (run / "coverage.json").write_text(spoilt)
        assert not is_covered(run)
        run_coverage(run)
    content = (run / "coverage.ply").read_bytes()
    (run / "coverage.ply").unlink()
    run_coverage(run)
    for size in (0, 50, len(content) // 2, len(content) - 1):
        (run / "coverage.ply").write_bytes(content[:size])
        assert not is_covered(run)
    run_coverage(run)
    assert (run / "coverage.ply").read_bytes() == content
    assert len(calls) == 6


def test_a_failure_that_may_pass_is_not_kept(run, monkeypatch):
    def fail(cloud, distance):
        raise ReconstructionError("no surface")

    monkeypatch.setattr(coverage, "closed_surface", fail)
    with pytest.raises(ReconstructionError):
        run_coverage(run)
    assert not (run / "coverage.json").exists()
    # As earlier versions kept it.
    (run / "coverage.json").write_text(json.dumps({"format": 1, "measured_share": None, "reason": "no surface"}))
    assert not is_covered(run)


def test_a_surface_far_from_all_points_has_figures(run, monkeypatch):
    grid = np.stack([*np.meshgrid(np.arange(20.0), np.arange(20.0)), np.full((20, 20), -1000.0)], -1).reshape(-1, 3)
    index = np.arange(400).reshape(20, 20)
    faces = np.stack([index[:-1, :-1], index[1:, :-1], index[:-1, 1:]], -1).reshape(-1, 3)
    surface = PoissonSurface(grid, faces, np.ones(400))
    monkeypatch.setattr(coverage, "closed_surface", lambda cloud, distance: surface)
    found = run_coverage(run)
    assert (found["measured_share"], found["views_median"], found["views_most"]) == (0.0, None, 1)
    assert is_covered(run)
    # Nothing of it is in view, and so nothing is drawn.
    assert len(read_surface(run / "coverage.ply").faces) == 0
