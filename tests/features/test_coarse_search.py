import pytest
import torch

from dd_sfm.features.coarse_search import search_coarse
from dd_sfm.features.matching import match_nearest


@pytest.fixture
def cells():
    """A smooth map of 60 x 64 cells, row by row."""
    coarse = torch.randn(1, 16, 8, 9, generator=torch.Generator().manual_seed(3))
    full = torch.nn.functional.interpolate(coarse, size=(60, 64), mode="bicubic", align_corners=True)
    return torch.nn.functional.normalize(full[0], dim=0).flatten(1).t().contiguous()


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("chunk", [7, 512])
def test_finds_what_the_whole_search_finds(cells, bfloat16, chunk):
    noise = 0.1 * torch.randn(200, 16, generator=torch.Generator().manual_seed(4))
    queries = torch.nn.functional.normalize(cells[::19][:200] + noise, dim=1)
    usable = torch.ones(60, 64, dtype=torch.bool)
    index, similarity = search_coarse(queries, cells, usable, chunk=chunk, bfloat16=bfloat16)
    expected, best = match_nearest(queries, cells)
    assert (index == expected).float().mean() > 0.97
    assert torch.allclose(similarity, (queries * cells[index]).sum(1), atol=1e-5)
    assert (best - similarity).max() < 0.05


def test_a_single_usable_cell_is_found(cells):
    usable = torch.zeros(60, 64, dtype=torch.bool)
    usable[21, 33] = True
    index, _ = search_coarse(cells[:3], cells, usable, chunk=512, bfloat16=False)
    assert index.tolist() == [21 * 64 + 33] * 3


@pytest.mark.parametrize(("height", "width"), [(1, 30), (30, 1), (2, 2), (12, 12)])
def test_small_maps(height, width):
    cells = torch.nn.functional.normalize(
        torch.randn(height * width, 8, generator=torch.Generator().manual_seed(5)), dim=1
    )
    usable = torch.ones(height, width, dtype=torch.bool)
    index, similarity = search_coarse(cells[::3], cells, usable, chunk=512, bfloat16=False)
    assert torch.allclose(similarity, (cells[::3] * cells[index]).sum(1), atol=1e-5)
    assert index.max() < height * width


def test_no_query_gives_no_match(cells):
    usable = torch.ones(60, 64, dtype=torch.bool)
    index, similarity = search_coarse(cells[:0], cells, usable, chunk=512, bfloat16=False)
    assert len(index) == len(similarity) == 0
