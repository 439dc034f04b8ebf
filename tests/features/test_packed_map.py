import numpy as np
import pytest
import torch

from dd_sfm.errors import InputError
from dd_sfm.features.packed_map import find_basis, load_packed, pack, save_packed, unpack
from dd_sfm.structures import WorkingGrid

CPU = torch.device("cpu")
GRID = WorkingGrid(1.0, (0, 0), 48, 40, 2)


def descriptors(rank=16, dim=32):
    """Smooth unit descriptors (dim, 20, 24) that hardly leave a space of ``rank`` directions."""
    generator = torch.Generator().manual_seed(0)
    strength = torch.where(torch.arange(dim) < rank, 1.0, 0.05)
    turn = torch.linalg.qr(torch.randn(dim, dim, generator=generator))[0]
    cells = torch.randn(20 * 24, dim, generator=generator) * strength @ turn.t()
    cells /= cells.norm(dim=1, keepdim=True)
    return cells.t().reshape(dim, 20, 24)


def usable():
    mask = np.zeros((20, 24), bool)
    mask[5:14, 6:20] = True
    mask[9, 11] = False
    return mask


def test_similarities_survive_packing():
    found, mask = descriptors(), usable()
    cells = found[:, torch.from_numpy(mask)]
    basis = find_basis(cells @ cells.t() / cells.shape[1])
    assert basis.shape == (32, 16)
    assert torch.allclose(basis.t() @ basis, torch.eye(16), atol=1e-5)
    packed = pack(found.half(), mask, basis)
    # Two cells around the usable ones are kept; the rim of the highlight is among them.
    assert packed.stored.sum() == 13 * 18
    assert packed.cells.shape == (13 * 18, 16)
    assert packed.cells.nbytes < packed.nbytes < packed.cells.nbytes + 2000
    opened = unpack(packed, GRID, CPU)
    assert (opened.usable.numpy() == mask).all()
    assert not opened.descriptors[:, ~torch.from_numpy(packed.stored)].any()
    ours = opened.descriptors[:, torch.from_numpy(mask)]
    assert torch.allclose(ours.norm(dim=0), torch.tensor(1.0))
    assert torch.allclose(ours.t() @ ours, cells.t() @ cells, atol=0.03)
    # A cell's numbers stand side by side.
    assert opened.descriptors.stride(0) == 1


def test_descriptors_that_fill_all_directions_keep_them():
    found = descriptors(rank=32)
    cells = found.flatten(1)
    assert torch.equal(find_basis(cells @ cells.t() / cells.shape[1]), torch.eye(32))
    assert torch.equal(find_basis(torch.zeros(8, 8)), torch.eye(8))


def test_a_packed_map_comes_back_from_disk(tmp_path):
    packed = pack(descriptors(), usable(), torch.eye(32))
    save_packed(tmp_path / "a.npz", packed)
    found = load_packed(tmp_path / "a.npz")
    for name in ("cells", "stored", "usable"):
        assert np.array_equal(getattr(found, name), getattr(packed, name))
    with pytest.raises(FileNotFoundError):
        load_packed(tmp_path / "b.npz")
    whole = (tmp_path / "a.npz").read_bytes()
    for content in (b"", b"PK", whole[: len(whole) // 2]):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.npz: damaged"):
            load_packed(tmp_path / "a.npz")


def test_a_map_unpacked_in_parts_is_the_same_to_the_bit(monkeypatch):
    packed = pack(descriptors(), np.ones((20, 24), bool), torch.eye(32))
    whole = unpack(packed, GRID, CPU)
    monkeypatch.setattr("dd_sfm.features.packed_map.BLOCK", 37)
    assert torch.equal(unpack(packed, GRID, CPU).descriptors, whole.descriptors)


def test_nothing_usable_is_packed_too():
    opened = unpack(pack(descriptors(), np.zeros((20, 24), bool), torch.eye(32)), GRID, CPU)
    assert not opened.usable.any()
    assert opened.descriptors.shape == (32, 20, 24)
