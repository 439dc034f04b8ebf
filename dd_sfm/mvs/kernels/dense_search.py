"""The dense search on a device: images that stay there, and the three searches over pixels.

:class:`DenseSearch` runs on the CPU, :class:`dd_sfm.mvs.kernels.cuda_search.CudaSearch` on a GPU; what is done for a
pixel is the same source in both.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.mvs.kernels.cpu_loops import align_loop, choose_loop, refine_loop
from dd_sfm.mvs.kernels.depth_search import COARSE_PATCH
from dd_sfm.mvs.kernels.slanted_patches import PATCH, patch_offsets
from dd_sfm.ops.compiled import Int64Array, over_cores

LEAST_SLOTS = 32
"""A reference and its views have to be there at once; those of the next ones may be."""


class DenseSearch:
    """The dense search on the CPU.

    Args:
        slots: Images held at once.
        height: Their rows.
        width: Their columns.
    """

    on_gpu = False

    def __init__(self, slots: int, height: int, width: int) -> None:
        self.slots, self.height, self.width = slots, height, width
        self._cells = self._make_slots()

    def _make_slots(self) -> Any:
        """Room for packed images (S, H * W); memory is taken as slots are filled."""
        return np.zeros((self.slots, self.height * self.width), np.int64)

    def load(self, slot: int, cells: Int64Array) -> None:
        """Put the packed pixels (H, W) of an image into a slot."""
        self._cells[slot] = cells.ravel()

    def choose(
        self,
        shown: NDArray[np.int32],
        matrices: NDArray[np.float32],
        shifts: NDArray[np.float32],
        pixels: NDArray[np.float32],
        hypotheses: NDArray[np.float32],
        spacing: float,
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The hypothesis with the best mean correlation for every pixel.

        Args:
            shown: Slots of the reference and of the views (1 + V,).
            matrices: A (V, 3, 3), see :mod:`dd_sfm.mvs.kernels.depth_search`.
            shifts: b (V, 3).
            pixels: (N, 2).
            hypotheses: Inverse depth and its slopes (N, K, 3).
            spacing: Pixels between samples; patches have 7 x 7.

        Returns:
            Index of the best hypothesis (N,), -1 for none, and its score (N,): the mean of the better half of views.
        """
        best, score = np.empty(len(pixels), np.int32), np.empty(len(pixels), np.float32)
        self._run(
            choose_loop, len(pixels),
            (shown, matrices, shifts, pixels, hypotheses, np.float32(spacing), patch_offsets(COARSE_PATCH)),
            (best, score),
        )  # fmt: skip
        return best, score

    def refine(
        self,
        shown: NDArray[np.int32],
        matrices: NDArray[np.float32],
        shifts: NDArray[np.float32],
        pixels: NDArray[np.float32],
        planes: NDArray[np.float32],
        spacing: float,
        iterations: int,
        most_px: float,
        converged_px: float = 0.02,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Gauss-Newton on inverse depth with patches of zero mean and unit norm.

        Args:
            shown: Slots of the reference and of the views (1 + V,).
            matrices: A (V, 3, 3).
            shifts: b (V, 3).
            pixels: (N, 2).
            planes: Inverse depth and its slopes (N, 3).
            spacing: Pixels between samples; patches have 11 x 11.
            iterations: Most steps.
            most_px: Largest movement of a step in any view.
            converged_px: A step that moves the patch by less than this in every view is the last.

        Returns:
            Inverse depth (N,), 0 where it failed; information (N,): inverse variance of the inverse depth; and the
            correlation in each view (N, V), -1 where it is not seen.
        """
        inverse, information = np.empty(len(pixels), np.float32), np.empty(len(pixels), np.float32)
        correlation = np.empty((len(pixels), len(matrices)), np.float32)
        # A number that is none would be taken for a place in the image.
        planes = np.where(np.isfinite(planes).all(1, keepdims=True), planes, np.float32(0))
        self._run(
            refine_loop, len(pixels),
            (shown, matrices, shifts, pixels, planes, np.float32(spacing), np.int32(iterations), np.float32(most_px),
             np.float32(converged_px), patch_offsets(PATCH)),
            (inverse, information, correlation),
        )  # fmt: skip
        return inverse, information, correlation

    def align(
        self,
        shown: NDArray[np.int32],
        matrices: NDArray[np.float32],
        shifts: NDArray[np.float32],
        pixels: NDArray[np.float32],
        planes: NDArray[np.float32],
        asked: NDArray[np.bool_],
        iterations: int,
        most_px: float,
        spacing: float = 1.0,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Where views really show each pixel's patch: a shift in each image, free in both directions.

        Args:
            shown: Slots of the reference and of the views (1 + V,).
            matrices: A (V, 3, 3).
            shifts: b (V, 3).
            pixels: (N, 2).
            planes: Inverse depth and its slopes (N, 3).
            asked: Which views are looked at (N, V).
            iterations: Most Gauss-Newton steps.
            most_px: Furthest from the predicted place.
            spacing: Pixels between samples; patches have 11 x 11.

        Returns:
            Places in the views (N, V, 2), and correlations there (N, V), -1 where there is none.
        """
        place = np.zeros((len(pixels), len(matrices), 2), np.float32)
        score = np.empty((len(pixels), len(matrices)), np.float32)
        self._run(
            align_loop, len(pixels),
            (shown, matrices, shifts, pixels, planes, asked, np.float32(spacing), np.int32(iterations),
             np.float32(most_px), patch_offsets(PATCH)),
            (place, score),
        )  # fmt: skip
        return place, score

    def _run(self, loop: Any, count: int, arguments: tuple[Any, ...], results: tuple[NDArray[Any], ...]) -> None:
        """Do a loop over so many pixels: given the images, ``arguments`` (shown, matrices, ...) and ``results``."""
        over_cores(loop, count, self._cells, np.int32(self.width), *arguments, *results)
