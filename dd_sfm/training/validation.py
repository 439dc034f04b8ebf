"""Matching accuracy on held-out pairs while training."""

import numpy as np
import torch
from torch import nn

from dd_sfm.ops.matching import match_nearest, subcell_peak
from dd_sfm.ops.sampling import cell_to_image, image_to_cell, sample_descriptors
from dd_sfm.training.sources import PairSource


@torch.no_grad()
def matching_accuracy(
    network: nn.Module,
    source: PairSource,
    device: torch.device,
    *,
    pairs: int = 24,
    points: int = 200,
    thresholds_px: tuple[float, ...] = (1.0, 2.0, 4.0),
    seed: int = 1234,
) -> dict[str, float]:
    """Share of points whose best place over the whole other frame is right, per threshold in working pixels.

    The pairs depend on the seed alone, so that figures of different steps compare.
    """
    rng = np.random.default_rng(seed)
    network.eval()
    stride = int(network.stride)  # type: ignore[arg-type]
    errors = []
    for _ in range(pairs):
        sample = source.draw(rng)
        if len(sample.xy0) == 0:
            continue
        chosen = rng.permutation(len(sample.xy0))[:points]
        images = [torch.from_numpy(np.ascontiguousarray(i)) for i in (sample.image0, sample.image1)]
        maps = network(torch.stack(images).permute(0, 3, 1, 2).to(device).float() / 255.0)
        height, width = maps.shape[-2:]
        xy0 = torch.from_numpy(sample.xy0[chosen]).float().to(device)
        queries = sample_descriptors(maps[0], image_to_cell(xy0, stride))
        mask = torch.from_numpy(sample.mask1[: height * stride : stride, : width * stride : stride].copy())
        usable = torch.nonzero(mask.flatten().to(device))[:, 0]
        index, _ = match_nearest(queries, maps[1].flatten(1).t()[usable])
        flat = usable[index]
        place = subcell_peak(maps[1], queries, torch.stack([flat % width, flat // width], 1))
        found = cell_to_image(place, stride).cpu().numpy()
        errors.append(np.linalg.norm(found - sample.xy1[chosen], axis=1))
    error = np.concatenate(errors) if errors else np.array([np.inf])
    result = {f"pck{t:g}": round(float((error < t).mean()), 4) for t in thresholds_px}
    return result | {"median": round(float(np.median(error)), 3)}
