"""Frames as the depth search sees them: grey, in working pixels, without highlights and with less shading."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dd_sfm.io.working import load_working
from dd_sfm.mvs.kernels.dense_search import LEAST_SLOTS, DenseSearch
from dd_sfm.ops.packed_image import STEPS, pack_image
from dd_sfm.runtime import LruCache
from dd_sfm.structures import FrameSet, WorkingGrid

CACHE_BYTES = 400_000_000
"""Images kept in memory."""
SLOT_BYTES = 250_000_000
"""Images ready for the search on a CPU."""
SHADING_SIGMA_PX = 20.0
"""Standard deviation in working pixels of what counts as slow."""
HIGHLIGHT_PX = 11
"""A small highlight is narrower than this, in working pixels..."""
HIGHLIGHT_LEVEL = 25
"""...and its least channel so much above what is around it."""
MAX_HIGHLIGHT_SHARE = 0.05
"""Where spots take more than this share of a frame they are its texture."""
FILL_SIGMA_PX = 4.0
"""Standard deviation in working pixels of the mean that fills what cannot be used."""


class GreyImages:
    """Grey images and usable areas of a run's frames by position, read when asked for and held while there is room.

    Args:
        frames: The run's frames.
        grid: Working pixels.
        search: Where depths are searched; None: on the CPU.
    """

    def __init__(self, frames: FrameSet, grid: WorkingGrid, search: DenseSearch | None = None) -> None:
        self.frames, self.grid = frames, grid
        self._images = LruCache(self._read, max(2, CACHE_BYTES // (3 * grid.width * grid.height)))
        self._search = search or DenseSearch(slots_for(grid, len(frames)), grid.height, grid.width)
        self._slots: dict[int, int] = {}

    def __getitem__(self, frame: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Grey image (H, W) and usable area (H, W)."""
        grey, mask = self._images[frame]
        return grey.astype(np.float32) / np.float32(STEPS), mask

    def mask(self, frame: int) -> NDArray[np.bool_]:
        """Usable area (H, W)."""
        return self._images[frame][1]

    def on_device(self, frames: Sequence[int]) -> tuple[DenseSearch, NDArray[np.int32]]:
        """The dense search with these frames loaded, and the slots they are in.

        Slots hold until the next call.
        """
        search = self._search
        for frame in frames:
            if frame in self._slots:
                self._slots[frame] = self._slots.pop(frame)
        missing = [frame for frame in frames if frame not in self._slots]
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            for frame, cells in zip(missing, pool.map(lambda f: pack_image(self[f][0]), missing), strict=True):
                free = len(self._slots) if len(self._slots) < search.slots else self._slots.pop(next(iter(self._slots)))
                search.load(free, cells)
                self._slots[frame] = free
        return search, np.array([self._slots[frame] for frame in frames], np.int32)

    def _read(self, frame: int) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
        working = load_working(self.frames.frames[frame], self.grid)
        grey = search_image(working.image, working.mask)
        return np.rint(grey * STEPS).astype(np.int16), working.mask


def slots_for(grid: WorkingGrid, frames: int) -> int:
    """Images of a working grid that are held ready for the search on a CPU, of so many frames."""
    return min(max(frames, 1), max(LEAST_SLOTS, SLOT_BYTES // (8 * grid.width * grid.height)))


def search_image(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Grey (H, W) of an RGB image with half of its slow changes taken out, and smooth where nothing can be used.

    The light moves with the scope, and its fall-off pulls depths away from the truth; but slow changes are all that
    smooth walls have: half of it is the best compromise.

    Highlights move with the light as well. They and what the mask leaves out give way to a mean of their
    surroundings, which has no texture: the search would take their sharp rims for the best of places.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) usable pixels.
    """
    spots = small_highlights(image) & mask
    usable = mask & ~spots if spots.sum() < MAX_HIGHLIGHT_SHARE * mask.sum() else mask
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    weight = usable.astype(np.float32)
    slow = cv2.GaussianBlur(grey * weight, (0, 0), SHADING_SIGMA_PX)
    slow /= np.maximum(cv2.GaussianBlur(weight, (0, 0), SHADING_SIGMA_PX), 1e-3)
    near = cv2.GaussianBlur(grey * weight, (0, 0), FILL_SIGMA_PX)
    fill = (near + 0.01 * slow) / (cv2.GaussianBlur(weight, (0, 0), FILL_SIGMA_PX) + 0.01)
    return np.asarray(cv2.GaussianBlur(np.where(usable, grey, fill) - 0.5 * slow, (0, 0), 0.6), np.float32)


def brightness(grey: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    """Grey levels (H, W) of the image that :func:`search_image` was made from, up to ``sigma_px`` smoothed.

    Where light changes slowly, the half of its slow changes that is left is as large as that which was taken out.
    """
    side = 2 * round(np.sqrt(3) * SHADING_SIGMA_PX) + 1
    return np.asarray(cv2.GaussianBlur(grey, (0, 0), sigma_px) + cv2.blur(grey, (side, side)), np.float32)


def small_highlights(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Spots (H, W) of an RGB image that are whiter than what is around them, and their rims: small highlights.

    Blood and vessels change single channels; what raises all of them at once reflects the light.
    """
    least = np.ascontiguousarray(image.min(2))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (HIGHLIGHT_PX, HIGHLIGHT_PX))
    spots = cv2.morphologyEx(least, cv2.MORPH_TOPHAT, kernel) > HIGHLIGHT_LEVEL
    return np.asarray(cv2.dilate(spots.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)
