"""The runs of a comparison: the learned descriptor and SIFT on byte-identical frames and masks."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from dd_sfm.config import Config
from dd_sfm.errors import OutputError, ReconstructionError, stoppable
from dd_sfm.io.atomic import atomic_file, make_folder, output_error
from dd_sfm.io.edited_masks import edited_masks, mask_hash, note_taken, taken_masks
from dd_sfm.io.links import check_is_no_link, check_no_links
from dd_sfm.io.lock import LOCK, locked
from dd_sfm.io.run_layout import is_empty, is_run, own_files
from dd_sfm.pipeline.expected_time import expected_parts
from dd_sfm.pipeline.metrics import reset_memory_peaks
from dd_sfm.pipeline.run import check_request, count_frames, fingerprints, run, with_decisions
from dd_sfm.pipeline.stage_work import RunRequest
from dd_sfm.pipeline.stages import STAGES, StageRecord, make_run_folder
from dd_sfm.progress import OneOfSeveral, Part, Progress, begin_stage, plan_ahead

logger = logging.getLogger(__name__)

RUNS = ("learned", "sift", "sift_default")
REPORT, REPORT_S = "report", 15.0
"""What comes after the runs, and what it takes."""


@dataclass(frozen=True)
class CompareRequest:
    """What is compared.

    ``base``: source, calibration, mask and settings of all runs, with the comparison's folder as ``out``;
    ``sift``: how SIFT is set up; ``default_sift``: whether COLMAP's default settings run as well.
    """

    base: RunRequest
    sift: Literal["tuned", "strong"] = "tuned"
    default_sift: bool = True


@dataclass(frozen=True)
class Outcome:
    """A run of the comparison: its folder, and why it found no model ("" when it found one)."""

    name: str
    folder: Path
    failure: str


@contextmanager
def comparing(request: CompareRequest) -> Iterator[None]:
    """Be the only process that writes a comparison, its runs and its report.

    Raises:
        OutputError: If the folder holds something else, cannot be written, or another process writes to it.
        StoppedError: If the user stops it.
    """
    out = request.base.out
    check_folder(out)
    check_request(request.base)
    make_folder(out)
    stopped = f"{out}: stopped; finished stages are kept. Repeat the command to go on"
    with locked(out), stoppable(lambda: stopped, resumes=True):
        yield


def run_all(request: CompareRequest, progress: Progress, say: Callable[[str], None]) -> list[Outcome]:
    """Do the runs, or what is left of them.

    The frames are extracted once and linked into every run. A run that finds no model is an outcome, not an error.

    Args:
        request: What to compare.
        progress: Shows long stages.
        say: Given a line when a stage begins.

    Raises:
        OutputError: If the folder holds something else.
        ReconstructionError: If no run finds a model.
    """
    base = with_decisions(request.base)
    request = replace(request, base=base)
    check_folder(base.out)
    requests = {name: _request(request, name) for name in RUNS if name != "sift_default" or request.default_sift}
    learned = requests["learned"]
    plan_ahead(progress, _expected_parts(requests, count_frames(learned, "frames")))
    run(replace(learned, last="frames"), OneOfSeveral(progress, "all"), _prefixed(say, "all"))
    plan_ahead(progress, _expected_parts(requests, count_frames(learned, "describe")))
    outcomes = {}
    # SIFT first: it needs little memory, and so leaves the figure of the learned run alone.
    for name in reversed(requests):
        one = replace(requests[name], overwrite=base.overwrite and name != "learned")
        if name != "learned":
            _share_frames(learned, one)
            one = replace(one, overwrite=False)
        reset_memory_peaks()
        outcomes[name] = Outcome(name, one.out, _try_run(one, OneOfSeveral(progress, name), _prefixed(say, name)))
    if all(outcome.failure for outcome in outcomes.values()):
        raise ReconstructionError(
            f"{base.out}: no run found a model; the learned one failed: {outcomes['learned'].failure}"
        )
    begin_stage(progress, REPORT)
    return [outcomes[name] for name in requests]


def _expected_parts(requests: dict[str, RunRequest], frames: tuple[int, int | None]) -> list[Part]:
    """What the runs will take: the frames, unless it is known how many are used, once for all, then run by run."""
    chosen, used = frames
    left = [("all", requests["learned"], STAGES[:1])] if used is None else []
    left += [(name, requests[name], STAGES[1:]) for name in reversed(requests)]
    parts = [
        replace(part, stage=f"{name}: {part.stage}")
        for name, request, stages in left
        for part in expected_parts(request.config, stages, chosen, used, calibrated=bool(request.calibration))
    ]
    return [*parts, Part(REPORT, REPORT, REPORT_S)]


def check_folder(out: Path) -> None:
    """See that a folder is new, empty, or that of an earlier comparison.

    Raises:
        OutputError: If it is not, or a run in it is a link.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file; expected a folder to write the comparison to")
    for name in RUNS:
        check_is_no_link(out, out / name)
    if not out.is_dir() or _is_hardly_begun(out) or any(is_run(out / name) for name in RUNS):
        return
    what = "is the folder of a run" if is_run(out) else "holds files that are not of a comparison"
    raise OutputError(f"{out}: {what}; choose an empty or new folder with -o")


