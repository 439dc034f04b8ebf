"""The scale that a command is given, or that its run has by itself."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dd_sfm.io.metric import MetricScale

UNITS = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
"""As in :mod:`dd_sfm.io.camera_paths`, which takes COLMAP to import."""


def metric_of(scale: str | None, source: Path) -> "MetricScale | None":
    """The scale that ``--scale`` names, else that of a run with known poses; None where there is neither.

    Args:
        scale: As :func:`dd_sfm.registration.metric_scale.find_scale` takes it.
        source: Run, model or file; it is only read where the scale is told by its cameras or its points.
    """
    from dd_sfm.io.scene import open_scene
    from dd_sfm.registration.metric_scale import find_scale

    if scale is None:
        return _own_metric(source)
    warn_of_unit(scale, source)
    return find_scale(scale, lambda: open_scene(source), source)


def warn_of_unit(scale: str, source: Path) -> None:
    """Warn where ``--scale`` is laid over the unit that known poses gave a run."""
    from dd_sfm.cli.console import print_warnings

    known = _own_metric(source)
    if known is not None:
        print_warnings([f"{source}: is in {known.unit} already, by {known.origin}; --scale {scale} changes that"])


def _own_metric(source: Path) -> "MetricScale | None":
    from dd_sfm.io.known_poses import run_metric
    from dd_sfm.io.scene import find_model_folder, run_around

    folder = find_model_folder(source) if source.is_dir() else None
    return None if folder is None else run_metric(run_around(source, folder), folder)
