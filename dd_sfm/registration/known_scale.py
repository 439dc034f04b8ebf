"""The scale that is given, or that a run has by itself."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dd_sfm.errors import ConfigError
from dd_sfm.io.metric import UNITS

if TYPE_CHECKING:
    from dd_sfm.io.metric import MetricScale
    from dd_sfm.io.scene import Scene

OPEN = "open"
"""Asks for a scale to be found, also of a run that has one."""


def metric_of(scale: str | None, source: Path) -> "MetricScale | None":
    """The scale that ``--scale`` names, else that of a run with known poses; None where there is neither.

    Args:
        scale: As :func:`dd_sfm.registration.metric_scale.find_scale` takes it.
        source: Run, model or file; it is only read where the scale is told by its cameras or its points.
    """
    from dd_sfm.io.scene import open_scene
    from dd_sfm.registration.metric_scale import find_scale

    if scale is None:
        return _of_known_poses(source)
    return noted(find_scale(scale, lambda: open_scene(source), source), scale, source)


def scale_finder(scale: str | None, source: Path) -> "Callable[[Scene], MetricScale] | None":
    """What finds the scale that ``--scale`` names in a scene that is read anyway; None without one."""
    from dd_sfm.registration.metric_scale import find_scale

    if scale is None:
        return None
    return lambda scene: noted(find_scale(scale, lambda: scene, source), scale, source)


def noted(found: "MetricScale", scale: str, source: Path) -> "MetricScale":
    """A scale that is given, with a note where the run has a unit by itself."""
    known = _of_known_poses(source)
    if known is None:
        return found
    text = f"{source}: is in {known.unit} already, by {known.origin}; --scale {scale} changes that"
    return replace(found, notes=(*found.notes, text))


def _of_known_poses(source: Path) -> "MetricScale | None":
    from dd_sfm.io.known_poses import run_metric
    from dd_sfm.io.scene import find_model_folder, run_around

    folder = find_model_folder(source) if source.is_dir() else None
    return None if folder is None else run_metric(run_around(source, folder), folder)


def known_scale(scale: str | None, source: Path) -> "MetricScale | None":
    """The scale that a registration keeps: that which is given, or the run's by known poses; None: it is found.

    Args:
        scale: As :func:`metric_of` takes it, or :data:`OPEN`.
        source: What is registered.

    Raises:
        ConfigError: If it is in another unit than those of a surface.
    """
    metric = None if scale == OPEN else metric_of(scale, source)
    if metric is not None and metric.unit not in UNITS:
        raise ConfigError(f"--scale {scale}: in {metric.unit}; expected a scale in {', '.join(UNITS)}")
    return metric


def check_unit(unit: str) -> None:
    """Refuse a unit that is none of a surface.

    Raises:
        ConfigError: If it is not.
    """
    if unit not in UNITS:
        raise ConfigError(f"--unit {unit}: unknown; expected the unit of the surface's coordinates, {', '.join(UNITS)}")


def factor_in(metric: "MetricScale | None", unit: str) -> float | None:
    """What one unit of a reconstruction is in another unit; None where it is not known."""
    return None if metric is None else metric.factor * UNITS[metric.unit] / UNITS[unit]
