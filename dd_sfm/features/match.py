"""Stage: match. Points of reference frames are found in other frames and strung into tracks.

Reference frames are taken in order. A track starts at a query point of a reference frame (its anchor) and is
measured against that anchor in every target frame, so that errors do not add up along the way. Where a track meets
a later reference frame it is anchored anew there and goes on; new query points fill only cells without a track.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dd_sfm.config import Config
from dd_sfm.errors import InputError
from dd_sfm.features.describe import use_bfloat16
from dd_sfm.features.descriptor_cache import DescriptorCache
from dd_sfm.features.held_maps import HeldMaps
from dd_sfm.features.piece_links import PieceLinks, without_followed_cuts
from dd_sfm.features.queries import query_points
from dd_sfm.features.view_matching import MatchView, match_view, match_views
from dd_sfm.io.atomic import output_error
from dd_sfm.io.working import load_working
from dd_sfm.notes import Note, NoteCode
from dd_sfm.ops.working import WorkingFrame
from dd_sfm.progress import Progress
from dd_sfm.runtime import HeapTrimmer, LruCache, workers
from dd_sfm.sfm.pairs import (
    adaptive_targets,
    loop_targets,
    piece_of,
    reference_positions,
    window_targets,
)
from dd_sfm.sfm.track_builder import PairFound, ReferenceMatches, TrackBuilder
from dd_sfm.structures import FrameSet, MatchResult

logger = logging.getLogger(__name__)

MAX_VIEWS = 48
"""Views in memory at most: with fewer than the windows reach, they are prepared again."""
STRIP_PX = 24
"""Height in working pixels of the strips that points are taken in."""


class Matcher:
    """Matches query points of one frame in another; holds the few views in use.

    Args:
        frames: The run's frames.
        out: The run folder, with descriptors.
        config: The configuration.
        device: Where responses are computed.
        held: Maps that are there already.
    """

    def __init__(
        self, frames: FrameSet, out: Path, config: Config, device: torch.device, held: HeldMaps | None = None
    ) -> None:
        self.frames, self.config, self.device = frames, config, device
        # The rest of matching reads the views that are made of them.
        self.maps = DescriptorCache(frames, out, config, device, 1, held)
        self.bfloat16 = use_bfloat16(config, device)
        span = 2 * max(abs(o) for o in config.pairs.offsets) + config.pairs.reference_every
        self._views = LruCache(self._prepare, min(span, MAX_VIEWS))

    def _prepare(self, position: int) -> tuple[WorkingFrame, MatchView]:
        held = self.maps[position]
        frame = load_working(self.frames.frames[position], self.maps.grid)
        return frame, match_view(held.descriptors, held.usable, frame.image, self.config.match, bfloat16=self.bfloat16)

    def match(self, reference: int, target: int, xy: NDArray[Any], other: "Matcher | None" = None) -> PairFound:
        """Find query points (N, 2) of the reference in the target, in working pixels of each.

        ``other``: the matcher of the target, where that is of another run, described with the same network and basis.
        """
        there = (self if other is None else other).view(target)
        found = match_views(self.view(reference), there, xy, self.config.match, self.maps.grid.stride)
        return PairFound(
            found.index.cpu().numpy(),
            found.xy.cpu().numpy().astype(np.float32),
            found.score.cpu().numpy(),
            found.inlier_ratio,
        )

    def probe(self, reference: int, target: int) -> float:
        """The inlier ratio of a few points of one frame in another one."""
        xy = query_points(self.frame(reference), self.config.match, np.zeros((0, 2), np.float32))
        chosen = np.random.default_rng([self.config.runtime.seed, reference]).permutation(len(xy))
        xy = xy[np.sort(chosen[: self.config.pairs.probe_points])].astype(np.float32)
        return self.match(reference, target, xy).inlier_ratio if len(xy) else 0.0

    def frame(self, position: int) -> WorkingFrame:
        """A frame at working size."""
        return self._views[position][0]

    def view(self, position: int) -> MatchView:
        """A frame's descriptors and image, as matching needs them."""
        return self._views[position][1]


def match_frames(
    frames: FrameSet,
    out: Path,
    config: Config,
    device: torch.device,
    progress: Progress,
    held: HeldMaps | None = None,
) -> MatchResult:
    """Match all reference frames and assemble the tracks; maps in ``held`` are not read from disk.

    Each finished reference frame is kept under ``out/matches``; a repeated call goes on after the last one.
    """
    folder = out / "matches"
    folder.mkdir(parents=True, exist_ok=True)
    matcher = Matcher(frames, out, config, device, held)
    if config.pairs.loop_candidates:
        frames = matcher.frames = without_followed_cuts(frames, matcher.probe)
    builder = TrackBuilder(len(frames), config.match.max_anchors)
    pooled = _pool_all(matcher, config) if config.pairs.loop_candidates else None
    references = reference_positions(frames.pieces, config.pairs)
    links = _find_links(matcher, references, pooled, folder)
    pairs: set[tuple[int, int]] = set()
    weak: list[str] = []
    heap = HeapTrimmer()
    for reference in progress(references, total=len(references), label="match"):
        path = _path(folder, frames, reference)
        matches = _kept(path, len(frames))
        if matches is None:
            matcher.maps.needed_from = max(0, reference - max(abs(o) for o in config.pairs.offsets))
            matches = _match_reference(matcher, builder, reference, pooled, links)
            _save(matches, path)
        builder.add(matches)
        heap.look()
        pairs |= {(min(reference, t), max(reference, t)) for t in matches.targets}
        if len(frames) > 1 and not any(len(m.query) >= config.map.min_inliers for m in matches.found.values()):
            weak.append(frames.frames[reference].label)
    few = f"reference frames with hardly any match: {', '.join(weak)}"
    notes = [Note(NoteCode.FEW_MATCHES, few)] if weak else []
    return MatchResult(builder.tracks(matcher.maps.grid), sorted(pairs), notes)


