"""A whole run: ordered stages, each skipped when what it made still holds."""

import logging
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import dd_sfm
from dd_sfm.config import Config, dump_config
from dd_sfm.errors import (
    DDSfMError,
    InputError,
    OutputError,
    ShortageError,
    StoppedError,
    interrupt_behind,
    one_line,
    stoppable,
)
from dd_sfm.features.given_poses import check_given
from dd_sfm.features.methods import feature_method
from dd_sfm.io.checksums import ASIDE, damaged, is_cache, lost, put_aside
from dd_sfm.io.edited_masks import check_edited, edited_masks
from dd_sfm.io.lock import locked
from dd_sfm.io.run_config import write_config
from dd_sfm.io.run_folder import REPORT, read_frames, read_matches, write_metrics
from dd_sfm.io.run_layout import is_own
from dd_sfm.io.several_sources import source_paths
from dd_sfm.io.shortage import full_disk, shortage
from dd_sfm.notes import Note, NoteCode
from dd_sfm.ops.compiled import using_threads
from dd_sfm.pipeline.coverage import is_covered, run_coverage
from dd_sfm.pipeline.expected_time import REPORT_S, expected_parts
from dd_sfm.pipeline.frame_selection import chosen_numbers
from dd_sfm.pipeline.frames import check_source, decide_every
from dd_sfm.pipeline.metrics import run_metrics, with_report
from dd_sfm.pipeline.run_log import logging_to
from dd_sfm.pipeline.source_part import open_sources
from dd_sfm.pipeline.stage_summary import camera_line, key_frames_line
from dd_sfm.pipeline.stage_work import STAGE_WORK, RunRequest, Work
from dd_sfm.pipeline.stages import STAGES, StageRecord, make_run_folder, stage_fingerprints
from dd_sfm.progress import Part, Progress, StagedProgress, begin_stage, elapsed, silent
from dd_sfm.runtime import cpu_threads, release_memory, resolve_device

logger = logging.getLogger(__name__)

READING_SOURCE = ("frames", "densify")
"""Stages that read the source; the last one where frames between key frames get poses."""


def check_request(request: RunRequest) -> torch.device:
    """Find out what cannot work before anything is written; returns the device.

    Raises:
        DDSfMError: Of the kind that fits.
    """
    sources = source_paths(request.source)
    for source in sources:
        if not source.exists():
            raise InputError(f"{source}: not found; expected a video file or a folder of images")
    if request.mask is not None and not request.mask.exists():
        raise InputError(
            f"--mask {request.mask}: not found; expected an image, or a folder of one a frame, 255 where usable"
        )
    for path in (*sources, request.mask):
        if path is not None and is_own(request.out, path):
            hint = ". Masks that are edited there are used without --mask" if path == request.mask else ""
            raise InputError(
                f"{path}: is written by the run in {request.out}; expected a folder beside it with -o{hint}"
            )
    feature_method(request.config.features).check(request.config)
    device = resolve_device(request.config.runtime)
    check_source(request.source, request.config, request.calibration, request.mask)
    return device


def with_decisions(request: RunRequest) -> RunRequest:
    """A request in which every setting is decided that depends on the source."""
    frames = decide_every(request.source, request.config.frames)
    return replace(request, config=replace(request.config, frames=frames))


def count_frames(request: RunRequest, stage: str) -> tuple[int, int | None]:
    """How many frames of the source are looked at and, unless this stage is to choose them, how many are used."""
    if stage == STAGES[0]:
        frames = request.config.frames
        return len(chosen_numbers(open_sources(request.source, frames), frames)), None
    extracted = read_frames(request.out)
    return len(extracted.records), len(extracted.kept)


def fingerprints(request: RunRequest) -> dict[str, str]:
    """The fingerprint of every stage of a run."""
    method = feature_method(request.config.features)
    inputs = method.stage_inputs(request.config)
    edited = edited_masks(request.out)
    return stage_fingerprints(request.config, request.source, request.calibration, request.mask, inputs, edited)


