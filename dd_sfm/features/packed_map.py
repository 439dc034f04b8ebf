"""Descriptor maps as they lie on disk: 8 bits a number, fewer channels, and only the cells that matching reads."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dd_sfm.documents import whole
from dd_sfm.errors import InputError
from dd_sfm.io.arrays import READ_ERRORS, read_arrays, write_arrays
from dd_sfm.io.atomic import atomic_file, output_error
from dd_sfm.io.shortage import raise_if_short
from dd_sfm.ops.slices import slices
from dd_sfm.structures import DescriptorMap, WorkingGrid

RIM = 2
"""Cells around usable ones that are kept, too: the peak of a response is fitted to 5 x 5 cells."""
MAX_LOST_ENERGY = 0.03
"""Share of the squared length of descriptors that the channels left out may hold, together."""
CHANNEL_STEP = 8
"""Channels are kept in multiples of this, as vectors of the machine are filled by them."""
BLOCK = 8192
"""Cells that are unpacked at once: more leave gaps of many megabytes in the heap."""


@dataclass(frozen=True)
class PackedMap:
    """A descriptor map in memory or on disk.

    ``cells`` (N, K) int8: directions of the stored cells, row by row, each scaled to fill 8 bits; their lengths are one
    once unpacked. ``stored`` (H, W) bool: which cells these are; ``usable`` (H, W) bool: those of them inside the mask.
    """

    cells: NDArray[np.int8]
    stored: NDArray[np.bool_]
    usable: NDArray[np.bool_]

    @property
    def nbytes(self) -> int:
        """About the size of the file."""
        return self.cells.nbytes + self.stored.size // 4 + 1000


def find_basis(moment: Tensor) -> Tensor:
    """The directions that descriptors are stored along.

    Similarities between descriptors are kept by any rotation, and hardly changed when the directions in which all of
    them are short are left out (principal components, not centred, as dot products are what counts).

    Args:
        moment: Mean outer product (D, D) of descriptors.

    Returns:
        (D, K) float32 with orthonormal columns, the longest direction first; the identity where none can be left out.
    """
    count = len(moment)
    energy, vectors = torch.linalg.eigh(moment.double())
    energy, vectors = energy.flip(0).clamp_min(0), vectors.flip(1)
    lost = 1 - energy.cumsum(0) / energy.sum().clamp_min(1e-12)
    enough = torch.nonzero(lost <= MAX_LOST_ENERGY)
    kept = int(enough[0]) + 1 if len(enough) else count
    kept = -(-kept // CHANNEL_STEP) * CHANNEL_STEP
    return torch.eye(count) if kept >= count else vectors[:, :kept].float().contiguous()


def stored_cells(usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The cells (H, W) that are stored where these are usable."""
    size = 2 * RIM + 1
    return np.asarray(cv2.dilate(usable.astype(np.uint8), np.ones((size, size), np.uint8)), np.bool_)


@torch.inference_mode()
def pack(descriptors: Tensor, usable: NDArray[np.bool_], basis: Tensor) -> PackedMap:
    """Pack a map (D, H, W) of which the cells ``usable`` (H, W) are inside the mask, along a basis (D, K)."""
    stored = stored_cells(usable)
    index = torch.from_numpy(np.flatnonzero(stored)).to(descriptors.device)
    cells = descriptors.permute(1, 2, 0).flatten(0, 1)[index].float() @ basis.to(descriptors.device)
    scale = 127.0 / cells.abs().amax(1, keepdim=True).clamp_min(1e-9)
    return PackedMap((cells * scale).round().to(torch.int8).cpu().numpy(), stored, usable)


@torch.inference_mode()
def unpack(packed: PackedMap, grid: WorkingGrid, device: torch.device) -> DescriptorMap:
    """A map ready for matching: float16 on a GPU, float32 on a CPU; cells that were not stored are zero.

    In memory a cell's numbers stand side by side, whatever the order of the axes.
    """
    height, width = packed.stored.shape
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    flat = torch.zeros(height * width, packed.cells.shape[1], dtype=dtype, device=device)
    index = torch.from_numpy(np.flatnonzero(packed.stored)).to(device)
    for part in slices(len(index), BLOCK):
        directions = torch.from_numpy(packed.cells[part]).to(device).float()
        directions /= directions.norm(dim=1, keepdim=True).clamp_min(1e-9)
        flat[index[part]] = directions.to(dtype)
    usable = torch.from_numpy(packed.usable.copy()).to(device)
    return DescriptorMap(flat.view(height, width, -1).permute(2, 0, 1), usable, grid)


def save_packed(path: Path, packed: PackedMap) -> None:
    """Write an .npz file that is either complete or not there; after a loss of power its checksums may not hold.

    Raises:
        OutputError: If it cannot be written.
    """
    shape = np.array(packed.stored.shape)
    bits = {name: np.packbits(getattr(packed, name)) for name in ("stored", "usable")}
    try:
        with atomic_file(path, durable=False) as partial, partial.open("wb") as file:
            write_arrays(file, {"cells": packed.cells, "shape": shape, **bits})
    except OSError as error:
        raise output_error(path, error) from error


def load_packed(path: Path) -> PackedMap:
    """Read what :func:`save_packed` wrote.

    Raises:
        FileNotFoundError: If it is not there.
        InputError: If it is damaged.
    """
    try:
        arrays = read_arrays(path)
        height, width = (whole(int(side), 1) for side in arrays["shape"])
        if min(len(arrays[name]) for name in ("stored", "usable")) * 8 < height * width:
            raise ValueError(f"{height} x {width} cells, more than it holds")
        stored, usable = (
            np.unpackbits(arrays[name], count=height * width).reshape(height, width) > 0
            for name in ("stored", "usable")
        )
        cells = arrays["cells"]
        if cells.ndim != 2 or cells.dtype != np.int8 or len(cells) != np.count_nonzero(stored):
            raise ValueError(f"descriptors {cells.shape} of {np.count_nonzero(stored)} cells")
        return PackedMap(cells, stored, usable)
    except FileNotFoundError:
        raise
    except (*READ_ERRORS, TypeError) as error:
        raise_if_short(str(path), error)
        raise InputError(
            f"{path}: damaged ({error}); expected descriptors by dd-sfm. Remove the file and repeat the command"
        ) from error
