"""Depth maps of frames that show a slanted plane."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from slanted import (
    CAMERA,
    CONFIG,
    MIDDLE,
    every_pixel,
    exact_map,
    give_mask,
    give_weak_texture,
    inverse_depth,
    on_plane,
    plane_model,
    poses,
    transfers,
    write_clip,
)

from dd_sfm.io.working import working_grid
from dd_sfm.mvs.depth_maps import DepthMap, depth_map
from dd_sfm.mvs.grey_images import GreyImages
from dd_sfm.mvs.reference_grid import grid_pixels
from dd_sfm.mvs.views import PosedViews, choose_views, next_frames
from dd_sfm.sfm.point_selection import select_points
from dd_sfm.structures import WorkingGrid


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    frames = write_clip(tmp_path_factory.mktemp("clip"))
    return PosedViews(GreyImages(frames, working_grid(frames, CONFIG, 2)), plane_model())


def test_pixels_to_space_and_back(views):
    pixels = every_pixel(10)
    for frame, pose in poses().items():
        w = inverse_depth(pose, pixels)[:, 0]
        points = views.world(frame, pixels, w)
        assert points == pytest.approx(on_plane(pose, pixels), abs=1e-4)
        xy, depth = views.project(points, frame)
        assert xy == pytest.approx(pixels, abs=1e-4)
        assert 1 / depth == pytest.approx(w, rel=1e-5)


def test_transfers_are_projection(views):
    pixels = every_pixel(20)
    planes = inverse_depth(poses()[3], pixels)
    matrices, shifts = views.transfers(3, (1, 9))
    expected = transfers(poses()[3], [poses()[1], poses()[9]])
    assert matrices == pytest.approx(expected[0], abs=1e-5)
    assert shifts == pytest.approx(expected[1], abs=1e-4)
    for k, view in enumerate((1, 9)):
        moved = np.column_stack([pixels, np.ones(len(pixels))]) @ matrices[k].T + planes[:, :1] * shifts[k]
        xy, _ = views.project(views.world(3, pixels, planes[:, 0]), view)
        assert moved[:, :2] / moved[:, 2:] == pytest.approx(xy, abs=1e-2)


def test_points_behind_the_camera_have_no_place(views):
    behind = views.centres[MIDDLE] - [0.0, 0.0, 5.0]
    xy, depth = views.project(behind[None], MIDDLE)
    assert depth[0] < 0
    assert not views.inside(xy, 0).any()


def test_working_pixels_are_scaled_and_cropped_source_pixels(views):
    grid = WorkingGrid(0.5, (10, 4), 60, 50, 2)
    half = PosedViews(GreyImages(views.images.frames, grid), views.model)
    rows = views.model.frame == MIDDLE
    xy, _ = half.project(views.model.xyz[views.model.point[rows]], MIDDLE)
    assert grid.to_source(xy) == pytest.approx(views.model.xy[rows], abs=1e-6)


def test_views_lie_on_both_sides_at_spread_angles(views):
    chosen = choose_views(views, MIDDLE)
    assert MIDDLE not in chosen
    assert len(set(chosen)) == len(chosen)
    middle = on_plane(poses()[MIDDLE], np.array([[CAMERA.cx, CAMERA.cy]]))[0]
    rays = {k: (middle - c) / np.linalg.norm(middle - c) for k, c in views.centres.items()}
    angle = {k: np.degrees(np.arccos(min(1, ray @ rays[MIDDLE]))) for k, ray in rays.items()}
    for side in (-1, 1):
        found = [angle[v] for v in chosen if (v - MIDDLE) * side > 0]
        for wanted in (1.5, 3.0, 5.0, 7.5, 10.5):
            assert min(abs(a - wanted) for a in found) < max(1.0, 0.35 * wanted)
    assert all(v > 0 for v in choose_views(views, 0))


@pytest.mark.parametrize("turn_deg", [65.0, 180.0])
def test_frames_that_see_something_else_are_no_views(views, turn_deg):
    turned = poses()
    turned[5] = Rotation.from_euler("y", turn_deg, degrees=True).as_matrix() @ turned[5]
    other = PosedViews(views.images, replace(views.model, cam_from_world=turned))
    points = other.model.xyz[other.points_seen[MIDDLE]]
    xy, depth = other.project(points, 5)
    overlap = (other.inside(xy, 5.0) & (depth > 0)).mean()
    assert (0 < overlap < 0.25) == (turn_deg < 90)
    assert 5 in choose_views(views, MIDDLE)
    assert 5 not in choose_views(other, MIDDLE)


def test_depth_of_a_plane(views):
    found = depth_map(views, MIDDLE, 4, 0.6)
    true = inverse_depth(poses()[MIDDLE], found.pixels)
    known = found.planes[:, 0] > 0
    assert found.shape == (30, 40)
    assert found.frame == MIDDLE
    assert found.visible.shape == (1200, -(-len(found.views) // 8))
    assert found.known.tolist() == np.flatnonzero(known).tolist()
    assert (found.pixels_at(found.known) == found.pixels[known]).all()
    inner = (np.abs(found.pixels - [CAMERA.cx, CAMERA.cy]) < [60, 45]).all(1)
    assert known[inner].all()
    error = np.abs(found.planes[:, 0] / true[:, 0] - 1)
    assert np.median(error[known]) < 0.001
    assert np.percentile(error[inner], 99) < 0.004
    slope = np.abs(found.planes[:, 1:] - true[:, 1:])[inner] / true[inner, :1]
    assert np.median(slope) < 2e-4  # the plane's own are 0.0035 and 0.002 a pixel
    assert np.median(found.sigma[known]) < 0.005
    assert np.isinf(found.sigma[~known]).all()


def test_nothing_is_searched_outside_the_mask(views, tmp_path):
    frames = write_clip(tmp_path)
    masked = PosedViews(GreyImages(frames, views.grid), views.model)
    right = masked.images.mask(MIDDLE).copy()
    right[:, :80] = False
    give_mask(masked.images, MIDDLE, right)
    found = depth_map(masked, MIDDLE, 4, 0.6)
    known = found.planes[:, 0] > 0
    assert not known[found.pixels[:, 0] < 80].any()
    assert known[found.pixels[:, 0] > 88].mean() > 0.6


def test_holes_of_weak_texture_are_filled_from_their_rims_by_wider_patches(views):
    weak = PosedViews(GreyImages(views.images.frames, views.grid), views.model)
    give_weak_texture(weak.images, 0.02)
    holed, filled = (depth_map(weak, MIDDLE, 4, 0.6, into_holes=whether) for whether in (False, True))
    new = (filled.planes[:, 0] > 0) & (holed.planes[:, 0] <= 0)
    assert new.sum() > 100
    error = np.abs(filled.planes[:, 0] / inverse_depth(poses()[MIDDLE], filled.pixels)[:, 0] - 1)
    assert np.median(error[new]) < 0.01
    assert (np.isfinite(filled.sigma) == (filled.planes[:, 0] > 0)).all()
    assert filled.views == (*holed.views, *next_frames(weak, MIDDLE, holed.views))
    assert filled.visible.shape == (1200, -(-len(filled.views) // 8))


def test_the_frames_next_to_a_reference_are_those_with_a_pose(views):
    assert next_frames(views, MIDDLE, ()) == (4, 5, 7, 8)
    assert next_frames(views, 0, (1,)) == (2,)
    without = {k: pose for k, pose in poses().items() if k != 7}
    assert next_frames(PosedViews(views.images, replace(views.model, cam_from_world=without)), 6, ()) == (4, 5, 8, 9)


def test_too_little_to_start_from(views):
    few = select_points(views.model, np.arange(len(views.model.xyz)) < 12)
    alone = PosedViews(views.images, few)
    assert depth_map(alone, int(few.frame[0]), 4, 0.6) is None
    single = {MIDDLE: poses()[MIDDLE]}
    rows = views.model.frame == MIDDLE
    seen, point = np.unique(views.model.point[rows], return_inverse=True)
    model = replace(
        views.model, cam_from_world=single, xyz=views.model.xyz[seen], rgb=views.model.rgb[seen],
        error_px=views.model.error_px[seen], point=point, frame=views.model.frame[rows], xy=views.model.xy[rows],
    )  # fmt: skip
    assert depth_map(PosedViews(views.images, model), MIDDLE, 4, 0.6) is None


def test_the_nearer_side_of_an_edge_is_told():
    near, far = 1 / 20, 1 / 30
    planes = np.zeros((10, 12, 3), np.float32)
    planes[:, :6, 0], planes[:, 6:, 0] = near, far
    planes[:, 0, 0] = 0
    visible = np.zeros((120, 1), np.uint8)
    found = DepthMap(0, (10, 12), 4, (1,), planes.reshape(-1, 3), np.ones(120), visible, 1.0)
    discontinuity = found.discontinuity().reshape(10, 12)
    # A patch of 11 pixels reaches two cells of 4.
    assert discontinuity[:, 4:6] == pytest.approx(np.log(30 / 20), rel=1e-5)
    assert (discontinuity[:, :4] == 0).all()
    assert (discontinuity[:, 6:] == 0).all()


def test_planes_go_on_to_other_pixels():
    found = exact_map(MIDDLE, step=8)
    found.planes[0, 0] = 0
    planes = found.planes_at(grid_pixels((30, 40), 4)).reshape(30, 40, 3)
    true = inverse_depth(poses()[MIDDLE], grid_pixels((30, 40), 4)).reshape(30, 40, 3)
    assert (planes[:2, :2, 0] == 0).sum() == (planes[..., 0] == 0).sum() > 0
    assert planes[2:, 2:] == pytest.approx(true[2:, 2:], rel=1e-4)


@pytest.mark.parametrize("step", [4, 8])
def test_a_search_begins_where_the_last_one_ended(views, step):
    """The poses are moved and scaled in between, as an adjustment does."""
    first = depth_map(views, MIDDLE, 8, 0.6)
    rng = np.random.default_rng(4)
    moved = {k: np.column_stack([p[:, :3], 1.5 * (p[:, 3] + rng.normal(0, 0.01, 3))]) for k, p in poses().items()}
    model = replace(views.model, cam_from_world=moved, xyz=1.5 * views.model.xyz)
    found = depth_map(PosedViews(views.images, model), MIDDLE, step, 0.6, first)
    assert found.baseline == pytest.approx(1.5 * first.baseline, rel=0.01)
    true = inverse_depth(poses()[MIDDLE], found.pixels)[:, 0] / 1.5
    inner = (np.abs(found.pixels - [CAMERA.cx, CAMERA.cy]) < [60, 45]).all(1)
    assert (found.planes[inner, 0] > 0).all()
    assert np.median(np.abs(found.planes[inner, 0] / true[inner] - 1)) < 0.01


def test_a_slanted_surface_is_no_edge():
    found = exact_map(MIDDLE)
    assert found.planes[:, 0].max() > 1.3 * found.planes[:, 0].min()
    assert found.discontinuity() == pytest.approx(0, abs=1e-4)
