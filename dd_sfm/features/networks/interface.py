"""What every network offers."""

from typing import Protocol

from torch import Tensor


class DescriptorNetwork(Protocol):
    """An image batch in, unit-norm descriptors and their stride out.

    Cell (c, r) of the output is centred at image pixel ((c + 0.5) * stride - 0.5, (r + 0.5) * stride - 0.5).
    """

    stride: int
    dim: int

    def __call__(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1] -> (B, dim, H // stride, W // stride), unit norm over channels."""
        ...
