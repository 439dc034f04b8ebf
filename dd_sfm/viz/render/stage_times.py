"""Pictures of where the time of runs went."""

import os
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dd_sfm.benchmark.run_times import RunTimes, exponents

STAGE_COLOURS = (
    "#30638e", "#6aa6a6", "#edae49", "#d1495b", "#6d4c7d", "#8a9aa3", "#3f7d4f", "#d98cb3", "#8c5a2b", "#a8c256",
)  # fmt: skip
TICKS_APART = 1.2
"""Labels of numbers of frames that are nearer to each other than by this factor would overlap."""


def stage_times_figure(runs: Sequence[RunTimes]) -> Figure:
    """Draw a bar of stages for every run and, where runs differ in frames, the stages' seconds against these."""
    stages = list(dict.fromkeys(stage for run in runs for stage in run.stages))
    colours = {stage: STAGE_COLOURS[k % len(STAGE_COLOURS)] for k, stage in enumerate(stages)}
    found = exponents(runs)
    figure = Figure(figsize=(11, max(2.4, 1.2 + 0.5 * len(runs)) if not found else 4.6), layout="constrained")
    panels = figure.subplots(1, 2 if found else 1, squeeze=False)[0]
    _draw_bars(panels[0], runs, colours)
    if found:
        _draw_growth(panels[1], runs, colours, found)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    return figure


def _draw_bars(axes: Axes, runs: Sequence[RunTimes], colours: dict[str, str]) -> None:
    left = np.zeros(len(runs))
    for stage, colour in colours.items():
        widths = np.array([run.seconds.get(stage, 0.0) for run in runs])
        axes.barh(np.arange(len(runs)), widths, left=left, color=colour, label=stage, height=0.7)
        left += widths
    for row, total in enumerate(left):
        axes.text(total, row, f" {total:.0f} s", va="center", fontsize=9)
    # Text between two dollars would be taken for a formula.
    labels = [
        f"{name}, {run.frames} frames".replace("$", r"\$") for name, run in zip(_short_names(runs), runs, strict=True)
    ]
    axes.set_yticks(np.arange(len(runs)), labels)
    axes.invert_yaxis()
    axes.set(xlabel="seconds", xlim=(0, 1.15 * max(left.max(initial=0.0), 1e-3)))
    axes.spines[["top", "right"]].set_visible(False)


def _short_names(runs: Sequence[RunTimes]) -> list[str]:
    """Names of runs without the folder that all of them lie in."""
    names = [os.path.normpath(run.name) for run in runs]
    if len(set(names)) == 1:
        return [os.path.basename(name) for name in names]  # noqa: PTH119 - names, not files
    try:
        return [os.path.relpath(name, os.path.commonpath(names)) for name in names]
    except ValueError:
        # Absolute and relative paths have nothing in common.
        return names


def _draw_growth(axes: Axes, runs: Sequence[RunTimes], colours: dict[str, str], found: dict[str, float]) -> None:
    """Points of all stages that have an exponent, and the fitted lines, on logarithmic axes."""
    frames = np.array([run.frames for run in runs])
    ends = np.array([frames.min(), frames.max()])
    for stage, exponent in found.items():
        seconds = np.array([run.seconds[stage] for run in runs])
        colour = colours.get(stage, "#3f3f3f")
        # The line of least squares goes through the mean of the logarithms.
        middle = np.exp(np.log(seconds).mean() - exponent * np.log(frames).mean())
        axes.plot(frames, seconds, "o", color=colour, markersize=4)
        axes.plot(ends, middle * ends**exponent, color=colour, label=f"{stage}: frames^{exponent:.2f}")
    axes.set(xscale="log", yscale="log", xlabel="frames", ylabel="seconds")
    ticks = list[int]()
    for count in sorted(set(frames.tolist())):
        if not ticks or count > TICKS_APART * ticks[-1]:
            ticks.append(count)
    axes.set_xticks(ticks, [str(count) for count in ticks], minor=False)
    axes.minorticks_off()
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    axes.grid(alpha=0.25)
