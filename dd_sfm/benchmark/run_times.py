"""Where the time of finished runs went, and how it grows with the number of frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dd_sfm.documents import finite, whole
from dd_sfm.errors import InputError, one_line, reason_of
from dd_sfm.io.run_folder import read_metrics

TOTAL = "total"


@dataclass(frozen=True)
class RunTimes:
    """Seconds of every stage of a run, and of all of them as ``total``; ``frames``: how many it used."""

    name: str
    frames: int
    seconds: dict[str, float]

    @property
    def stages(self) -> dict[str, float]:
        """The stages alone, in their order."""
        return {stage: value for stage, value in self.seconds.items() if stage != TOTAL}


def read_run_times(runs: Sequence[Path]) -> list[RunTimes]:
    """Read ``metrics.json`` of runs.

    Raises:
        InputError: If a folder is not that of a finished run.
    """
    found = []
    for run in runs:
        if not run.is_dir():
            raise InputError(f"{run}: not found; expected the folder of a finished run")
        metrics = read_metrics(run)
        try:
            seconds = {str(stage): finite(value) for stage, value in metrics["seconds"].items()}
            found.append(RunTimes(one_line(run), max(1, whole(metrics["frames_used"])), seconds))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{run / 'metrics.json'}: no seconds of its stages ({reason_of(error)}); expected what dd-sfm "
                "reconstruct writes"
            ) from error
    return found


def exponents(runs: Sequence[RunTimes]) -> dict[str, float]:
    """The exponent p of every stage in seconds ~ frames^p, by least squares of the logarithms.

    Stages that not all runs have, or that took no time, are left out; nothing is found from runs that all have the
    same number of frames.
    """
    frames = np.log([run.frames for run in runs])
    if not len(runs) or np.ptp(frames) == 0:
        return {}
    found = {}
    for stage in runs[0].seconds:
        seconds = [run.seconds.get(stage, 0.0) for run in runs]
        if min(seconds) > 0:
            found[stage] = float(np.polyfit(frames, np.log(seconds), 1)[0])
    return found


def run_times_json(runs: Sequence[RunTimes]) -> dict[str, Any]:
    """The same as JSON."""
    rows = [{"run": run.name, "frames": run.frames, "seconds": run.seconds} for run in runs]
    return {"runs": rows, "exponents": {stage: round(value, 3) for stage, value in exponents(runs).items()}}


def run_times_table(runs: Sequence[RunTimes]) -> list[str]:
    """Aligned lines: a run each, and the exponents where they are known."""
    stages = list(dict.fromkeys(stage for run in runs for stage in run.seconds))
    rows = [["", "frames", *stages]]
    for run in runs:
        rows.append([run.name, str(run.frames), *(_seconds(run.seconds.get(stage)) for stage in stages)])
    found = exponents(runs)
    if found:
        rows.append(["exponent of frames", "", *(f"{found[s]:.2f}" if s in found else "" for s in stages)])
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  ".join(cell.rjust(w) if k else cell.ljust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
