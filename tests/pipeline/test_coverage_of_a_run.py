"""The coverage in a run's files: its figures, and the surface."""

import json

import numpy as np
import pytest
from comparing import write_comparison_run
from plane import plane_model

from dd_sfm.io.clouds import read_ply, write_cloud
from dd_sfm.io.colmap_mesh import PoissonSurface
from dd_sfm.pipeline import coverage
from dd_sfm.pipeline.coverage import is_covered, run_coverage
from dd_sfm.sfm.point_cloud import to_cloud


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
    (run / "coverage.ply").unlink()
    run_coverage(run)
    assert (run / "coverage.ply").is_file()
    assert len(calls) == 5
