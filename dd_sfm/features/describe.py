"""Stage: describe. Every frame's dense descriptors, cached on disk as fp16."""

import logging
import threading
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dd_sfm.config import Config
from dd_sfm.errors import OutputError, ShapeError
from dd_sfm.features.weights import load_weights
from dd_sfm.io.atomic import atomic_file
from dd_sfm.io.run_folder import GRID, read_grid, write_grid
from dd_sfm.io.working import load_working, working_grid
from dd_sfm.ops.network_input import network_input
from dd_sfm.progress import Progress
from dd_sfm.runtime import has_bfloat16, workers
from dd_sfm.structures import DescriptorMap, Frame, FrameSet, WorkingGrid

logger = logging.getLogger(__name__)


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
    stride = grid.stride
    usable = mask[stride // 2 :: stride, stride // 2 :: stride][: descriptors.shape[1], : descriptors.shape[2]]
    # In memory a cell's numbers stand side by side, whatever the order of the axes.
    beside = descriptors.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    half = beside.device.type == "cuda"
    return DescriptorMap(beside if half else beside.float(), torch.from_numpy(usable.copy()).to(beside.device), grid)


def describe_frames(frames: FrameSet, out: Path, config: Config, device: torch.device, progress: Progress) -> None:
    """Write ``out/descriptors``: grid.json and one fp16 array (D, H, W) a frame; frames already there are kept.

    Raises:
        WeightsError: If the weights cannot be used.
        OutputError: If the cache cannot be written.
    """
    network = load_weights(config.describe.weights, device)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    folder = out / "descriptors"
    folder.mkdir(parents=True, exist_ok=True)
    grid = working_grid(frames, config, int(cast(int, network.stride)))
    write_grid(out, grid)
    bfloat16 = use_bfloat16(config, device)
    logger.info("describe: %s on %s, %s", config.describe.weights, device, "bfloat16" if bfloat16 else "float32")

    def describe(frame: Frame) -> None:
        path = descriptor_path(out, frame.index)
        if not path.exists():
            descriptors = describe_image(network, load_working(frame, grid).image, device, bfloat16=bfloat16)
            _save(path, descriptors.cpu().numpy())

    with workers(device) as pool:
        for _ in progress(pool.map(describe, frames.frames), total=len(frames), label="describe"):
            pass


def _save(path: Path, array: np.ndarray) -> None:
    try:
        with atomic_file(path) as partial, partial.open("wb") as file:
            np.save(file, array)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); free some space and repeat") from error


def descriptor_path(out: Path, index: int) -> Path:
    """The cache file of a source frame."""
    return out / "descriptors" / f"{index:08d}.npy"


def has_descriptors(frames: FrameSet, out: Path) -> bool:
    """Whether every frame's descriptors are in the cache, and where their cells lie."""
    return (out / GRID).is_file() and all(descriptor_path(out, frame.index).is_file() for frame in frames.frames)


class DescriptorCache:
    """Reads descriptor maps of a run, keeping the last few in memory.

    Args:
        frames: The run's frames.
        out: The run folder.
        device: Where maps are put.
        capacity: Maps held at once; memory does not grow with the number of frames.
    """

    def __init__(self, frames: FrameSet, out: Path, device: torch.device, capacity: int = 12) -> None:
        self.frames, self.out, self.device, self.capacity = frames, out, device, capacity
        self.grid = read_grid(out)
        self._held: dict[int, DescriptorMap] = {}
        self._lock = threading.Lock()

    def __getitem__(self, position: int) -> DescriptorMap:
        with self._lock:
            return self._load(position)

    def _load(self, position: int) -> DescriptorMap:
        if position in self._held:
            self._held[position] = self._held.pop(position)
            return self._held[position]
        frame = self.frames.frames[position]
        array = np.load(descriptor_path(self.out, frame.index))
        mask = load_working(frame, self.grid).mask
        found = descriptor_map(torch.from_numpy(array).to(self.device), mask, self.grid)
        self._held[position] = found
        if len(self._held) > self.capacity:
            self._held.pop(next(iter(self._held)))
        return found
