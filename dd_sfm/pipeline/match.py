"""Stage: match. Points of reference frames are found in other frames and strung into tracks.

Reference frames are taken in order. A track starts at a query point of a reference frame (its anchor) and is
measured against that anchor in every target frame, so that errors do not add up along the way. Where a track meets
a later reference frame it is anchored anew there and goes on; new query points fill only cells without a track.
"""

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dd_sfm.config import Config
from dd_sfm.errors import OutputError
from dd_sfm.ops.consensus import local_affine
from dd_sfm.ops.matching import match_cells, subcell_peak
from dd_sfm.ops.patches import align_patches, gradient_images
from dd_sfm.ops.sampling import cell_to_image, image_to_cell, sample_descriptors
from dd_sfm.pipeline.describe import DescriptorCache, use_bfloat16
from dd_sfm.pipeline.pairs import (
    adaptive_targets,
    loop_targets,
    pool_descriptors,
    reference_positions,
    window_targets,
)
from dd_sfm.pipeline.queries import query_points
from dd_sfm.pipeline.track_book import PairFound, ReferenceMatches, TrackBook
from dd_sfm.pipeline.working import WorkingFrame, load_working
from dd_sfm.progress import Progress
from dd_sfm.runtime import workers
from dd_sfm.structures import FrameSet, Tracks

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MatchResult:
    """``tracks`` in source pixels; ``pairs`` of frame positions tried; ``notes`` on what went less well."""

    tracks: Tracks
    pairs: list[tuple[int, int]]
    notes: list[str] = field(default_factory=list)


def confidence(sigma_px: Tensor) -> Tensor:
    """A score in (0, 1] from the standard error of aligned patches: one half at a third of a pixel."""
    return 1.0 / (1.0 + (3.0 * sigma_px) ** 2)


class Matcher:
    """Matches query points of one frame in another; holds the few images and maps in use.

    Args:
        frames: The run's frames.
        out: The run folder, with descriptors.
        config: The configuration.
        device: Where responses are computed.
    """

    def __init__(self, frames: FrameSet, out: Path, config: Config, device: torch.device) -> None:
        self.frames, self.config, self.device = frames, config, device
        self.maps = DescriptorCache(frames, out, device)
        self.bfloat16 = use_bfloat16(config, device)
        self._lock = threading.Lock()
        self._images: dict[int, tuple[WorkingFrame, NDArray[np.float32]]] = {}

    def image(self, position: int) -> tuple[WorkingFrame, NDArray[np.float32]]:
        """The working frame and its smoothed grey image with gradients (3, H, W)."""
        with self._lock:
            return self._load_image(position)

    def _load_image(self, position: int) -> tuple[WorkingFrame, NDArray[np.float32]]:
        if position not in self._images:
            frame = load_working(self.frames.frames[position], self.maps.grid)
            grey = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY).astype(np.float32)
            self._images[position] = (frame, gradient_images(cv2.GaussianBlur(grey, (0, 0), 1.0)))
            if len(self._images) > self.maps.capacity:
                self._images.pop(next(iter(self._images)))
        return self._images[position]

    @torch.inference_mode()
    def match(self, reference: int, target: int, xy: NDArray[Any]) -> PairFound:
        """Find query points (N, 2) of the reference in the target, in working pixels."""
        config, stride = self.config.match, self.maps.grid.stride
        source_map, target_map = self.maps[reference], self.maps[target]
        points = torch.from_numpy(np.ascontiguousarray(xy)).to(self.device)
        queries = sample_descriptors(source_map.descriptors, image_to_cell(points, stride).to(points.dtype))
        cell, similarity = match_cells(
            queries, target_map.descriptors, target_map.usable, config, bfloat16=self.bfloat16
        )
        place = subcell_peak(target_map.descriptors, queries, cell)
        # The back-match asks the map at the peak's own cell: it costs one search more and removes most errors.
        found = sample_descriptors(target_map.descriptors, place)
        back, _ = match_cells(found, source_map.descriptors, source_map.usable, config, bfloat16=self.bfloat16)
        cycle = (cell_to_image(back.float(), stride) - points).norm(dim=1)
        keep = (cycle <= config.max_cycle_px) & (similarity >= config.min_similarity)
        index = torch.nonzero(keep)[:, 0]
        there = cell_to_image(place[index], stride)
        return self._refine(reference, target, points[index], there, similarity[index], index, len(xy))

    def _refine(
        self,
        reference: int,
        target: int,
        xy0: Tensor,
        xy1: Tensor,
        similarity: Tensor,
        index: Tensor,
        count: int,
    ) -> PairFound:
        """Drop matches that disagree with their neighbours, then align patches."""
        config = self.config.match
        affine, predicted, support = local_affine(xy0.cpu().numpy(), xy1.cpu().numpy())
        residual = np.linalg.norm(xy1.cpu().numpy() - predicted, axis=1)
        agree = (residual < config.max_neighbour_px) & (support > config.min_support)
        keep = torch.from_numpy(agree).to(self.device)
        ratio = float(agree.sum() / max(1, count))
        xy0, xy1, index, score = xy0[keep], xy1[keep], index[keep], similarity[keep].clamp(0, 1)
        if config.subpixel and len(index):
            source, there = self.image(reference)[1], self.image(target)[1][0]
            aligned = align_patches(source, there, xy0, xy1, affine[agree], radius=config.patch_radius_px)
            good = aligned.ncc >= config.min_ncc
            xy1, index, score = aligned.xy[good], index[good], confidence(aligned.sigma_px[good])
        return PairFound(index.cpu().numpy(), xy1.cpu().numpy().astype(np.float32), score.cpu().numpy(), ratio)


