"""A camera from the field of view alone, and whether a calibration fits the field of view."""

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera
from dd_sfm.io.undistortion import KEPT, WIDEST_DEG
from dd_sfm.notes import Note, NoteCode
from dd_sfm.ops.areas import bounds_of

VIEW_ANGLES_DEG = 50, 150
"""Fields of view that endoscopes have, across the larger side."""
CENTRE_AWAY = 0.25
"""A principal point further from the centre of the field of view, as a share of its width, is doubted."""


def guess_camera(field_of_view: NDArray[np.bool_], angle_deg: float) -> PinholeCamera:
    """A pinhole camera whose field of view spans an angle: f = (d / 2) / tan(angle / 2).

    d is the larger side of the field's bounding box, which for a circle clipped above and below is its diameter.
    """
    size, centre = field_extent(field_of_view)
    focal = float(size / 2 / np.tan(np.radians(angle_deg) / 2))
    height, width = field_of_view.shape
    return PinholeCamera(width, height, focal, focal, *centre, is_guess=True)


def calibration_notes(camera: PinholeCamera, field_of_view: NDArray[np.bool_]) -> list[Note]:
    """A calibration whose field of view or centre no endoscope has is that of another camera, or of other frames."""
    size, centre = field_extent(field_of_view)
    away = float(np.hypot(camera.cx - centre[0], camera.cy - centre[1])) / size
    notes = []
    if away > CENTRE_AWAY:
        text = (
            f"calibration: the principal point ({camera.cx:.0f}, {camera.cy:.0f}) lies {100 * away:.0f} % of the field "
            f"of view's width from its centre ({centre[0]:.0f}, {centre[1]:.0f}); endoscopes have it within some 15 %. "
            "Is it of these frames, neither cropped nor resized? Shape and angles are only as good as that"
        )
        notes.append(Note(NoteCode.CALIBRATION_CENTRE, text))
    angle = float(2 * np.degrees(np.arctan(size / 2 / camera.fx)))
    low, high = VIEW_ANGLES_DEG
    if not low <= angle <= high:
        text = (
            f"calibration: a focal length of {camera.fx:.0f} px means a field of view of {angle:.0f} degrees, "
            f"endoscopes have {low} to {high}. Is it of this scope, at this size of frames? Shape and angles are only "
            "as good as that"
        )
        notes.append(Note(NoteCode.CALIBRATION_FIELD_OF_VIEW, text))
    return notes


def field_notes(kept: float, seen: float, *, calibrated: bool) -> list[Note]:
    """What undistorted frames lose of the field of view.

    Args:
        kept: The share that they show of what the lens shows.
        seen: The share in which the lens shows anything: a polynomial may turn back before the rim.
        calibrated: Whether the lens is that of a calibration, not one estimated from the clip.
    """
    notes = []
    if seen < KEPT:
        lens, advice = "the estimated lens", "Give a calibration with --calibration"
        if calibrated:
            lens = "calibration: its lens"
            advice = "Calibrate with the board filmed up to the rim, or with another model"
        text = (
            f"{lens} ends before the rim: {100 * (1 - seen):.0f} % of the field of view, where its projection turns "
            f"back, are masked. {advice}"
        )
        notes.append(Note(NoteCode.LENS_ENDS_EARLY, text))
    if kept < KEPT:
        text = (
            f"undistorted frames keep {100 * kept:.0f} % of the field of view: a flat picture ends at some "
            f"{WIDEST_DEG:.0f} degrees off the axis"
        )
        notes.append(Note(NoteCode.FIELD_NOT_KEPT, text))
    return notes


def field_extent(field_of_view: NDArray[np.bool_]) -> tuple[int, tuple[float, float]]:
    """The larger side of the field's bounding box, and its centre (x, y), in pixels."""
    box = bounds_of(field_of_view)
    return max(box.width, box.height), ((box.left + box.right - 1) / 2, (box.top + box.bottom - 1) / 2)
