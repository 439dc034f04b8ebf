import pytest
import torch

from dd_sfm.config import MatchConfig
from dd_sfm.errors import DeviceError, ShapeError
from dd_sfm.features import matching
from dd_sfm.features.matching import match_nearest, subcell_peak
from dd_sfm.features.search_map import search_map
from dd_sfm.ops.sampling import cell_to_image, image_to_cell, sample_bilinear


def smooth_map(dim=16, height=40, width=48, seed=0):
    """A unit-norm map that varies smoothly, as a trained network's does."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, dim, height // 6, width // 6, generator=generator)
    full = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=True)
    return torch.nn.functional.normalize(full[0], dim=0)


def test_hand_computed_matches():
    cells = torch.eye(3)
    queries = torch.tensor([[0.0, 0.8, 0.6], [1.0, 0.0, 0.0]])
    index, similarity = match_nearest(queries, cells)
    assert index.tolist() == [1, 0]
    assert similarity.tolist() == pytest.approx([0.8, 1.0])


@pytest.mark.parametrize("room", [64, 1])
def test_a_gpu_short_of_memory_gets_smaller_blocks(room, monkeypatch, caplog):
    """The GPU is played by blocks that have no room above a size."""

    def short(queries, cells, chunk_queries, chunk_cells):
        if chunk_queries > room:
            raise torch.OutOfMemoryError("no room")
        return whole(queries, cells, chunk_queries, chunk_cells)

    whole = matching._nearest_of_blocks
    monkeypatch.setattr(matching, "_nearest_of_blocks", short)
    matching._say_short_of_memory.cache_clear()
    cells = torch.eye(4)
    if room < matching.LEAST_CHUNK:
        with pytest.raises(DeviceError, match="no room to compare 16 points with 8192 cells.*Use --device cpu"):
            match_nearest(cells, cells)
        return
    for _ in range(2):
        assert match_nearest(cells, cells)[0].tolist() == [0, 1, 2, 3]
    assert [r.getMessage() for r in caplog.records if "64 points" in r.getMessage()] == [
        "match: the GPU is short of memory; 64 points are searched at once"
    ]


def test_blocks_change_nothing():
    descriptors = smooth_map().flatten(1).t()
    queries = descriptors[::7]
    whole = match_nearest(queries, descriptors, chunk_queries=10_000, chunk_cells=10_000)
    blocks = match_nearest(queries, descriptors, chunk_queries=13, chunk_cells=101)
    assert torch.equal(whole[0], blocks[0])
    assert torch.allclose(whole[1], blocks[1])


def test_no_query_gives_no_match():
    index, similarity = match_nearest(torch.zeros(0, 4), torch.eye(4))
    assert len(index) == len(similarity) == 0


def test_length_of_descriptors_must_agree():
    with pytest.raises(ShapeError, match="expected equal D"):
        match_nearest(torch.zeros(2, 3), torch.zeros(5, 4))


@pytest.mark.parametrize("search", ["exhaustive", "coarse"])
def test_every_cell_finds_itself(search):
    descriptors = smooth_map()
    usable = torch.ones(40, 48, dtype=torch.bool)
    cells = torch.stack(torch.meshgrid(torch.arange(3, 45, 4), torch.arange(2, 38, 3), indexing="xy"), -1).reshape(
        -1, 2
    )
    queries = descriptors[:, cells[:, 1], cells[:, 0]].t()
    found, similarity = search_map(descriptors, usable, MatchConfig(search=search)).search(queries)
    assert (found == cells).all(1).float().mean() >= 0.99
    assert float(similarity.min()) > 0.99


@pytest.mark.parametrize("search", ["exhaustive", "coarse"])
def test_unusable_cells_are_never_matched(search):
    descriptors = smooth_map()
    usable = torch.zeros(40, 48, dtype=torch.bool)
    usable[10:30, 5:25] = True
    queries = descriptors.flatten(1).t()[::5]
    found, _ = search_map(descriptors, usable, MatchConfig(search=search)).search(queries)
    assert usable[found[:, 1], found[:, 0]].all()


@pytest.mark.parametrize("search", ["exhaustive", "coarse"])
def test_nothing_usable_gives_similarity_below_any_threshold(search):
    descriptors, nothing = smooth_map(), torch.zeros(40, 48, dtype=torch.bool)
    queries = descriptors.flatten(1).t()[:3]
    found, similarity = search_map(descriptors, nothing, MatchConfig(search=search)).search(queries)
    assert found.tolist() == [[0, 0]] * 3
    assert (similarity < -1).all()


def test_peak_between_cells_is_found():
    descriptors = smooth_map(height=60, width=60)
    true = torch.tensor([[20.3, 30.6], [41.5, 12.2], [10.0, 50.0]])
    queries = torch.nn.functional.normalize(sample_bilinear(descriptors, true), dim=1)
    found = subcell_peak(descriptors, queries, true.round().long())
    assert (found - true).abs().max() < 0.2


def test_peak_on_the_border_stays():
    descriptors = smooth_map()
    corner = torch.tensor([[0, 0]])
    assert subcell_peak(descriptors, descriptors[:, 0, 0][None], corner).tolist() == [[0.0, 0.0]]


def test_cells_and_pixels_round_trip():
    assert cell_to_image(torch.tensor([0.0, 3.0]), 2).tolist() == [0.5, 6.5]
    assert image_to_cell(torch.tensor([0.5, 6.5]), 2).tolist() == [0.0, 3.0]
