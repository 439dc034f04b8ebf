"""Plots of a comparison: registered frames, camera paths, and histograms of errors, track lengths and angles."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from dd_sfm.cameras import camera_centres
from dd_sfm.evaluation.comparison.result import Column, Comparison, PointFigures
from dd_sfm.sfm.geometry import measured_errors_px
from dd_sfm.structures import FloatArray
from dd_sfm.viz.render import viewpoints

RUN_COLOURS = {"learned": "#c8553d", "sift": "#2b6a99", "sift_default": "#8a9aa3"}
REFERENCE_COLOUR = "#3f3f3f"


def timeline_figure(comparison: Comparison) -> Figure:
    """Draw a line for every run: frames registered in its largest model, in another one, not at all, or not used."""
    frames = np.array(sorted({*comparison.frames, *comparison.dropped}))
    lines = comparison.columns
    state = np.zeros((len(lines), len(frames)))
    for row, column in enumerate(lines):
        state[row, np.isin(frames, list(comparison.dropped))] = 3
        for further in column.other_models:
            state[row, np.isin(frames, list(further))] = 2
        if column.model is not None:
            state[row, np.isin(frames, list(column.model.cam_from_world))] = 1
    figure = Figure(figsize=(11, 0.8 + 0.45 * len(lines)), layout="constrained")
    axes = figure.subplots()
    shades = ListedColormap(["#f3d9d3", "#3d7a5a", "#d9a441", "#e4e4e4"])
    edges = np.append(frames - 0.5, frames[-1] + 0.5) if len(frames) else np.array([0.0, 1.0])
    axes.pcolormesh(edges, np.arange(len(lines) + 1), state, cmap=shades, vmin=-0.5, vmax=3.5)
    for border in range(1, len(lines)):
        axes.axhline(border, color="white", linewidth=6)
    axes.set_yticks(np.arange(len(lines)) + 0.5, [c.label for c in lines])
    axes.invert_yaxis()
    axes.set(xlabel="frame of the source")
    axes.spines[:].set_visible(False)
    axes.tick_params(left=False)
    names = ("not registered", "registered", "in a further model", "not used")
    states = [k for k in (1, 2, 0, 3) if (state == k).any()]
    handles = [axes.fill_between([], [], color=shades(k), label=names[k]) for k in states]
    figure.legend(handles=handles, loc="outside upper right", ncols=4, frameon=False)
    return figure


def trajectory_figure(comparison: Comparison) -> Figure:
    """Draw the camera paths of all runs and of the reference, from two sides."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    panels = figure.subplots(1, 2)
    axes_of_view = viewing_axes(comparison)
    for axes, (across, down), title in (
        (panels[0], (0, 1), "seen along the view"),
        (panels[1], (2, 1), "seen from the side"),
    ):
        if len(comparison.reference_path):
            path = comparison.reference_path @ axes_of_view.T
            axes.plot(
                path[:, across], path[:, down], color=REFERENCE_COLOUR, linewidth=4, alpha=0.25, label="reference"
            )
        for column in comparison.with_model:
            label = column.label if column.aligned else f"{column.label} (in its own coordinates)"
            for k, part in enumerate(_path_segments(column, comparison.frames)):
                path = part @ axes_of_view.T
                line = {"color": RUN_COLOURS.get(column.name, "k"), "label": label if k == 0 else None}
                axes.plot(path[:, across], path[:, down], ".-", markersize=3, linewidth=1.2, **line)
        axes.set_aspect("equal", "datalim")
        axes.invert_yaxis()
        axes.set(title=title, xlabel=f"[{comparison.unit}]", ylabel=f"[{comparison.unit}]")
        axes.grid(alpha=0.25)
    panels[0].legend(frameon=False)
    return figure


def _path_segments(column: Column, frames: tuple[int, ...]) -> list[FloatArray]:
    """Camera centres (N, 3) of each sequence of registered frames: no line bridges a frame without a pose."""
    assert column.model is not None
    poses = column.model.cam_from_world
    registered = np.array([f in poses for f in frames])
    indices = np.flatnonzero(registered)
    parts = np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1)
    return [camera_centres(np.stack([poses[frames[k]] for k in part])) for part in parts if len(part)]


def viewing_axes(comparison: Comparison) -> FloatArray:
    """Axes (3, 3) of the mean camera in common coordinates; the rows are right, down and forward."""
    model = comparison.with_model[0].model
    assert model is not None
    return viewpoints.viewing_axes(np.stack(list(model.cam_from_world.values())))


