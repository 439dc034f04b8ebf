"""The descriptor maps of a run as matching asks for them: the last few in memory, the others on disk or made anew."""

import logging
import threading
from pathlib import Path

import torch
from torch import Tensor

from dd_sfm.config import Config
from dd_sfm.errors import InputError
from dd_sfm.features.describe import Describer
from dd_sfm.features.descriptor_files import DescriptorFiles
from dd_sfm.features.held_maps import HeldMaps
from dd_sfm.features.packed_map import PackedMap, unpack
from dd_sfm.io.run_folder import read_grid
from dd_sfm.io.working import load_working
from dd_sfm.runtime import LruCache
from dd_sfm.structures import DescriptorMap, FrameSet

logger = logging.getLogger(__name__)


class DescriptorCache:
    """Descriptor maps by the position of their frame.

    Args:
        frames: The run's frames.
        out: The run folder, with descriptors.
        config: The configuration.
        device: Where maps are put.
        capacity: Maps held at once; memory does not grow with the number of frames.
        held: Maps that are there already, beside those.
    """

    def __init__(
        self,
        frames: FrameSet,
        out: Path,
        config: Config,
        device: torch.device,
        capacity: int = 12,
        held: HeldMaps | None = None,
    ) -> None:
        self.frames, self.config, self.device = frames, config, device
        self.held = HeldMaps(device) if held is None else held
        self.files = DescriptorFiles(out, config.runtime.cache_gb)
        self.grid = read_grid(out)
        self.needed_from = 0
        """Position of the first frame that later pairs are known to need."""
        self._recent = LruCache(self._load, capacity)
        self._describer: tuple[Describer, Tensor] | None = None
        self._lock = threading.Lock()

    @property
    def capacity(self) -> int:
        """Maps held at once."""
        return self._recent.capacity

    def __len__(self) -> int:
        return len(self._recent)

    def __getitem__(self, position: int) -> DescriptorMap:
        return self._recent[position]

    def pooled(self) -> Tensor:
        """Descriptors (F, E) of all frames as a whole."""
        return self.files.pooled(frame.index for frame in self.frames.frames)

    def _load_packed(self, index: int) -> PackedMap | None:
        """The map of a source frame from disk; None where it is not there, or damaged."""
        try:
            return self.files.load(index)
        except InputError as error:
            logger.warning("%s: damaged (%s); described again", self.files.map_path(index), error.__cause__)
            return None

    def _load(self, position: int) -> DescriptorMap:
        frame = self.frames.frames[position]
        held = self.held.get(frame.index)
        if held is not None:
            return held
        packed = self._load_packed(frame.index)
        if packed is None:
            with self._lock:
                if self._describer is None:
                    self._describer = Describer(self.config, self.device), self.files.basis()
            describer, basis = self._describer
            packed, _ = describer.pack(load_working(frame, self.grid), basis)
            self.files.save(frame.index, packed, needed_from=self.frames.frames[self.needed_from].index)
        return unpack(packed, self.grid, self.device)
