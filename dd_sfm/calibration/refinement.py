"""Corners found once more in pictures of the board as it would be seen from straight above.

Where a lens squeezes the board on one side or bends its edges, a corner found in the frame itself lies some hundredths
of a pixel beside its place, always to the same side, and the distortion with it. Seen from above, through a lens that
is about right, squares are square and no side is preferred (Datta et al., Accurate camera calibration using iterative
refinement of control points, 2009).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.calibration.board import Board
from dd_sfm.calibration.detection import WINDOW_SHARE, corner_spacing, refine_corners
from dd_sfm.calibration.fitting import Fit, View, fit
from dd_sfm.calibration.lens_models import Floats, LensModel, project
from dd_sfm.io.video import SourceInfo, iter_frames

ROUNDS = 2
"""How often corners are found and the lens is fitted again."""
SQUARE_PX = 10.0, 48.0
"""Least and largest side of a square in the picture from above."""
FARTHEST_SHARE = 0.2
"""A corner that moves by a larger share of a square stays where it was."""
FARTHEST_PX = 3.0
"""The same in pixels of the frame."""


def refine_views(source: SourceInfo, views: Sequence[View], start: Fit, board: Board) -> list[View]:
    """Find the corners of views again, as the lens found so far shows them.

    Args:
        source: What the views are frames of.
        views: Corners as found in the frames.
        start: A lens that fits them, and the views' poses.
        board: The board.
    """
    frames = {view.frame for view in views}
    greys = {n: cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for n, image in iter_frames(source, sorted(frames))}
    found, lens = list(views), start
    for _ in range(ROUNDS):
        found = [
            replace(v, xy=straight_corners(greys[v.frame], v, lens.model, lens.params, pose, board))
            for v, pose in zip(found, lens.poses, strict=True)
        ]
        lens = fit(lens, found, robust_px=3 * lens.median_px)
    return found


def straight_corners(
    grey: NDArray[Any], view: View, model: LensModel, params: Floats, pose: Floats, board: Board
) -> Floats:
    """Corners (N, 2) of a view in pixels, found in the picture of its board from above.

    Args:
        grey: The frame (H, W) uint8.
        view: The corners as they are known.
        model: The lens model.
        params: Its parameters (P,).
        pose: The board's pose (6,).
        board: The board.
    """
    side = float(np.clip(1.3 * np.median(corner_spacing(view.xy)), *SQUARE_PX))
    margin = 0.9
    corner = np.array([(board.columns - 1) / 2 + margin, (board.rows - 1) / 2 + margin])
    columns, rows = np.ceil(2 * corner * side).astype(int) + 1
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    flat = np.stack([x.ravel(), y.ravel()], 1) / side - corner
    places = project(model, params, pose, np.column_stack([flat, np.zeros(len(flat))]))[0]
    maps = places.reshape(rows, columns, 2).astype(np.float32)
    above = cv2.remap(grey, maps[..., 0], maps[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    expected = (view.points[:, :2] + corner) * side
    reach = np.full(len(expected), WINDOW_SHARE * 2 * board.clear_share * side)
    refined, held = refine_corners(above, expected, reach)
    on_board = np.column_stack([refined / side - corner, np.zeros(len(refined))])
    xy = project(model, params, pose, on_board)[0]
    moved = np.linalg.norm(xy - view.xy, axis=1)
    held &= (np.linalg.norm(refined - expected, axis=1) < FARTHEST_SHARE * side) & (moved < FARTHEST_PX)
    return np.where(held[:, None], xy, view.xy)
