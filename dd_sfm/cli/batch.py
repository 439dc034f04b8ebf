"""dd-sfm batch."""

import hashlib
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.console import make_progress, make_say
from dd_sfm.cli.expand_options import expand_options
from dd_sfm.cli.reconstruct import ReconstructOptions
from dd_sfm.errors import OutputError, ReconstructionError, UsageError, stoppable

if TYPE_CHECKING:
    from dd_sfm.batch.engine import Engine
    from dd_sfm.batch.inputs import Inputs
    from dd_sfm.batch.storage import Store
    from dd_sfm.batch.task import VideoTask

BATCH = "Batch"
MOST_FAULTS = 20
"""Faults of a manifest are told up to this many."""


@dataclass(frozen=True)
class BatchOptions:
    """What videos may use, and where they are worked on."""

    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Videos at once. Without it: as many as cores and memory allow. 1 needs no Dask.",
            rich_help_panel=BATCH,
            show_default=False,
        ),
    ] = None
    cores_per_video: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of a video.", rich_help_panel=BATCH, show_default=False)
    ] = None
    memory_gb_per_video: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="Memory that a video takes: without it 2 GB at preview, 3 at standard, 4 at extreme quality.",
            rich_help_panel=BATCH,
            show_default=False,
        ),
    ] = None
    gpu_per_video: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=16,
            help="GPUs of a video, 0.5 where two share one, 0 for none. Without it: 1 where this machine has any.",
            rich_help_panel=BATCH,
            show_default=False,
        ),
    ] = None
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            metavar="MINUTES",
            help="End a video that takes longer, as failed.",
            rich_help_panel=BATCH,
            show_default=False,
        ),
    ] = None
    address: Annotated[
        str | None,
        typer.Option(help="Scheduler of a Dask cluster: tcp://host:8786.", rich_help_panel=BATCH, show_default=False),
    ] = None
    scratch: Annotated[
        Path | None,
        typer.Option(
            help="Folder on each machine for copies of what URLs hold.", rich_help_panel=BATCH, show_default=False
        ),
    ] = None


@expand_options
def batch(
    *,
    manifest: Annotated[
        str,
        typer.Argument(metavar="MANIFEST", help="YAML or CSV file, or a folder of videos.", show_default=False),
    ],
    out: Annotated[
        str, typer.Option("--output", "-o", help="Folder or URL to write to, a folder a video.", show_default=False)
    ],
    batch_options: BatchOptions,
    options: ReconstructOptions,
    configuration: o.ConfigOptions,
    overwrite: o.Overwrite = False,
    messages: o.MessageOptions,
) -> None:
    """Reconstruct many videos, several at once, on this machine or a cluster.

    Options of reconstruct are for all videos that have not their own in MANIFEST. Repeat the command to do what is
    missing or failed.

    Example: dd-sfm batch videos/ -o runs/study --quality preview

    Writes OUT/NAME, a run folder a video, and OUT/batch.html and OUT/batch.json.
    """
    from dd_sfm.batch.manifest import ManifestError, read_manifest
    from dd_sfm.batch.storage import Store, absolute, without_secrets
    from dd_sfm.cli.batch_options import given, read_videos

    store, say = Store(absolute(out, str(Path.cwd()))), make_say(messages.quiet)
    shown = without_secrets(manifest)
    try:
        found = read_manifest(manifest, store.location)
    except ManifestError as error:
        raise _faults(error.lines, shown) from error
    for note in found.notes:
        say(f"note: {note}")
    videos, faults = read_videos(found, given(options, configuration))
    need_gb = max((_memory_gb(video.quality) for video in videos), default=0.0)
    need_gb = batch_options.memory_gb_per_video or need_gb
    call = uuid.uuid4().hex
    tasks = [
        video.task(
            store.location,
            timeout_s=None if batch_options.timeout is None else 60 * batch_options.timeout,
            scratch=None if batch_options.scratch is None else str(batch_options.scratch.absolute()),
            batch=hashlib.sha256(store.location.encode(errors="surrogatepass")).hexdigest()[:12],
            call=call,
            overwrite=overwrite,
        )
        for video in videos
    ]
    entries = {video.entry.name: video.entry for video in videos}

    def where(name: str, option: str) -> str:
        is_common = option in found.places and option not in entries[name].options
        return found.places[option] if is_common else entries[name].place(option)

    inputs = _look_at(tasks, where, [*found.faults, *faults], shown)
    with _writing_to(store):
        _do(tasks, inputs, store, shown, batch_options, need_gb, quiet=messages.quiet)


def _memory_gb(quality: str) -> float:
    from dd_sfm.batch.resources import MEMORY_GB

    return MEMORY_GB[quality]


