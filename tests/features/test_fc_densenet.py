import torch

from dd_sfm.features.networks import build_network


def test_the_papers_network_by_its_numbers():
    network = build_network("fc_densenet").eval()
    assert 0.45e6 < sum(p.numel() for p in network.parameters()) < 0.6e6
    assert network.dim == 256
    assert network.stride == 1
    assert len(network.down) == len(network.up) == 5
    assert all(len(block.layers) == 3 for block in [*network.down, *network.up])
    assert len(network.bottleneck.layers) == 4


def test_unit_norm_at_full_size_for_any_size():
    network = build_network("fc_densenet", dim=16).eval()
    with torch.inference_mode():
        out = network(torch.rand(2, 3, 70, 45))
    assert out.shape == (2, 16, 70, 45)
    assert torch.allclose(out.norm(dim=1), torch.ones(2, 70, 45), atol=1e-4)
