from dataclasses import replace

import cv2
import numpy as np
import pytest

from dd_sfm.ops.rays import RayScene
from dd_sfm.synthetic.mesh import Mesh
from dd_sfm.synthetic.noise import NoiseField
from dd_sfm.synthetic.path import CameraPath
from dd_sfm.synthetic.render import Renderer, make_scene
from dd_sfm.synthetic.settings import SynthSettings
from dd_sfm.synthetic.tool import RADIUS_MM, WALL_SHARE, Blockers, PlacedTool, Tool


@pytest.fixture(scope="module")
def scratches():
    return NoiseField(np.random.default_rng(0), 10.0)


def placed(tip, axis, scratches):
    axis = np.asarray(axis, np.float64)
    return PlacedTool(np.asarray(tip, np.float64), axis / np.linalg.norm(axis), np.eye(3), scratches)


def test_rays_meet_the_shaft_and_the_round_tip(scratches):
    tool = placed([0, 0, 10], [0, 0, 1], scratches)
    side, front = np.array([5.0, 0, 0]), np.array([5.0, 0, 20])
    on_shaft, beyond = tool.distance(side, np.array([[-1.0, 0, 1], [-1, 0, 3]]))
    assert on_shaft == pytest.approx(5 - RADIUS_MM)
    assert np.isinf(beyond)
    way = np.array([-1.0, 0, -2])
    on_tip = front + tool.distance(front, way[None]) * way
    assert np.linalg.norm(on_tip - tool.tip) == pytest.approx(RADIUS_MM)


def test_what_lies_behind_the_origin_or_along_the_shaft_is_not_met(scratches):
    tool = placed([0, 0, 10], [0, 0, 1], scratches)
    away = tool.distance([5.0, 0, 0], np.array([[1.0, 0, 0], [0, 0, 1.0], [0, 0, -1.0]]))
    assert np.isinf(away).all()
    from_the_front = tool.distance([0, 0, 20.0], np.array([[0, 0, -1.0]]))
    assert from_the_front[0] == pytest.approx(10 - RADIUS_MM)


def test_the_nearest_of_many_rays_is_on_the_surface(scratches):
    rng = np.random.default_rng(3)
    tool = placed([0.5, -0.3, 8], [0.3, -0.2, 1], scratches)
    rays = np.column_stack([rng.uniform(-0.5, 0.5, (4000, 2)), np.ones(4000)])
    origin = np.array([2.0, 1.5, 0])
    reached = tool.distance(origin, rays)
    hit = np.isfinite(reached)
    assert 50 < hit.sum() < 3000

    def off_surface(places):
        along = np.minimum((places - tool.tip) @ tool.axis, 0)
        return np.linalg.norm(places - tool.tip - along[..., None] * tool.axis, axis=-1) - RADIUS_MM

    assert np.abs(off_surface(origin + reached[hit, None] * rays[hit])).max() < 1e-5
    # Steps along every ray: none enters the shaft before the hit, and none of the others at all.
    steps = np.linspace(0, 20, 400)
    ahead = off_surface(origin + steps[:, None, None] * rays)
    before = steps[:, None] < np.where(hit, reached, np.inf) - 1e-3
    assert (ahead[before] > 0).all()


def box(size):
    corners = size * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
    sides = np.array([[0, 1, 3, 2], [4, 5, 7, 6], [0, 1, 5, 4], [2, 3, 7, 6], [0, 2, 6, 4], [1, 3, 7, 5]], np.int32)
    return Mesh(corners, np.concatenate([sides[:, :3], sides[:, [0, 2, 3]]]), corners)


def path(count):
    return CameraPath(rotation=np.tile(np.eye(3), (count, 1, 1)), centre=np.zeros((count, 3)))


def test_it_comes_and_goes_and_keeps_off_the_wall():
    tool = Tool.plan(np.random.default_rng(1), 0.5, path(60), box(8.0))
    assert np.flatnonzero(tool.present)[[0, -1]].tolist() == [15, 44]
    assert tool.at(0, path(60)) is None
    assert np.linalg.norm(tool.tip, axis=1).max() < WALL_SHARE * 8 * np.sqrt(3)
    assert tool.tip[:, 2].max() < 8
    assert np.linalg.norm(np.diff(tool.tip[18:42], axis=0), axis=1).max() < 1.0
    assert Tool.plan(np.random.default_rng(1), 1.0, path(9), box(8.0)).present.all()
    assert Tool.plan(np.random.default_rng(1), 0.01, path(50), box(8.0)).present.sum() == 2
    assert not Tool.plan(np.random.default_rng(1), 0.0, path(9), box(8.0)).present.any()


def test_it_keeps_light_from_what_is_behind_it(scratches):
    tool, walls = placed([0, 0, 5], [0, 0, 1], scratches), box(8.0)
    way = np.array([[-1.0, 0, 0.2], [0, 1.0, 0]])
    blocked = Blockers(RayScene(walls.vertices, walls.faces), tool).distance(np.array([4.0, 0, 0]), way)
    free = Blockers(RayScene(walls.vertices, walls.faces), None).distance(np.array([4.0, 0, 0]), way)
    assert blocked[0] < 4 < free[0]
    assert blocked[1] == free[1]


@pytest.mark.slow
def test_a_clip_with_an_instrument():
    base = SynthSettings(organ="colon", frames=9, width=160, height=96)
    scene = make_scene(replace(base, effects=replace(base.effects, tool=1.0)))
    # The organ takes most of the time, and is that of the scene without an instrument.
    nothing = Tool.plan(np.random.default_rng(0), 0.0, scene.path, scene.mesh)
    calm, busy = Renderer(replace(scene, settings=base, tool=nothing)), Renderer(scene)
    for frame in (0, 4, 8):
        alone, beside = calm.render(frame), busy.render(frame)
        covered = alone.usable & ~beside.usable
        assert 0.01 < covered.sum() / alone.usable.sum() < 0.5
        # Depth is that of the tissue, which the instrument hides but does not change.
        assert np.array_equal(alone.depth, beside.depth)
        inside = cv2.erode(covered.astype(np.uint8), np.ones((5, 5))) > 0
        assert np.abs(alone.image[inside].astype(int) - beside.image[inside]).mean() > 20
