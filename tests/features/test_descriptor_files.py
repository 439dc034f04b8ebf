import json
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch

from dd_sfm.errors import InputError
from dd_sfm.features.descriptor_files import DescriptorFiles
from dd_sfm.features.packed_map import PackedMap
from dd_sfm.structures import WorkingGrid

GRID = WorkingGrid(0.5, (3, 4), 40, 20, 2)
POOLED = np.arange(3, dtype=np.float32)


def packed_map():
    """About 9 kB."""
    every = np.ones((10, 20), bool)
    return PackedMap(np.ones((200, 40), np.int8), every, every)


def begun(out, limit_gb=None):
    files = DescriptorFiles(out, limit_gb)
    files.begin(GRID, torch.eye(40))
    return files


def kept(out):
    return [int(path.stem) for path in sorted((out / "descriptors").glob("[0-9]*.npz"))]


def test_what_is_saved_is_found_again(tmp_path):
    files = begun(tmp_path)
    assert files.limit == math.inf
    assert not files.has(7)
    files.save(7, packed_map(), POOLED)
    again = DescriptorFiles(tmp_path, None)
    assert again.holds(GRID)
    assert again.has(7)
    assert torch.equal(again.basis(), torch.eye(40))
    assert np.array_equal(again.load(7).cells, packed_map().cells)
    assert again.pooled([7, 7]).tolist() == [[0, 1, 2]] * 2
    assert again.load(8) is None
    assert not again.holds(WorkingGrid(0.5, (0, 0), 40, 20, 2))
    (tmp_path / "descriptors" / "00000007.npz").unlink()
    assert not again.has(7)


def test_files_of_older_versions_are_replaced(tmp_path):
    folder = tmp_path / "descriptors"
    folder.mkdir()
    (folder / "grid.json").write_text(json.dumps(asdict(GRID)))
    np.save(folder / "00000000.npy", np.zeros((40, 10, 20), np.float16))
    files = DescriptorFiles(tmp_path, None)
    assert not files.is_begun()
    assert not files.holds(GRID)
    files.begin(GRID, torch.eye(40))
    assert sorted(path.name for path in folder.iterdir()) == ["basis.npy", "grid.json"]


def test_maps_beyond_the_limit_are_not_kept(tmp_path):
    files = begun(tmp_path, limit_gb=40e-6)
    for index in range(6):
        files.save(index, packed_map(), POOLED)
    assert kept(tmp_path) == [0, 1, 2, 3]
    assert all(files.has(index) for index in range(6))
    assert files.load(5) is None
    # Frames before 2 are not needed any more: one of them makes room.
    files.save(5, packed_map(), needed_from=2)
    assert kept(tmp_path) == [1, 2, 3, 5]
    files.save(4, packed_map(), needed_from=1)
    assert kept(tmp_path) == [1, 2, 3, 5]
    assert sum(path.stat().st_size for path in (tmp_path / "descriptors").glob("[0-9]*.npz")) <= 40e3
    # What is there counts when work goes on.
    DescriptorFiles(tmp_path, 40e-6).save(4, packed_map())
    assert kept(tmp_path) == [1, 2, 3, 5]


def test_a_damaged_basis_is_named(tmp_path):
    files = begun(tmp_path)
    (tmp_path / "descriptors" / "basis.npy").write_bytes(b"x")
    with pytest.raises(InputError, match=r"basis\.npy: damaged"):
        files.basis()
