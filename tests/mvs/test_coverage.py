"""What is measured, in view and missing of a tube whose wall is known, without the solver that closes surfaces."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from surfaces import tube

from dd_sfm.cameras import PinholeCamera
from dd_sfm.io.colmap_mesh import PoissonSurface
from dd_sfm.mvs.coverage import Place, cover
from dd_sfm.mvs.mesh import face_areas, vertex_normals
from dd_sfm.mvs.sight import Posed, sight
from dd_sfm.structures import PointCloud

CAMERA = PinholeCamera(240, 240, 90.0, 90.0, 119.5, 119.5)
WALL = tube(rings=81, around=96)
"""40 long, with a radius of 6."""
REACH = 26.0


def inward():
    """The faces of the tube, with their front towards its axis."""
    normals = vertex_normals(WALL.vertices, WALL.faces)
    outward = (normals[:, :2] * WALL.vertices[:, :2]).sum() > 0
    return WALL.faces[:, ::-1] if outward else WALL.faces


FACES = inward()


def frames(usable=None, count=5):
    """Cameras that move along the axis; each sees the wall from 8 in front of it on."""
    mask = np.ones((CAMERA.height, CAMERA.width), bool) if usable is None else usable
    return [Posed(CAMERA, np.column_stack([np.eye(3), [0.0, 0.0, -0.5 * k]]), mask) for k in range(count)]


def readers(usable=None):
    """Each reads one of these frames."""
    return [partial(replace, frame) for frame in frames(usable)]


def cloud(keep):
    xyz = WALL.vertices[keep]
    count = len(xyz)
    normals = vertex_normals(WALL.vertices, FACES)[keep]
    return PointCloud(xyz, np.zeros((count, 3), np.uint8), normals, np.zeros(count), np.full(count, 5))


def angles():
    return np.degrees(np.arctan2(WALL.vertices[:, 1], WALL.vertices[:, 0]))


def covered(keep, usable=None):
    surface = PoissonSurface(WALL.vertices, FACES, np.ones(len(WALL.vertices)))
    return cover([cloud(keep).xyz], surface, readers(usable), 15.0, REACH)


def patch(low=13.0, high=18.0, degrees=35.0):
    """Vertices of a part of the wall, away from its ends."""
    z = WALL.vertices[:, 2]
    return (z > low) & (z < high) & (np.abs(angles()) < degrees)


def within_reach():
    """Vertices with points: those that cameras see well."""
    return (WALL.vertices[:, 2] > 5.0) & (WALL.vertices[:, 2] < 25.0)


def test_a_wall_full_of_points_is_measured_and_has_no_hole():
    found = covered((WALL.vertices[:, 2] > 4.0) & (WALL.vertices[:, 2] < 29.0))
    assert found.measured > 0.99
    assert found.holes == ()
    assert found.area == pytest.approx(2 * np.pi * 6.0 * 25.0, rel=0.05)


def test_a_patch_without_points_is_a_hole_in_view():
    full, found = covered(within_reach()), covered(within_reach() & ~patch())
    holes = [hole for hole in found.holes if not hole.at_edge]
    assert len(holes) == 1
    assert holes[0].place == Place.BARE
    # A point within 3 % of the distance, some half a unit, is near enough: the hole is smaller by that all around.
    assert 0.55 * 5.0 * 7.3 < holes[0].area < 1.05 * 5.0 * 7.3
    assert full.measured - found.measured == pytest.approx(holes[0].area / found.area, abs=0.005)
    assert holes[0].views == 5
    assert holes[0].frame in range(5)
    inside = found.hole == found.holes.index(holes[0])
    assert patch()[inside].all()


def test_what_the_mask_hides_from_all_frames_is_a_hole_out_of_view():
    usable = np.ones((CAMERA.height, CAMERA.width), bool)
    usable[80:160, 150:] = False
    found = covered(within_reach() & ~patch(degrees=14.0), usable)
    assert [hole.place for hole in found.holes if not hole.at_edge] == [Place.UNSEEN]


def test_what_is_open_is_no_hole():
    """Half of the wall was never seen: there the model ends."""
    usable = np.ones((CAMERA.height, CAMERA.width), bool)
    usable[:, :120] = False
    found = covered(within_reach() & (WALL.vertices[:, 0] > 0), usable)
    assert not [hole for hole in found.holes if hole.place == Place.UNSEEN]
    assert (found.place == Place.UNSEEN).mean() > 0.4
    assert found.measured > 0.85


def test_a_sliver_counts_as_no_hole():
    found = covered(within_reach() & ~patch(13.0, 15.0, 7.0))
    assert not [hole for hole in found.holes if not hole.at_edge]


def test_views_are_counted_and_what_is_behind_is_not_seen():
    near = np.array([[-1.0, -1, 4], [1, -1, 4], [0, 1, 4]])
    far = np.array([[-0.2, -0.2, 8], [0.2, -0.2, 8], [0, 0.2, 8], [6, 0, 8]])
    vertices = np.concatenate([near, far])
    faces = np.array([[0, 1, 2], [3, 4, 5], [4, 6, 5]])
    normals = np.tile([0.0, 0.0, -1.0], (7, 1))
    found = sight(vertices, faces, normals, frames(count=2), 100.0)
    assert found.views.tolist() == [2, 2, 2, 0, 0, 0, 2]
    assert found.nearest[0] == pytest.approx(np.linalg.norm([1, 1, 3.5]), rel=1e-5)
    assert np.isinf(found.nearest[3])
    assert sight(vertices, faces, -normals, frames(count=2), 100.0).views.sum() == 0
    assert sight(vertices, faces, normals, frames(count=2), 5.0).views.tolist() == [2, 2, 2, 0, 0, 0, 0]


def test_small_pieces_of_the_surface_are_left_out():
    size = len(WALL.vertices)
    stray = np.array([[0.0, 0, 10], [0.3, 0, 10], [0, 0.3, 10]])
    vertices = np.concatenate([WALL.vertices, stray])
    faces = np.concatenate([FACES, [[size, size + 1, size + 2]]])
    surface = PoissonSurface(vertices, faces, np.ones(len(vertices)))
    found = cover(np.array_split(cloud(within_reach()).xyz, 3), surface, readers(), 15.0, REACH)
    assert len(found.vertices) == size
    assert face_areas(found.vertices, found.faces).sum() == pytest.approx(face_areas(WALL.vertices, FACES).sum())
