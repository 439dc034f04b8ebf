"""The files of a run folder that describe the run: frames.json, metrics.json and config.yaml."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from dd_sfm.config import Config, build_config
from dd_sfm.errors import InputError

REQUIRED = ("frames.json", "metrics.json", "config.yaml", "points.ply", "sparse/0")
"""What every finished run has."""
READ_ERRORS = (OSError, ValueError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True)
class FrameRecord:
    """What became of a frame of the source.

    ``index``: its zero-based number in the source; ``reason``: why it was left out, "" for a frame that was kept;
    ``source``: the file it is from, "" for a video.
    """

    index: int
    time_s: float
    sharpness: float
    kept: bool
    reason: str = ""
    source: str = ""


def check_finished(run: Path) -> None:
    """See that a folder is that of a finished run.

    Raises:
        InputError: If it is missing, of something else, or of a run that is not finished.
    """
    if not run.is_dir():
        found = "is a file" if run.exists() else "not found"
        raise InputError(f"{run}: {found}; expected the folder of a run, made by dd-sfm reconstruct")
    missing = [name for name in REQUIRED if not (run / name).exists()]
    if not missing:
        return
    if not any((run / name).is_file() for name in ("stages.json", "frames.json")):
        raise InputError(f"{run}: not the folder of a run; expected one made by dd-sfm reconstruct")
    raise InputError(
        f"{run}: the run is not finished: {', '.join(missing)} missing. Repeat dd-sfm reconstruct to go on with it"
    )


def read_frame_records(run: Path) -> tuple[FrameRecord, ...]:
    """The frames that a run looked at, by their number; those it left out as well.

    Raises:
        InputError: If frames.json is missing or damaged.
    """
    path = run / "frames.json"
    try:
        records = [_frame_record(record) for record in json.loads(path.read_text())["frames"]]
    except READ_ERRORS as error:
        raise _damaged(path, error) from error
    return tuple(sorted(records, key=lambda record: record.index))


def _frame_record(record: Mapping[str, Any]) -> FrameRecord:
    # Older versions knew neither sharpness nor the file that a frame is from.
    return FrameRecord(
        index=int(record["index"]),
        time_s=float(record["time_s"]),
        sharpness=float(record.get("sharpness", 0.0)),
        kept=bool(record["kept"]),
        reason=str(record.get("reason", "")),
        source=str(record.get("source", "")),
    )


def read_metrics(run: Path) -> dict[str, Any]:
    """The figures of a run.

    Raises:
        InputError: If metrics.json is missing or damaged.
    """
    path = run / "metrics.json"
    try:
        return dict(json.loads(path.read_text()))
    except READ_ERRORS as error:
        raise _damaged(path, error) from error


def read_config(run: Path) -> Config:
    """The configuration that a run was made with.

    Settings that this version does not know, in a run of another one, are left out; those that the run does not
    state have their default.

    Raises:
        InputError: If config.yaml is missing or damaged.
        ConfigError: If a setting has a value that this version does not know.
    """
    path = run / "config.yaml"
    try:
        values = _known(Config, dict(yaml.safe_load(path.read_text())))
    except (*READ_ERRORS, yaml.YAMLError) as error:
        raise _damaged(path, error) from error
    return build_config(Config, values, where=str(path))


def _known(cls: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values whose keys are fields of a dataclass, and likewise in its sections."""
    kinds = get_type_hints(cls)
    return {
        key: _known(kinds[key], value) if dataclasses.is_dataclass(kinds[key]) and isinstance(value, Mapping) else value
        for key, value in values.items()
        if key in kinds
    }


def _damaged(path: Path, error: Exception) -> InputError:
    found = "not found" if isinstance(error, FileNotFoundError) else f"damaged ({' '.join(str(error).split())})"
    return InputError(f"{path}: {found}; expected what dd-sfm reconstruct wrote. Repeat the run")
