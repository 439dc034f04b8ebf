"""Pictures of matches in a near and a far pair of frames, the runs side by side."""

import logging
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera
from dd_sfm.errors import InputError
from dd_sfm.evaluation.comparison.result import Column, Comparison
from dd_sfm.io.colmap_matches import database_matches
from dd_sfm.io.images import read_image
from dd_sfm.io.run_folder import read_matches
from dd_sfm.structures import FloatArray
from dd_sfm.viz.report.clouds import field_box, frame_path

logger = logging.getLogger(__name__)

NEAR_GAP, FAR_GAP = 3, 10
"""Frames between the two of a pair; SIFT is matched over 10."""
MAX_LINES = 70
"""Largest number of matches in a picture that are joined by a line."""
MAX_EPIPOLAR_PX = 2.0
"""Largest epipolar error of a verified match."""
MAX_TRUE_ERROR_PX = 2.0
"""Largest distance of a correct match from its true position."""


@dataclass(frozen=True)
class PairMatches:
    """Verified matches of a run in a pair of frames.

    ``xy0`` and ``xy1`` (N, 2): pixels of the source, which one epipolar geometry explains; ``candidates``: number of
    matches before verification; ``correct`` (N,) bool: agrees with the ground truth; ``checked`` (N,) bool: the ground
    truth is known.
    """

    xy0: FloatArray
    xy1: FloatArray
    candidates: int
    correct: NDArray[np.bool_]
    checked: NDArray[np.bool_]