def run(
    request: RunRequest,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda _: None,
    report: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Do a run's stages, or what is left of them.

    Args:
        request: What to do.
        progress: Shows long stages.
        say: Given a line when a stage begins.
        report: Writes the page of the run, once it is finished; a failure is told, and is none of the run.

    Returns:
        The figures of ``metrics.json``; empty when the run stops before the last stage.

    Raises:
        StoppedError: If the user stops it; the log then says so, too.
    """
    began = time.monotonic() - elapsed(progress)
    stopped = f"{request.out}: stopped; finished stages are kept. Repeat the command to go on"
    with stoppable(lambda: stopped, resumes=True):
        device = check_request(request)
        request = with_decisions(request)
        expected = fingerprints(request)
        make_run_folder(request.out)
        with locked(request.out):
            record = StageRecord.open(request.out, overwrite=request.overwrite)
            record.claim(request.source)
            work = Work(request, device, progress)
            stages = _Stages(work, record, expected, say)
            with (
                logging_to(request.out / "run.log"),
                stoppable(stages.describe_stop, resumes=True),
                using_threads(cpu_threads(request.config.runtime)),
            ):
                write_config(request.out, resolved_config(request.config, device))
                start_s = time.monotonic() - began
                kept = stages.do(request.last)
                if request.last != STAGES[-1]:
                    return {}
                metrics = _finish(work, record, kept, say, start_s)
                is_drawn, began = (request.out / REPORT).is_file(), time.monotonic()
                with _only_told("report", "not written", request.out, say):
                    report()
                    metrics = metrics if is_drawn else with_report(request.out, metrics, time.monotonic() - began)
                return metrics


@dataclass
class _Stages:
    """Does the stages that are left; ``current``: the one being done, "" between stages."""

    work: Work
    record: StageRecord
    expected: dict[str, str]
    say: Callable[[str], None]
    current: str = ""

    def do(self, last: str) -> list[str]:
        """Do what is left of the stages up to ``last``; returns those that an earlier call did."""
        kept = []
        for stage in STAGES[: STAGES.index(last) + 1]:
            if self._is_done(stage):
                self.say(f"{stage}: done before")
                logger.info("%s: done before", stage)
                kept.append(stage)
            else:
                if self.record.is_replaced(stage, self.expected[stage]):
                    if stage == "map":
                        check_given(self.work.job(), read_matches(self.work.out).tracks)
                    self.say(
                        f"{stage}: made with other settings or masks; replaced, and what later stages made with it"
                    )
                self.record.begin(stage, self.expected[stage])
                self._look_ahead(stage, last)
                self.say(f"{stage} ...")
                self._do_stage(stage)
                if stage == STAGES[0]:
                    self._tell_frames()
            if stage == STAGES[0]:
                self._see_edited_masks()
        return kept

    def _look_ahead(self, stage: str, last: str) -> None:
        """Tell progress that a stage begins, and what it and those after it will take."""
        work = self.work
        if isinstance(work.progress, StagedProgress):
            left = STAGES[STAGES.index(stage) : STAGES.index(last) + 1]
            after = [Part("report", "report", REPORT_S)] if last == STAGES[-1] else []
            counts, is_calibrated = count_frames(work.request, stage), bool(work.request.calibration)
            work.progress.plan([*expected_parts(work.config, left, *counts, calibrated=is_calibrated), *after])
            work.progress.begin(stage)

    def _tell_frames(self) -> None:
        """Say how many key frames were chosen, and what camera was found."""
        frames = read_frames(self.work.out)
        for line in (key_frames_line(frames), camera_line(frames, self.work.config.camera)):
            if line:
                self.say(line)
                logger.info("%s", line)

    def _see_edited_masks(self) -> None:
        """Find out which masks the user has edited: what was made with others does not hold."""
        camera = read_frames(self.work.out).camera
        count = check_edited(self.work.out, (camera.width, camera.height))
        if count:
            self.say(f"masks: {count} edited by hand")
            logger.info("masks: %d edited by hand", count)
        self.expected = fingerprints(self.work.request)

    def _is_done(self, stage: str) -> bool:
        """Whether a stage needs not be done: what an earlier call has written holds, and is as it was."""
        is_done = self.record.is_done(stage, self.expected[stage])
        # Descriptors may be deleted to save space, and are not worth reading, once they are matched.
        has_caches = stage != "describe" or not self._is_done("match")
        if not self._put_damaged_aside(stage, is_done=is_done, has_caches=has_caches) or not is_done:
            return False
        if stage == "describe" and has_caches and not self.work.method.is_described(self.work.job()):
            return False
        missing = lost(self.work.out, stage)
        # What was deleted is only made again where the next stage, or the user, is still to read it.
        return not missing or (stage != STAGES[-1] and self._is_done(STAGES[STAGES.index(stage) + 1]))

    def _put_damaged_aside(self, stage: str, *, is_done: bool, has_caches: bool) -> bool:
        """See that what an earlier call has written is still as it was; returns whether all of it is."""
        found = damaged(self.work.out, stage, is_done=is_done, has_caches=has_caches)
        if not found:
            return True
        if is_done:
            # The record goes first: killed on the way, it must not call done what is no longer there.
            self.record.reopen(stage)
        put_aside(self.work.out, found)
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        is_removed = all(is_cache(self.work.out, path) for path in found)
        then = "made again" if is_removed else f"put into {ASIDE}, {stage} is done again"
        line = f"{found[0]}{more}: damaged, not as {stage} has written it; {then}"
        self.say(line)
        logger.warning("%s", line)
        return False

    def _do_stage(self, stage: str) -> None:
        """Do a stage and note its time, also that of a try that is broken off."""
        started = time.monotonic()
        self.current = stage
        try:
            with self._told_shortage(stage):
                with self._unchanged_source(stage):
                    STAGE_WORK[stage](self.work)
                release_memory()
                self.record.finish(stage, time.monotonic() - started)
        except BaseException:
            # What ended the stage is told, not that its time cannot be noted on a full disk.
            with suppress(OutputError):
                self.record.break_off(stage, time.monotonic() - started)
            raise
        self.current = ""
        logger.info("%s: %.1f s", stage, self.record.seconds(stage))

    @contextmanager
    def _told_shortage(self, stage: str) -> Iterator[None]:
        """Turn what the machine runs out of in a stage into one line.

        Raises:
            ShortageError: If it runs out of something.
        """
        try:
            yield
        except (OutputError, ShortageError, StoppedError):
            raise
        except Exception as error:
            where = f"{self.work.out}: {stage}"
            found = shortage(error, where) or full_disk(error, where, self.work.out)
            if found is None or interrupt_behind(error):
                raise
            raise found from error

    @contextmanager
    def _unchanged_source(self, stage: str) -> Iterator[None]:
        """See that the source, the calibration and the masks are the same before and after they are read.

        Raises:
            InputError: If they are not: two videos would be mixed.
        """
        if stage not in READING_SOURCE:
            yield
            return
        expected = self.expected[STAGES[0]]
        self._check_source(stage, expected)
        try:
            yield
        except Exception:
            # A file that is cut off while it is read may end the stage in any way.
            self._check_source(stage, expected)
            raise
        self._check_source(stage, expected)

    def _check_source(self, stage: str, expected: str) -> None:
        request = self.work.request
        try:
            found = fingerprints(request)[STAGES[0]]
        except OSError:
            found = ""
        if found != expected:
            sources = " and ".join(map(str, source_paths(request.source)))
            raise InputError(
                f"{sources}: changed while the run works with it ({stage}), or its calibration or mask did; expected "
                "the same from the first to the last. Repeat the command once they stay as they are"
            )

    def describe_stop(self) -> str:
        """What to tell a user who has stopped the run."""
        kept = [stage for stage in STAGES if self.record.is_done(stage, self.expected[stage])]
        is_part_kept = self.current in self.work.method.resumes and self.current not in kept
        kept += [f"the finished part of {self.current}"] if is_part_kept else []
        if self.current == "map" and (self.work.out / "poses" / "0").is_dir():
            kept += ["in poses/0 the best model so far"]
        where = f" in {self.current}" if self.current else ""
        return f"{self.work.out}: stopped{where}; kept: {', '.join(kept) or 'nothing yet'}. Repeat the command to go on"


@contextmanager
def _only_told(what: str, outcome: str, out: Path, say: Callable[[str], None]) -> Iterator[list[str]]:
    """Tell in a line what goes wrong with something that a finished run is whole without; gives a list for that line.

    Args:
        what: What is made.
        outcome: What is said of it where it fails.
        out: The run folder.
        say: Given the line.
    """
    told = list[str]()
    try:
        yield told
    except Exception as error:
        if isinstance(error, StoppedError) or interrupt_behind(error):
            raise
        known = error if isinstance(error, DDSfMError) else None
        found = shortage(error, str(out)) or full_disk(error, str(out), out) or known
        reason = one_line(found or f"{type(error).__name__}: {error}").rstrip(".")
        told.append(f"{what} {outcome}: {reason}. The cloud is not affected; repeat the command to try again")
        say(f"note: {told[0]}")
        logger.warning("%s", told[0], exc_info=found is None)


def _finish(
    work: Work, record: StageRecord, kept: list[str], say: Callable[[str], None], start_s: float = 0.0
) -> dict[str, Any]:
    """Write ``metrics.json``; anew on every call, since seconds and memory belong to the whole run."""
    coverage: dict[str, Any] = {"measured_share": None}
    with _only_told("coverage", "not known", work.out, say) as told:
        if not is_covered(work.out):
            # The page shows the coverage that was known, or none.
            (work.out / REPORT).unlink(missing_ok=True)
            say("coverage ...")
            begin_stage(work.progress, "coverage")
        coverage = run_coverage(work.out)
    if told:
        coverage["reason"] = told[0].partition(": ")[2]
    seconds = {stage: record.seconds(stage) for stage in STAGES}
    metrics = run_metrics(
        work.out,
        features=work.config.features,
        lens=work.config.camera.lens,
        weights=work.method.weights(work.config),
        device=str(work.device),
        seconds=seconds,
        kept=kept,
        coverage=coverage,
        start_s=start_s,
        further=[Note(NoteCode.COVERAGE_UNKNOWN, line) for line in told],
    )
    write_metrics(work.out, metrics)
    return metrics


def resolved_config(config: Config, device: torch.device) -> dict[str, Any]:
    """The configuration as used, with the versions of what used it."""
    packages = ("torch", "pycolmap", "numpy", "scipy", "opencv-python-headless")
    versions = {name: metadata.version(name) for name in packages}
    versions |= {"dd-sfm": dd_sfm.__version__, "python": platform.python_version()}
    return {**dump_config(config), "versions": versions, "device_used": str(device)}
