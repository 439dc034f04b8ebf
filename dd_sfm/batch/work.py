"""What a worker does for a video: fetch, run the command in a process of its own, read figures, deliver."""

import os
import platform
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dd_sfm.batch.process import is_stopped, run_process
from dd_sfm.batch.storage import fetch, is_url, remove, scratch_folder, upload, without_secrets
from dd_sfm.batch.task import RESULTS, RUNS_OF_COMPARISON, Command, Ending, Input, Outcome, VideoTask
from dd_sfm.documents import read_json
from dd_sfm.errors import DDSfMError, reason_of
from dd_sfm.io.atomic import FULL, output_error
from dd_sfm.io.links import check_is_no_link
from dd_sfm.io.shortage import shortage

PROCESS = ("-m", "dd_sfm.cli.video_process")
"""How Python starts the process of a video: by its name, as the command line lies above this room."""

TEMPORARY = "/tmp"
"""Where temporary files lie, as a rule; asking Python for it fails where there is no room for one."""


def do_video(task: VideoTask) -> Outcome:
    """Do what a task asks for. Never raises for what can go wrong with a video: the outcome says it."""
    started = time.monotonic()
    scratch = None
    try:
        needs_scratch = is_url(task.out) or any(is_url(one.location) for one in task.inputs)
        root = Path(task.scratch) if task.scratch else None
        scratch = scratch_folder(root, task.batch, task.name) if needs_scratch else None
        outcome = _work(task, scratch)
    except DDSfMError as error:
        outcome = Outcome(Ending.FAILED, " ".join(str(error).split()))
    except OSError as error:
        outcome = Outcome(Ending.FAILED, _of_system(error, task, scratch))
    if scratch is not None and outcome.ending in (Ending.DONE, Ending.FAILED):
        # What was stopped or killed goes on from there.
        remove(scratch)
    return Outcome(
        outcome.ending,
        without_secrets(outcome.error),
        outcome.metrics,
        outcome.degradations,
        outcome.picture,
        round(time.monotonic() - started, 2),
        platform.node(),
    )


def _of_system(error: OSError, task: VideoTask, scratch: Path | None) -> str:
    """What an error of the system means for a video: an input that cannot be read, an output, or want of room."""
    temporary = tempfile.tempdir or TEMPORARY
    where = Path(os.fsdecode(error.filename) if error.filename else temporary)
    if error.errno in FULL or shortage(error, str(where)) is not None:
        return str(output_error(where, error))
    is_input = any(where.is_relative_to(one.location) for one in task.inputs)
    written = [folder for folder in (task.out, scratch, temporary) if folder is not None]
    if not is_input and any(where.is_relative_to(folder) for folder in written):
        return str(output_error(where, error))
    return f"{where}: cannot be used ({reason_of(error)}); expected what can be read, and stays while the batch works"


def _work(task: VideoTask, scratch: Path | None) -> Outcome:
    is_remote = scratch is not None and is_url(task.out)
    out = scratch / "run" if is_remote and scratch is not None else Path(task.out)
    check_is_no_link(out.parent, out)
    paths = [_local(one, scratch, number) for number, one in enumerate(task.inputs)]
    if is_stopped(task.call):
        return Outcome(Ending.STOPPED, "stopped")
    with tempfile.TemporaryDirectory(prefix="dd-sfm-") as temporary:
        picture = Path(temporary) / "picture.jpg"
        words = [*PROCESS, str(os.getpid()), str(picture), *_command_line(task, paths, out)]
        environment = {"OMP_NUM_THREADS": str(task.threads), "PYTHONUNBUFFERED": "1"}
        if not task.gpu:
            environment["CUDA_VISIBLE_DEVICES"] = ""
        elif task.visible_gpus is not None:
            environment["CUDA_VISIBLE_DEVICES"] = task.visible_gpus
        ended = run_process(words, environment, call=task.call, timeout_s=task.timeout_s)
        drawn = picture.read_bytes() if picture.is_file() else b""
    if ended.ending is not Ending.DONE:
        return Outcome(ended.ending, _with_urls(ended.error, task, paths), picture=drawn)
    metrics, degradations = read_figures(out, task.command)
    if is_remote:
        upload(out, task.out)
    return Outcome(Ending.DONE, "", metrics, degradations, drawn)


def _local(one: Input, scratch: Path | None, number: int) -> str:
    """The path of an input on this machine."""
    if scratch is None or not is_url(one.location):
        return one.location + one.part
    # Each has a folder of its own, as two sources may have one name.
    return str(fetch(one.location, scratch / "inputs" / str(number))) + one.part


def _with_urls(text: str, task: VideoTask, paths: list[str]) -> str:
    """A message with the locations that the user knows in place of those of copies."""
    for one, path in zip(task.inputs, paths, strict=True):
        text = text.replace(path, one.location + one.part)
    return text


def _command_line(task: VideoTask, paths: list[str], out: Path) -> list[str]:
    options = [f"--{one.option}={path}" for one, path in zip(task.inputs, paths, strict=True) if one.option]
    sources = [path for one, path in zip(task.inputs, paths, strict=True) if not one.option]
    return [
        task.command.value,
        f"--output={out}",
        # Before the options of the user, which win.
        f"--set=runtime.threads={task.threads}",
        *options,
        *task.arguments,
        *(["--overwrite"] if task.overwrite else []),
        "--quiet",
        "--",
        *sources,
    ]


def read_figures(out: Path, command: Command) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The figures of a finished run and what went less well in it; of a comparison those of its runs by name."""
    if command is Command.COMPARE:
        runs = {name: _json(out / name / RESULTS[Command.RECONSTRUCT]) for name in RUNS_OF_COMPARISON}
        figures: dict[str, Any] = {name: found for name, found in runs.items() if found}
        verdict = _json(out / RESULTS[command]).get("verdict")
        figures |= {"verdict": verdict} if verdict else {}
        return figures, _texts(figures.get("learned", {}).get("degradations"))
    if command is Command.RECONSTRUCT:
        metrics = _json(out / RESULTS[command])
        return metrics, _texts(metrics.get("degradations"))
    frames = _json(out / RESULTS[Command.EXTRACT])
    records = frames.get("frames", [])
    kept = sum(bool(record.get("kept")) for record in records)
    notes = [note.get("text") for note in frames.get("notes", []) if isinstance(note, Mapping)]
    return {"frames_total": frames.get("frames_in_source"), "frames_used": kept}, _texts(notes)


def _texts(found: Any) -> tuple[str, ...]:
    return tuple(map(str, found)) if isinstance(found, list) else ()


def _json(path: Path) -> dict[str, Any]:
    """The content of a file; empty where there is none that can be read."""
    try:
        return dict(read_json(path))
    except (OSError, ValueError, TypeError):
        return {}