def _is_hardly_begun(out: Path) -> bool:
    """Whether a folder holds nothing but runs that were stopped before they had a record."""
    begun = {path.name for path in (out / name for name in RUNS) if path.is_dir() and is_empty(path)}
    return is_empty(out) or all(path.name in {*begun, LOCK} for path in out.iterdir())


def _request(request: CompareRequest, name: str) -> RunRequest:
    base = request.base
    config: Config = replace(base.config, features="learned" if name == "learned" else "sift")
    if name != "learned":
        preset = request.sift if name == "sift" else "default"
        config = replace(config, sift=replace(config.sift, preset=preset))
    return replace(base, out=base.out / name, config=config)


def _try_run(request: RunRequest, progress: Progress, say: Callable[[str], None]) -> str:
    """Run; the reason when no model was found, else an empty text."""
    try:
        run(request, progress, say)
    except ReconstructionError as error:
        say(f"no model: {error}")
        return " ".join(str(error).split())
    return ""


def _share_frames(source: RunRequest, target: RunRequest) -> None:
    """Put the frames of one run into another, as if they had been extracted there."""
    expected = fingerprints(target)["frames"]
    assert expected == fingerprints(source)["frames"], "the runs of a comparison differ in how they extract frames"
    make_run_folder(target.out)
    with locked(source.out), locked(target.out):
        record = StageRecord.open(target.out, overwrite=target.overwrite)
        if record.is_done("frames", expected):
            _share_edited_masks(source.out, target.out)
            return
        record.clear_from("frames")
        record.begin("frames", expected)
        try:
            for path in own_files(source.out, "frames"):
                _link(path, target.out / path.relative_to(source.out))
        except OSError as error:
            raise output_error(target.out, error) from error
        _share_edited_masks(source.out, target.out)
        record.finish("frames", StageRecord.open(source.out, overwrite=False).seconds("frames"))


def _share_edited_masks(source: Path, target: Path) -> None:
    """Give a run the masks that the user has edited in another one, also those edited again and those put back.

    Raises:
        OutputError: If the user has edited the same mask in both, or only in this one; or if its masks are a link.
    """
    edited = {name: content for name, content in edited_masks(source).items() if content}
    there, taken = edited_masks(target), taken_masks(target)
    given = []
    for name in sorted(edited.keys() | there.keys()):
        ours, theirs = source / "masks" / name, target / "masks" / name
        if not ours.exists() or mask_hash(ours) == there.get(name):
            continue
        # One that is missing there was lost, not edited.
        if there.get(name) and there[name] not in taken.get(name, ()):
            raise OutputError(
                f"{theirs}: is edited, and not as {ours}; expected the same masks in all runs. Edit that one"
            )
        given.append((ours, theirs))
    if given:
        check_no_links(target, ["masks"])
        # Noted before as well, so that what a killed process has given is not taken for the user's.
        before = {name: content for name, content in there.items() if content in taken.get(name, ())}
        note_taken(target, before, coming=edited)
    for ours, theirs in given:
        _link(ours, theirs)
    note_taken(target, edited)


def _link(source: Path, target: Path) -> None:
    """A hard link where the file system has them, else a copy; complete, or as it was before."""
    target.parent.mkdir(exist_ok=True)
    with atomic_file(target) as partial:
        # What a killed process has left may be a link to a file in use.
        partial.unlink(missing_ok=True)
        try:
            os.link(source, partial)
        except OSError:
            shutil.copyfile(source, partial)


def _prefixed(say: Callable[[str], None], name: str) -> Callable[[str], None]:
    return lambda text: say(f"{name}: {text}")
