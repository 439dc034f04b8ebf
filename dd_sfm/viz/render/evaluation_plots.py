"""Plots of an evaluation as PNG, drawn without a display and without matplotlib's global state."""

import io
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dd_sfm.cameras import camera_centres
from dd_sfm.evaluation.model.evaluate import Evaluation
from dd_sfm.io.atomic import write_bytes
from dd_sfm.viz.render import viewpoints

ESTIMATE_COLOUR, REFERENCE_COLOUR = "#d1495b", "#30638e"
MAX_POINTS = 60_000
"""Largest number of points in the plot of the cloud."""


def write_figures(folder: Path, evaluation: Evaluation) -> list[Path]:
    """Write cloud.png, trajectory.png and errors.png; without known errors there is no cloud.png.

    Raises:
        OutputError: If they cannot be written.
    """
    figures = {"trajectory.png": trajectory_figure(evaluation), "errors.png": error_figure(evaluation)}
    if np.isfinite(evaluation.error).any():
        figures["cloud.png"] = cloud_figure(evaluation)
    for name, figure in figures.items():
        write_figure(folder / name, figure)
    return [folder / name for name in figures]


def write_figure(path: Path, figure: Figure) -> None:
    """Write a figure as PNG, atomically."""
    write_bytes(path, png(figure))


