import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from dd_sfm.features.patch_alignment import align_patches, alignment_threads
from dd_sfm.ops.packed_image import pack_image


@pytest.fixture
def texture():
    rng = np.random.default_rng(0)
    return (gaussian_filter(rng.normal(size=(120, 140)), 2.0) * 250 + 120).clip(0, 255).astype(np.float32)


def grid_points():
    x, y = np.meshgrid(np.arange(30, 110, 12.0), np.arange(30, 90, 12.0))
    return torch.tensor(np.stack([x.ravel(), y.ravel()], 1), dtype=torch.float32)


def warped(texture, matrix, shift):
    """Image whose pixel ``matrix @ p + shift`` shows the texture's pixel p."""
    rows, columns = np.mgrid[: texture.shape[0], : texture.shape[1]]
    origin = (np.stack([columns, rows], -1) - shift) @ np.linalg.inv(matrix).T
    return map_coordinates(texture, [origin[..., 1], origin[..., 0]], order=3, mode="nearest")


@pytest.mark.parametrize("shift", [(0.3, -0.4), (1.6, 1.1)])
def test_shift_under_changed_light(texture, shift):
    target = warped(texture, np.eye(2), np.array(shift)) * 0.6 + 30
    xy = grid_points()
    found = align_patches(
        pack_image(texture),
        pack_image(target),
        xy,
        xy.clone(),
        np.tile(np.eye(2), (len(xy), 1, 1)),
    )
    error = (found.xy - xy - torch.tensor(shift)).norm(dim=1)
    assert error.max() < 0.05
    assert found.ncc.min() > 0.99


def test_known_affine_map_is_used(texture):
    matrix, shift = np.array([[1.1, 0.15], [-0.2, 0.9]]), np.array([4.0, 12.0])
    target = warped(texture, matrix, shift)
    xy = grid_points()
    true = xy @ torch.tensor(matrix, dtype=torch.float32).t() + torch.tensor(shift, dtype=torch.float32)
    affine = np.tile(matrix, (len(xy), 1, 1))
    found = align_patches(pack_image(texture), pack_image(target), xy, true + 0.8, affine)
    inside = ((true > 12) & (true < torch.tensor([128.0, 108.0]))).all(1)
    assert (found.xy - true)[inside].norm(dim=1).max() < 0.1


def test_far_moves_are_refused(texture):
    xy = grid_points()
    found = align_patches(
        pack_image(texture),
        pack_image(texture),
        xy,
        xy + 2.0,
        np.tile(np.eye(2), (len(xy), 1, 1)),
        max_move_px=0.5,
    )
    refused = found.ncc == -1
    assert refused.any()
    assert torch.equal(found.xy[refused], (xy + 2.0)[refused])


def test_no_points():
    empty = torch.zeros(0, 2)
    found = align_patches(np.zeros((30, 30), np.int64), np.zeros((30, 30), np.int64), empty, empty, np.zeros((0, 2, 2)))
    assert found.xy.shape == (0, 2)
    assert found.ncc.shape == (0,)


@pytest.mark.parametrize("level", [0.0, 255.0])
def test_without_texture_there_is_no_match(texture, level):
    xy, affine = grid_points(), np.tile(np.eye(2), (len(grid_points()), 1, 1))
    flat = np.full_like(texture, level)
    speck = flat.copy()
    speck[60, 70] = 40.0
    for source, target in ((texture, flat), (flat, texture), (flat, flat), (texture, speck)):
        found = align_patches(pack_image(source), pack_image(target), xy, xy + 0.3, affine, radius=12)
        assert found.ncc.abs().max() <= 1
        assert found.ncc.median() == 0


def test_dim_texture_is_matched_like_bright_one(texture):
    xy = grid_points()
    found = align_patches(
        pack_image(texture),
        pack_image(texture * 0.02 + 3),
        xy,
        xy + 0.4,
        np.tile(np.eye(2), (len(xy), 1, 1)),
        radius=12,
    )
    assert (found.xy - xy).norm(dim=1).max() < 0.05
    assert 0.99 < found.ncc.min() <= found.ncc.max() <= 1


def test_numbers_that_are_not_finite_are_left_alone(texture):
    xy = grid_points()
    lost = xy.clone()
    lost[3] = float("nan")
    found = align_patches(pack_image(texture), pack_image(texture), xy, lost, np.tile(np.eye(2), (len(xy), 1, 1)))
    assert found.ncc[3] == -1
    assert found.ncc[4] > 0.99


def test_the_points_of_a_gpu_are_shared_by_the_configured_threads():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert alignment_threads(torch.device("cuda")) == 3
        assert alignment_threads(torch.device("cpu")) == 1
    finally:
        torch.set_num_threads(before)
