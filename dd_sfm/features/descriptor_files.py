"""The descriptors of a run on disk, within a limit."""

import math
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dd_sfm.errors import InputError
from dd_sfm.features.packed_map import PackedMap, load_packed, save_packed
from dd_sfm.io.arrays import read_array
from dd_sfm.io.atomic import write_array
from dd_sfm.io.links import check_is_no_link
from dd_sfm.io.run_folder import GRID, has_grid, read_grid, write_grid
from dd_sfm.io.shortage import raise_if_short
from dd_sfm.structures import WorkingGrid

FORMAT = 2
"""Of the files; those without a number hold all cells in float16, and are made anew."""


class DescriptorFiles:
    """``descriptors/`` of a run: ``grid.json``, ``basis.npy``, and of each frame its map and its pooled descriptor.

    All but the pooled ones can be made anew from the frames: what does not fit into the limit is not kept.

    Args:
        out: The run folder.
        limit_gb: What the maps of all frames may take together; None: no limit.
    """

    def __init__(self, out: Path, limit_gb: float | None) -> None:
        self.out, self.folder = out, out / "descriptors"
        self.limit = math.inf if limit_gb is None else limit_gb * 1e9
        """In bytes."""
        self._lock = threading.Lock()
        self._used = sum(path.stat().st_size for path in self._maps() if path.is_file())

    def holds(self, grid: WorkingGrid) -> bool:
        """Whether the folder has been begun by this version, for frames cut out like this."""
        return self.is_begun() and read_grid(self.out) == grid

    def is_begun(self) -> bool:
        """Whether the folder has been begun by this version."""
        return has_grid(self.out, FORMAT) and self._basis.is_file()

    def begin(self, grid: WorkingGrid, basis: Tensor) -> None:
        """Begin the folder: files of older versions and unfinished ones are removed.

        Args:
            grid: The cells.
            basis: (D, K) from :func:`dd_sfm.features.packed_map.find_basis`.

        Raises:
            OutputError: If it cannot be written.
        """
        check_is_no_link(self.out, self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        # The grid, which says that the others are there, goes first and comes last.
        for path in [self.out / GRID, *self.folder.glob("*.npy"), *self.folder.glob("*.npz")]:
            path.unlink(missing_ok=True)
        self._used = 0
        write_array(self._basis, basis.numpy())
        write_grid(self.out, grid, FORMAT)

    def basis(self) -> Tensor:
        """The directions (D, K) that descriptors are stored along.

        Raises:
            InputError: If they are damaged.
        """
        return torch.from_numpy(self._read(self._basis, 2))

    def map_path(self, index: int) -> Path:
        """Where the map of a source frame lies."""
        return self.folder / f"{index:08d}.npz"

    def has(self, index: int) -> bool:
        """Whether a source frame is described, and its map is there or may be left out."""
        is_kept = self.limit < math.inf or self.map_path(index).is_file()
        return is_kept and self._pooled_path(index).is_file()

    def save(
        self, index: int, packed: PackedMap, pooled: NDArray[np.float32] | None = None, needed_from: int = 0
    ) -> None:
        """Keep what was found of a source frame; of its map nothing where there is no room.

        Args:
            index: The source frame.
            packed: Its map.
            pooled: Its descriptor as a whole; None where that is there already.
            needed_from: Maps of source frames before this one may go to make room.

        Raises:
            OutputError: If it cannot be written, or only to where a link leads.
        """
        check_is_no_link(self.out, self.folder)
        if pooled is not None:
            write_array(self._pooled_path(index), pooled, durable=False)
        with self._lock:
            if self.map_path(index).is_file():
                self._used -= self.map_path(index).stat().st_size
            self._make_room(packed.nbytes, needed_from)
            if self._used + packed.nbytes > self.limit:
                return
            self._used += packed.nbytes
        save_packed(self.map_path(index), packed)

    def load(self, index: int) -> PackedMap | None:
        """The map of a source frame; None where it is not there."""
        try:
            return load_packed(self.map_path(index))
        except FileNotFoundError:
            return None

    def pooled(self, indices: Iterable[int]) -> Tensor:
        """The descriptors (F, E) of source frames as a whole.

        Raises:
            InputError: If they are damaged.
        """
        pooled = [self._read(self._pooled_path(index), 1) for index in indices]
        sizes = {len(one) for one in pooled}
        if len(sizes) > 1:
            raise InputError(f"{self.folder}: pooled descriptors of several sizes; remove the folder and repeat")
        return torch.from_numpy(np.stack(pooled))

    def _read(self, path: Path, axes: int) -> NDArray[Any]:
        try:
            array = read_array(path)
            if array.ndim != axes or array.dtype.kind != "f" or not np.isfinite(array).all():
                raise ValueError(f"{array.dtype} numbers of the shape {array.shape}, or such that are not finite")
            return array
        except (OSError, ValueError, EOFError) as error:
            raise_if_short(str(path), error)
            raise InputError(
                f"{path}: damaged ({error}); expected numbers by dd-sfm. Remove {self.folder} and repeat"
            ) from error

    def _make_room(self, size: int, needed_from: int) -> None:
        if self._used + size <= self.limit:
            return
        for path in self._maps():
            if int(path.stem) >= needed_from or self._used + size <= self.limit:
                return
            self._used -= path.stat().st_size
            path.unlink()

    def _maps(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.npz"))

    @property
    def _basis(self) -> Path:
        return self.folder / "basis.npy"

    def _pooled_path(self, index: int) -> Path:
        return self.folder / f"{index:08d}.pooled.npy"
