"""Shows how a training goes: TensorBoard where it is installed, and pictures of the response."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dd_sfm.io.images import write_image
from dd_sfm.ops.sampling import cell_to_image, image_to_cell, sample_descriptors
from dd_sfm.training.sources.pair import PairSample
from dd_sfm.training.validation import Validation

logger = logging.getLogger(__name__)

ROWS = 4
GREEN, YELLOW = (60, 255, 90), (255, 220, 40)


class Board:
    """Writes figures and pictures; without TensorBoard pictures alone.

    Args:
        out: The training's folder; pictures go to ``display``, TensorBoard's files to ``tensorboard``.
        enabled: Whether TensorBoard is wanted.
    """

    def __init__(self, out: Path, *, enabled: bool) -> None:
        self.out = out
        self._writer: Any = None
        if not enabled:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            logger.info("TensorBoard is not installed: no curves (pip install 'dd-sfm[train]')")
            return
        self._writer = SummaryWriter(str(out / "tensorboard"))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add points to curves."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def validation(self, step: int, results: Mapping[str, Validation]) -> None:
        """Accuracy per source, and per gap."""
        for name, result in results.items():
            rows = {f"{name}/all": result.overall} | {f"{name}/gap {g}": a for g, a in result.by_gap.items() if g}
            for row, accuracy in rows.items():
                for threshold, share in zip(accuracy.thresholds_px, accuracy.pck, strict=True):
                    self.scalars(step, {f"pck {threshold:g} px/{row}": share})

    def picture(self, step: int, image: NDArray[np.uint8]) -> None:
        """Keep a picture (H, W, 3)."""
        folder = self.out / "display"
        folder.mkdir(exist_ok=True)
        write_image(folder / f"{step:08d}.jpg", image)
        if self._writer is not None:
            self._writer.add_image("response", image, step, dataformats="HWC")

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()


@torch.no_grad()
def response_picture(
    network: nn.Module, sample: PairSample, device: torch.device, *, scale: float, radius_px: float
) -> NDArray[np.uint8]:
    """Points of one frame, and the response of the other frame to each (Liu et al., CVPR 2020, figure 3).

    Args:
        network: Put in evaluation mode.
        sample: A pair with common points.
        device: Where the network is.
        scale: Factor on the cosine before the softmax.
        radius_px: Circle around the true place, in working pixels.

    Returns:
        (H, W, 3) uint8 RGB: a row a point; left the point, right the response as heat, the true place (green circle)
        and the place of the highest response (yellow cross).
    """
    network.eval()
    stride = int(network.stride)  # type: ignore[arg-type]
    images = torch.from_numpy(np.stack([sample.image0, sample.image1])).permute(0, 3, 1, 2).to(device).float() / 255
    maps = network(images)
    height, width = sample.mask1.shape
    # Spread over the picture from left to right, rather than the first few.
    order = np.argsort(sample.xy0[:, 0])
    chosen = order[np.linspace(0, len(order) - 1, min(ROWS, len(order)) + 2).astype(int)[1:-1]]
    rows = []
    for k in chosen:
        point = torch.from_numpy(sample.xy0[k : k + 1]).float().to(device)
        query = sample_descriptors(maps[0], image_to_cell(point, stride))
        response = (query @ maps[1].flatten(1) * scale).reshape(maps.shape[-2:])
        best = int(response.flatten().argmax())
        cell = torch.tensor([best % response.shape[1], best // response.shape[1]], dtype=torch.float32)
        found = cell_to_image(cell, stride).numpy()
        relative = torch.exp(response - response.max()).cpu().numpy()
        heat = cv2.resize(relative, (width, height), interpolation=cv2.INTER_LINEAR)
        left, right = sample.image0.copy(), _overlay(sample.image1, heat)
        _cross(left, sample.xy0[k], YELLOW)
        centre = (round(float(sample.xy1[k, 0])), round(float(sample.xy1[k, 1])))
        cv2.circle(right, centre, max(2, round(radius_px)), GREEN, 2, cv2.LINE_AA)
        _cross(right, found, YELLOW)
        rows.append(np.concatenate([left, right], 1))
    return np.concatenate(rows).astype(np.uint8)


def _overlay(image: NDArray[np.uint8], heat: NDArray[Any]) -> NDArray[np.uint8]:
    """Heat in [0, 1] over the image in grey."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(np.float32) * 0.7
    colour = cv2.applyColorMap((np.clip(heat, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    weight = np.sqrt(np.clip(heat, 0, 1))[..., None]
    return (grey * (1 - weight) + colour * weight).clip(0, 255).astype(np.uint8)


def _cross(image: NDArray[np.uint8], xy: NDArray[Any], colour: tuple[int, int, int]) -> None:
    centre = (round(float(xy[0])), round(float(xy[1])))
    cv2.drawMarker(image, centre, colour, cv2.MARKER_CROSS, 15, 2, cv2.LINE_AA)
