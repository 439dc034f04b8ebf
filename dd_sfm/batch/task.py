"""What is sent to a worker for a video, and what comes back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Command(StrEnum):
    """What is done with a video."""

    RECONSTRUCT = "reconstruct"
    COMPARE = "compare"
    EXTRACT = "extract"
    MATCH = "match"
    MAP = "map"


RESULTS = {
    Command.RECONSTRUCT: "metrics.json",
    Command.COMPARE: "report.json",
    Command.EXTRACT: "frames.json",
    Command.MATCH: "tracks.npz",
    Command.MAP: "map.json",
}
"""By command the file that it writes last."""
RUNS_OF_COMPARISON = ("learned", "sift", "sift_default")


@dataclass(frozen=True)
class Input:
    """A file or folder that a command reads: its option, "" for a source, and its path or URL.

    ``part``: what follows the path, as the name of a camera in a calibration of several.
    """

    option: str
    location: str
    part: str = ""


@dataclass(frozen=True)
class VideoTask:
    """A video, what is done with it, and what it may use.

    Args:
        name: Of the video and its folder.
        command: What is done.
        inputs: What it reads, sources among them.
        arguments: The command's other options as they are typed.
        out: Path or URL of its folder.
        threads: CPU threads.
        gpu: Whether it may use a GPU.
        visible_gpus: Which ones, as CUDA_VISIBLE_DEVICES has them; None: those of the worker.
        timeout_s: It is ended after so many seconds; None: never.
        scratch: Folder of the worker's machine for copies of what URLs hold; None: one below that of temporary files.
        batch: Tells the batch, by where it writes to, from others on the same machine.
        call: Tells this call from others, also of the same batch; :func:`dd_sfm.batch.process.stop_batch` takes it.
        overwrite: Whether it starts over.
    """

    name: str
    command: Command
    inputs: tuple[Input, ...]
    arguments: tuple[str, ...]
    out: str
    threads: int = 1
    gpu: bool = False
    visible_gpus: str | None = None
    timeout_s: float | None = None
    scratch: str | None = None
    batch: str = ""
    call: str = ""
    overwrite: bool = False


class Ending(StrEnum):
    """How the work on a video ended."""

    DONE = "done"
    FAILED = "failed"
    KILLED = "killed"
    """By the system, or together with its worker: it is tried once more."""
    STOPPED = "stopped"
    """By the user."""


@dataclass(frozen=True)
class Outcome:
    """How the work on a video ended, and what came of it.

    ``error``: one line, "" when it is done; ``metrics``: the figures of its run, of a comparison by the name of the
    run; ``degradations``: what went less well, in words; ``picture``: a JPEG, empty without one.
    """

    ending: Ending
    error: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    degradations: tuple[str, ...] = ()
    picture: bytes = b""
    seconds: float = 0.0
    machine: str = ""
