import math

import pytest
import torch

from dd_sfm.errors import ShapeError
from dd_sfm.training.paper_loss import relative_response_loss


def random_map(seed, height=6, width=7):
    values = torch.randn(5, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)
    return torch.nn.functional.normalize(values, dim=0)


def test_one_point_by_hand():
    # One row of three cells at 0, 60 and 90 degrees in image 1; image 0 points at 0 degrees everywhere.
    map0 = torch.tensor([[[1.0, 1.0, 1.0]], [[0.0, 0.0, 0.0]]])
    map1 = torch.tensor([[[1.0, 0.5, 0.0]], [[0.0, math.sqrt(0.75), 1.0]]])
    loss = relative_response_loss(map0, map1, torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]]), scale=20.0)
    forward = -math.log(math.exp(10) / (math.exp(20) + math.exp(10) + 1))
    backward = math.log(3)  # cell 1 of image 1 answers alike (cos 60) in all three cells of image 0
    assert float(loss) == pytest.approx((forward + backward) / 2, rel=1e-5)


def test_true_place_is_the_nearest_cell():
    map0, map1 = random_map(0), random_map(1)
    there = torch.tensor([[3.0, 2.0]])
    near = relative_response_loss(map0[:, :, :], map1, torch.tensor([[1.0, 1.0]]), there)
    queries = map0[:, 1, 1]
    forward = torch.logsumexp(20 * torch.einsum("d,dhw->hw", queries, map1).flatten(), 0) - 20 * queries @ map1[:, 2, 3]
    backward = (
        torch.logsumexp(20 * torch.einsum("d,dhw->hw", map1[:, 2, 3], map0).flatten(), 0) - 20 * queries @ map1[:, 2, 3]
    )
    assert float(near) == pytest.approx(float(forward + backward) / 2, rel=1e-5)


def test_swapping_the_images_changes_nothing():
    map0, map1 = random_map(0), random_map(1, 8, 5)
    xy0, xy1 = torch.tensor([[1.0, 2.0], [4.0, 3.0]]), torch.tensor([[0.0, 7.0], [3.0, 1.0]])
    assert torch.allclose(
        relative_response_loss(map0, map1, xy0, xy1), relative_response_loss(map1, map0, xy1, xy0), rtol=1e-6
    )


def test_chunked_equals_unchunked_with_gradients():
    xy = torch.rand(11, 2, generator=torch.Generator().manual_seed(2)) * 5
    grads, losses = [], []
    for chunk in (3, 100):
        map0, map1 = random_map(0).requires_grad_(), random_map(1).requires_grad_()
        loss = relative_response_loss(map0, map1, xy, xy.flip(0), chunk=chunk)
        loss.backward()
        losses.append(float(loss.detach()))
        grads.append(torch.stack([map0.grad, map1.grad]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert torch.allclose(grads[0], grads[1], atol=1e-6)
    assert float(grads[0].abs().max()) > 0


def test_perfect_maps_approach_zero():
    eye = torch.eye(36).reshape(36, 6, 6)
    xy = torch.tensor([[0.0, 0.0], [5.0, 4.0]])
    assert float(relative_response_loss(eye, eye, xy, xy)) == pytest.approx(35 * math.exp(-20), rel=0.05, abs=1e-6)


def test_no_points_and_wrong_shapes():
    map0 = random_map(0).requires_grad_()
    loss = relative_response_loss(map0, random_map(1), torch.zeros(0, 2), torch.zeros(0, 2))
    loss.backward()
    assert float(loss.detach()) == 0.0
    with pytest.raises(ShapeError, match="equally many points"):
        relative_response_loss(map0, random_map(1), torch.zeros(1, 2), torch.zeros(2, 2))
