import os
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from dd_sfm.errors import InputError, ReconstructionError
from dd_sfm.io.colmap_mesh import poisson_surface
from dd_sfm.mvs.mesh import (
    MeshSettings,
    chosen_points,
    face_areas,
    mesh_cloud,
    nearest_colours,
    smooth_normals,
    vertex_normals,
)
from dd_sfm.structures import PointCloud

SETTINGS = MeshSettings(depth=6, threads=1)


def sphere(count=4000, noise=0.0, seed=0):
    """Evenly spread points of a unit sphere that is seen from outside; red where x is positive, else blue."""
    rng = np.random.default_rng(seed)
    k = np.arange(count) + 0.5
    z, angle = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    normals = np.column_stack([np.sqrt(1 - z**2) * np.cos(angle), np.sqrt(1 - z**2) * np.sin(angle), z])
    xyz = normals * (1 + rng.normal(0, noise, (count, 1)))
    rgb = np.where(xyz[:, :1] > 0, np.uint8([200, 0, 0]), np.uint8([0, 0, 200]))
    return PointCloud(xyz, rgb, normals, np.zeros(count), np.full(count, 3))


def part(cloud, keep):
    return PointCloud(
        cloud.xyz[keep], cloud.rgb[keep], cloud.normals[keep], cloud.error_px[keep], cloud.track_length[keep]
    )


def test_a_sphere_becomes_a_sphere():
    done = mesh_cloud(sphere(noise=0.003), MeshSettings(6, trim=0.0, threads=1))
    mesh = done.mesh
    assert np.linalg.norm(mesh.vertices, axis=1) == pytest.approx(1, abs=0.02)
    assert done.area == pytest.approx(4 * np.pi, rel=0.02)
    # Outwards, as the points' normals: towards who sees it.
    assert ((mesh.normals * mesh.vertices).sum(1) > 0.9).all()
    corners = mesh.vertices[mesh.faces]
    front = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((front * corners.mean(1)).sum(1) > 0).all()
    right = mesh.vertices[:, 0] > 0.1
    assert (mesh.rgb[right, 0] > 150).all()
    assert (mesh.rgb[~right & (mesh.vertices[:, 0] < -0.1), 2] > 150).all()


def test_where_there_are_no_points_there_is_no_surface():
    cloud = sphere(6000)
    done = mesh_cloud(part(cloud, cloud.xyz[:, 2] > 0.2), SETTINGS)
    assert done.mesh.vertices[:, 2].min() > 0.05
    # A cap of height 0.8.
    assert done.area == pytest.approx(2 * np.pi * 0.8, rel=0.12)
    assert done.area_trimmed > 1


def test_trimming_more_leaves_less():
    cloud = sphere(3000, noise=0.003)
    areas = [mesh_cloud(cloud, MeshSettings(6, trim, threads=1)).area for trim in (0.0, 0.3)]
    assert areas[1] < 0.9 * areas[0]


def test_strays_and_the_uncertain_take_no_part():
    cloud = sphere(2000)
    cloud.xyz[::100] *= 3
    uncertainty = np.full(2000, 0.01)
    uncertainty[1:60:2] = 0.5
    used = chosen_points(replace(cloud, uncertainty=uncertainty))
    assert len(used.xyz) == 1950
    assert np.linalg.norm(used.xyz, axis=1) == pytest.approx(1)
    assert len(chosen_points(replace(cloud, uncertainty=np.full(2000, np.nan))).xyz) == 1980
    assert len(chosen_points(cloud).xyz) == 1980


def test_small_pieces_are_left_out():
    cloud = sphere(4000)
    speck = sphere(60)
    both = PointCloud(*(
        np.concatenate([a, b]) for a, b in (
            (cloud.xyz, speck.xyz * 0.05 + [2.0, 0, 0]), (cloud.rgb, speck.rgb), (cloud.normals, speck.normals),
            (cloud.error_px, speck.error_px), (cloud.track_length, speck.track_length),
        )
    ))  # fmt: skip
    done = mesh_cloud(both, MeshSettings(7, trim=0.0, threads=1))
    assert done.mesh.vertices[:, 0].max() < 1.5


def test_the_depth_fits_the_spacing():
    coarse, fine = (mesh_cloud(sphere(n), MeshSettings(threads=1)) for n in (500, 8000))
    assert fine.depth == coarse.depth + 2
    assert len(fine.mesh.vertices) > 3 * len(coarse.mesh.vertices)


def test_the_solver_prints_nothing(capfd):
    mesh_cloud(sphere(1000), SETTINGS)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_normals_keep_their_side_and_lose_their_noise():
    cloud = sphere(3000, noise=0.002)
    rng = np.random.default_rng(1)
    rough = cloud.normals + rng.normal(0, 0.3, cloud.normals.shape)
    smooth = smooth_normals(cloud.xyz, rough, 24)
    assert ((smooth * cloud.normals).sum(1) > 0.98).mean() > 0.99
    assert smooth_normals(cloud.xyz, rough, 24, chunk=100) == pytest.approx(smooth)


def test_figures_of_a_square():
    vertices = np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0.0]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    assert face_areas(vertices, faces).tolist() == [2, 2]
    assert vertex_normals(vertices, faces) == pytest.approx(np.tile([0, 0, 1.0], (4, 1)))


def test_colours_come_from_the_nearest_points():
    cloud = sphere(1000)
    colours = nearest_colours(cloud.xyz, cloud)
    assert (colours == cloud.rgb).all()
    assert cKDTree(cloud.xyz).query([0, 0, 1.0])[0] < 0.1


def test_points_without_a_place_or_a_normal_are_left_out():
    cloud = sphere(1000)
    cloud.xyz[3], cloud.normals[5] = np.nan, np.nan
    assert mesh_cloud(replace(cloud, uncertainty=np.full(1000, 0.1)), SETTINGS).points_used == 998


def test_what_cannot_be_meshed():
    with pytest.raises(InputError, match="mesh: the cloud has 50 points; expected at least 100"):
        mesh_cloud(sphere(50), SETTINGS)
    bare = sphere(500)
    bare.normals[:] = 0
    with pytest.raises(InputError, match="mesh: the cloud has no normals"):
        mesh_cloud(bare, SETTINGS)


@pytest.fixture
def ctrl_c_raises():
    """Also where the tests run as a background job of a shell, which has Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_raises")
def test_a_stop_does_not_wait_for_the_solver(monkeypatch, tmp_path):
    (tmp_path / "endless_solver.py").write_text("import time\ntime.sleep(120)")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("dd_sfm.io.colmap_mesh.SOLVER", "endless_solver")
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    started = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        poisson_surface(sphere(500), 5, threads=1)
    assert time.monotonic() - started < 100


def test_a_solver_that_fails_is_told_in_a_line(monkeypatch):
    monkeypatch.setattr("dd_sfm.io.colmap_mesh.SOLVER", "dd_sfm.io.no_such_module")
    with pytest.raises(ReconstructionError, match=r"no surface from 500 points \(.*No module named dd_sfm.io.no_such"):
        poisson_surface(sphere(500), 5, threads=1)
