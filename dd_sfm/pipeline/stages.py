"""Which stages of a run are finished, and whether what they made still holds."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dd_sfm.errors import OutputError
from dd_sfm.io.atomic import output_error, write_json
from dd_sfm.io.run_layout import OWN_FILES, is_empty, remove_own

FORMAT = 1
KEY_FILES = {
    "frames": "frames.json",
    "describe": "descriptors/grid.json",
    "match": "tracks.npz",
    "map": "map.json",
    "densify": "densify.json",
}
"""By stage the file that the next one starts from."""
STAGES = tuple(KEY_FILES)


def fingerprint(*parts: Any) -> str:
    """A short hash of anything that JSON can hold."""
    text = json.dumps([FORMAT, *parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_identity(path: Path) -> list[Any]:
    """What tells a file or folder from another without reading it: path, size, time of change."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [[str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns] for f in files if f.is_file()]


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
        make_folder(out)
        path = out / "stages.json"
        record = cls(out, *(_read_stages(path) if path.exists() else ({}, "")))
        if overwrite:
            record.source = ""
            record.clear_from(STAGES[0])
            for name in OWN_FILES:
                # The record has just been emptied; without it the folder would not be known as a run's.
                (out / name).unlink(missing_ok=True) if name != path.name else None
        record._write()
        return record

    def claim(self, source: Path) -> None:
        """Enter what the run is made from.

        Raises:
            OutputError: If the folder holds a run of something else.
        """
        found = str(source.resolve())
        if self.source and self.source != found:
            raise OutputError(
                f"{self.out}: holds a run of {self.source}; expected a new folder, or --overwrite to replace that run"
            )
        self.source = found
        self._write()

    def is_done(self, stage: str, mark: str) -> bool:
        """Whether a stage is finished with this fingerprint, and what it made was not deleted.

        Of descriptors only the record is asked: they may be deleted (:meth:`has_files`), and SIFT has none.
        """
        entry = self.stages.get(stage, {})
        is_kept = entry.get("fingerprint") == mark and bool(entry.get("done"))
        return is_kept and (stage == "describe" or self.has_files(stage))

    def has_files(self, stage: str) -> bool:
        """Whether the file that the next stage starts from is there."""
        return (self.out / KEY_FILES[stage]).is_file()

    def begin(self, stage: str, mark: str) -> None:
        """Start a stage: what an earlier run with other settings made is removed, a broken-off one goes on."""
        if self.stages.get(stage, {}).get("fingerprint") != mark:
            self.clear_from(stage)
        else:
            self.clear_from(*STAGES[STAGES.index(stage) + 1 :][:1])
        self.stages[stage] = {"fingerprint": mark, "done": False, "seconds": self.seconds(stage)}
        self._write()

    def finish(self, stage: str, seconds: float) -> None:
        """Enter a stage as done; the time of broken-off tries counts too."""
        self.stages[stage]["done"] = True
        self.break_off(stage, seconds)

    def break_off(self, stage: str, seconds: float) -> None:
        """Enter the time of a try that came to no end: the next one may go on from it."""
        entry = self.stages[stage]
        entry["seconds"] = round(entry["seconds"] + seconds, 2)
        self._write()

    def seconds(self, stage: str) -> float:
        """Seconds spent on a stage so far."""
        return float(self.stages.get(stage, {}).get("seconds", 0.0))

    def clear_from(self, *first: str) -> None:
        """Remove what a stage and all later ones made.

        The record goes first: killed on the way, it must not call done what is no longer there.
        """
        stages = STAGES[STAGES.index(first[0]) :] if first else ()
        for stage in stages:
            self.stages.pop(stage, None)
        self._write()
        for stage in stages:
            try:
                remove_own(self.out, stage)
            except OSError as error:
                raise output_error(Path(error.filename or self.out), error) from error

    def _write(self) -> None:
        write_json(self.out / "stages.json", {"format": FORMAT, "source": self.source, "stages": self.stages})


def make_folder(out: Path) -> None:
    """Make a run folder, unless there is one.

    Raises:
        OutputError: If it holds something else, or cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file; expected a folder to write the run to")
    if out.is_dir() and not (out / "stages.json").exists() and not is_empty(out):
        raise OutputError(f"{out}: holds files that are not of a dd-sfm run; choose an empty or new folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(out, error) from error


def _read_stages(path: Path) -> tuple[dict[str, dict[str, Any]], str]:
    try:
        content = json.loads(path.read_text())
        stages = content["stages"]
        return {name: dict(stages[name]) for name in stages if name in STAGES}, str(content.get("source", ""))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{path}: damaged ({error}); remove it together with the run, or choose a new folder"
        ) from error
