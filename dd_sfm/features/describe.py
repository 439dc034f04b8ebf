"""Stage: describe. Every frame's dense descriptors, packed and cached on disk."""

import logging
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dd_sfm.config import Config
from dd_sfm.errors import ShapeError
from dd_sfm.features.descriptor_files import DescriptorFiles
from dd_sfm.features.held_maps import HeldMaps
from dd_sfm.features.packed_map import PackedMap, find_basis, pack, stored_cells
from dd_sfm.features.point_search import usable_cells
from dd_sfm.features.weights import load_weights
from dd_sfm.io.working import load_working, working_grid
from dd_sfm.ops.network_input import network_input
from dd_sfm.ops.working import WorkingFrame
from dd_sfm.progress import Progress
from dd_sfm.runtime import cpu_threads, has_bfloat16, map_ahead, worker_threads, workers
from dd_sfm.sfm.pairs import pool_descriptors
from dd_sfm.structures import DescriptorMap, Frame, FrameSet, WorkingGrid

logger = logging.getLogger(__name__)

BASIS_FRAMES = 3
"""Frames, spread over the video, that the channels of the stored descriptors are chosen by."""


def use_bfloat16(config: Config, device: torch.device) -> bool:
    """Whether the network runs in bfloat16."""
    if config.describe.precision != "auto":
        return config.describe.precision == "bfloat16"
    return has_bfloat16(device)