def _look_at(
    tasks: "Sequence[VideoTask]", where: Callable[[str, str], str], faults: list[str], manifest: str
) -> "Inputs":
    """What the videos are made from; see :func:`dd_sfm.batch.inputs.look_at`.

    Raises:
        UsageError: If anything is wrong with the manifest; each fault is a line.
    """
    from dd_sfm.batch.inputs import look_at

    inputs = look_at(tasks, where)
    faults = list(dict.fromkeys([*faults, *inputs.faults]))
    if faults:
        raise _faults(faults, manifest)
    return inputs


def _faults(faults: Sequence[str], manifest: str) -> UsageError:
    """The error for faults of a manifest; where they are several, they are printed, a line each."""
    if len(faults) == 1:
        return UsageError(faults[0])
    for fault in faults[:MOST_FAULTS]:
        print(f"dd-sfm: {fault}", file=sys.stderr)
    named = min(len(faults), MOST_FAULTS)
    return UsageError(f"{manifest}: {len(faults)} faults, of which {named} are named above; nothing was started")


@contextmanager
def _writing_to(store: "Store") -> Iterator[None]:
    """Hold the folder of a batch, made where it is missing; of a URL nothing can be held.

    Raises:
        OutputError: If it is a file or a run, cannot be written, or another batch writes to it.
    """
    from dd_sfm.batch.storage import FIRST_UPLOADED, is_url
    from dd_sfm.io.atomic import make_folder
    from dd_sfm.io.lock import locked

    if is_url(store.location):
        yield
        return
    out = Path(store.location)
    if (out / FIRST_UPLOADED).is_file():
        raise OutputError(f"{out}: is the folder of a run; expected one for a batch. Choose another with -o")
    make_folder(out)
    with locked(out):
        yield


def _do(
    tasks: "Sequence[VideoTask]",
    inputs: "Inputs",
    store: "Store",
    manifest: str,
    options: BatchOptions,
    memory_gb: float,
    *,
    quiet: bool,
) -> None:
    """Do what is left of a batch.

    Raises:
        ReconstructionError: If a video failed.
        StoppedError: If the user stops it.
    """
    from dd_sfm.batch.names import PAGE
    from dd_sfm.batch.record import BatchRecord, read_record
    from dd_sfm.batch.schedule import do_all
    from dd_sfm.batch.storage import inside

    say = make_say(quiet)
    record = BatchRecord(store, manifest, {task.name: None for task in tasks})
    record.skip(read_record(store), tasks, inputs.known)
    left = inputs.largest_first(record.left(tasks))
    if record.count("skipped"):
        say(f"{record.count('skipped')} of {len(tasks)} done before")
    stopped = f"{store.shown}: stopped; videos that are done are kept. Repeat the command to go on"
    with stoppable(lambda: stopped, resumes=True), ExitStack() as stack:
        if left:
            engine, left = _engine(left, options, memory_gb)
            stack.callback(engine.close)
            progress = make_progress(quiet)
            do_all(left, engine, record, inputs.known, say, progress)
        else:
            record.save()
    failed = record.count("failed")
    page = inside(store.shown, PAGE)
    if failed:
        raise ReconstructionError(
            f"{store.shown}: {failed} of {len(tasks)} videos failed; {page} says why. Repeat the command to try them "
            "again"
        )
    say(f"written: {page} ({len(tasks)} videos)")


def _engine(tasks: "Sequence[VideoTask]", options: BatchOptions, memory_gb: float) -> "tuple[Engine, list[VideoTask]]":
    """What does the videos, and the videos with what each may use."""
    from dd_sfm.batch.engine import Engine, SerialEngine
    from dd_sfm.batch.resources import Need, share_out, this_machine

    engine: Engine
    if options.address is not None:
        from dd_sfm.batch.dask_engine import cluster_engine

        need = Need(options.cores_per_video or 1, memory_gb, options.gpu_per_video or 0.0)
        engine = cluster_engine(options.address, need, workers=options.workers)
    else:
        machine = this_machine()
        count, need = share_out(
            machine,
            len(tasks),
            memory_gb=memory_gb,
            workers=options.workers,
            cores=options.cores_per_video,
            gpus=options.gpu_per_video,
        )
        if count == 1 and (options.workers == 1 or len(tasks) == 1):
            engine = SerialEngine()
        else:
            from dd_sfm.batch.dask_engine import local_engine

            engine = local_engine(count, need, machine)
    asking = [task.name for task in tasks if "--device=cuda" in task.arguments]
    if asking and not need.gpus:
        engine.close()
        raise UsageError(f"'{asking[0]}' has device: cuda, and no GPU is for videos; expected --gpu-per-video 1")
    return engine, [replace(task, threads=need.cores, gpu=need.gpus > 0) for task in tasks]
