"""Descriptor maps that stay in a GPU's memory between describing and matching."""

import torch

from dd_sfm.features.packed_map import PackedMap, unpack
from dd_sfm.structures import DescriptorMap, WorkingGrid

FREE_SHARE = 0.5
"""Share of a GPU's memory that is left to matching."""


class HeldMaps:
    """Maps by the number of their source frame, taken in as long as the device has room; a CPU's are read from disk.

    They are those that would be read: a run that goes on after a break finds the same matches.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._maps: dict[int, DescriptorMap] = {}

    def offer(self, index: int, packed: PackedMap, grid: WorkingGrid) -> None:
        """Take a map in, unless there is no room."""
        if self.has_room():
            self._maps[index] = unpack(packed, grid, self.device)

    def get(self, index: int) -> DescriptorMap | None:
        """The map of a source frame, if it is held."""
        return self._maps.get(index)

    def has_room(self) -> bool:
        """Whether the device has memory for more."""
        if self.device.type != "cuda":
            return False
        free, total = torch.cuda.mem_get_info(self.device)
        return free > FREE_SHARE * total
