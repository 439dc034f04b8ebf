"""Pixels outside the field of view change neither the loss nor its gradient."""

import numpy as np
import pytest
import torch
from conftest import texture
from torch import nn

from dd_sfm.ops.pixels import inside_mask
from dd_sfm.training.augment import AugmentConfig
from dd_sfm.training.config import TrainConfig
from dd_sfm.training.loss import response_loss
from dd_sfm.training.pairs import augment_pair
from dd_sfm.training.sources.pair_sample import PairSample
from dd_sfm.training.trainer import pair_losses


def unit_map(seed, height=8, width=9):
    values = torch.randn(5, height, width, generator=torch.Generator().manual_seed(seed))
    return nn.functional.normalize(values, dim=0)


def loss_and_gradient(target, usable):
    source, target = unit_map(0), target.clone().requires_grad_()
    there = torch.tensor([[4.5, 2.5], [8.5, 6.5]])
    loss = response_loss(source, target, torch.tensor([[2.5, 2.5], [6.5, 8.5]]), there, usable, 2, 8.0, 0.1)
    loss.backward()
    return float(loss.detach()), target.grad


def test_descriptors_of_masked_cells_change_neither_loss_nor_gradient():
    usable = torch.ones(8, 9, dtype=torch.bool)
    usable[:, 6:] = False
    target = unit_map(1)
    changed = torch.where(usable, target, unit_map(2))
    loss, gradient = loss_and_gradient(target, usable)
    other, other_gradient = loss_and_gradient(changed, usable)
    assert other == pytest.approx(loss, abs=1e-6)
    assert torch.allclose(other_gradient, gradient, atol=1e-7)
    assert float(gradient[:, ~usable].abs().max()) == 0.0
    assert float(gradient[:, usable].abs().max()) > 0.0


def test_descriptors_of_usable_cells_do_change_the_loss():
    usable = torch.ones(8, 9, dtype=torch.bool)
    target = unit_map(1)
    changed = target.clone()
    changed[:, 0, 8] = unit_map(2)[:, 0, 8]
    assert loss_and_gradient(changed, usable)[0] != pytest.approx(loss_and_gradient(target, usable)[0], abs=1e-4)


class PixelNetwork(nn.Module):
    """Describes every pixel by its colour alone, so that a pixel has an effect in its own cell only."""

    stride = 1

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.weight = nn.Parameter(torch.randn(6, 3))

    def forward(self, image):
        return nn.functional.normalize(torch.einsum("dc,bchw->bdhw", self.weight, image - 0.5), dim=1)


def pair_loss(outside):
    """Loss of a pair, and its gradient by the weights, with noise of one seed as the pixels outside the masks."""
    images = torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(5))
    masks = torch.zeros(2, 20, 24, dtype=torch.bool)
    masks[0, 3:15, 4:20] = masks[1, 5:18, 2:21] = True
    noise = torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(outside))
    images = torch.where(masks[:, None], images, noise)
    xy = torch.tensor([[[6.0, 6.0], [12.0, 9.0], [15.0, 12.0]], [[7.0, 7.0], [13.0, 10.0], [16.0, 13.0]]])
    network = PixelNetwork()
    pair = {"images": images, "masks": masks, "xy": xy}
    loss = pair_losses(network, [pair], 8.0, "response", torch.device("cpu"), bfloat16=False)
    loss.sum().backward()
    return float(loss.detach()), network.weight.grad


def test_pixels_outside_the_masks_of_a_pair_change_neither_loss_nor_gradient():
    (loss, gradient), (other, other_gradient) = pair_loss(1), pair_loss(2)
    assert other == pytest.approx(loss, abs=1e-6)
    assert torch.allclose(other_gradient, gradient, atol=1e-6)
    assert float(gradient.abs().max()) > 1e-3


def test_no_point_of_a_training_pair_lies_outside_either_mask():
    image = texture(120, 160)
    mask0, mask1 = np.ones((120, 160), bool), np.ones((120, 160), bool)
    mask0[:, :50] = mask1[70:] = False
    columns, rows = np.meshgrid(np.arange(2, 158, 3.0), np.arange(2, 118, 3.0))
    xy = np.stack([columns.ravel(), rows.ravel()], 1)
    config = TrainConfig(augment=AugmentConfig(crop=(96, 128), photometric=0.0), points=2000)
    rng = np.random.default_rng(4)
    for _ in range(10):
        pair = augment_pair(PairSample(image, image, mask0, mask1, xy, xy), rng, config)
        if pair is None:
            continue
        for places, mask, pixels in zip(pair["xy"], pair["masks"], pair["images"], strict=True):
            assert inside_mask(mask.numpy(), places.numpy()).all()
            assert float(pixels[:, ~mask].abs().max()) == 0.0
