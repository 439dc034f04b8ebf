"""The paper's dense descriptor: FC-DenseNet as in Liu et al., CVPR 2020, after Jegou et al., CVPR-W 2017."""

import torch
import torch.nn.functional as functional
from torch import Tensor, nn


class DenseLayer(nn.Sequential):
    """BN-ReLU-conv3x3 that makes ``growth`` new channels."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__(nn.BatchNorm2d(channels), nn.ReLU(inplace=True), nn.Conv2d(channels, growth, 3, padding=1))


class DenseBlock(nn.Module):
    """Layers that each see the input and all that the layers before them made.

    Args:
        channels: Channels of the input.
        growth: New channels of a layer.
        layers: Number of layers.
        keep_input: Whether the output holds the input beside the new channels; on the way up it does not, or the
            channels would pile up.
    """

    def __init__(self, channels: int, growth: int, layers: int, *, keep_input: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DenseLayer(channels + k * growth, growth) for k in range(layers))
        self.keep_input = keep_input

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, [C +] layers * growth, H, W)."""
        made = []
        for layer in self.layers:
            new = layer(x)
            made.append(new)
            x = torch.cat([x, new], 1)
        return x if self.keep_input else torch.cat(made, 1)


class FCDenseNet(nn.Module):
    """Five dense blocks down, a bottleneck, five up, and a 1x1 convolution to the descriptor.

    Args:
        dim: Length of a descriptor (the original's feature_length).
        growth: Channels a layer adds (filter_growth_rate).
        first: Channels of the first convolution.
        layers: Layers of every block on the way down and up.
        blocks: Blocks on each way; the input is halved as often.
        bottleneck: Layers of the bottleneck.
    """

    stride = 1

    def __init__(
        self, dim: int = 256, growth: int = 10, first: int = 16, layers: int = 3, blocks: int = 5, bottleneck: int = 4
    ) -> None:
        super().__init__()
        self.dim, self.blocks = dim, blocks
        self.first = nn.Conv2d(3, first, 3, padding=1)
        channels = first
        skips = []
        self.down, self.transition = nn.ModuleList(), nn.ModuleList()
        for _ in range(blocks):
            self.down.append(DenseBlock(channels, growth, layers, keep_input=True))
            channels += growth * layers
            skips.append(channels)
            self.transition.append(
                nn.Sequential(
                    nn.BatchNorm2d(channels), nn.ReLU(inplace=True), nn.Conv2d(channels, channels, 1), nn.MaxPool2d(2)
                )
            )
        self.bottleneck = DenseBlock(channels, growth, bottleneck, keep_input=False)
        channels = growth * bottleneck
        self.widen, self.up = nn.ModuleList(), nn.ModuleList()
        for level, skip in enumerate(reversed(skips)):
            self.widen.append(nn.Conv2d(channels, channels, 3, padding=1))
            last = level == blocks - 1
            self.up.append(DenseBlock(channels + skip, growth, layers, keep_input=last))
            channels = channels + skip + growth * layers if last else growth * layers
        self.head = nn.Conv2d(channels, dim, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Describe a batch of images.

        Args:
            image: (B, 3, H, W) RGB in [0, 1]; padded inside to a multiple of 2 ** blocks and cropped again.

        Returns:
            (B, dim, H, W) of unit norm over channels.
        """
        height, width = image.shape[-2:]
        multiple = 2**self.blocks
        x = functional.pad(image, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        x = self.first(x * 2 - 1)
        skips = []
        for block, transition in zip(self.down, self.transition, strict=True):
            x = block(x)
            skips.append(x)
            x = transition(x)
        x = self.bottleneck(x)
        for widen, block, skip in zip(self.widen, self.up, reversed(skips), strict=True):
            x = widen(functional.interpolate(x, scale_factor=2, mode="nearest"))
            x = block(torch.cat([x, skip], 1))
        return functional.normalize(self.head(x)[..., :height, :width].float(), dim=1)