def png(figure: Figure, dpi: int = 130) -> bytes:
    """A figure as PNG."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def cloud_figure(evaluation: Evaluation) -> Figure:
    """Plot the cloud along the mean viewing direction and from the side, coloured by the points' errors."""
    known = np.flatnonzero(np.isfinite(evaluation.error))
    # Thinned evenly, the same way on every call.
    known = known[:: max(1, len(known) // MAX_POINTS)]
    right, down, forward = viewing_axes(evaluation)
    points, path = evaluation.xyz[known], camera_centres(evaluation.trajectory.estimate)
    error = evaluation.error[known]
    low, top = _log_range(error)
    framed = np.concatenate([viewpoints.bulk_points(points), path])
    limits = {axis.index: _limits(framed[:, axis.index]) for axis in (right, down, forward)}
    lengths = [limits[axis.index][1] - limits[axis.index][0] for axis in (right, forward, down)]
    # Both panels have the same height: widths in proportion to the lengths give both the same scale.
    tall = float(np.clip(10.5 * lengths[2] / (lengths[0] + lengths[1]), 2.5, 9))
    figure = Figure(figsize=(13, tall + 0.9), layout="constrained")
    panels = figure.subplots(1, 2, width_ratios=lengths[:2])
    for axes, (across, depth), title in (
        (panels[0], (right, forward), "seen along the view"),
        (panels[1], (forward, right), "seen from the side"),
    ):
        order = np.argsort(-depth.of(points))
        size = float(np.clip(30_000 / max(1, len(points)), 0.4, 12))
        drawn = axes.scatter(
            points[order, across.index], points[order, down.index], c=np.clip(error[order], low, top), s=size,
            linewidths=0, cmap="viridis", norm=LogNorm(low, top),
        )  # fmt: skip
        axes.plot(path[:, across.index], path[:, down.index], color=ESTIMATE_COLOUR, linewidth=1.5)
        axes.set_title(title)
        axes.set_aspect("equal", "box")
        axes.set_xlim(*limits[across.index])
        axes.set_ylim(*limits[down.index])
        _label(axes, across, down, evaluation.unit)
    # In the title of the wider panel, as a legend would cover points.
    wider = panels[int(lengths[1] > lengths[0])]
    wider.set_title(f"{wider.get_title()}; red: path of the cameras")
    name = f"{_error_name(evaluation)} [{evaluation.error_unit}]"
    figure.colorbar(drawn, ax=panels, label=name, extend="both", aspect=30, pad=0.01)
    return figure


@dataclass(frozen=True)
class DrawnAxis:
    """An axis of the reference's coordinates as it is drawn.

    ``index``: 0 to 2; ``sign``: -1 where the axis points to the left, upwards or towards the viewer.
    """

    index: int
    sign: float

    def of(self, xyz: NDArray[Any]) -> NDArray[Any]:
        """Coordinates (N,) of points (N, 3) along the drawn direction."""
        return self.sign * xyz[:, self.index]


def viewing_axes(evaluation: Evaluation) -> tuple[DrawnAxis, DrawnAxis, DrawnAxis]:
    """The axes of the reference that are closest to right, down and forward of its mean camera.

    Plots show the reference's own coordinates, so that a place in one is easy to find in another and in its mesh.
    """
    rows = viewpoints.viewing_axes(evaluation.trajectory.reference)
    best = max(permutations(range(3)), key=lambda order: sum(abs(rows[k, i]) for k, i in enumerate(order)))
    right, down, forward = (DrawnAxis(i, 1.0 if rows[k, i] >= 0 else -1.0) for k, i in enumerate(best))
    return right, down, forward


def _label(axes: Axes, across: DrawnAxis, down: DrawnAxis, unit: str) -> None:
    """Name the axes of a plot and give them their directions."""
    axes.set(xlabel=f"{'xyz'[across.index]} of the reference [{unit}]", ylabel=f"{'xyz'[down.index]} [{unit}]")
    if across.sign < 0:
        axes.invert_xaxis()
    if down.sign > 0:
        axes.invert_yaxis()


def _error_name(evaluation: Evaluation) -> str:
    if evaluation.error_unit == "mm":
        return "error of a point, median of its observations"
    return "reprojection error of a point, mean of its observations"


def trajectory_figure(evaluation: Evaluation) -> Figure:
    """Plot the camera paths of model and reference from two sides, and the errors over the frames."""
    trajectory = evaluation.trajectory
    right, down, forward = viewing_axes(evaluation)
    estimate, reference = (camera_centres(p) for p in (trajectory.estimate, trajectory.reference))
    figure = Figure(figsize=(13, 7.5), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(3, 2))
    for column, across in enumerate((right, forward)):
        axes = figure.add_subplot(grid[0, column])
        for centres, colour, style, label in (
            (reference, REFERENCE_COLOUR, "-", "reference"),
            (estimate, ESTIMATE_COLOUR, "--", "model"),
        ):
            axes.plot(centres[:, across.index], centres[:, down.index], style, color=colour, label=label)
            axes.plot(*centres[0, [across.index, down.index]], "o", color=colour, markersize=5)
        for pair in zip(estimate, reference, strict=True):
            ends = np.array(pair)
            axes.plot(ends[:, across.index], ends[:, down.index], color="0.6", linewidth=0.6, zorder=0)
        axes.set_aspect("equal", "datalim")
        _label(axes, across, down, evaluation.unit)
        axes.legend()
    for column, (values, name) in enumerate(
        (
            (trajectory.position_errors, f"position error [{evaluation.unit}]"),
            (trajectory.rotation_errors_deg, "rotation error [deg]"),
        )
    ):
        axes = figure.add_subplot(grid[1, column])
        axes.plot(trajectory.frames, values, ".-", color=ESTIMATE_COLOUR)
        axes.set(xlabel="frame", ylabel=name)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    return figure


def error_figure(evaluation: Evaluation) -> Figure:
    """Plot a histogram of the points' errors, and the share of points below each error."""
    error = evaluation.error[np.isfinite(evaluation.error)]
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    if not len(error):
        axes.text(0.5, 0.5, "no points with known errors", ha="center", transform=axes.transAxes)
        return figure
    low, top = _log_range(error)
    axes.hist(error, bins=np.geomspace(low, top, 80).tolist(), color=REFERENCE_COLOUR, alpha=0.8)
    axes.set_xscale("log")
    for value, label in ((np.median(error), "median"), (np.percentile(error, 90), "90 % below")):
        style = "--" if label == "median" else ":"
        axes.axvline(
            value, color=ESTIMATE_COLOUR, linestyle=style, label=f"{label}: {value:.3g} {evaluation.error_unit}"
        )
    axes.set(
        title=f"{len(error):,} points with a known error",
        xlabel=f"{_error_name(evaluation)} [{evaluation.error_unit}]",
        ylabel="points",
        xlim=(low, top),
    )
    # Above the panel, as bars may be anywhere inside.
    figure.legend(loc="outside upper right", ncols=2)
    share = axes.twinx()
    share.plot(np.sort(error), 100 * np.arange(1, len(error) + 1) / len(error), color="0.3")
    share.set(ylabel="points below [%]", ylim=(0, 100))
    return figure


def _log_range(error: NDArray[Any]) -> tuple[float, float]:
    """Range of a logarithmic axis from the 1st to the 99th percentile of the errors, over at most four decades."""
    low, top = (float(v) for v in np.percentile(error, [1, 99]))
    top = max(top, 1e-9)
    return min(max(low, top * 1e-4), top / 10), top


def _limits(values: NDArray[Any]) -> tuple[float, float]:
    """Range of the values with a margin."""
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * max(high - low, 1e-9)
    return low - margin, high + margin
