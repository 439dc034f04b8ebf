"""The cameras of rendered clips: from settings, a calibration, or an angle and a kind of lens."""

import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import ConfigError, InputError, ShapeError
from dd_sfm.io.calibration.colmap_cameras import is_text, read_text
from dd_sfm.io.calibration.read import read_calibration
from dd_sfm.io.lens import Lens
from dd_sfm.ops.coordinates import to_colmap
from dd_sfm.synthetic.settings import SynthSettings

PAST_CIRCLE = 1.035
"""The radius of the visible field, relative to half of ``lens.circle``."""
WIDEST_DEG = {"OPENCV": 150.0, "OPENCV_FISHEYE": 170.0}
"""Largest angles across the field by model: a flat picture has no 180 degrees, and depth tells little beside it."""
NARROWEST_DEG = 5.0


def camera_of(settings: SynthSettings) -> Lens:
    """The camera that settings describe.

    Raises:
        ConfigError: If ``lens.camera`` is none.
    """
    lens, size = settings.lens, (settings.width, settings.height)
    if lens.camera:
        return _parse(lens.camera, size)
    focal = float(0.5 * settings.height / np.tan(np.radians(lens.field_of_view_deg) / 2))
    place = (focal, focal, *_centre(size))
    if any(lens.distortion):
        return Lens("OPENCV", (*place, *lens.distortion, 0.0, 0.0), *size)
    return Lens("PINHOLE", place, *size)


def _centre(size: tuple[int, int]) -> tuple[float, float]:
    """The principal point in COLMAP's pixels."""
    width, height = size
    # Real scopes sit a little off the sensor's centre.
    cx, cy = (width - 1) / 2 - 0.02 * width, (height - 1) / 2 + 0.004 * height
    return float(to_colmap(cx)), float(to_colmap(cy))


def _parse(text: str, size: tuple[int, int]) -> Lens:
    model, *numbers = text.replace(",", " ").split()
    row = ["1", model, *map(str, size), *numbers]
    if not is_text([row]):
        raise ConfigError(f"lens.camera {text}: expected a camera model and its parameters, as in COLMAP's cameras.txt")
    try:
        lens = read_text("", [row])[0].lens
    except (InputError, ShapeError) as error:
        reason = str(error).removeprefix("--calibration : ")
        raise ConfigError(f"lens.camera {text}: {reason}") from error
    return lens


def round_field(lens: Lens, circle: float) -> NDArray[np.bool_]:
    """The round field of view (H, W) around the centre of a lens; ``circle`` is its width by the picture's height."""
    width, height = lens.size
    cx, cy = lens.pinhole.principal_point
    y, x = np.mgrid[:height, :width].astype(np.float64)
    mask = np.hypot(x - cx, y - cy) <= 0.5 * circle * height * PAST_CIRCLE
    return np.asarray(mask & (y >= 0.016 * height) & (y <= height * 0.985))


def lens_text(lens: Lens) -> str:
    """A lens as ``lens.camera`` holds it."""
    return " ".join([lens.model, *(f"{value:.12g}" for value in lens.params)])


def calibrated_lens(calibration: str, size: tuple[int, int]) -> Lens:
    """The lens of a calibration, as ``reconstruct`` reads it, at the size of the clip.

    Raises:
        InputError: If it cannot be read, or is of another shape.
    """
    return read_calibration(calibration, width=size[0], height=size[1])


def lens_of_angle(
    fov_deg: float, distortion: tuple[float, float], size: tuple[int, int], circle: float, *, fisheye: bool
) -> Lens:
    """The lens that shows an angle across the round field of the clip, its distortion counted in.

    Args:
        fov_deg: Angle between opposite ends of the field.
        distortion: k1, k2 of OpenCV's normal lens or of its fisheye.
        size: Width and height of the clip.
        circle: Width of the field by the height of the picture: ``lens.circle``.
        fisheye: Angles grow in proportion to the distance from the centre, but for the distortion.

    Raises:
        ConfigError: If there is no such lens.
    """
    model = "OPENCV_FISHEYE" if fisheye else "OPENCV"
    if not NARROWEST_DEG <= fov_deg <= WIDEST_DEG[model]:
        wider = "" if fisheye else f", or up to {WIDEST_DEG['OPENCV_FISHEYE']:g} with --fisheye"
        raise ConfigError(f"--fov {fov_deg:g}: expected {NARROWEST_DEG:g} to {WIDEST_DEG[model]:g}{wider}")
    unit = Lens(model, (1.0, 1.0, 0.0, 0.0, *distortion, 0.0, 0.0), *size)
    if unit.field_limit_deg <= fov_deg / 2:
        raise ConfigError(
            f"--fov {fov_deg:g} --distortion {distortion[0]:g},{distortion[1]:g}: the picture folds over itself at "
            f"{2 * unit.field_limit_deg:.0f} degrees; expected a smaller --fov, a k1 nearer to 0, or a larger k2"
        )
    half = np.radians(fov_deg / 2)
    rim = float(unit.project_unlimited(np.array([[np.sin(half), 0.0, np.cos(half)]]))[0, 0])
    focal = 0.5 * circle * size[1] * PAST_CIRCLE / rim
    place = (focal, focal, *_centre(size))
    if fisheye or any(distortion):
        return Lens(model, (*place, *distortion, 0.0, 0.0), *size)
    return Lens("PINHOLE", place, *size)