def framed_points(comparison: Comparison) -> FloatArray:
    """Points (N, 3) that a picture of the clouds must show: the bulk of the first cloud, and its cameras."""
    model = comparison.with_model[0].model
    assert model is not None
    return np.concatenate(
        [viewpoints.bulk_points(model.xyz), camera_centres(np.stack(list(model.cam_from_world.values())))]
    )


def centre_and_radius(comparison: Comparison) -> tuple[FloatArray, float]:
    """Centre (3,) of :func:`framed_points`, and the distance from it that all of them are within."""
    points = framed_points(comparison)
    axes = viewing_axes(comparison)
    turned = points @ axes.T
    middle = (turned.min(0) + turned.max(0)) / 2 @ axes
    return middle, max(float(np.linalg.norm(points - middle, axis=1).max()), 1e-12)


@dataclass(frozen=True)
class _Histogram:
    """What a histogram counts.

    ``values``: of the figures of points; ``cut``: percentile where it ends; ``whole``: for whole numbers.
    """

    name: str
    counted: str
    values: Callable[[PointFigures], FloatArray]
    cut: float = 100
    whole: bool = False
    logarithmic: bool = False


HISTOGRAMS = (
    _Histogram("reprojection error [px]", "observations", lambda p: measured_errors_px(p.error_px), cut=99),
    _Histogram("track length [views]", "points", lambda p: p.track_length.astype(float), whole=True),
    _Histogram("triangulation angle [deg]", "points", lambda p: p.angle_deg, cut=99.5),
)
TRUE_ERRORS = _Histogram("true error [mm]", "points", lambda p: p.true_error_mm, logarithmic=True)


def _histograms(comparison: Comparison) -> list[_Histogram]:
    """Those that a comparison has: true errors only where some are known."""
    has_truth = any(np.isfinite(c.points.true_error_mm).any() for c in comparison.with_model if c.points is not None)
    return [*HISTOGRAMS, *([TRUE_ERRORS] if has_truth else [])]


def single_histograms(comparison: Comparison) -> dict[str, Figure]:
    """Each histogram as a figure of its own, narrow enough for a phone, by what it counts."""
    figures = {}
    for one in _histograms(comparison):
        # Labels are as large as the text around them where three stand side by side on paper.
        figure = Figure(figsize=(3.0, 2.3), layout="constrained")
        _histogram(figure.subplots(), comparison, one)
        figures[one.name] = figure
    return figures


def histogram_figure(comparison: Comparison) -> Figure:
    """Draw histograms of errors, track lengths and angles.

    Counts are on a logarithmic scale, since the runs differ much in their number of points.
    """
    chosen = _histograms(comparison)
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    panels = figure.subplots(1, len(chosen))
    for axes, one in zip(panels, chosen, strict=True):
        _histogram(axes, comparison, one)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    return figure


def _histogram(axes: Axes, comparison: Comparison, one: _Histogram) -> None:
    per_run = {c.name: one.values(c.points) for c in comparison.with_model if c.points is not None}
    per_run = {run: found[np.isfinite(found)] for run, found in per_run.items()}
    per_run = {run: found for run, found in per_run.items() if len(found)}
    low, top = 0.0, max(float(np.percentile(found, one.cut)) for found in per_run.values())
    bins = np.linspace(low, max(top, 1e-9), 50)
    if one.whole:
        bins = np.arange(1.5, top + 1.5, max(1.0, np.ceil(top / 60)))
    if one.logarithmic:
        low = min(float(np.percentile(found, 0.5)) for found in per_run.values())
        bins = np.geomspace(max(low, top * 1e-5, 1e-9), max(top, 1e-8), 50)
        axes.set_xscale("log")
    for run, found in per_run.items():
        column, colour = comparison.column(run), RUN_COLOURS.get(run, "k")
        held = 0 if column.model is None else len(column.model.xyz)
        # Of a sample each one stands for several.
        counts = np.histogram(found, bins)[0] * (column.total / max(held, 1))
        axes.stairs(counts, bins, fill=True, color=colour, alpha=0.18)
        axes.stairs(counts, bins, color=colour, label=column.label, linewidth=1.4)
        axes.axvline(float(np.median(found)), color=RUN_COLOURS.get(run, "k"), linestyle=":", linewidth=1)
    axes.set_yscale("log")
    axes.set(xlabel=one.name, ylabel=one.counted, xlim=(bins[0], bins[-1]))
    axes.spines[["top", "right"]].set_visible(False)
