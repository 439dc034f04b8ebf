"""Pictures of a calibration: residuals, where corners were, and a frame made straight."""

from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dd_sfm.calibration.certainty import projection_deviation, rays_of
from dd_sfm.calibration.fitting import View
from dd_sfm.calibration.lens_models import turning_radius
from dd_sfm.calibration.result import BoardCalibration
from dd_sfm.cameras import PinholeCamera
from dd_sfm.io.undistortion import Undistortion
from dd_sfm.viz.render.labels import BACKGROUND_RGB, write_label

ARROW_SHARE = 0.02
"""Length of an arrow of the usual residual, as a share of the picture's longer side."""
WIDEST_DEG = 60.0
"""Largest angle from the axis that a straightened frame shows at its side: beyond, little would be left of the rest."""


def residual_figure(found: BoardCalibration) -> Figure:
    """Every corner's residual as a magnified arrow over the field of view, and radial residuals over the angle."""
    chosen = found.chosen
    xy = np.concatenate([view.xy for view in chosen.views])
    residuals = np.concatenate(chosen.fit.residuals)
    length = np.linalg.norm(residuals, axis=1)
    magnified = ARROW_SHARE * max(found.size) / max(float(np.median(length)), 1e-6)
    figure = _figure(found, panels=2)
    left, right = figure.axes
    _draw_field(left, found)
    top = float(np.percentile(length, 98))
    drawn = left.quiver(
        *xy.T, *residuals.T, length, angles="xy", scale_units="xy", scale=1 / magnified, cmap="viridis", width=0.0016,
        clim=(0, max(top, 1e-6)),
    )  # fmt: skip
    figure.colorbar(drawn, ax=left, label="residual [px]", extend="max", aspect=30, pad=0.01)
    left.set_title(f"residuals of {len(xy):,} corners, {magnified:.0f} times as long; rms {chosen.fit.rms_px:.3f} px")
    _draw_radial(right, found, xy, residuals)
    return figure


def _draw_radial(axes: Axes, found: BoardCalibration, xy: NDArray[Any], residuals: NDArray[Any]) -> None:
    """Residuals along the radius over the angle from the axis: a bend shows what the model cannot follow."""
    fit = found.chosen.fit
    rays, known = rays_of(fit.model, fit.params, xy)
    outward = xy - fit.params[2:4]
    outward = outward / np.maximum(np.linalg.norm(outward, axis=1), 1e-9)[:, None]
    radial = (residuals * outward).sum(1)[known]
    angle = np.degrees(np.arccos(np.clip(rays[known, 2], -1, 1)))
    axes.plot(angle, radial, ".", color="#30638e", markersize=2, alpha=0.4)
    edges = np.linspace(0, angle.max(initial=1), 16)
    bins = np.clip(np.digitize(angle, edges) - 1, 0, 14)
    middles = [(edges[b] + edges[b + 1]) / 2 for b in range(15) if (bins == b).sum() > 5]
    means = [radial[bins == b].mean() for b in range(15) if (bins == b).sum() > 5]
    axes.plot(middles, means, "-", color="#d1495b", label="mean")
    limit = 1.2 * float(np.percentile(np.abs(radial), 99.5)) if len(radial) else 1.0
    axes.set(
        xlabel="angle from the axis [deg]", ylabel="residual along the radius [px]", ylim=(-limit, limit),
        title=f"{fit.model.name}",
    )  # fmt: skip
    axes.grid(alpha=0.3)
    axes.legend()


