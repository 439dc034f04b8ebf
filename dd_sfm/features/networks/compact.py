"""A compact dense descriptor for CPUs: a small U-Net on contrast-normalised input.

About 1.4M parameters and 13 GFLOP a frame of 500 x 500 working pixels. Colour alone drifts with the light
of an endoscope, so the network also sees grey and red-to-green ratio normalised by their local contrast.
"""

from itertools import pairwise

import torch
import torch.nn.functional as functional
from torch import Tensor, nn


def local_contrast(image: Tensor, size: int) -> Tensor:
    """Normalise by the mean and deviation of a box, and clip to +-3 deviations.

    Args:
        image: (B, C, H, W) float.
        size: Side of the box in pixels, odd.

    Returns:
        (B, C, H, W), in [-3, 3].
    """
    mean = _box_mean(image, size)
    # Rounding may turn the variance of a flat area slightly negative, whose root would be NaN.
    variance = (_box_mean(image * image, size) - mean * mean).clamp_min(0.0)
    return ((image - mean) / (variance + 1e-4).sqrt()).clamp(-3.0, 3.0)


def _box_mean(image: Tensor, size: int) -> Tensor:
    # Two one-dimensional means cost size + size instead of size * size.
    return _column_mean(_column_mean(image, size).transpose(2, 3), size).transpose(2, 3).contiguous()


def _column_mean(image: Tensor, size: int) -> Tensor:
    """Means of ``size`` pixels above each other, of those inside the image (B, C, H, W)."""
    batch, channels, height, width = image.shape
    # With a row's pixels as channels, side by side in memory, a CPU adds many of them at once.
    columns = image.contiguous().view(batch * channels, height, 1, width).permute(0, 3, 1, 2)
    mean = functional.avg_pool2d(columns, (size, 1), stride=1, padding=(size // 2, 0), count_include_pad=False)
    return mean.permute(0, 2, 3, 1).reshape(image.shape)


def input_channels(image: Tensor) -> Tensor:
    """RGB in [0, 1] (B, 3, H, W) -> (B, 6, H, W): centred RGB, log-grey at two scales, log red/green."""
    image = image.float()
    grey = (image.mean(1, keepdim=True) + 0.02).log()
    ratio = ((image[:, :1] + 0.02) / (image[:, 1:2] + 0.02)).log()
    return torch.cat(
        [(image - 0.4) * 2.0, local_contrast(grey, 9), local_contrast(grey, 31), local_contrast(ratio, 31)], 1
    )


class ConvNorm(nn.Sequential):
    """3x3 convolution, batch norm, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        )


class Residual(nn.Module):
    """Two 3x3 convolutions with a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return functional.relu(x + self.second(self.first(x)), inplace=True)


class CompactNet(nn.Module):
    """U-Net from half resolution down to 1/32 and back to half resolution.

    Args:
        dim: Length of a descriptor.
        widths: Channels at 1/4, 1/8, 1/16 and 1/32.
        head: Channels of the half-resolution head, which decides fine localisation.
    """

    stride = 2

    def __init__(self, dim: int = 64, widths: tuple[int, ...] = (48, 80, 112, 128), head: int = 32) -> None:
        super().__init__()
        self.dim = dim
        self.stem = ConvNorm(24, 24)
        channels = (24, *widths)
        self.down = nn.ModuleList(nn.Sequential(ConvNorm(a, b, stride=2), Residual(b)) for a, b in pairwise(channels))
        up = (112, 80, 64)
        skips = widths[-2::-1]
        inputs = (widths[-1], *up)
        self.up = nn.ModuleList(ConvNorm(a + s, b) for a, s, b in zip(inputs, skips, up, strict=False))
        self.fine = nn.Sequential(ConvNorm(24, head), ConvNorm(head, head), nn.Conv2d(head, dim, 1, bias=False))
        self.coarse = nn.Conv2d(up[-1], dim, 1, bias=False)
        # Without centring of the output the map collapses early in training.
        self.centre = nn.BatchNorm2d(dim, affine=False)

    def forward(self, image: Tensor) -> Tensor:
        """Describe a batch of images.

        Args:
            image: (B, 3, H, W) RGB in [0, 1]; any H, W of at least 32.

        Returns:
            (B, dim, H // 2, W // 2) of unit norm over channels; cell (c, r) is centred at image pixel
            ((c + 0.5) * 2 - 0.5, (r + 0.5) * 2 - 0.5).
        """
        height, width = image.shape[-2] // 2 * 2, image.shape[-1] // 2 * 2
        stem = self.stem(functional.pixel_unshuffle(input_channels(image[..., :height, :width]), 2))
        levels = [stem]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = levels[-1]
        for up, skip in zip(self.up, levels[-2:0:-1], strict=True):
            x = up(torch.cat([_resize(x, skip), skip], 1))
        out = self.fine(stem) + _resize(self.coarse(x), stem)
        return functional.normalize(self.centre(out).float(), dim=1)


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
