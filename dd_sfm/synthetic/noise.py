"""Band-limited periodic noise in two and three dimensions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def periodic_noise(rng: np.random.Generator, shape: tuple[int, ...], band: tuple[float, float]) -> NDArray[np.float32]:
    """Noise of unit variance whose frequencies lie between ``band`` cycles per period.

    Args:
        rng: Random generator.
        shape: Size of the tile, which repeats without a seam.
        band: Lowest and highest frequency; amplitude falls with frequency, as in nature.
    """
    spectrum = np.fft.rfftn(rng.standard_normal(shape).astype(np.float32))
    axes = [np.fft.fftfreq(n) * n for n in shape[:-1]] + [np.fft.rfftfreq(shape[-1]) * shape[-1]]
    frequency = np.sqrt(sum(a**2 for a in np.meshgrid(*axes, indexing="ij")))
    keep = (frequency >= band[0]) & (frequency <= band[1])
    spectrum *= keep / np.maximum(frequency, 1.0)
    noise = np.fft.irfftn(spectrum, shape, axes=range(len(shape)))
    return (noise / noise.std()).astype(np.float32)


class NoiseField:
    """Noise in space: a tile of 64^3 that repeats.

    Args:
        rng: Random generator.
        period: Length of the tile along x, y and z in mm.
        band: Cycles per period.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        period: float | tuple[float, float, float],
        band: tuple[float, float] = (1, 6),
    ) -> None:
        self.tile = periodic_noise(rng, (64, 64, 64), band)
        self.period = np.broadcast_to(np.asarray(period, np.float64), 3)

    def __call__(self, points: NDArray[Any]) -> NDArray[np.float32]:
        """Values (N,) of unit variance at points (N, 3)."""
        at = (points / self.period * 64).T
        return ndimage.map_coordinates(self.tile, at, order=1, mode="grid-wrap", output=np.float32)


def smooth_series(rng: np.random.Generator, count: int, sigma: float, columns: int) -> NDArray[np.float64]:
    """Slow random curves (count, columns) of unit variance; ``sigma`` in samples."""
    pad = int(4 * sigma) + 1
    raw = ndimage.gaussian_filter1d(rng.standard_normal((count + 2 * pad, columns)), sigma, axis=0)
    return raw[pad : pad + count] * np.sqrt(2 * np.sqrt(np.pi) * sigma)
