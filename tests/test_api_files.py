"""Going on from a run in Python: scale, files for other tools, a mesh."""

import numpy as np
import pytest
from converting import write_dense_run
from plane import OWN

import dd_sfm
from dd_sfm.errors import ConfigError, OutputError
from dd_sfm.io.clouds import face_count, read_cloud
from dd_sfm.io.known_poses import KnownPoses, write_known_poses


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api") / "run"
    write_dense_run(folder)
    return folder


def test_the_scale_is_what_is_given_or_what_a_run_knows(run, tmp_path):
    assert dd_sfm.find_scale(run) is None
    found = dd_sfm.find_scale(run, "0.3cm")
    assert (found.factor, found.unit, found.error) == (3.0, "mm", 0.0)
    assert dd_sfm.find_scale(str(run), 0.3).factor == pytest.approx(0.3, rel=1e-12)
    for wrong, said in (
        ("3km", "not understood"),
        (-1.0, "-1"),
        (float("nan"), "nan"),
        (True, "True"),
        ([3], "a number"),
    ):
        with pytest.raises(ConfigError, match=said):
            dd_sfm.find_scale(run, wrong)
    write_dense_run(tmp_path / "known")
    write_known_poses(tmp_path / "known", KnownPoses("path.tum", True, "mm", 0.0, 0.0, {"models_placed": [True]}))
    assert dd_sfm.find_scale(tmp_path / "known").unit == "mm"


@pytest.mark.parametrize("scale", ["2.5", 2.5, "found"])
def test_a_run_is_converted_in_millimetres(run, tmp_path, scale):
    given = dd_sfm.find_scale(run, "2.5") if scale == "found" else scale
    done = dd_sfm.convert(run, str(tmp_path / "cloud.ply"), "ply", scale=given)
    written = read_cloud(done.path).xyz
    assert written == pytest.approx(2.5 * read_cloud(run / "points.ply").xyz, rel=1e-5)
    assert b"unit: mm" in done.path.read_bytes()[:600]
    with pytest.raises(OutputError, match="exists"):
        dd_sfm.convert(run, tmp_path / "cloud.ply", "ply")


def test_depth_maps_are_converted(run, tmp_path):
    done = dd_sfm.convert(run, tmp_path / "depth", "depth", depth="all")
    assert len(list((done.path / "png").iterdir())) == done.images > 5


def test_points_become_a_mesh(run, tmp_path):
    points = read_cloud(run / "points.ply")
    surface = dd_sfm.mesh(points, detail=6)
    assert len(surface.faces) > 100
    assert np.ptp(surface.vertices, axis=0) == pytest.approx(np.ptp(points.xyz, axis=0), abs=4 * OWN.scale)
    assert len(dd_sfm.mesh(dd_sfm.Run(run), detail=6).faces) == len(surface.faces)
    with pytest.raises(ConfigError, match="expected a run or its points"):
        dd_sfm.mesh(str(run))
    dd_sfm.write_mesh(tmp_path / "mesh.ply", surface)
    assert face_count(tmp_path / "mesh.ply") == len(surface.faces)
    for wrong in ({"detail": 14}, {"trim": 1.0}):
        with pytest.raises(ConfigError, match="expected"):
            dd_sfm.mesh(points, **wrong)
