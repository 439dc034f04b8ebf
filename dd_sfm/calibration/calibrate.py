"""From a video of a board to a calibration."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.calibration.board import Board
from dd_sfm.calibration.detection import BoardFinder, Detection
from dd_sfm.calibration.fitting import View
from dd_sfm.calibration.hints import missing_board_hint
from dd_sfm.calibration.lens_models import MODELS
from dd_sfm.calibration.model_choice import MIN_VIEWS, begin_models, choose_model, fit_models
from dd_sfm.calibration.refinement import refine_views
from dd_sfm.calibration.result import BoardCalibration, Counts
from dd_sfm.calibration.verdict import judge, measure
from dd_sfm.calibration.views import Scan, choose_views, scan, sharp_ones
from dd_sfm.errors import InputError, UsageError
from dd_sfm.io.video import SourceInfo, open_source
from dd_sfm.pipeline.masks import find_field_of_view
from dd_sfm.progress import Part, Progress, begin_stage, plan_ahead, silent

MAX_VIEWS = 40
"""Views that are fitted; more of them, taken by one camera in one go, tell little more."""
SEARCH_S, FIT_S = 0.06, 8.0
"""Seconds on a usual machine for a frame that is searched, and for fitting lenses."""


@dataclass(frozen=True)
class CalibrationRequest:
    """What is calibrated: a video or folder of images of a board, every N-th frame of it, with which lens models."""

    source: Path
    board: Board
    model: str = "auto"
    every: int = 1
    max_views: int = MAX_VIEWS


def calibrate_board(
    request: CalibrationRequest, progress: Progress = silent, say: Callable[[str], None] = lambda _: None
) -> BoardCalibration:
    """Find the board in a video, and fit a lens to its views.

    Args:
        request: What is calibrated.
        progress: Shows the search.
        say: Given a line when a step begins.

    Raises:
        UsageError: If the model is unknown.
        InputError: If the source cannot be read, or shows too few views of the board.
    """
    if request.model not in MODELS:
        raise UsageError(f"--model {request.model}: unknown; expected {', '.join(sorted(MODELS))}")
    source = open_source(request.source)
    size = source.width, source.height
    finder = BoardFinder(request.board)
    looked_at = source.frame_count / request.every
    plan_ahead(progress, [Part("search", "searching for the board", SEARCH_S * looked_at), Part("fit", "fit", FIT_S)])
    begin_stage(progress, "search")
    say(f"searching {source.title} for the board ...")
    seen = scan(source, finder, request.every, progress)
    board = replace(request.board, dictionary=finder.dictionary)
    sharp = sharp_ones(seen.detections)
    chosen = choose_views(sharp, board, size, request.max_views)
    _check_views(source, seen, sharp, chosen, board)
    field = field_of_view(seen, size)
    rows, columns = np.nonzero(field)
    models, centre = MODELS[request.model], (float(columns.mean()), float(rows.mean()))
    views = [View(d.frame, board.points[d.ids], d.corners) for d in chosen]
    say(f"board found in {len(seen.detections)} of {seen.searched} frames; fitting lenses to {len(views)} views ...")
    begin_stage(progress, "fit")
    begun = begin_models(views, models, size, centre)
    views = refine_views(source, views, begun[0], board) if begun else views
    fits = fit_models(views, models, size, centre) if begun else []
    if not fits:
        raise InputError(
            f"{request.source}: {len(views)} views of the board, but no lens explains them; expected one flat board, "
            f"filmed by one lens at one zoom. Check --board {board.columns}x{board.rows}"
        )
    best = choose_model(fits, field)
    measures = measure(best, field, float(np.median([d.edge_px for d in chosen])))
    counts = Counts(
        source.frame_count, seen.read, seen.searched, len(seen.detections), len(seen.detections) - len(sharp),
        len(chosen),
    )  # fmt: skip
    return BoardCalibration(
        str(request.source),
        board,
        counts,
        best,
        tuple(fits),
        field,
        measures,
        judge(measures),
        _example(best.views),
        source.notes,
    )


def field_of_view(seen: Scan, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The field of view (H, W) of the frames that were searched."""
    try:
        small = find_field_of_view(seen.pictures, "")
    except InputError:
        # Too dark to be told, but the board was found: all of the frame counts.
        return np.ones(size[::-1], bool)
    return np.asarray(cv2.resize(small.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0)


def _example(views: tuple[View, ...]) -> int:
    """The frame in which the board spans most of the picture."""
    return max(views, key=lambda view: float(np.ptp(view.xy, axis=0).prod())).frame


def _check_views(source: SourceInfo, seen: Scan, sharp: list[Detection], chosen: list[Detection], board: Board) -> None:
    """Check that there are enough views of the board.

    Raises:
        InputError: If not; it says what was found, and what may be the matter.
    """
    if len(chosen) >= MIN_VIEWS:
        return
    found = len(seen.detections)
    where = f"{source.path}: {board.name} found in {found} of {seen.searched} frames searched ({seen.read} read)"
    expected = f"expected {MIN_VIEWS} different views at least, better 20"
    if found < MIN_VIEWS:
        hint = missing_board_hint(source, seen.unseen, board)
    elif len(sharp) < MIN_VIEWS:
        hint = "Too many are blurred: hold board and scope still while it is filmed, with more light"
    else:
        hint = "They are all alike: move and tilt the board, or the scope, between views"
        where += f", {len(chosen)} of them different"
    raise InputError(f"{where}; {expected}. {hint}")
