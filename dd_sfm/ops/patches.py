"""Sub-pixel alignment of image patches: batched Lucas-Kanade that ignores gain and offset of the light."""

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

CHUNK = 256
"""Points aligned at once: their patches then stay in a core's cache."""


@dataclass(frozen=True)
class Alignment:
    """Result of :func:`align_patches` for N points.

    ``xy`` (N, 2) aligned places in the target; ``ncc`` (N,) normalised correlation there, in [-1, 1];
    ``sigma_px`` (N,) standard error of the place along its weakest direction, from the patch's gradients and what
    is left of the difference.
    """

    xy: Tensor
    ncc: Tensor
    sigma_px: Tensor


def gradient_images(image: Tensor) -> Tensor:
    """Grey image (H, W) -> (3, H, W): grey, and its central differences along x and y."""
    padded = functional.pad(image[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    dx = (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
    dy = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2
    return torch.stack([image, dx, dy])


def _sample(image: Tensor, xy: Tensor) -> Tensor:
    """(C, H, W) at (N, P, 2) -> (C, N, P)."""
    height, width = image.shape[-2:]
    scale = torch.tensor([2.0 / (width - 1), 2.0 / (height - 1)], dtype=xy.dtype, device=xy.device)
    return functional.grid_sample(
        image[None], (xy * scale - 1)[None], mode="bilinear", padding_mode="border", align_corners=True
    )[0]


def _normalise(patch: Tensor) -> tuple[Tensor, Tensor]:
    """Zero mean, unit norm over the last axis; also the norm, (N, 1)."""
    centred = patch - patch.mean(-1, keepdim=True)
    norm = centred.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    return centred / norm, norm


def align_patches(
    source: Tensor,
    target: Tensor,
    xy0: Tensor,
    xy1: Tensor,
    affine: Tensor,
    *,
    radius: int = 10,
    step: int = 1,
    iterations: int = 8,
    max_move_px: float = 3.0,
) -> Alignment:
    """Move ``xy1`` so that the target patch looks like the source patch around ``xy0``.

    Inverse compositional Lucas-Kanade (Baker and Matthews, IJCV 2004) on patches of zero mean and unit norm; the
    source patch is laid into the target through a fixed local affine map, so that wide baselines stay aligned.

    Args:
        source: (3, H, W) from :func:`gradient_images`.
        target: (H', W') grey.
        xy0: Points in the source (N, 2) float.
        xy1: First guess in the target (N, 2) float.
        affine: d(target) / d(source) at each point (N, 2, 2).
        radius: Half the side of a patch in pixels.
        step: Distance of the patch's samples in pixels.
        iterations: Gauss-Newton steps.
        max_move_px: Largest total move; points that want more stay where they were, with ncc -1.
    """
    if len(xy0) == 0:
        return Alignment(xy1, xy1.new_zeros(0), xy1.new_zeros(0))
    parts = [
        _align_chunk(source, target, *points, radius, step, iterations, max_move_px)
        for points in zip(xy0.split(CHUNK), xy1.split(CHUNK), affine.split(CHUNK), strict=True)
    ]
    xy, ncc, sigma = (torch.cat(column) for column in zip(*parts, strict=True))
    return Alignment(xy, ncc, sigma)


def _align_chunk(
    source: Tensor,
    target: Tensor,
    xy0: Tensor,
    xy1: Tensor,
    affine: Tensor,
    radius: int,
    step: int,
    iterations: int,
    max_move_px: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`align_patches` for few points: aligned places, ncc and sigma."""
    steps = torch.arange(-radius, radius + 1, step, dtype=xy0.dtype, device=xy0.device)
    offsets = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).reshape(1, -1, 2)
    grey, dx, dy = _sample(source, xy0[:, None] + offsets)
    template, norm = _normalise(grey)
    jacobian = torch.stack([dx, dy], -1)
    jacobian = (jacobian - jacobian.mean(1, keepdim=True)) / norm[..., None]
    # The component along the template changes only the norm, which normalisation removes.
    jacobian = jacobian - template[..., None] * (template[..., None] * jacobian).sum(1, keepdim=True)
    hessian = jacobian.transpose(1, 2) @ jacobian
    hessian = hessian + 1e-6 * torch.eye(2, device=hessian.device)
    inverse = torch.linalg.inv(hessian)
    warped = offsets @ affine.transpose(1, 2)
    place = xy1.clone()
    for _ in range(iterations):
        patch, _ = _normalise(_sample(target[None], place[:, None] + warped)[0])
        move = inverse @ (jacobian.transpose(1, 2) @ (patch - template)[..., None])
        move = (affine @ move)[..., 0]
        length = move.norm(dim=1, keepdim=True)
        place = place - move * (1.0 / length.clamp_min(1.0))
    patch, _ = _normalise(_sample(target[None], place[:, None] + warped)[0])
    ncc = (patch * template).sum(1)
    far = (place - xy1).norm(dim=1) > max_move_px
    place = torch.where(far[:, None], xy1, place)
    smallest = torch.linalg.eigvalsh(hessian)[:, 0].clamp_min(1e-9)
    # The squared difference of two unit-norm patches is 2 - 2 ncc, spread over the samples.
    sigma = ((2 - 2 * ncc).clamp_min(0) / offsets.shape[1] / smallest).sqrt()
    return place, torch.where(far, torch.full_like(ncc, -1.0), ncc), sigma