@torch.inference_mode()
def describe_image(network: nn.Module, image: np.ndarray, device: torch.device, *, bfloat16: bool) -> Tensor:
    """Descriptors (D, H // stride, W // stride) float16 of an RGB uint8 image (H, W, 3).

    Raises:
        ShapeError: If the network does not keep to :class:`dd_sfm.features.networks.interface.DescriptorNetwork`.
    """
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        descriptors: Tensor = network(network_input(image, device))[0].half()
    stride = int(cast(int, network.stride))
    expected = (network.dim, image.shape[0] // stride, image.shape[1] // stride)
    if descriptors.shape != expected:
        raise ShapeError(
            f"{type(network).__name__}: descriptors {tuple(descriptors.shape)} of an image {image.shape}; expected "
            f"{expected} for its stride of {stride}"
        )
    return descriptors


def descriptor_map(descriptors: Tensor, mask: NDArray[np.bool_], grid: WorkingGrid) -> DescriptorMap:
    """Descriptors (D, h, w) float16 with the usable cells of a mask (H, W) at working size, ready for matching.

    The descriptors stay float16 on a GPU and become float32 on a CPU.
    """
    usable = usable_cells(mask, grid.stride, descriptors.shape[1:])
    # In memory a cell's numbers stand side by side, whatever the order of the axes.
    beside = descriptors.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    half = beside.device.type == "cuda"
    return DescriptorMap(beside if half else beside.float(), torch.from_numpy(usable.copy()).to(beside.device), grid)


class Describer:
    """The network on a device, and what is kept of its maps.

    Args:
        config: The configuration.
        device: Where the network runs.

    Raises:
        WeightsError: If the weights cannot be used.
    """

    def __init__(self, config: Config, device: torch.device) -> None:
        self.device = device
        self.network = load_weights(config.describe.weights, device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.stride = int(cast(int, self.network.stride))
        self.dim = int(cast(int, self.network.dim))
        self.bfloat16 = use_bfloat16(config, device)

    def describe(self, frame: WorkingFrame) -> tuple[Tensor, NDArray[np.bool_]]:
        """Descriptors (D, H, W) float16 and which cells (H, W) of them are inside the mask."""
        found = describe_image(self.network, frame.image, self.device, bfloat16=self.bfloat16)
        return found, usable_cells(frame.mask, self.stride, found.shape[1:])

    @torch.inference_mode()
    def moment(self, frame: WorkingFrame) -> Tensor:
        """Mean outer product (D, D) of a frame's descriptors."""
        found, usable = self.describe(frame)
        cells = found.permute(1, 2, 0)[torch.from_numpy(usable.copy())].float()
        return (cells.t() @ cells / max(1, len(cells))).cpu()

    @torch.inference_mode()
    def pack(self, frame: WorkingFrame, basis: Tensor) -> tuple[PackedMap, NDArray[np.float32]]:
        """A frame's descriptors as they are stored, and those of the frame as a whole (E,)."""
        found, usable = self.describe(frame)
        pooled = pool_descriptors(found, torch.from_numpy(usable.copy()).to(found.device))
        return pack(found, usable, basis), pooled.cpu().numpy()


def describe_frames(
    frames: FrameSet,
    out: Path,
    config: Config,
    device: torch.device,
    progress: Progress,
    held: HeldMaps | None = None,
) -> None:
    """Write ``out/descriptors``, as far as ``runtime.cache_gb`` has room; frames already there are kept.

    What is made is also left in ``held``, as far as that has room.

    Frames are read and written by threads beside those of the network; a few at a time are in memory.

    Raises:
        WeightsError: If the weights cannot be used.
        OutputError: If the cache cannot be written.
    """
    describer, files = Describer(config, device), DescriptorFiles(out, config.runtime.cache_gb)
    grid = working_grid(frames, config, describer.stride)
    precision = "bfloat16" if describer.bfloat16 else "float32"
    logger.info("describe: %s on %s, %s", config.describe.weights, device, precision)
    if not files.holds(grid):
        files.begin(grid, _choose_basis(describer, frames, grid))
    basis = files.basis()
    _state_need(frames, grid, files, len(basis.t()))

    def describe(item: tuple[Frame, WorkingFrame]) -> tuple[Frame, PackedMap, NDArray[np.float32]]:
        packed, pooled = describer.pack(item[1], basis)
        if held is not None:
            held.offer(item[0].index, packed, grid)
        return item[0], packed, pooled

    def save(item: tuple[Frame, PackedMap, NDArray[np.float32]]) -> None:
        files.save(item[0].index, item[1], item[2])

    left = [frame for frame in frames.frames if not files.has(frame.index)]
    count = cpu_threads(config.runtime)
    with worker_threads(count) as disk, workers(device) as network:
        loaded = map_ahead(disk, lambda frame: (frame, load_working(frame, grid)), left, count)
        described = map_ahead(network, describe, loaded, count)
        for _ in progress(map_ahead(disk, save, described, count), total=len(left), label="describe"):
            pass


def _choose_basis(describer: Describer, frames: FrameSet, grid: WorkingGrid) -> Tensor:
    """The channels that are stored, by frames spread over the video."""
    places = np.linspace(0, len(frames), 2 * BASIS_FRAMES + 1)[1::2].astype(int)
    chosen = [frames.frames[place] for place in np.unique(places)]
    with workers(describer.device) as pool:
        moments = list(pool.map(lambda frame: describer.moment(load_working(frame, grid)), chosen))
    return find_basis(torch.stack(moments).mean(0))


def _state_need(frames: FrameSet, grid: WorkingGrid, files: DescriptorFiles, channels: int) -> None:
    """Say how much disk the descriptors take before they are made."""
    mask = load_working(frames.frames[0], grid).mask
    shape = grid.height // grid.stride, grid.width // grid.stride
    size = int(stored_cells(usable_cells(mask, grid.stride, shape)).sum()) * channels
    need = size * len(frames)
    logger.info("descriptors: %d frames of %.2f MB, %.2f GB on disk", len(frames), size / 1e6, need / 1e9)
    if need > files.limit:
        text = "runtime.cache_gb: %.2f GB hold %d frames; the others are described again when they are matched"
        logger.warning(text, files.limit / 1e9, files.limit / max(1, size))


def has_descriptors(frames: FrameSet, out: Path, config: Config) -> bool:
    """Whether the descriptors of all frames are in the cache, as far as they are to be kept."""
    files = DescriptorFiles(out, config.runtime.cache_gb)
    return files.is_begun() and all(files.has(frame.index) for frame in frames.frames)
