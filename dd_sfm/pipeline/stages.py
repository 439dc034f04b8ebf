"""Which stages of a run are finished, and whether what they made still holds."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dd_sfm.config import Config, dump_config
from dd_sfm.errors import OutputError
from dd_sfm.io import run_folder
from dd_sfm.io.atomic import make_folder, output_error
from dd_sfm.io.calibration import calibration_file
from dd_sfm.io.checksums import seal
from dd_sfm.io.edited_masks import put_aside
from dd_sfm.io.image_folder import frame_files
from dd_sfm.io.images import has_image_suffix
from dd_sfm.io.run_folder import StoredStages, read_stages, write_stages
from dd_sfm.io.run_layout import OWN_FILES, check_stage_folders, is_empty, is_run, remove_own
from dd_sfm.io.several_sources import source_paths

FORMAT = 1
"""Counted up when what a stage writes can no longer be read by the next one: all runs are then done anew."""
KEY_FILES = {
    "frames": run_folder.FRAMES,
    "describe": run_folder.GRID,
    "match": run_folder.TRACKS,
    "map": run_folder.POSES,
    "densify": run_folder.POINTS,
}
"""By stage the file that the next one starts from."""
STAGES = tuple(KEY_FILES)
LATER_KEYS = ("calibration_crop", "crop", "stereo")
"""Settings of frames that came later: unset, they leave the fingerprints of older runs as they are."""


def fingerprint(*parts: Any) -> str:
    """A short hash of anything that JSON can hold."""
    text = json.dumps([FORMAT, *parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_identity(path: Path) -> list[Any]:
    """What tells a file, or the frames in a folder, from others without reading them: path, size, time of change."""
    files = sorted(frame_files(path)) if path.is_dir() else [path]
    return [[str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns] for f in files if f.is_file()]


def _calibration_identity(text: str) -> str:
    """A hash of a calibration's file, with the camera in it that was asked for; numbers as they are."""
    file = calibration_file(text)
    if file is None:
        return text
    path, camera = file
    return hashlib.sha256(path.read_bytes()).hexdigest() + (f"#{camera}" if camera else "")


def _mask_identity(mask: Path) -> Any:
    """A hash of a mask's content; of a folder's masks with their names."""
    if not mask.is_dir():
        return hashlib.sha256(mask.read_bytes()).hexdigest()
    files = sorted(path for path in mask.iterdir() if path.is_file() and has_image_suffix(path))
    return [[path.name, hashlib.sha256(path.read_bytes()).hexdigest()] for path in files]


