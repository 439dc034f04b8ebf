"""From images as they are stored to what networks read."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def network_input(images: NDArray[Any], device: torch.device) -> Tensor:
    """Images as a batch for a network.

    Args:
        images: RGB uint8, one (H, W, 3) or a stack (N, H, W, 3).
        device: Where the batch goes; bytes travel, floats are made there.

    Returns:
        (N, 3, H, W) float32 in [0, 1], channels last in memory, N = 1 for one image.
    """
    pixels = torch.from_numpy(images).to(device)
    planes = pixels.permute(2, 0, 1)[None] if images.ndim == 3 else pixels.permute(0, 3, 1, 2)
    return (planes.float() / 255.0).contiguous(memory_format=torch.channels_last)
