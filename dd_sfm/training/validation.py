"""Matching accuracy (PCK) on held-out pairs during training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dd_sfm.features.point_search import find_points, usable_cells
from dd_sfm.ops.network_input import network_input
from dd_sfm.training.sources.pair_sample import PairSample, PairSource

GAPS = (1, 4, 12, 30)
THRESHOLDS_PX = (1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Accuracy:
    """Share of points found within ``thresholds_px`` working pixels, and the median error; ``points`` measured."""

    thresholds_px: tuple[float, ...]
    pck: tuple[float, ...]
    median_px: float
    points: int

    @property
    def score(self) -> float:
        """The mean share: one number to compare by."""
        return float(np.mean(self.pck))

    def as_json(self) -> dict[str, float | None]:
        """As history.jsonl holds it."""
        named: dict[str, float | None] = {
            f"pck{t:g}": round(p, 4) for t, p in zip(self.thresholds_px, self.pck, strict=True)
        }
        return named | {"median": round(self.median_px, 3) if np.isfinite(self.median_px) else None}


@dataclass(frozen=True)
class Validation:
    """Accuracy over all pairs of a source, and by the gap between their frames (0: without one)."""

    overall: Accuracy
    by_gap: Mapping[int, Accuracy]

    def as_json(self) -> dict[str, Any]:
        """As history.jsonl holds it."""
        gaps = {str(gap): accuracy.as_json() for gap, accuracy in self.by_gap.items() if gap}
        return self.overall.as_json() | ({"gaps": gaps} if gaps else {})


def matching_accuracy(
    network: nn.Module,
    source: PairSource,
    device: torch.device,
    *,
    gaps: Sequence[int] = GAPS,
    pairs: int = 6,
    points: int = 200,
    thresholds_px: tuple[float, ...] = THRESHOLDS_PX,
    seed: int = 1234,
) -> Validation:
    """Share of points whose best place over the whole other frame is right, per threshold in working pixels.

    The pairs depend on the seed alone, so that figures of different steps compare.

    Args:
        network: Put in evaluation mode.
        source: What pairs are drawn from.
        device: Where the network is.
        gaps: Distances between the frames of a pair; 0: any.
        pairs: Pairs a gap.
        points: Most points a pair.
        thresholds_px: In working pixels.
        seed: Of the pairs and points.
    """
    network.eval()
    errors: dict[int, list[NDArray[Any]]] = {}
    for gap in gaps:
        rng = np.random.default_rng([seed, gap])
        for _ in range(pairs):
            sample = source.draw(rng, gap or None)
            if len(sample.xy0):
                errors.setdefault(gap, []).append(_pair_errors(network, sample, device, points, rng))
    by_gap = {gap: _accuracy(np.concatenate(parts), thresholds_px) for gap, parts in errors.items()}
    everything = [e for parts in errors.values() for e in parts]
    return Validation(_accuracy(np.concatenate(everything) if everything else np.zeros(0), thresholds_px), by_gap)


@torch.no_grad()
def _pair_errors(
    network: nn.Module, sample: PairSample, device: torch.device, points: int, rng: np.random.Generator
) -> NDArray[Any]:
    """Distances (N,) in working pixels of what is found from what is true."""
    stride = int(network.stride)  # type: ignore[arg-type]
    chosen = rng.permutation(len(sample.xy0))[:points]
    maps = network(network_input(np.stack([sample.image0, sample.image1]), device))
    usable = usable_cells(sample.mask1, stride, maps.shape[-2:])
    found = find_points(maps[0], maps[1], usable, sample.xy0[chosen], stride).cpu().numpy()
    # A point that is found nowhere is a miss.
    return np.nan_to_num(np.linalg.norm(found - sample.xy1[chosen], axis=1), nan=np.inf)


def _accuracy(error: NDArray[Any], thresholds_px: tuple[float, ...]) -> Accuracy:
    if not len(error):
        return Accuracy(thresholds_px, (0.0,) * len(thresholds_px), float("inf"), 0)
    pck = tuple(float((error < t).mean()) for t in thresholds_px)
    return Accuracy(thresholds_px, pck, float(np.median(error)), len(error))
