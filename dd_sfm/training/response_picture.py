"""Pictures of the response: how similar a point is to every place of another frame."""

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dd_sfm.features.point_search import usable_cells
from dd_sfm.ops.network_input import network_input
from dd_sfm.ops.sampling import cell_to_image, image_to_cell, sample_descriptors
from dd_sfm.training.sources.pair_sample import PairSample

MAX_POINTS = 4
GREEN, CYAN = (60, 255, 90), (60, 230, 255)


@torch.no_grad()
def response_picture(
    network: nn.Module, sample: PairSample, device: torch.device, *, radius_px: float
) -> NDArray[np.uint8]:
    """Points of one frame, and the response of the other frame to each (Liu et al., CVPR 2020, figure 3).

    Args:
        network: Put in evaluation mode.
        sample: A pair with common points.
        device: Where the network is.
        radius_px: Circle around the true place, in working pixels.

    Returns:
        (H, W, 3) uint8 RGB: two points a row; of each left the point, right the response as heat, the true place
        (green circle) and the place of the highest response (cyan cross).
    """
    network.eval()
    stride = int(network.stride)  # type: ignore[arg-type]
    maps = network(network_input(np.stack([sample.image0, sample.image1]), device))
    cells = usable_cells(sample.mask1, stride, maps.shape[-2:])
    usable = torch.from_numpy(np.ascontiguousarray(cells)).to(device)
    # Spread over the picture from left to right, rather than the first few.
    order = np.argsort(sample.xy0[:, 0])
    chosen = order[np.linspace(0, len(order) - 1, min(MAX_POINTS, len(order)) + 2).astype(int)[1:-1]]
    shown = [_shown_point(maps, usable, stride, sample, int(k), radius_px) for k in chosen]
    rows = [np.concatenate(shown[k : k + 2], 1) for k in range(0, len(shown) // 2 * 2, 2)] or shown
    return np.concatenate(rows).astype(np.uint8)


def _shown_point(
    maps: Tensor, usable: Tensor, stride: int, sample: PairSample, k: int, radius_px: float
) -> NDArray[np.uint8]:
    """Point k in its frame, and beside it the response of the other frame (H, 2 W, 3)."""
    point = torch.from_numpy(sample.xy0[k : k + 1]).float().to(maps.device)
    query = sample_descriptors(maps[0], image_to_cell(point, stride))
    response = (query @ maps[1].flatten(1)).reshape(maps.shape[-2:]).masked_fill(~usable, 0.0)
    best = int(response.flatten().argmax())
    cell = torch.tensor([best % response.shape[1], best // response.shape[1]], dtype=torch.float32)
    # The squared cosine: after the softmax of the loss the response is a dot that its marks would hide.
    relative = (response.clamp_min(0) / response.max().clamp_min(1e-6)).square().cpu().numpy()
    heat = cv2.resize(relative, sample.mask1.shape[::-1], interpolation=cv2.INTER_LINEAR)
    left, right = sample.image0.copy(), _overlay(sample.image1, heat)
    _cross(left, sample.xy0[k])
    centre = (round(float(sample.xy1[k, 0])), round(float(sample.xy1[k, 1])))
    cv2.circle(right, centre, max(2, round(radius_px)), GREEN, 1, cv2.LINE_AA)
    _cross(right, cell_to_image(cell, stride).numpy())
    return np.concatenate([left, right], 1)


def _overlay(image: NDArray[np.uint8], heat: NDArray[Any]) -> NDArray[np.uint8]:
    """Heat in [0, 1] over the image in grey."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(np.float32)
    colour = cv2.applyColorMap((np.clip(heat, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    weight = np.clip(heat, 0, 1)[..., None]
    return (grey * (1 - weight) + colour * weight).clip(0, 255).astype(np.uint8)


def _cross(image: NDArray[np.uint8], xy: NDArray[Any]) -> None:
    centre = (round(float(xy[0])), round(float(xy[1])))
    cv2.drawMarker(image, centre, CYAN, cv2.MARKER_CROSS, 13, 1, cv2.LINE_AA)
