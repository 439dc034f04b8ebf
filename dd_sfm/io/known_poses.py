"""``known_poses.json`` of a run: the measured poses that were given, and how images and poses agree."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dd_sfm.documents import finite, read_json
from dd_sfm.io.atomic import write_json
from dd_sfm.io.metric import MetricScale
from dd_sfm.io.run_folder import readable
from dd_sfm.io.run_values import pose_of
from dd_sfm.structures import FloatArray

KNOWN_POSES = "known_poses.json"


@dataclass(frozen=True)
class KnownFrame:
    """The measured pose of a frame's camera.

    ``cam_from_world`` (3, 4); ``residual_mm``, ``residual_deg``: how far the pose by images lies from it, None where it
    has none; ``is_used``: whether it is believed.
    """

    cam_from_world: FloatArray
    residual_mm: float | None = None
    residual_deg: float | None = None
    is_used: bool = True


@dataclass(frozen=True)
class KnownPoses:
    """The measured poses of a run.

    ``file``: its name; ``are_exact``: whether the run has these poses; ``unit``: of the run's lengths, "" where
    the file has none; ``sigma_mm``, ``sigma_deg``: standard deviations, by axis, with which they count; ``figures``:
    how well they fit, for ``metrics.json``; ``frames``: by the names of frames.
    """

    file: str
    are_exact: bool
    unit: str
    sigma_mm: float
    sigma_deg: float
    figures: Mapping[str, Any] = field(default_factory=dict)
    frames: Mapping[str, KnownFrame] = field(default_factory=dict)

    @property
    def metric(self) -> MetricScale | None:
        """The unit of the run, which is that of the poses."""
        if not self.unit:
            return None
        keys = ("scale_sigma", "residual_rms_mm", "residual_rms_deg")
        figures = {f"{'' if key.startswith('scale') else 'scale_'}{key}": self.figures.get(key) for key in keys}
        return MetricScale(1.0, self.unit, f"known poses of {self.file}", figures)


def write_known_poses(run: Path, known: KnownPoses) -> None:
    """Write ``known_poses.json``.

    Raises:
        OutputError: If it cannot be written.
    """
    frames = {
        name: {
            "cam_from_world": np.asarray(frame.cam_from_world).tolist(),
            "residual_mm": frame.residual_mm,
            "residual_deg": frame.residual_deg,
            "is_used": frame.is_used,
        }
        for name, frame in known.frames.items()
    }
    head = {key: getattr(known, key) for key in ("file", "are_exact", "unit", "sigma_mm", "sigma_deg")}
    write_json(run / KNOWN_POSES, {**head, "figures": dict(known.figures), "frames": frames})


def read_known_poses(run: Path) -> KnownPoses | None:
    """Read ``known_poses.json``; None where a run was given no poses.

    Raises:
        InputError: If the file is damaged.
    """
    path = run / KNOWN_POSES
    if not path.is_file():
        return None
    with readable(path):
        content = read_json(path)
        frames = {
            str(name): KnownFrame(
                pose_of(entry["cam_from_world"]),
                _number(entry["residual_mm"]),
                _number(entry["residual_deg"]),
                bool(entry["is_used"]),
            )
            for name, entry in dict(content["frames"]).items()
        }
        sigmas = finite(content["sigma_mm"]), finite(content["sigma_deg"])
        unit, figures = str(content["unit"]), dict(content["figures"])
        return KnownPoses(str(content["file"]), bool(content["are_exact"]), unit, *sigmas, figures, frames)


def run_metric(run: Path | None, model_folder: Path | None = None) -> MetricScale | None:
    """The unit of a run that was given metric poses, or of one of its models; None for all others."""
    known = None if run is None else read_known_poses(run)
    if known is None:
        return None
    placed = known.figures.get("models_placed", [])
    number = 0 if model_folder is None or not model_folder.name.isdecimal() else int(model_folder.name)
    return None if number < len(placed) and not placed[number] else known.metric


def hand_on_unit(run: Path, folder: Path) -> str | None:
    """Give what is made in the world of a run, in another folder, the unit that known poses gave the run; returns it.

    Raises:
        InputError: If the run's file is damaged.
        OutputError: If it cannot be written.
    """
    known = read_known_poses(run)
    if known is None:
        return None
    write_known_poses(folder, replace(known, frames={}))
    return known.unit or None


def _number(value: Any) -> float | None:
    return None if value is None else finite(value)
