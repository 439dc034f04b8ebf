"""Which frames are searched for the points of which: windows, probing with hysteresis, and loops.

Windows and probing stay within a piece, a stretch of frames over which the view follows: no source's first frames are
neighbours of the last of another, nor those of both sides of a cut. Pieces are joined as loops are, by frames that look
alike.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from dd_sfm.config import PairsConfig


def reference_positions(pieces: Sequence[range], config: PairsConfig) -> list[int]:
    """Positions of the reference frames, ascending: every N-th of a piece, and those that no window of these reaches.

    Args:
        pieces: The positions of the frames of each piece.
        config: Settings.
    """
    return [position for piece in pieces for position in _references(piece, config)]


def _references(piece: range, config: PairsConfig) -> list[int]:
    references = list(range(piece.start, piece.stop, max(1, config.reference_every)))
    if config.scheme == "adaptive":
        return references
    reached = set(references).union(*(window_targets(r, piece, config) for r in references))
    # From the end, where no later reference looks back: the last frame then stands for those shortly before it.
    for position in reversed(piece):
        if position not in reached:
            references.append(position)
            reached |= {position, *window_targets(position, piece, config)}
    return sorted(references)


def piece_of(position: int, pieces: Sequence[range]) -> range:
    """The piece that holds a position."""
    return next(piece for piece in pieces if position in piece)


def window_targets(reference: int, piece: range, config: PairsConfig) -> list[int]:
    """Positions of the reference's piece at the configured offsets on both sides, nearest first."""
    offsets = sorted({abs(o) for o in config.offsets if o})
    near = [reference + sign * offset for offset in offsets for sign in (1, -1)]
    return [p for p in near if p in piece]


def window_pairs(pieces: Sequence[range], config: PairsConfig) -> list[tuple[int, int]]:
    """All pairs (i < j) that the references' windows touch."""
    pairs = {
        (min(r, t), max(r, t))
        for piece in pieces
        for r in _references(piece, config)
        for t in window_targets(r, piece, config)
    }
    return sorted(pairs)


def adaptive_targets(reference: int, piece: range, config: PairsConfig, probe: Callable[[int], float]) -> Iterator[int]:
    """The paper's scheme (Liu et al., CVPR 2020): window, probes, then everything up to the last good one.

    All frames within the largest offset of the window come first. Beyond it every ``probe_every``-th frame is
    probed with few points; while the inlier ratio stays above ``min_inlier_ratio`` all frames up to the probe
    are taken. A direction ends after the ratio has fallen below half of that threshold, or twice below the
    threshold (hysteresis: one bad frame, by blur or smoke, ends nothing).

    Args:
        reference: Position of the reference frame.
        piece: Positions of the frames of its piece.
        config: Settings.
        probe: Inlier ratio of a probe against a position.

    Yields:
        Positions to match fully.
    """
    window = max(abs(o) for o in config.offsets[: max(1, len(config.offsets) // 2)])
    for sign in (1, -1):
        near = [reference + sign * d for d in range(1, window + 1)]
        yield from (p for p in near if p in piece)
        last = piece[-1] if sign > 0 else piece[0]
        done, misses = min(max(reference + sign * window, piece[0]), piece[-1]), 0
        while misses < 2 and done != last:
            candidate = min(max(done + sign * config.probe_every * (misses + 1), piece[0]), piece[-1])
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


def loop_targets(pooled: Tensor, reference: int, piece: range, config: PairsConfig) -> list[int]:
    """Frames of the reference's piece far from it that look most like it, each at least a window from the others.

    Frames just beyond the window look alike because the scope has hardly moved on, which is no loop: candidates lie
    at least two windows away.

    Args:
        pooled: Unit-norm image descriptors (F, E) of all frames.
        reference: Position of the reference frame.
        piece: Positions of the frames of its piece.
        config: Settings; ``loop_candidates`` of them at most, ``loop_min_similarity`` at least.
    """
    reach = max(abs(o) for o in config.offsets)
    similarity = (pooled[piece.start : piece.stop] @ pooled[reference]).numpy(force=True).copy()

    def leave_out(position: int, distance: int) -> None:
        first = position - piece.start
        similarity[max(0, first - distance) : max(0, first + distance + 1)] = -np.inf

    leave_out(reference, 2 * reach)
    chosen: list[int] = []
    while len(chosen) < config.loop_candidates:
        best = int(similarity.argmax())
        if similarity[best] < config.loop_min_similarity:
            break
        chosen.append(piece.start + best)
        leave_out(chosen[-1], reach // 2)
    return chosen


def other_targets(pooled: Tensor, reference: int, references: Sequence[int], piece: range) -> list[int]:
    """References of other pieces by how much they look like one, most alike first.

    References, since a point that is found in one is searched on from there, all over that piece.

    Args:
        pooled: Unit-norm image descriptors (F, E) of all frames.
        reference: Position of the reference frame.
        references: Positions of all reference frames.
        piece: Positions of the frames of its piece.
    """
    others = np.array([r for r in references if r not in piece], np.int64)
    similarity = (pooled[others] @ pooled[reference]).numpy(force=True)
    return [int(r) for r in others[np.argsort(-similarity, kind="stable")]]


def spread_pairs(pieces: Sequence[range], every: int, most: int) -> list[tuple[int, int]]:
    """Pairs (i < j) of frames of different pieces, evenly spread: for methods that cannot tell frames that look alike.

    Args:
        pieces: The positions of the frames of each piece.
        every: Every N-th frame of a piece, where these are not too many.
        most: Pairs at most, about.
    """
    while True:
        taken = [range(piece.start, piece.stop, max(1, every)) for piece in pieces]
        pairs = [(i, j) for k, first in enumerate(taken) for second in taken[k + 1 :] for i in first for j in second]
        if len(pairs) <= most or all(len(some) == 1 for some in taken):
            return pairs
        every += 1


def join_groups(count: int, joined: Iterable[set[int]]) -> list[set[int]]:
    """Groups of the numbers from 0 to ``count`` - 1 that sets of some of them join, ascending."""
    groups = [{number} for number in range(count)]
    for some in joined:
        touched = [group for group in groups if group & some]
        groups = [group for group in groups if not group & some] + [set().union(*touched)]
    return sorted(groups, key=min)