def _kept(path: Path, frames: int) -> ReferenceMatches | None:
    """What an earlier call found for a reference frame; None where there is nothing, or it is damaged."""
    try:
        return ReferenceMatches.load(path, frames) if path.exists() else None
    except InputError as error:
        logger.warning("%s: damaged (%s); matched again", path, error.__cause__)
        return None


def _path(folder: Path, frames: FrameSet, reference: int) -> Path:
    return folder / f"{frames.frames[reference].index:08d}.npz"


def _save(matches: ReferenceMatches, path: Path) -> None:
    try:
        matches.save(path)
    except OSError as error:
        raise output_error(path, error) from error


def _pool_all(matcher: Matcher, config: Config) -> Tensor:
    """Image descriptors (F, E) of all frames."""
    count = len(matcher.frames)
    if len(matcher.frames.pieces) == 1 and count <= 2 * max(abs(o) for o in config.pairs.offsets):
        # Every two frames are too near to each other for a loop.
        return torch.zeros(count, 1)
    return matcher.maps.pooled()


def _find_links(matcher: Matcher, references: list[int], pooled: Tensor | None, folder: Path) -> PieceLinks | None:
    """Pairs of reference frames by which pieces are joined; None for one piece, or where all is matched already."""
    config, frames = matcher.config, matcher.frames
    done = all(_path(folder, frames, reference).exists() for reference in references)
    if pooled is None or done or len(frames.pieces) == 1:
        return None
    links = PieceLinks(frames.pieces, references, pooled, matcher.probe, config.pairs.loop_candidates)
    links.find()
    return links


def _tiled_order(xy: NDArray[Any]) -> NDArray[np.int64]:
    """An order of points (N, 2) strip by strip, along each of them."""
    return np.lexsort((xy[:, 0], xy[:, 1] // STRIP_PX))


def _match_reference(
    matcher: Matcher, builder: TrackBuilder, reference: int, pooled: Tensor | None, links: PieceLinks | None
) -> ReferenceMatches:
    """Choose the queries of a reference frame and find them in its targets."""
    config, piece = matcher.config, piece_of(reference, matcher.frames.pieces)
    tracks, old_xy = builder.continuing(reference, config.match.query_spacing_px / 3)
    new_xy = query_points(matcher.frame(reference), config.match, old_xy)
    new_xy = new_xy[: max(0, config.match.max_queries - len(old_xy))]
    # Points near to each other need the same parts of maps and images.
    by_place = _tiled_order(old_xy)
    tracks, old_xy, new_xy = tracks[by_place], old_xy[by_place], new_xy[_tiled_order(new_xy)]
    xy = np.concatenate([old_xy, new_xy]).astype(np.float32)
    targets = _targets(matcher, reference, xy, pooled)
    targets += [t for t in (links.targets(reference) if links else ()) if t not in targets]

    def match_target(target: int) -> PairFound:
        # Tracks that come from earlier references are there already in the frames of the piece before this one.
        first = len(old_xy) if target < reference and target in piece else 0
        pair = matcher.match(reference, target, xy[first:])
        return PairFound(pair.query + first, pair.xy, pair.score, pair.inlier_ratio)

    with workers(matcher.device) as pool:
        found = dict(zip(targets, pool.map(match_target, targets), strict=True))
    return ReferenceMatches(reference, xy, tracks, found)


def _targets(matcher: Matcher, reference: int, xy: NDArray[Any], pooled: Tensor | None) -> list[int]:
    """Frames of its own piece that the queries (N, 2) of a reference are searched in."""
    config, piece = matcher.config, piece_of(reference, matcher.frames.pieces)
    if config.pairs.scheme == "adaptive":
        sample = np.random.default_rng([config.runtime.seed, reference]).permutation(len(xy))
        some = xy[np.sort(sample[: config.pairs.probe_points])]

        def probe(target: int) -> float:
            return matcher.match(reference, target, some).inlier_ratio

        targets = list(adaptive_targets(reference, piece, config.pairs, probe))
    else:
        targets = window_targets(reference, piece, config.pairs)
    if pooled is not None and pooled.shape[1] > 1:
        targets += [t for t in loop_targets(pooled, reference, piece, config.pairs) if t not in targets]
    return targets
