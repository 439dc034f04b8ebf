"""The picture of a registration: the cloud in place, coloured by its distance from the surface."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dd_sfm.registration.register import Registration
from dd_sfm.viz.render.cloud_view import CloudView
from dd_sfm.viz.render.colours import ColourScale
from dd_sfm.viz.render.labels import BACKGROUND_RGB, draw_colour_bar
from dd_sfm.viz.render.screenshot import render_screenshot
from dd_sfm.viz.render.view_state import ViewState

SIZE, FOOT_PX, TEXT_PX = (1500, 620), 80, 16
VIEWS = "front,top,side"


def residual_scale(found: Registration) -> ColourScale:
    """From zero to what nine of ten points stay below."""
    most = float(np.percentile(found.residual, 90))
    return ColourScale(f"distance from the surface [{found.unit}]", 0.0, max(most, 1e-12))


def residual_picture(found: Registration) -> NDArray[np.uint8]:
    """The cloud from three sides, (H, W, 3) uint8."""
    scale = residual_scale(found)
    unknown = np.full(len(found.xyz), np.nan)
    view = CloudView(
        Path("registered"), "registered", found.xyz, scale.rgb(found.residual), unknown,
        np.zeros(len(found.xyz), np.int64), unknown, (), np.zeros((0, 3, 4)),
    )  # fmt: skip
    state = ViewState((view,), mm_per_unit=1.0 if found.unit == "mm" else None)
    picture = render_screenshot(state, VIEWS, *SIZE)
    foot = np.full((FOOT_PX, SIZE[0], 3), BACKGROUND_RGB, np.uint8)
    return np.concatenate([picture, draw_colour_bar(foot, scale, size=TEXT_PX)])
