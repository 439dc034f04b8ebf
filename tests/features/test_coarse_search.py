import pytest
import torch

from dd_sfm.features.coarse_search import ROWS, CoarseMap, _responses
from dd_sfm.features.matching import match_nearest, subcell_peak
from dd_sfm.ops.sampling import sample_descriptors


@pytest.fixture
def cells():
    """A smooth map of 60 x 64 cells, row by row."""
    coarse = torch.randn(1, 16, 8, 9, generator=torch.Generator().manual_seed(3))
    full = torch.nn.functional.interpolate(coarse, size=(60, 64), mode="bicubic", align_corners=True)
    return torch.nn.functional.normalize(full[0], dim=0).flatten(1).t().contiguous()


def prepare(cells, usable, chunk=512, bfloat16=False):
    return CoarseMap.of(cells.t().unflatten(1, usable.shape), usable, chunk=chunk, bfloat16=bfloat16)


def index_of(cell, usable):
    return cell[:, 1] * usable.shape[1] + cell[:, 0]


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("chunk", [7, 512])
def test_finds_what_the_whole_search_finds(cells, bfloat16, chunk):
    noise = 0.1 * torch.randn(200, 16, generator=torch.Generator().manual_seed(4))
    queries = torch.nn.functional.normalize(cells[::19][:200] + noise, dim=1)
    usable = torch.ones(60, 64, dtype=torch.bool)
    found, similarity = prepare(cells, usable, chunk, bfloat16).search(queries)
    index = index_of(found, usable)
    expected, best = match_nearest(queries, cells)
    # Where the response is nearly flat, rounding to 8 bits decides between neighbours.
    whole = torch.stack([expected % 64, expected // 64], 1)
    assert ((found - whole).abs().amax(1) <= 1).float().mean() > 0.97
    assert (index == expected).float().mean() > 0.8
    assert torch.allclose(similarity, (queries * cells[index]).sum(1), atol=0.01)
    assert (best - similarity).max() < 0.05


def test_a_single_usable_cell_is_found(cells):
    usable = torch.zeros(60, 64, dtype=torch.bool)
    usable[21, 33] = True
    found, _ = prepare(cells, usable).search(cells[:3])
    assert index_of(found, usable).tolist() == [21 * 64 + 33] * 3


@pytest.mark.parametrize(("height", "width"), [(1, 30), (30, 1), (2, 2), (12, 12)])
def test_small_maps(height, width):
    cells = torch.nn.functional.normalize(
        torch.randn(height * width, 8, generator=torch.Generator().manual_seed(5)), dim=1
    )
    usable = torch.ones(height, width, dtype=torch.bool)
    found, similarity = prepare(cells, usable).search(cells[::3])
    index = index_of(found, usable)
    assert torch.allclose(similarity, (cells[::3] * cells[index]).sum(1), atol=0.01)
    assert index.max() < height * width


def test_no_query_gives_no_match(cells):
    usable = torch.ones(60, 64, dtype=torch.bool)
    found, similarity = prepare(cells, usable).search(cells[:0])
    assert found.shape == (0, 2)
    assert len(similarity) == 0


def test_reads_between_cells_as_the_whole_map_is_read(cells):
    usable = torch.ones(60, 64, dtype=torch.bool)
    descriptors, coarse = cells.t().unflatten(1, (60, 64)), prepare(cells, usable)
    place = torch.tensor([[3.25, 10.5], [63.0, 59.0], [-2.0, 70.0], [40.75, 0.25]])
    assert torch.allclose(coarse.sample(place), sample_descriptors(descriptors, place), atol=0.01)
    cell = torch.tensor([[30, 40], [12, 9], [0, 30], [33, 59]])
    queries = sample_descriptors(descriptors, cell + torch.tensor([0.3, -0.2]))
    expected = subcell_peak(descriptors, queries, cell)
    assert (coarse.refine(queries, cell) - expected).abs().max() < 0.05


def test_rows_of_zeros_change_no_response(cells):
    block = cells[::3].t().contiguous().bfloat16()
    queries = cells[:200].bfloat16()
    whole = queries @ block
    for count in (0, 1, ROWS - 1, ROWS, ROWS + 1, 200):
        found = _responses(queries[:count], block)
        assert torch.equal(found, whole[:count])


def test_a_map_is_written_in_8_bits_as_its_cells_are(cells):
    found = prepare(cells, torch.ones(60, 64, dtype=torch.bool))
    step = cells.abs().amax(1) / 127
    assert torch.equal(torch.from_numpy(found.step).flatten(), step)
    codes = (cells / step[:, None]).round().to(torch.int8)
    assert torch.equal(torch.from_numpy(found.cells).flatten(0, 1), codes)
