"""Maps of a slanted plane whose depths are known, made to agree and measured."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree
from slanted import CONFIG, NORMAL, exact_map, give_mask, inverse_depth, plane_model, poses, write_clip

from dd_sfm.io.working import working_grid
from dd_sfm.mvs.consensus import (
    DARK_GREY,
    DISCONTINUITY,
    LEAST_SLANT,
    MAX_DARK_FACTOR,
    MAX_OFFSET_FACTOR,
    STEP,
    TEXTURE_OFFSET_PX,
    USUAL_SPREAD,
    Consensus,
    consensus,
)
from dd_sfm.mvs.fusion import FusedPixels, consistent_pixels, fuse
from dd_sfm.mvs.grey_images import GreyImages
from dd_sfm.mvs.measurement import measure_points
from dd_sfm.mvs.views import PosedViews
from dd_sfm.progress import silent
from dd_sfm.sfm.geometry import model_rays, reprojection_errors_px
from dd_sfm.sfm.point_selection import concatenate_points

DENSE = CONFIG.dense


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    frames = write_clip(tmp_path_factory.mktemp("clip"))
    return PosedViews(GreyImages(frames, working_grid(frames, CONFIG, 2)), plane_model())


@pytest.fixture(scope="module")
def still(views):
    """All cameras where the first is: maps of all frames then show the same pixels of the same surface."""
    same = {k: poses()[0] for k in poses()}
    return PosedViews(Flat(views.images), replace(views.model, cam_from_world=same))


class Flat:
    """Bright images without texture, which cannot lie to one side: what is said of depths is that of their maps."""

    def __init__(self, images):
        self.grid, self.usable = images.grid, images[0][1]

    def __getitem__(self, frame):
        return np.full(self.usable.shape, 100, np.float32), self.usable

    def mask(self, frame):
        return self.usable


def maps_of(*frames, factors=None, sigma=0.01):
    """Exact maps, inverse depths times ``factors``."""
    return [exact_map(f, factor=k, sigma=sigma) for f, k in zip(frames, factors or [1.0] * len(frames), strict=True)]


def still_maps(count=3, sigma=0.01):
    first = exact_map(0, sigma=sigma)
    return [replace(first, frame=k) for k in range(count)]


def middle(depth_map, agreed):
    """Which agreed pixels lie where all frames look."""
    return (np.abs(depth_map.pixels[agreed.pixels] - [79.5, 59.5]) < [30, 25]).all(1)


def test_votes_and_mean_of_references_that_agree(views):
    # 0.5 % away: two votes; 1.5 %: one; 5 %: none, and no part in the mean.
    maps = maps_of(6, 4, 8, 9, factors=[1.0, 1.005, 1.015, 1.05])
    agreed = consensus(views, maps, 0)
    inner = middle(maps[0], agreed)
    assert (agreed.votes[inner] == 3).all()
    assert (agreed.agreeing[inner] == 2).all()
    assert agreed.share[inner] == pytest.approx(np.full(inner.sum(), 3 / 6))
    values = np.array([1.0, 1.005, 1.015])
    true = inverse_depth(poses()[6], maps[0].pixels)[agreed.pixels[inner]]
    assert agreed.planes[inner] == pytest.approx(true * values.mean(), rel=1e-4)
    assert agreed.spread[inner] == pytest.approx(np.full(inner.sum(), values.std()), rel=0.01)


def test_surer_references_weigh_more(views):
    maps = [exact_map(6, sigma=0.01), exact_map(8, factor=1.008, sigma=0.03)]
    agreed = consensus(views, maps, 0)
    inner = middle(maps[0], agreed)
    ratio = agreed.planes[inner, 0] / maps[0].planes[agreed.pixels[inner], 0]
    assert ratio == pytest.approx(np.full(inner.sum(), 1 + 0.008 / 4), rel=1e-5)


def test_references_that_look_elsewhere_do_not_count_against(views):
    maps = maps_of(0, 2, 12)
    agreed = consensus(views, maps, 0)
    # Seen by none of the others, by one, by both; whoever sees it agrees.
    assert set(agreed.votes.tolist()) == {0, 2, 4}
    assert (2 * agreed.agreeing == agreed.votes).all()
    assert (agreed.share[agreed.votes > 0] == 1).all()
    assert (agreed.share[agreed.votes == 0] == 0).all()


def test_references_that_are_masked_there_do_not_count_against(views):
    frame = 8
    part = PosedViews(views.images, views.model)
    left = part.images.mask(frame).copy()
    left[:, 80:] = False
    other = exact_map(frame)
    other.planes[other.pixels[:, 0] >= 80] = 0
    maps = [exact_map(6), exact_map(4), other]
    unknown = consensus(part, maps, 0)
    give_mask(part.images, frame, left)
    masked = consensus(part, maps, 0)
    silent_ = middle(maps[0], masked) & (masked.votes == 2)
    assert silent_.sum() > 50
    assert (unknown.share[silent_] == 0.5).all()
    assert (masked.share[silent_] == 1).all()


def test_unknown_pixels_are_left_out_and_do_not_vote(views):
    holes = exact_map(6)
    holes.planes[:600] = 0
    agreed = consensus(views, [holes, exact_map(8)], 0)
    assert agreed.pixels.tolist() == list(range(600, 1200))
    reversed_ = consensus(views, [exact_map(8), holes], 0)
    assert 0 < (reversed_.votes > 0).sum() < (consensus(views, maps_of(8, 6), 0).votes > 0).sum()


def test_expected_error_grows_with_disagreement_slant_edges_texture_to_one_side_and_darkness():
    def expected(
        share=1.0, spread=0.0, slope=0.0, sigma=0.0, discontinuity=0.0, offset=0.0, step=0.0, grey=100.0, agreeing=10**9
    ):
        one = Consensus(
            np.zeros(1, np.int64), np.array([[0.05, slope, 0.0]]), np.zeros(1, np.int64), np.array([share]),
            np.array([agreeing]), np.array([spread]), np.array([discontinuity]), np.array([offset]), np.array([step]),
            np.array([grey]),
        )  # fmt: skip
        return one.expected_error(np.array([sigma]))[0]

    floor = 0.00126
    least = floor * (1 + LEAST_SLANT / 0.006) ** 0.75
    assert expected() == expected(slope=LEAST_SLANT * 0.05) == pytest.approx(least)
    assert expected(share=0.0) == pytest.approx(least * np.exp(0.82))
    assert expected(spread=floor / 0.5) == pytest.approx(least * np.sqrt(2))
    assert expected(sigma=floor / 0.122) == pytest.approx(least * np.sqrt(2))
    # Of four maps half of the spread is the usual one, and the variance twice that of many.
    assert (
        expected(agreeing=3, spread=USUAL_SPREAD)
        == pytest.approx(expected(spread=USUAL_SPREAD) * np.sqrt(2))
        == pytest.approx(least * np.sqrt(2 * (1 + (0.5 * USUAL_SPREAD / floor) ** 2)))
    )
    assert expected(agreeing=3) == pytest.approx(least * np.sqrt(2 * (1 + (0.5 * USUAL_SPREAD / floor) ** 2 / 2)))
    assert expected(slope=0.006 * 0.05) == pytest.approx(floor * 2**0.75)
    assert expected(discontinuity=DISCONTINUITY / 2) == pytest.approx(least)
    assert expected(discontinuity=3 * DISCONTINUITY) == pytest.approx(3 * least)
    assert expected(offset=TEXTURE_OFFSET_PX) == pytest.approx(2 * least)
    assert expected(offset=10.0) == pytest.approx(MAX_OFFSET_FACTOR * least)
    assert expected(step=STEP) == pytest.approx(least)
    assert expected(step=9 * STEP) == pytest.approx(3 * least)
    assert expected(grey=DARK_GREY / 2) == pytest.approx(2 * least)
    assert expected(grey=-1.0) == pytest.approx(MAX_DARK_FACTOR * least)


def test_a_surface_point_that_several_references_see_is_kept_once(still):
    maps = still_maps()
    maps[1] = replace(maps[1], sigma=maps[1].sigma / 2)
    fusion = fuse(still, maps, DENSE)
    chosen = fusion.chosen
    assert fusion.confirmed == 3 * 1200
    # The surest reference keeps all, the others nothing.
    assert [len(c.pixels) for c in chosen] == [0, 1200, 0]
    assert chosen[1].planes == pytest.approx(maps[1].planes, rel=1e-4)


def test_references_that_disagree_give_nothing(still):
    maps = still_maps()
    spoilt = [replace(m, planes=m.planes * np.float32(f)) for m, f in zip(maps, (1, 1.1, 1.2), strict=True)]
    found = fuse(still, spoilt, DENSE)
    assert sum(len(c.pixels) for c in found.chosen) == found.confirmed == 0


def test_gaps_are_filled_with_less_sure_points_only_where_none_is_near(still):
    maps = still_maps()
    pixels = maps[0].pixels
    right = pixels[:, 0] > 80
    scattered = ~right & (pixels[:, 1] % 20 == 2) & (pixels[:, 0] % 12 == 2)
    for depth_map in maps:
        depth_map.sigma[right | scattered] = 0.1  # expected error some 4 %: for gaps only
    wide = replace(DENSE, gap_px=12.0)
    chosen = fuse(still, maps, wide).chosen
    used = np.concatenate([c.pixels for c in chosen])
    expected = np.concatenate([c.uncertainty for c in chosen])
    points = np.concatenate(
        [still.world(0, m.pixels[c.pixels], c.planes[:, 0]) for m, c in zip(maps, chosen, strict=True)]
    )
    fills = expected > DENSE.max_uncertainty
    assert sorted(used[~fills]) == np.flatnonzero(~right & ~scattered).tolist()
    # Scattered unsure pixels have sure ones beside them; the right half has none.
    assert right[used[fills]].all()
    reach = wide.gap_px / (maps[0].planes[used[fills], 0] * 100)
    assert (cKDTree(points[~fills]).query(points[fills])[0] > reach).all()
    # Thinner than the search, but spread over all of the gap.
    assert 0.1 * right.sum() < fills.sum() < 0.6 * right.sum()
    assert (cKDTree(pixels[used[fills]]).query(pixels[pixels[:, 0] > 100])[0] < 15).all()


def test_one_map_has_nobody_to_agree_with(views):
    assert [len(c.pixels) for c in fuse(views, maps_of(6), DENSE).chosen] == [0]


def test_maps_are_fused_as_they_come_and_in_blocks(still, monkeypatch):
    rng = np.random.default_rng(0)
    factors, sigmas = rng.normal(1, 0.006, (13, 1200)), rng.uniform(0.01, 0.1, (13, 1200))
    maps = [
        replace(m, planes=m.planes * factor[:, None].astype(np.float32), sigma=sigma.astype(np.float32))
        for m, factor, sigma in zip(still_maps(13), factors, sigmas, strict=True)
    ]
    monkeypatch.setattr("dd_sfm.mvs.fusion.MERGED_AT_ONCE", 3)
    by_block = fuse(still, iter(maps), DENSE)
    monkeypatch.setattr("dd_sfm.mvs.fusion.MERGED_AT_ONCE", 100)
    whole = fuse(still, maps, DENSE)
    found, at_once = by_block.chosen, whole.chosen
    assert by_block.confirmed == whole.confirmed > sum(len(p.pixels) for p in found)
    # Settings decide what becomes a point, not what others confirm.
    assert fuse(still, maps, replace(DENSE, min_votes=16, max_uncertainty=0.001)).confirmed == whole.confirmed
    assert len(found) == len(at_once) == 13
    assert 300 < sum(len(p.pixels) for p in found) < 0.5 * sum(len(m.known) for m in maps)
    for one, other in zip(found, at_once, strict=True):
        assert (one.pixels == other.pixels).all()
        assert (one.planes == other.planes).all()
        assert (one.uncertainty == other.uncertainty).all()


def test_every_reference_is_judged_by_those_around_it(still):
    maps = still_maps(13)
    for number, agreed in enumerate(consistent_pixels(still, iter(maps), DENSE)):
        expected = consensus(still, maps, number)
        assert agreed.pixels.grid == maps[number].grid
        assert (agreed.pixels.planes == expected.planes[expected.votes >= DENSE.min_votes / 2]).all()


def whole(depth_map):
    """Every pixel of a map."""
    count = len(depth_map.pixels)
    return FusedPixels(depth_map.grid, np.arange(count), depth_map.planes, np.full(count, 0.01), depth_map.visible)


def test_points_are_measured_in_at_least_three_views(views):
    maps = [exact_map(f, step=6, views=searched) for f, searched in ((4, (1, 2, 7, 9)), (8, (5, 6, 11)))]
    chosen = [whole(m) for m in maps]
    parts, expected = measure_points(views, chosen, DENSE, limit_px=0.5, progress=silent)
    model = concatenate_points(*parts)
    assert len(model.xyz) > 0.5 * sum(len(m.pixels) for m in maps)
    assert len(expected) == len(model.xyz)
    assert np.bincount(model.point).min() >= 3
    assert (np.lexsort((model.frame, model.point)) == np.arange(len(model.point))).all()
    assert set(np.unique(model.frame)) == {1, 2, 4, 5, 6, 7, 8, 9, 11}
    assert model.xyz @ NORMAL == pytest.approx(np.ones(len(model.xyz)), abs=1e-5)
    error = reprojection_errors_px(model_rays(model), model.xyz)
    assert error.max() <= 0.5
    assert np.median(error) < 0.05
    # One of a point's errors is zero by construction.
    mean = np.bincount(model.point, weights=error) / (np.bincount(model.point) - 1)
    assert model.error_px == pytest.approx(mean, abs=1e-4)


def test_observations_too_far_from_the_prediction_are_dropped(views):
    # 3 % in depth are about a pixel between frames 2 apart: found by alignment, and refused.
    maps = [exact_map(6, factor=1.03, step=8, views=(3, 4, 8, 9))]
    (near,), _ = measure_points(views, [whole(maps[0])], DENSE, limit_px=0.1, progress=silent)
    (far,), _ = measure_points(views, [whole(maps[0])], DENSE, limit_px=3.0, progress=silent)
    assert len(far.xyz) > 100
    assert len(near.xyz) < 0.02 * len(far.xyz)


def test_views_with_little_correlation_are_asked_by_wider_patches_alone(views):
    maps = [exact_map(6, step=8, views=(3, 4, 8, 9))]
    maps[0].visible[:] = 128  # the first view alone
    (model,), _ = measure_points(views, [whole(maps[0])], DENSE, limit_px=1.0, progress=silent, wide=False)
    assert len(model.xyz) == 0
    (model,), expected = measure_points(views, [whole(maps[0])], DENSE, limit_px=1.0, progress=silent)
    assert len(model.xyz) == len(expected) > 100
    assert np.bincount(model.point).max() == 5
    assert np.median(reprojection_errors_px(model_rays(model), model.xyz)) < 0.1


def test_nothing_to_measure(views):
    parts, expected = measure_points(views, [], DENSE, limit_px=1.0, progress=silent)
    assert len(parts) == len(expected) == 0
    maps = [exact_map(6, views=(4, 8))]
    nothing = whole(maps[0]).take(np.zeros(1200, bool))
    (model,), expected = measure_points(views, [nothing], DENSE, limit_px=1.0, progress=silent)
    assert len(model.xyz) == len(model.point) == len(expected) == 0