def stage_fingerprints(
    config: Config,
    source: Path | Sequence[Path],
    calibration: str | None,
    mask: Path | None,
    method_inputs: Mapping[str, Any],
    edited: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The fingerprint of every stage: its settings and inputs, and the fingerprint of the stage before.

    Args:
        config: The configuration.
        source: What the run is made from, or several.
        calibration: As the user gave it; of a file the content counts.
        mask: The user's mask or folder of masks, of which the content counts.
        method_inputs: What the later stages depend on, from the feature method.
        edited: Masks of the run that the user has edited, from :func:`dd_sfm.io.edited_masks.edited_masks`.
    """
    settings = dump_config(config)
    frames = [
        file_identity(source) if isinstance(source, Path) else [file_identity(path) for path in source],
        None if calibration is None else _calibration_identity(calibration),
        _mask_identity(mask) if mask else None,
        _frame_inputs(settings["frames"]),
        {key: value for key, value in settings["masks"].items() if key != "instruments"},
        _camera_inputs(config, calibration),
        settings["describe"]["working_height_px"],
    ]
    inputs = {"frames": frames, **method_inputs}
    if edited:
        # Only then, so that what finished runs have stored still holds.
        inputs["describe"] = [inputs["describe"], dict(edited)]
    assert set(inputs) == set(STAGES), f"inputs of {sorted(inputs)}; a method states those of {STAGES[1:]}"
    result, before = {}, ""
    for stage in STAGES:
        before = result[stage] = fingerprint(stage, inputs[stage], before)
    return result


def _without_unset(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a section without those that an older version did not have, as long as they are not set."""
    return {key: value for key, value in settings.items() if value is not None or key not in LATER_KEYS}


def _frame_inputs(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by which frames are chosen; of key frames only where they are."""
    has_keys = settings["every"] == "auto"
    return _without_unset({key: value for key, value in settings.items() if has_keys or key != "key_motion_px"})


def _camera_inputs(config: Config, calibration: str | None) -> dict[str, Any]:
    """What the camera depends on; with a calibration under the names of the first version, so that old runs hold."""
    settings = _without_unset(dump_config(config)["camera"])
    if calibration is not None:
        return {key: value for key, value in settings.items() if key not in ("estimate", "lens")}
    mapped = {"deterministic": True} if config.camera.estimate and config.runtime.deterministic else {}
    return {**settings, "estimate_version": 2, "seed": config.runtime.seed, **mapped}


@dataclass
class StageRecord:
    """The record of a run folder: fingerprint and seconds of each stage, and whether it is finished.

    Args:
        out: The run folder.
        stages: Read from ``stages.json``.
        source: Path of what the run was made from; "" for a new run.
    """

    out: Path
    stages: dict[str, dict[str, Any]]
    source: str = ""

    @classmethod
    def open(cls, out: Path, *, overwrite: bool) -> "StageRecord":
        """Open a run folder, or make a new one.

        Raises:
            OutputError: If the folder holds something else, or cannot be written.
        """
        make_run_folder(out)
        stored = read_stages(out, STAGES)
        record = cls(out, stored.stages, stored.source)
        if overwrite:
            record.source = ""
            record.clear_from(STAGES[0], start_over=True)
            for name in OWN_FILES:
                # The record has just been emptied; without it the folder would not be known as a run's.
                _remove(out / name) if name != run_folder.STAGES else None
        record._write()
        return record

    def claim(self, source: Path | Sequence[Path]) -> None:
        """Enter what the run is made from.

        Raises:
            OutputError: If the folder holds a run of something else.
        """
        found = " and ".join(str(path.resolve()) for path in source_paths(source))
        if self.source and self.source != found:
            raise OutputError(
                f"{self.out}: holds a run of {self.source}; expected a new folder, or --overwrite to replace that run"
            )
        self.source = found
        self._write()

    def is_done(self, stage: str, expected: str) -> bool:
        """Whether a stage is finished with this fingerprint, and what it made was not deleted.

        Of descriptors only the record is asked: they may be deleted (:meth:`has_files`), and SIFT has none.
        """
        entry = self.stages.get(stage, {})
        is_kept = entry.get("fingerprint") == expected and bool(entry.get("done"))
        return is_kept and (stage == "describe" or self.has_files(stage))

    def is_replaced(self, stage: str, expected: str) -> bool:
        """Whether a stage is finished with other settings or inputs."""
        entry = self.stages.get(stage, {})
        return bool(entry.get("done")) and entry.get("fingerprint") != expected

    def has_files(self, stage: str) -> bool:
        """Whether the file that the next stage starts from is there."""
        return (self.out / KEY_FILES[stage]).is_file()

    def begin(self, stage: str, expected: str) -> None:
        """Start a stage: what an earlier run with other settings made is removed, a broken-off one goes on.

        Raises:
            OutputError: If it would write to where a link leads, or the folder cannot be written.
        """
        made_anew = self.stages.get(stage, {}).get("fingerprint") != expected
        # Before anything is removed: where the stage cannot be done, what is there stays.
        check_stage_folders(self.out, stage, made_anew=made_anew)
        self.clear_from(*STAGES[STAGES.index(stage) + (not made_anew) :][:1])
        self.stages[stage] = {"fingerprint": expected, "done": False, "seconds": self.seconds(stage)}
        self._write()

    def finish(self, stage: str, seconds: float) -> None:
        """Enter a stage as done, once its files are on the disk; the time of broken-off tries counts too."""
        seal(self.out, stage)
        self.stages[stage]["done"] = True
        self.break_off(stage, seconds)

    def reopen(self, stage: str) -> None:
        """Enter a finished stage as one that is not: what it made is no longer whole."""
        self.stages[stage]["done"] = False
        self._write()

    def break_off(self, stage: str, seconds: float) -> None:
        """Enter the time of a try that came to no end: the next one may go on from it."""
        entry = self.stages[stage]
        entry["seconds"] = round(entry["seconds"] + seconds, 2)
        self._write()

    def seconds(self, stage: str) -> float:
        """Seconds spent on a stage so far."""
        return float(self.stages.get(stage, {}).get("seconds", 0.0))

    def clear_from(self, *first: str, start_over: bool = False) -> None:
        """Remove what a stage and all later ones made; masks that the user has edited are put aside.

        The record goes first: killed on the way, it must not call done what is no longer there.
        """
        stages = STAGES[STAGES.index(first[0]) :] if first else ()
        if STAGES[0] in stages:
            put_aside(self.out, start_over=start_over)
        for stage in stages:
            self.stages.pop(stage, None)
        self._write()
        for stage in stages:
            try:
                remove_own(self.out, stage)
            except OSError as error:
                raise output_error(Path(error.filename or self.out), error) from error

    def _write(self) -> None:
        write_stages(self.out, StoredStages(self.source, self.stages))


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise output_error(path, error) from error


def make_run_folder(out: Path) -> None:
    """Make a run folder, unless there is one.

    Raises:
        OutputError: If it holds something else, or cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file; expected a folder to write the run to")
    if out.is_dir() and not is_run(out) and not is_empty(out):
        raise OutputError(f"{out}: holds files that are not of a dd-sfm run; choose an empty or new folder")
    make_folder(out)
