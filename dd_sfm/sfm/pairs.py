"""Which frames are searched for the points of which: windows, probing with hysteresis, and loops."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from dd_sfm.config import PairsConfig


def reference_positions(count: int, config: PairsConfig) -> list[int]:
    """Positions of the reference frames, ascending: every N-th, and those that no window of these reaches."""
    references = list(range(0, count, max(1, config.reference_every)))
    if config.scheme == "adaptive":
        return references
    reached = set(references).union(*(window_targets(r, count, config) for r in references))
    # From the end, where no later reference looks back: the last frame then stands for those shortly before it.
    for position in reversed(range(count)):
        if position not in reached:
            references.append(position)
            reached |= {position, *window_targets(position, count, config)}
    return sorted(references)


def window_targets(reference: int, count: int, config: PairsConfig) -> list[int]:
    """Positions at the configured offsets on both sides, nearest first."""
    offsets = sorted({abs(o) for o in config.offsets if o})
    near = [reference + sign * offset for offset in offsets for sign in (1, -1)]
    return [p for p in near if 0 <= p < count]


def window_pairs(count: int, config: PairsConfig) -> list[tuple[int, int]]:
    """All pairs (i < j) that the references' windows touch."""
    pairs = {
        (min(r, t), max(r, t)) for r in reference_positions(count, config) for t in window_targets(r, count, config)
    }
    return sorted(pairs)


def adaptive_targets(reference: int, count: int, config: PairsConfig, probe: Callable[[int], float]) -> Iterator[int]:
    """The paper's scheme (Liu et al., CVPR 2020): window, probes, then everything up to the last good one.

    All frames within the largest offset of the window come first. Beyond it every ``probe_every``-th frame is
    probed with few points; while the inlier ratio stays above ``min_inlier_ratio`` all frames up to the probe
    are taken. A direction ends after the ratio has fallen below half of that threshold, or twice below the
    threshold (hysteresis: one bad frame, by blur or smoke, ends nothing).

    Args:
        reference: Position of the reference frame.
        count: Number of frames.
        config: Settings.
        probe: Inlier ratio of a probe against a position.

    Yields:
        Positions to match fully.
    """
    window = max(abs(o) for o in config.offsets[: max(1, len(config.offsets) // 2)])
    for sign in (1, -1):
        near = [reference + sign * d for d in range(1, window + 1)]
        yield from (p for p in near if 0 <= p < count)
        last = count - 1 if sign > 0 else 0
        done, misses = min(max(reference + sign * window, 0), count - 1), 0
        while misses < 2 and done != last:
            candidate = min(max(done + sign * config.probe_every * (misses + 1), 0), count - 1)
            ratio = probe(candidate)
            if ratio >= config.min_inlier_ratio:
                yield from range(done + sign, candidate + sign, sign)
                done, misses = candidate, 0
            elif ratio < config.min_inlier_ratio / 2 or candidate == last:
                break
            else:
                misses += 1


def pool_descriptors(descriptors: Tensor, usable: Tensor) -> Tensor:
    """A global image descriptor: signed square root of the centred second moment of the local ones.

    Second-order pooling (Carreira et al., ECCV 2012) needs no vocabulary and no training.

    Args:
        descriptors: (D, H, W) float.
        usable: (H, W) bool.

    Returns:
        (D * (D + 1) / 2,) float32 of unit norm.
    """
    cells = descriptors.permute(1, 2, 0)[usable].float()
    moment = cells.t() @ cells / max(1, len(cells))
    moment = moment - torch.eye(len(moment), device=moment.device) * moment.diagonal().mean()
    rows, columns = torch.triu_indices(len(moment), len(moment))
    vector = moment[rows, columns]
    vector = vector.sign() * vector.abs().sqrt()
    pooled: Tensor = vector / vector.norm().clamp_min(1e-9)
    return pooled


def loop_targets(pooled: Tensor, reference: int, config: PairsConfig) -> list[int]:
    """Frames far from the reference that look most like it, each at least a window from the others.

    Frames just beyond the window look alike because the scope has hardly moved on, which is no loop: candidates lie
    at least two windows away.

    Args:
        pooled: Unit-norm image descriptors (F, E) of all frames.
        reference: Position of the reference frame.
        config: Settings; ``loop_candidates`` of them at most, ``loop_min_similarity`` at least.
    """
    reach = max(abs(o) for o in config.offsets)
    similarity = (pooled @ pooled[reference]).tolist()
    order = sorted(range(len(similarity)), key=lambda p: -similarity[p])
    chosen: list[int] = []
    for position in order:
        if len(chosen) == config.loop_candidates or similarity[position] < config.loop_min_similarity:
            break
        if abs(position - reference) > 2 * reach and all(abs(position - c) > reach // 2 for c in chosen):
            chosen.append(position)
    return chosen