def coverage_figure(found: BoardCalibration) -> Figure:
    """Where corners were, over how sure the projection is at every place of the field of view."""
    chosen = found.chosen
    figure = _figure(found, panels=1)
    (axes,) = figure.axes
    _draw_field(axes, found)
    places, deviation = projection_deviation(
        chosen.fit.model, chosen.fit.params, chosen.covariance, found.field_of_view
    )
    if len(places) > 3:
        levels = np.linspace(0, max(float(np.percentile(deviation, 98)), 1e-9), 15).tolist()
        x, y = places.T
        shown = axes.tricontourf(x, y, deviation, levels=levels, cmap="YlOrRd", alpha=0.8, extend="max")
        figure.colorbar(
            shown, ax=axes, label="standard deviation of the projection [px]", aspect=30, pad=0.01, format="%.2g"
        )
    colours = np.linspace(0, 1, max(2, len(chosen.views)))
    for view, place in zip(chosen.views, colours, strict=False):
        axes.scatter(view.xy[:, 0], view.xy[:, 1], s=5, color=_view_colour(place), linewidths=0)
    axes.plot(*chosen.fit.params[2:4], "+", color="black", markersize=14)
    measures = found.measures
    axes.set_title(
        f"{len(chosen.views)} views; corners in {measures.covered:.0%} of the field of view, out to "
        f"{min(measures.rim_reached, 1):.0%} of its radius",
        fontsize=10,
    )
    return figure


def _view_colour(place: float) -> tuple[float, ...]:
    from matplotlib import colormaps

    return tuple(colormaps["winter"](place))


def _figure(found: BoardCalibration, *, panels: int) -> Figure:
    width, height = found.size
    tall = 6.2 * height / width
    figure = Figure(figsize=(7.6 * panels - 0.9 * (panels - 1), tall + 0.9), layout="constrained")
    figure.subplots(1, panels, squeeze=False, width_ratios=[1.35, 1][:panels])
    return figure


def _draw_field(axes: Axes, found: BoardCalibration) -> None:
    """The picture's frame, and the outlines of the field of view and of where the polynomial turns back."""
    width, height = found.size
    axes.set_aspect("equal", "box")
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xlabel="x [px]", ylabel="y [px]")
    padded = np.pad(found.field_of_view.astype(np.uint8), 1)
    for outline in cv2.findContours(padded, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]:
        closed = np.concatenate([outline[:, 0], outline[:1, 0]]) - 1
        axes.plot(*closed.T, color="0.55", linewidth=1)
    fit = found.chosen.fit
    _, radius = turning_radius(fit.model, fit.params[4:])
    if np.isfinite(radius):
        around = np.linspace(0, 2 * np.pi, 200)
        axes.plot(
            fit.params[2] + radius * fit.params[0] * np.cos(around),
            fit.params[3] + radius * fit.params[1] * np.sin(around),
            "--", color="#d1495b", linewidth=1,
        )  # fmt: skip


def straight_picture(found: BoardCalibration, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame (H, W, 3) beside itself undistorted; rows of the board should lie along the straight lines drawn."""
    lens, (width, height) = found.lens, found.size
    sides = lens.unproject(np.array([[0.0, height / 2], [width - 1, height / 2]]))
    # Where the lens shows nothing at a side of the picture, it is wider than what is shown.
    widest = np.cos(np.radians(WIDEST_DEG))
    cosine = max(widest, float(np.nan_to_num(sides[:, 2], nan=widest).min()))
    focal = 0.5 * width / np.tan(np.arccos(cosine))
    flat = PinholeCamera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)
    straight = np.asarray(Undistortion(flat, lens).apply(frame), np.uint8)
    for k, view in enumerate(found.chosen.views):
        if view.frame == found.example_frame:
            straight = _draw_rows(straight, view, found.chosen.fit.poses[k], flat.matrix)
    pair = [
        write_label(frame, f"frame {found.example_frame}", box=BACKGROUND_RGB),
        write_label(straight, "undistorted", box=BACKGROUND_RGB),
    ]
    return np.concatenate(pair, 1)


def _draw_rows(
    picture: NDArray[np.uint8], view: View, pose: NDArray[np.float64], flat: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Straight lines from end to end of a board's rows and columns."""
    places = cv2.projectPoints(view.points, pose[:3], pose[3:], flat, np.zeros(4))[0].reshape(-1, 2)
    drawn = picture.copy()
    for axis in (0, 1):
        for value in np.unique(view.points[:, axis]):
            line = np.flatnonzero(view.points[:, axis] == value)
            ends = places[line[[0, -1]]]
            if np.abs(ends).max() < 1e4:
                first, last = (tuple(int(v) for v in np.round(end * 16)) for end in ends)
                cv2.line(drawn, first, last, (255, 60, 40), 1, cv2.LINE_AA, 4)
    return drawn