def match_frames(frames: FrameSet, out: Path, config: Config, device: torch.device, progress: Progress) -> MatchResult:
    """Match all reference frames and assemble the tracks.

    Each finished reference frame is kept under ``out/matches``; a repeated call goes on after the last one.
    """
    folder = out / "matches"
    folder.mkdir(parents=True, exist_ok=True)
    matcher = Matcher(frames, out, config, device)
    book = TrackBook(len(frames), config.match.max_anchors)
    pooled = _pool_all(matcher, config) if config.pairs.loop_candidates else None
    references = reference_positions(len(frames), config.pairs)
    pairs: set[tuple[int, int]] = set()
    weak: list[int] = []
    for reference in progress(references, total=len(references), label="match"):
        path = folder / f"{frames.frames[reference].index:08d}.npz"
        matches = ReferenceMatches.load(path) if path.exists() else None
        if matches is None:
            matches = _match_reference(matcher, book, reference, pooled)
            _save(matches, path)
        book.add(matches)
        pairs |= {(min(reference, t), max(reference, t)) for t in matches.targets}
        if len(frames) > 1 and not any(len(m.query) >= config.map.min_inliers for m in matches.found.values()):
            weak.append(frames.frames[reference].index)
    notes = [f"reference frames with hardly any match: {', '.join(map(str, weak))}"] if weak else []
    return MatchResult(book.tracks(matcher.maps.grid), sorted(pairs), notes)


def _save(matches: ReferenceMatches, path: Path) -> None:
    try:
        matches.save(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); free some space and repeat") from error


def _pool_all(matcher: Matcher, config: Config) -> Tensor:
    """Image descriptors (F, E) of all frames."""
    count = len(matcher.frames)
    if count <= max(config.pairs.offsets):
        return torch.zeros(count, 1)
    return torch.stack([pool_descriptors(m.descriptors, m.usable) for m in (matcher.maps[p] for p in range(count))])


def _match_reference(matcher: Matcher, book: TrackBook, reference: int, pooled: Tensor | None) -> ReferenceMatches:
    """Choose the queries of a reference frame and find them in its targets."""
    config, count = matcher.config, len(matcher.frames)
    tracks, old_xy = book.continuing(reference, config.match.query_spacing_px / 3)
    new_xy = query_points(matcher.image(reference)[0], config.match, old_xy)
    new_xy = new_xy[: max(0, config.match.max_queries - len(old_xy))]
    xy = np.concatenate([old_xy, new_xy]).astype(np.float32)
    if config.pairs.scheme == "adaptive":
        sample = np.random.default_rng([config.runtime.seed, reference]).permutation(len(xy))[
            : config.pairs.probe_points
        ]
        targets = list(
            adaptive_targets(
                reference,
                count,
                config.pairs,
                lambda t: matcher.match(reference, t, xy[np.sort(sample)]).inlier_ratio,
            )
        )
    else:
        targets = window_targets(reference, count, config.pairs)
    if pooled is not None and pooled.shape[1] > 1:
        targets += [t for t in loop_targets(pooled, reference, config.pairs) if t not in targets]

    def match_target(target: int) -> PairFound:
        # Tracks that come from earlier references are there already in the frames before this one.
        first = len(old_xy) if target < reference else 0
        pair = matcher.match(reference, target, xy[first:])
        return PairFound(pair.query + first, pair.xy, pair.score, pair.inlier_ratio)

    with workers(matcher.device) as pool:
        found = dict(zip(targets, pool.map(match_target, targets), strict=True))
    return ReferenceMatches(reference, xy, tracks, found)
