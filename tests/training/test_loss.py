import math

import pytest
import torch

from dd_sfm.training.loss import bilinear_targets, response_loss


def test_bilinear_targets_by_hand():
    indices, weights = bilinear_targets(torch.tensor([[1.25, 2.5]]), height=4, width=5)
    assert indices.tolist() == [[11, 12, 16, 17]]
    assert weights[0].tolist() == pytest.approx([0.375, 0.125, 0.375, 0.125])


def test_targets_on_the_border_stay_inside():
    indices, weights = bilinear_targets(torch.tensor([[9.0, -3.0]]), height=4, width=5)
    assert int(indices.max()) < 20
    assert float(weights.sum()) == pytest.approx(1.0)


def one_hot_maps():
    """Four cells (2 x 2) with orthogonal descriptors, the same in both images."""
    return torch.eye(4).reshape(4, 2, 2)


def test_loss_by_hand():
    maps, usable = one_hot_maps(), torch.ones(2, 2, dtype=torch.bool)
    point = torch.tensor([[0.5, 0.5]])  # centre of cell (0, 0) at stride 2
    loss = response_loss(maps, maps, point, point, usable, stride=2, scale=3.0)
    expected = -math.log(math.exp(3) / (math.exp(3) + 3))
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_unusable_cells_are_no_rivals():
    maps = one_hot_maps()
    usable = torch.tensor([[True, True], [False, False]])
    point = torch.tensor([[0.5, 0.5]])
    some = response_loss(maps, maps, point, point, usable, stride=2, scale=3.0)
    all_ = response_loss(maps, maps, point, point, torch.ones(2, 2, dtype=torch.bool), stride=2, scale=3.0)
    assert float(some) <= float(all_)


def test_no_points_give_zero_with_a_gradient():
    maps = one_hot_maps().requires_grad_()
    loss = response_loss(maps, maps, torch.zeros(0, 2), torch.zeros(0, 2), torch.ones(2, 2, dtype=torch.bool), 2, 3.0)
    loss.backward()
    assert loss.item() == 0.0


def test_a_margin_makes_far_cells_harder_and_near_ones_not():
    torch.manual_seed(0)
    maps = torch.nn.functional.normalize(torch.randn(8, 9, 9), dim=0)
    point = torch.tensor([[8.5, 8.5]])  # centre of cell (4, 4) at stride 2
    usable = torch.ones(9, 9, dtype=torch.bool)
    plain, harder = (response_loss(maps, maps, point, point, usable, 2, 5.0, margin) for margin in (0.0, 0.2))
    cosine = maps.flatten(1).t() @ maps[:, 4, 4]
    rows, columns = torch.meshgrid(torch.arange(9), torch.arange(9), indexing="ij")
    far = (((rows - 4).abs() > 2) | ((columns - 4).abs() > 2)).flatten()
    expected = torch.logsumexp(5.0 * (cosine + 0.2 * far), 0) - 5.0
    assert float(harder) == pytest.approx(float(expected), rel=1e-5)
    assert float(harder) > float(plain)
    near = torch.zeros(9, 9, dtype=torch.bool)
    near[2:7, 2:7] = True
    same = [response_loss(maps, maps, point, point, near, 2, 5.0, margin).item() for margin in (0.0, 0.2)]
    assert same[0] == pytest.approx(same[1])
