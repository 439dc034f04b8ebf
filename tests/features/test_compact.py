import pytest
import torch

from dd_sfm.features.networks.compact import CompactNet, input_channels, local_contrast


@pytest.mark.parametrize(("height", "width"), [(64, 96), (67, 101), (500, 494)])
def test_unit_norm_on_a_grid_of_half_the_size(height, width):
    network = CompactNet().eval()
    with torch.inference_mode():
        out = network(torch.rand(1, 3, height, width))
    assert out.shape == (1, 64, height // 2, width // 2)
    assert torch.allclose(out.norm(dim=1), torch.ones(1, height // 2, width // 2), atol=1e-4)


def test_flat_image_is_finite():
    assert torch.isfinite(input_channels(torch.full((1, 3, 40, 40), 0.5))).all()
    assert torch.isfinite(CompactNet().eval()(torch.zeros(1, 3, 64, 64))).all()


def test_local_contrast_ignores_gain_and_offset():
    image = torch.rand(1, 1, 50, 50)
    assert torch.allclose(local_contrast(image, 9), local_contrast(image * 3 + 1, 9), atol=0.02)


def test_size_of_the_network():
    assert sum(p.numel() for p in CompactNet().parameters()) == 1_416_208
