"""What every network offers."""

from typing import Protocol

from torch import Tensor


class DescriptorNetwork(Protocol):
    """An nn.Module: an image batch in, unit-norm descriptors and their stride out.

    Cell (c, r) of the output is centred at image pixel ((c + 0.5) * stride - 0.5, (r + 0.5) * stride - 0.5). Sizes of
    images need not be multiples of the stride. The network may run under bfloat16 autocast: the last step, which brings
    descriptors to unit norm, belongs into float32. All arguments of the constructor have defaults; one is ``dim``.
    """

    stride: int
    """Image pixels per cell."""
    dim: int
    """Length of a descriptor."""

    def __call__(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1] -> (B, dim, H // stride, W // stride), unit norm over channels."""
        ...
