"""Tracks, built up from the matches of reference frames one after the other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dd_sfm.errors import InputError
from dd_sfm.io.arrays import READ_ERRORS, read_arrays, write_arrays
from dd_sfm.io.atomic import atomic_file
from dd_sfm.io.shortage import raise_if_short
from dd_sfm.structures import Tracks, WorkingGrid

BLOCK = 1_000_000
"""Observations that are converted at once."""


@dataclass(frozen=True)
class PairFound:
    """Matches of a reference's query points in one target.

    ``query`` (K,) int64 indices of the queries; ``xy`` (K, 2) float32 working pixels in the target; ``score`` (K,)
    float32 in [0, 1]; ``inlier_ratio``: share of all queries that came back and agree with their neighbours.
    """

    query: NDArray[np.int64]
    xy: NDArray[Any]
    score: NDArray[Any]
    inlier_ratio: float


@dataclass(frozen=True)
class ReferenceMatches:
    """All matches of one reference frame.

    ``xy`` (N, 2) query points in working pixels, of which the first len(tracks) continue the tracks numbered in
    ``tracks``; ``found`` maps target positions to matches.
    """

    reference: int
    xy: NDArray[Any]
    tracks: NDArray[np.int64]
    found: dict[int, PairFound]

    @property
    def targets(self) -> list[int]:
        """Positions of the target frames."""
        return list(self.found)

    def save(self, path: Path) -> None:
        """Write an .npz file that is either complete or not there."""
        arrays = {
            "reference": np.array(self.reference),
            "xy": self.xy,
            "tracks": self.tracks,
            "targets": np.array(self.targets, np.int64),
            "counts": np.array([len(f.query) for f in self.found.values()], np.int64),
            "ratios": np.array([f.inlier_ratio for f in self.found.values()], np.float64),
            "query": np.concatenate([f.query for f in self.found.values()] or [np.zeros(0, np.int64)]),
            "place": np.concatenate([f.xy for f in self.found.values()] or [np.zeros((0, 2), np.float32)]),
            "score": np.concatenate([f.score for f in self.found.values()] or [np.zeros(0, np.float32)]),
        }
        with atomic_file(path) as partial, partial.open("wb") as file:
            write_arrays(file, arrays)

    @classmethod
    def load(cls, path: Path, frames: int) -> "ReferenceMatches":
        """Read what :meth:`save` wrote in a run of so many frames.

        Raises:
            InputError: If it is damaged, or of another run.
        """
        try:
            arrays = read_arrays(path)
            _check_arrays(arrays, frames)
        except (*READ_ERRORS, IndexError, TypeError) as error:
            raise_if_short(str(path), error)
            raise InputError(
                f"{path}: damaged ({error}); expected matches by dd-sfm. Remove the file and repeat the command"
            ) from error
        ends = np.cumsum(arrays["counts"])[:-1]
        parts = [np.split(arrays[name], ends) for name in ("query", "place", "score")]
        found = {
            int(target): PairFound(query, xy, score, float(ratio))
            for target, ratio, query, xy, score in zip(arrays["targets"], arrays["ratios"], *parts, strict=False)
        }
        return cls(int(arrays["reference"]), arrays["xy"], arrays["tracks"], found)


def _check_arrays(arrays: dict[str, NDArray[Any]], frames: int) -> None:
    """See that arrays have each other's sizes, and that numbers in them are of frames and points that are there.

    Raises:
        ValueError: If they do not.
    """
    points, targets, found = len(arrays["xy"]), len(arrays["targets"]), len(arrays["query"])
    shapes = {
        "reference": (), "xy": (points, 2), "tracks": (len(arrays["tracks"]),), "targets": (targets,),
        "counts": (targets,), "ratios": (targets,), "query": (found,), "place": (found, 2), "score": (found,),
    }  # fmt: skip
    for name, shape in shapes.items():
        kinds = "f" if name in ("xy", "ratios", "place", "score") else "iu"
        if arrays[name].shape != shape or arrays[name].dtype.kind not in kinds or not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} has not the values of matches")
    below = {"reference": frames, "targets": frames, "query": points, "counts": found + 1, "tracks": 2**53}
    for name, most in below.items():
        if ((arrays[name] < 0) | (arrays[name] >= most)).any():
            raise ValueError(f"{name} beyond {most - 1}")
    if arrays["counts"].sum() != found or len(arrays["tracks"]) > points:
        raise ValueError("parts that do not fit together")


class TrackBuilder:
    """Observations so far, by frame, so that later reference frames can continue the tracks.

    Args:
        count: Number of frames.
        max_anchors: A track ends after it has been anchored in this many reference frames.
    """

    def __init__(self, count: int, max_anchors: int = 3) -> None:
        self.max_anchors = max_anchors
        self._anchored = np.zeros(1024, np.int32)
        self._track: list[list[NDArray[np.int64]]] = [[] for _ in range(count)]
        self._xy: list[list[NDArray[Any]]] = [[] for _ in range(count)]
        self._score: list[list[NDArray[Any]]] = [[] for _ in range(count)]
        self._anchor: list[list[NDArray[np.bool_]]] = [[] for _ in range(count)]
        self.count = 0

    def continuing(self, frame: int, distance_px: float) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Tracks seen in a frame and where, best first; of those closer than ``distance_px`` only the best."""
        if not self._track[frame]:
            return np.zeros(0, np.int64), np.zeros((0, 2), np.float32)
        track, xy = np.concatenate(self._track[frame]), np.concatenate(self._xy[frame])
        score = np.concatenate(self._score[frame])
        young = self._anchored[track] < self.max_anchors
        track, xy, score = track[young], xy[young], score[young]
        if not len(track):
            return track, xy
        order = np.argsort(-score, kind="stable")
        track, xy = track[order], xy[order]
        close = cKDTree(xy).query_pairs(distance_px, output_type="ndarray")
        # In score order a point yields to any better one nearby, whether or not that one stays itself.
        worse = np.unique(close.max(1)) if len(close) else np.zeros(0, np.int64)
        keep = np.ones(len(track), bool)
        keep[worse] = False
        return track[keep], xy[keep]

    def add(self, matches: ReferenceMatches) -> None:
        """Enter a reference frame's matches; a track keeps the first observation it has in a frame."""
        if len(matches.tracks) and matches.tracks.max() >= self.count:
            raise InputError(
                "matches: of tracks that no earlier frame has; expected those of one run. Repeat it with --overwrite"
            )
        fresh = len(matches.xy) - len(matches.tracks)
        numbers = np.concatenate([matches.tracks, np.arange(self.count, self.count + fresh)])
        self.count += fresh
        self._count_anchors(numbers)
        self._enter(
            matches.reference,
            numbers[len(matches.tracks) :],
            matches.xy[len(matches.tracks) :],
            np.ones(fresh, np.float32),
            anchor=True,
        )
        for target, found in matches.found.items():
            self._enter(target, numbers[found.query], found.xy, found.score, anchor=False)

    def _count_anchors(self, tracks: NDArray[np.int64]) -> None:
        """Count one more reference frame of each of these tracks; room for new ones is made in large steps."""
        if self.count > len(self._anchored):
            self._anchored = np.concatenate([self._anchored, np.zeros(self.count, np.int32)])
        self._anchored[tracks] += 1

    def _enter(
        self,
        frame: int,
        track: NDArray[np.int64],
        xy: NDArray[Any],
        score: NDArray[Any],
        *,
        anchor: bool,
    ) -> None:
        if self._track[frame]:
            new = ~np.isin(track, np.concatenate(self._track[frame]))
            track, xy, score = track[new], xy[new], score[new]
        self._track[frame].append(track)
        self._xy[frame].append(xy)
        self._score[frame].append(score)
        self._anchor[frame].append(np.full(len(track), anchor))

    def tracks(self, grid: WorkingGrid) -> Tracks:
        """All tracks with two observations or more, renumbered, in source pixels."""
        track = _joined(self._track)
        lengths = np.bincount(track, minlength=self.count)
        # Rows stand in the order of their frames: a stable order by track leaves them so within each track.
        rows = np.flatnonzero(lengths[track] >= 2)
        rows = rows[np.argsort(track[rows], kind="stable")]
        numbers = np.cumsum(lengths >= 2) - 1
        frame = np.repeat(np.arange(len(self._track)), [sum(map(len, parts)) for parts in self._track])
        return Tracks(
            track=numbers[track[rows]],
            frame=frame[rows],
            xy=_to_source(grid, _joined(self._xy)[rows]),
            score=_joined(self._score)[rows].astype(np.float32),
            anchor=_joined(self._anchor)[rows].astype(bool),
        )


def _joined(frames: list[list[NDArray[Any]]]) -> NDArray[Any]:
    """The arrays of all frames, one after the other."""
    return np.concatenate([part for parts in frames for part in parts])


def _to_source(grid: WorkingGrid, xy: NDArray[Any]) -> NDArray[np.float32]:
    """Working pixels (O, 2) as source pixels, in double precision a million at a time."""
    found = np.empty(xy.shape, np.float32)
    for first in range(0, len(xy), BLOCK):
        found[first : first + BLOCK] = grid.to_source(xy[first : first + BLOCK].astype(np.float64))
    return found