def choose_pairs(comparison: Comparison) -> list[tuple[str, int, int]]:
    """Choose a near and a far pair of frames (name, first, second) in the middle of the video.

    The first frame of a pair has true depth, where any frame has.
    """
    frames, truth = comparison.frames, comparison.ground_truth
    pairs = []
    for name, gap in (("near", NEAR_GAP), ("far", FAR_GAP)):
        gap = min(gap, max(1, len(frames) // 2))
        starts = range(len(frames) - gap)
        if not starts:
            continue
        known = [k for k in starts if truth is not None and truth.has_depth(frames[k])]
        first = min(known or starts, key=lambda k: abs(k + gap / 2 - len(frames) / 2))
        pairs.append((name, frames[first], frames[first + gap]))
    return pairs


def pair_matches(column: Column, comparison: Comparison, first: int, second: int) -> PairMatches | None:
    """The verified matches of a run in two frames; None when the run left neither matches nor tracks.

    For the learned descriptor these are its tracks that are seen in both frames. For SIFT they are the matches of the
    pair, since many of them belong to no track.
    """
    try:
        pixels = _sift_matches(column, first, second) or _track_matches(column, comparison.frames, first, second)
    except (InputError, ValueError):
        return None
    xy0, xy1 = pixels
    verified = _verified(xy0, xy1, _camera(column))
    xy0, xy1 = xy0[verified], xy1[verified]
    correct = checked = np.zeros(len(xy0), bool)
    if comparison.ground_truth is not None:
        correct, checked = comparison.ground_truth.check_matches(first, second, xy0, xy1, MAX_TRUE_ERROR_PX)
    return PairMatches(xy0, xy1, len(verified), correct, checked)


def _sift_matches(column: Column, first: int, second: int) -> tuple[FloatArray, FloatArray] | None:
    """SIFT's matches of a pair; None for other runs, and for pairs that SIFT was not given."""
    paths = [frame_path(column, frame) for frame in (first, second)]
    database = column.folder / "sift.db"
    if not database.is_file() or paths[0] is None or paths[1] is None:
        return None
    return database_matches(database, (paths[0].name, paths[1].name))


def _track_matches(column: Column, frames: tuple[int, ...], first: int, second: int) -> tuple[FloatArray, FloatArray]:
    """Pixels (N, 2) in both frames of the tracks that both see."""
    tracks = read_matches(column.folder).tracks
    rows = [np.flatnonzero(tracks.frame == frames.index(f)) for f in (first, second)]
    _, a, b = np.intersect1d(tracks.track[rows[0]], tracks.track[rows[1]], return_indices=True)
    return tracks.xy[rows[0][a]].astype(np.float64), tracks.xy[rows[1][b]].astype(np.float64)


def _camera(column: Column) -> PinholeCamera | None:
    return column.model.camera if column.model is not None else None


def _verified(xy0: FloatArray, xy1: FloatArray, camera: PinholeCamera | None) -> NDArray[np.bool_]:
    """Matches (N,) that one essential matrix explains, or a fundamental matrix where the camera is unknown."""
    if len(xy0) < 8:
        return np.zeros(len(xy0), bool)
    matrix = camera.matrix if camera is not None else None
    if matrix is None:
        _, mask = cv2.findFundamentalMat(xy0, xy1, cv2.FM_RANSAC, MAX_EPIPOLAR_PX, 0.999, 5000)
    else:
        _, mask = cv2.findEssentialMat(xy0, xy1, matrix, method=cv2.RANSAC, prob=0.999, threshold=MAX_EPIPOLAR_PX)
    return np.asarray(mask).ravel() > 0 if mask is not None else np.zeros(len(xy0), bool)


def match_figures(comparison: Comparison) -> tuple[dict[str, Figure], list[dict[str, Any]]]:
    """Draw ``matches_near.png`` and ``matches_far.png``; also returns the numbers of every pair and run."""
    figures, numbers = {}, []
    for name, first, second in choose_pairs(comparison):
        found = {
            c.name: pair_matches(c, comparison, first, second)
            for c in comparison.columns
            if c.name in ("learned", "sift")
        }
        if all(matches is None for matches in found.values()):
            continue
        figures[f"matches_{name}.png"] = _figure(comparison, first, second, found)
        for run, matches in found.items():
            if matches is not None:
                numbers.append({"pair": name, "frames": [first, second], "run": run} | _numbers(matches))
    return figures, numbers


def _numbers(matches: PairMatches) -> dict[str, Any]:
    checked = int(matches.checked.sum())
    share = float(matches.correct.sum() / checked) if checked else None
    return {"matches": matches.candidates, "verified": len(matches.xy0), "with_truth": checked, "right_share": share}


def _figure(comparison: Comparison, first: int, second: int, found: dict[str, PairMatches | None]) -> Figure:
    drawn = [(comparison.column(name), matches) for name, matches in found.items()]
    pictures = [_picture(column, matches, first, second) for column, matches in drawn]
    height, width = pictures[0].shape[:2]
    panel = 11 / len(drawn)
    figure = Figure(figsize=(11, panel * height / width + 0.45), layout="constrained")
    for axes, picture, (column, matches) in zip(
        figure.subplots(1, len(drawn), squeeze=False)[0], pictures, drawn, strict=True
    ):
        axes.imshow(picture)
        axes.axis("off")
        axes.set_title(f"{column.label}: {_title(matches)}", fontsize=9)
    return figure


def _title(matches: PairMatches | None) -> str:
    if matches is None or not matches.candidates:
        return "no match"
    text = f"{len(matches.xy0):,} verified matches of {matches.candidates:,}"
    if matches.checked.any():
        share = 100 * matches.correct.sum() / matches.checked.sum()
        text += f"; {share:.0f} % within {MAX_TRUE_ERROR_PX:g} px of the truth"
    return text


def _picture(
    column: Column, matches: PairMatches | None, first: int, second: int, width: int = 640
) -> NDArray[np.uint8]:
    """The first frame above the second, all matches as dots, some as lines."""
    images = []
    for frame in (first, second):
        path = frame_path(column, frame)
        images.append(read_image(path) if path else np.full((480, 640, 3), 220, np.uint8))
    left, top, right, bottom = field_box(column, images[0].shape)
    images = [image[top:bottom, left:right] for image in images]
    scale = width / images[0].shape[1]
    small = [cv2.resize(i, (width, round(i.shape[0] * scale)), interpolation=cv2.INTER_AREA) for i in images]
    gap = 8
    shift = small[0].shape[0] + gap
    picture = np.concatenate([small[0], np.full((gap, width, 3), 255, np.uint8), small[1]])
    # The frames are faded, so that the matches stand out.
    picture = (0.75 * picture.astype(np.float32) + 0.25 * 255 * (picture == 255)).astype(np.uint8)
    if matches is None or not len(matches.xy0):
        return picture
    start = np.round((matches.xy0 - [left, top] + 0.5) * scale).astype(int)
    end = np.round((matches.xy1 - [left, top] + 0.5) * scale).astype(int) + np.array([0, shift])
    colours = _colours(matches, width / scale)
    radius = 2 if len(start) < 1500 else 1
    for a, b, colour in zip(start.tolist(), end.tolist(), colours, strict=True):
        cv2.circle(picture, a, radius, colour, -1, cv2.LINE_AA)
        cv2.circle(picture, b, radius, colour, -1, cv2.LINE_AA)
    for k in _chosen_lines(len(matches.xy0)):
        cv2.line(picture, start[k].tolist(), end[k].tolist(), colours[k], 1, cv2.LINE_AA)
    return picture


def _chosen_lines(count: int) -> NDArray[np.int64]:
    """Indices of the matches that are joined by lines: at random, the same ones on every call."""
    order = np.random.default_rng(0).permutation(count)
    return np.sort(order[:MAX_LINES])


def _colours(matches: PairMatches, width: float) -> list[tuple[int, int, int]]:
    """Green when correct, red when wrong; where no ground truth is known, by the position in the first frame."""
    offset = matches.xy0 - matches.xy0.mean(0)
    hue = (np.arctan2(offset[:, 1], offset[:, 0]) / (2 * np.pi)) % 1.0
    strength = np.clip(np.hypot(*offset.T) / (0.25 * width), 0.35, 1.0)
    rgb = hsv_to_rgb(np.stack([hue, strength, np.ones(len(hue))], 1)) * 255
    if matches.checked.any():
        rgb = np.where(matches.correct[:, None], [60.0, 220.0, 110.0], [255.0, 60.0, 50.0])
        rgb[~matches.checked] = [235.0, 235.0, 235.0]
    return [(int(r), int(g), int(b)) for r, g, b in rgb]
