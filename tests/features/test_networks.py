"""What holds for every network: where the centre of a cell lies, and what a shifted image gives."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from dd_sfm.errors import ShapeError
from dd_sfm.features.describe import describe_image
from dd_sfm.features.networks import ARCHITECTURES, build_network
from dd_sfm.features.point_search import find_points
from dd_sfm.features.weights import list_weights, load_weights


def mirror_compact(network):
    """Make the compact network mirror symmetric beyond its kernels, and leave out its levels below a cell.

    The strided convolutions of those levels are off the centre by their padding; training makes up for that.
    """
    network.coarse.weight.zero_()
    # The four pixels of a cell are channels of the first layer: mirroring swaps left and right ones.
    weight = network.stem[0].weight
    weight.copy_((weight + weight.unflatten(1, (-1, 2, 2)).flip(3).flatten(1, 3)) / 2)


@dataclass(frozen=True)
class Case:
    """How an architecture is tested.

    ``options`` of a small network; ``period_px``: shift of the image for which the grid of the coarsest level falls
    onto itself; ``width_px`` of the image that is shifted, of which ``rim_px`` on both sides see its border;
    ``mirror``: makes a network symmetric beyond its kernels, as one needs that turns pixels into channels.
    """

    options: dict[str, int]
    period_px: int
    width_px: int = 256
    rim_px: int = 96
    mirror: Callable[[nn.Module], None] = lambda network: None


CASES = {
    "compact": Case({"dim": 6}, 32, 512, 224, mirror_compact),
    "fc_densenet": Case({"dim": 6, "growth": 3, "first": 6, "layers": 1, "blocks": 3}, 8),
}
CENTRES = "cells are not centred at (c + 0.5) * stride - 0.5, or the case of the network lacks its own 'mirror'"


def small_network(architecture):
    torch.manual_seed(3)
    return build_network(architecture, **CASES[architecture].options).eval()


def mirror_symmetric(architecture):
    """A network whose every kernel is its own mirror image along x."""
    network = small_network(architecture)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.copy_((layer.weight + layer.weight.flip(-1)) / 2)
        CASES[architecture].mirror(network)
    return network


def textured_image(height, width, seed=0):
    values = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    return nn.functional.avg_pool2d(values, 5, 1, 2, count_include_pad=False)


def test_every_architecture_is_tested_here():
    assert set(CASES) == set(ARCHITECTURES)


@pytest.mark.parametrize("architecture", CASES)
@pytest.mark.parametrize("size", [(64, 96), (61, 83)])
def test_a_network_describes_every_cell(architecture, size):
    network = small_network(architecture)
    with torch.inference_mode():
        found = network(torch.rand(2, 3, *size))
    assert found.shape == (2, network.dim, size[0] // network.stride, size[1] // network.stride)
    np.testing.assert_allclose(found.norm(dim=1).numpy(), 1.0, atol=1e-5)


def test_a_network_with_another_stride_than_it_states_is_refused():
    network = small_network("compact")
    network.stride = 4
    with pytest.raises(ShapeError, match=r"CompactNet: descriptors \(6, 32, 48\) .* expected \(6, 16, 24\)"):
        describe_image(network, np.zeros((64, 96, 3), np.uint8), torch.device("cpu"), bfloat16=False)


@pytest.mark.parametrize("architecture", CASES)
def test_a_mirrored_image_gives_the_mirrored_map(architecture):
    # Mirroring takes pixel x to W - 1 - x and cell c to W / stride - 1 - c, so that the centres of the two add up to
    # W - 1 only where cell c is centred at (c + 0.5) * stride - 0.5.
    network = mirror_symmetric(architecture)
    image = textured_image(64, 96)
    with torch.inference_mode():
        found, mirrored = network(image), network(image.flip(-1))
    assert torch.allclose(mirrored.flip(-1), found, atol=1e-4), CENTRES
    assert not torch.allclose(mirrored, found, atol=1e-2)


@pytest.mark.parametrize("architecture", CASES)
def test_a_shift_by_whole_cells_shifts_the_map(architecture):
    network, case = small_network(architecture), CASES[architecture]
    size, rim, shift = case.width_px, case.rim_px, case.period_px
    image = textured_image(96, size + shift)
    with torch.inference_mode():
        first, second = network(image[..., :size]), network(image[..., shift:])
    cells, away = shift // network.stride, rim // network.stride
    assert torch.allclose(first[..., away + cells : -away], second[..., away : -away - cells], atol=1e-4)


@pytest.mark.parametrize("weights", list_weights())
def test_shipped_weights_find_points_of_a_shifted_and_an_enlarged_image_without_bias(weights):
    network = load_weights(weights, torch.device("cpu"))
    stride = network.stride
    image = smooth_texture(256 + stride, 256 + stride)
    # Multiples of 32, on whose grid the coarsest level of the compact network lies.
    first = image[..., :256, :256]
    scale = 1.25
    larger = nn.functional.interpolate(first, scale_factor=scale, mode="bicubic")
    cases = (
        (image[..., :256, stride:], lambda xy: xy - [stride, 0]),
        (image[..., stride:, :256], lambda xy: xy - [0, stride]),
        # A centre that is off by d pixels puts the points of an enlarged image off by (scale - 1) * d.
        (larger, lambda xy: (xy + 0.5) * scale - 0.5),
    )
    xy = np.random.default_rng(0).uniform(60, 196, (200, 2))
    with torch.inference_mode():
        map0 = network(first)[0]
    for second, there in cases:
        with torch.inference_mode():
            map1 = network(second.contiguous())[0]
        usable = np.ones(map1.shape[-2:], bool)
        error = find_points(map0, map1, usable, xy, stride).numpy() - there(xy)
        assert (np.linalg.norm(error, axis=1) < 2).mean() > 0.9
        assert np.abs(np.median(error, axis=0)).max() < 0.15


def smooth_texture(height, width):
    """A reddish image with texture of many sizes, as of tissue."""
    generator = torch.Generator().manual_seed(1)
    image = torch.full((1, 3, height, width), 0.0)
    for scale in (1, 2, 4, 8, 16):
        noise = torch.randn(1, 1, height // scale + 2, width // scale + 2, generator=generator)
        image += nn.functional.interpolate(noise, scale_factor=scale, mode="bicubic")[..., :height, :width] * scale**0.5
    image = (image - image.min()) / (image.max() - image.min())
    return image * torch.tensor([0.9, 0.5, 0.4])[:, None, None]
