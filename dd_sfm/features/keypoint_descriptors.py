"""Descriptors at given places of frames, in the space of the network: they compare with all that it describes."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dd_sfm.config import Config
from dd_sfm.errors import InputError
from dd_sfm.features.describe import Describer
from dd_sfm.features.descriptor_files import DescriptorFiles
from dd_sfm.features.packed_map import PackedMap, unpack
from dd_sfm.io.run_folder import read_grid
from dd_sfm.io.working import load_working, working_grid
from dd_sfm.ops.sampling import image_to_cell, sample_descriptors
from dd_sfm.ops.working import WorkingFrame
from dd_sfm.sfm.pairs import pool_descriptors
from dd_sfm.structures import FrameSet, WorkingGrid

logger = logging.getLogger(__name__)

Described = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Descriptors (N, D) of unit length at N places, and that of the frame as a whole (E,)."""


@torch.inference_mode()
def describe_places(describer: Describer, frame: WorkingFrame, grid: WorkingGrid, xy: NDArray[np.float64]) -> Described:
    """Describe a frame and read its descriptors between cells.

    Args:
        describer: The network.
        frame: The frame at working size.
        grid: Where its cells are.
        xy: Places (N, 2) in source pixels, centres at integers; those outside the grid get what its rim has.
    """
    found, usable = describer.describe(frame)
    pooled = pool_descriptors(found, torch.from_numpy(usable.copy()).to(found.device))
    return _sampled(found.float(), grid, xy).cpu().numpy(), pooled.cpu().numpy()


class RunDescriptors:
    """Descriptors of a run's frames at any places: from the maps that it keeps, else by its network once more.

    Nothing is written. Maps that are kept have nothing where masks leave frames out: descriptors there are zero.

    Args:
        frames: The run's frames.
        run: The run folder.
        config: Its configuration.
        device: Where the network runs.

    Raises:
        WeightsError: If a map is missing and the weights cannot be used.
        InputError: If a frame that is to be described is not there.
    """

    def __init__(self, frames: FrameSet, run: Path, config: Config, device: torch.device) -> None:
        self.frames, self.config, self.device = frames, config, device
        self.position = {frame.path.name: k for k, frame in enumerate(frames.frames)}
        self.files = DescriptorFiles(run, None)
        self._basis = self._kept_basis()
        self._grid = None if self._basis is None else read_grid(run)
        self._network: tuple[Describer, WorkingGrid] | None = None

    def check(self, names: Sequence[str]) -> None:
        """See that frames of these names can be described.

        Raises:
            InputError: If one is no frame of the run, or its map is missing or damaged and picture or mask is missing.
            WeightsError: If the network is needed and cannot be used.
        """
        for name in names:
            if name not in self.position:
                raise InputError(f"image '{name}': is no frame of the run; expected one of frames.json")
            frame = self.frames.frames[self.position[name]]
            if self._is_kept(frame.index):
                continue
            for path in (frame.path, frame.mask_path):
                if not path.is_file():
                    raise InputError(f"{path}: not found; expected the frames of the run, to describe them again")
            self._load_network()

    def at(self, name: str, xy: NDArray[np.float64]) -> Described:
        """Descriptors at source pixels (N, 2) of the frame whose file is called ``name``."""
        frame = self.frames.frames[self.position[name]]
        kept = self._kept(frame.index, xy)
        if kept is not None:
            return kept
        describer, grid = self._load_network()
        return describe_places(describer, load_working(frame, grid), grid, xy)

    def _kept_basis(self) -> Tensor | None:
        try:
            return self.files.basis() if self.files.is_begun() else None
        except InputError as error:
            logger.warning("%s; described again", error)
            return None

    @torch.inference_mode()
    def _kept(self, index: int, xy: NDArray[np.float64]) -> Described | None:
        """What the run's own map gives; None where it is not there, or damaged."""
        if self._basis is None or self._grid is None:
            return None
        try:
            kept = self._load(index)
        except InputError as error:
            logger.warning("%s; described again", error)
            return None
        if kept is None:
            return None
        packed, pooled = kept
        found = _sampled(unpack(packed, self._grid, torch.device("cpu")).descriptors, self._grid, xy)
        # Back from the directions that are stored to those of the network; the basis keeps lengths.
        return (found @ self._basis.t()).numpy(), pooled.numpy()

    def _is_kept(self, index: int) -> bool:
        """Whether the map of a source frame is there, and whole."""
        try:
            return self._load(index) is not None
        except InputError:
            return False

    def _load(self, index: int) -> tuple[PackedMap, Tensor] | None:
        """The map of a source frame and its descriptor as a whole; None where it is not there, or of other cells.

        Raises:
            InputError: If they are damaged.
        """
        if self._basis is None or self._grid is None:
            return None
        packed, grid = self.files.load(index), self._grid
        cells = grid.height // grid.stride, grid.width // grid.stride
        if packed is None or packed.stored.shape != cells or packed.cells.shape[1] != self._basis.shape[1]:
            return None
        return packed, self.files.pooled([index])[0]

    def _load_network(self) -> tuple[Describer, WorkingGrid]:
        """The network, and the cells of frames that are described again."""
        if self._network is None:
            describer = Describer(self.config, self.device)
            if self._basis is not None and len(self._basis) != describer.dim:
                raise InputError(
                    f"{self.files.folder}: descriptors of {len(self._basis)} numbers; expected {describer.dim}, as "
                    f"{self.config.describe.weights} gives them. Remove the folder, and they are made again"
                )
            self._network = describer, working_grid(self.frames, self.config, describer.stride)
        return self._network


def _sampled(descriptors: Tensor, grid: WorkingGrid, xy: NDArray[np.float64]) -> Tensor:
    """Descriptors (N, D) of a map (D, H, W) float32 at source pixels (N, 2)."""
    cells = image_to_cell(torch.from_numpy(grid.to_working(np.asarray(xy, np.float64))), grid.stride)
    return sample_descriptors(descriptors, cells.float().to(descriptors.device))
