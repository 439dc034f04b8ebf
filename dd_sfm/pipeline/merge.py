"""Two finished runs that share tissue as one run: related, posed together, and searched for points again."""

import hashlib
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dd_sfm import __version__
from dd_sfm.cameras import camera_centres
from dd_sfm.config import Config, PosesConfig
from dd_sfm.errors import DDSfMError, InputError, ReconstructionError, one_line, stoppable
from dd_sfm.features.dense_tracks import densify_tracks
from dd_sfm.features.match import Matcher
from dd_sfm.features.method import Job
from dd_sfm.features.model_joining import joined_tracks
from dd_sfm.features.model_views import ModelViews
from dd_sfm.features.run_joining import RunRelation, pose_together, relate_runs, tracks_of_both
from dd_sfm.io.colmap_model import write_model
from dd_sfm.io.finished_run import check_finished
from dd_sfm.io.frame_poses import write_frame_poses
from dd_sfm.io.known_poses import hand_on_unit
from dd_sfm.io.run_config import read_config, write_config
from dd_sfm.io.run_folder import (
    load_frames,
    read_frames,
    read_matches,
    read_poses,
    write_matches,
    write_metrics,
    write_point_figures,
    write_poses,
)
from dd_sfm.io.staging import check_folder, staged_folder
from dd_sfm.notes import Note, NoteCode
from dd_sfm.ops.compiled import using_threads
from dd_sfm.ops.frame_rows import FrameRows
from dd_sfm.pipeline.coverage import run_coverage
from dd_sfm.pipeline.frame_confidence import frame_poses
from dd_sfm.pipeline.merged_frames import canvas_for, write_merged_frames
from dd_sfm.pipeline.metrics import run_metrics
from dd_sfm.pipeline.reopened import Reopened, check_network, describe_again, describe_along, reopen
from dd_sfm.pipeline.run import resolved_config
from dd_sfm.pipeline.stage_work import write_finished
from dd_sfm.pipeline.timed_steps import TimedSteps
from dd_sfm.progress import Progress
from dd_sfm.runtime import cpu_threads, resolve_device
from dd_sfm.sfm.error_scale import error_scale
from dd_sfm.sfm.geometry import similarity
from dd_sfm.sfm.triangulation import triangulate
from dd_sfm.structures import (
    DropReason,
    FloatArray,
    MapResult,
    MatchResult,
    Model,
    ModelScale,
    Tracks,
    VerifiedPairs,
)

logger = logging.getLogger(__name__)

MARKER, MADE_BY = "merge.json", "dd-sfm merge"
SCRATCH = "scratch"
"""Folder of what is removed when all is done: descriptors."""
APART = (
    "expected runs that see the same tissue in several frames each, from places that are alike. A video that shows "
    "what lies between may help: reconstruct all of them together. Nothing was written"
)


@dataclass(frozen=True)
class MergeRequest:
    """What is to be merged: two finished runs; ``config``: settings, those of the first one as a rule."""

    runs: tuple[Path, Path]
    out: Path
    config: Config
    overwrite: bool = False


def config_of_first(run: Path) -> Config:
    """The settings of a run, but for measured poses: what it has from them is its unit.

    Raises:
        InputError: If it is no finished run.
    """
    check_finished(run)
    return replace(read_config(run), poses=PosesConfig())


@dataclass(frozen=True)
class _Side:
    """A run with its tracks, and its model by these."""

    run: Reopened
    tracks: Tracks
    views: ModelViews


@dataclass
class _Merging:
    """The steps of merging, in their order, and what they take."""

    request: MergeRequest
    runs: tuple[Reopened, Reopened]
    folder: Path
    device: torch.device
    progress: Progress
    steps: TimedSteps
    notes: list[Note] = field(default_factory=list)

    def do(self) -> dict[str, Any]:
        """Do all steps; returns the figures."""
        sides = self.steps.do("describe", self._describe)
        found = self.steps.do("relate", lambda: self._relate(sides))
        result = self.steps.do("join", lambda: self._join(sides, found))
        self.steps.do("densify", lambda: self._densify(*result))
        return self.steps.do("coverage", lambda: self._finish(found))

    def _describe(self) -> tuple[_Side, _Side]:
        """Both runs, described by one network along one basis."""

        def tell(line: str) -> None:
            self.notes.append(Note(NoteCode.DESCRIBED_AGAIN, line))

        first, second = self.runs
        config, scratch = self.request.config, self.folder / SCRATCH
        ours = describe_again(first, scratch / "first", config, self.device, self.progress, tell)
        theirs = describe_along(second.frames, scratch / "second", ours, self.progress)
        return _side(first, ours), _side(second, theirs)

    def _relate(self, sides: tuple[_Side, _Side]) -> RunRelation:
        """How the runs lie to each other.

        Raises:
            ReconstructionError: If that is not sure.
        """
        found = relate_runs(sides[0].views, sides[1].views)
        names = f"{self.runs[0].path} and {self.runs[1].path}"
        if found is None:
            raise ReconstructionError(f"{names}: no frames show the same tissue; {APART}")
        if not found.relation.is_sure:
            raise ReconstructionError(f"{names}: too little shows the same tissue ({found.relation.text}); {APART}")
        return found

    def _join(self, sides: tuple[_Side, _Side], found: RunRelation) -> tuple[Tracks, MapResult]:
        """Write the frames of both, and find their poses together.

        Raises:
            ReconstructionError: If the joined model does not hold together.
        """
        canvas, config = canvas_for(self.runs), self.request.config
        write_merged_frames(self.runs, canvas, self.folder, self._frame_notes(), self.progress)
        frames = load_frames(self.folder)
        first, second = sides
        tracks = tracks_of_both(first.tracks, second.tracks, len(first.run.frames), found, canvas.maps)
        posed = pose_together(frames, tracks, first.views, second.views, found, config)
        if posed is None:
            raise ReconstructionError(
                f"{self.runs[0].path} and {self.runs[1].path}: joined by what they share they contradict each other; "
                f"{APART}"
            )
        model, check = posed
        pairs = sum(read_poses(run.path).pairs.verified for run in self.runs) + found.pairs
        tried = sum(read_poses(run.path).pairs.tried for run in self.runs) + found.probed
        matches = sum(read_poses(run.path).pairs.matches for run in self.runs) + found.matches
        result = MapResult(
            models=[dict(model.cam_from_world)],
            cameras=[model.camera],
            mapper="merge",
            pairs=VerifiedPairs(tried, pairs, matches),
            seconds={},
            notes=self.notes,
            scales=[ModelScale(1.0, 0.0)],
            confidence=[dict.fromkeys(model.cam_from_world, 0.0) | check.confidence],
        )
        hand_on_unit(self.runs[0].path, self.folder)
        write_matches(self.folder, MatchResult(tracks, []))
        write_poses(self.folder, result)
        write_frame_poses(self.folder, frame_poses(read_frames(self.folder).kept, result))
        return tracks, result

    def _frame_notes(self) -> list[Note]:
        """What of the runs is not carried over."""
        between = sum(read_frames(run.path).count(DropReason.BETWEEN_KEYS) for run in self.runs)
        apart = sum((run.path / "sparse" / "1").is_dir() for run in self.runs)
        notes = []
        if between:
            text = f"{between} frames between key frames have no pose in the merged run; those of the runs have"
            notes.append(Note(NoteCode.KEY_FRAMES, text))
        twice = len(set.intersection(*(_picture_sums(run) for run in self.runs)))
        if twice:
            text = (
                f"the same files are in both runs, {twice} of them: what they show counts twice, so that errors "
                "look smaller and poses surer than they are. Parts that do not overlap in time have no such frames"
            )
            notes.append(Note(NoteCode.FRAMES_IN_BOTH_RUNS, text))
        if apart:
            text = f"of {apart} of the runs only the first model is merged, as it has others apart from it"
            notes.append(Note(NoteCode.SEVERAL_MODELS, text))
        return notes

    def _densify(self, tracks: Tracks, result: MapResult) -> None:
        frames = load_frames(self.folder)
        job = Job(frames, self.folder, self.request.config, self.device, self.progress)
        before = self.runs[0].model.cam_from_world
        # What was joined is one model.
        (found,) = densify_tracks(job, tracks, result)
        placed = replace(found, model=placed_as(found.model, before))
        write_model(self.folder / "sparse" / "0", placed.model, frames)
        write_point_figures(self.folder, [write_finished(self.folder, placed, frames.camera)])

    def _finish(self, found: RunRelation) -> dict[str, Any]:
        config = self.request.config
        write_config(self.folder, resolved_config(config, self.device))
        further = list[Note]()
        try:
            coverage = run_coverage(self.folder)
        except DDSfMError as error:
            coverage = {"measured_share": None, "reason": one_line(error)}
            further.append(Note(NoteCode.COVERAGE_UNKNOWN, f"coverage not known: {one_line(error)}"))
        metrics = run_metrics(
            self.folder,
            features=config.features,
            lens=config.camera.lens,
            weights=config.describe.weights,
            device=str(self.device),
            seconds=self.steps.seconds,
            kept=[],
            coverage=coverage,
            further=further,
        )
        metrics["joined"] = joined_figures(self.runs, found)
        write_metrics(self.folder, metrics)
        return metrics


def _picture_sums(run: Reopened) -> set[str]:
    """Checksums of the files of a run's frames."""
    return {hashlib.sha256(frame.path.read_bytes()).hexdigest() for frame in run.frames.frames if frame.path.is_file()}


def placed_as(model: Model, before: Mapping[int, FloatArray]) -> Model:
    """A model whose frames of the first run are, on the whole, where they were: adjustments leave size and place open.

    Args:
        model: The joined model; the first run's frames come first.
        before: cam_from_world (3, 4) of the first run by position.
    """
    common = sorted(model.cam_from_world.keys() & before.keys())
    if len(common) < 3:
        return model
    found, wanted = (camera_centres(np.stack([poses[k] for k in common])) for poses in (model.cam_from_world, before))
    back = similarity(found, wanted)
    return replace(model, cam_from_world=back.poses_by_frame(model.cam_from_world), xyz=back.points(model.xyz))


def merge(
    request: MergeRequest,
    progress: Progress,
    say: Callable[[str], None] = lambda _: None,
    report: Callable[[Path], None] = lambda _: None,
) -> dict[str, Any]:
    """Merge two runs into a new one.

    Args:
        request: What to merge.
        progress: Shows long steps.
        say: Given a line when a step begins.
        report: Writes the page of the run into its folder.

    Returns:
        The figures of ``metrics.json``.

    Raises:
        ReconstructionError: If the runs do not share tissue; nothing is written.
        DDSfMError: Of the kind that fits, for what cannot be used.
    """
    check_folder(request.out, overwrite=request.overwrite)
    first, second = (reopen(run) for run in request.runs)
    if first.path.resolve() == second.path.resolve():
        raise InputError(f"{second.path}: given twice; expected two runs")
    for run in (first, second):
        check_network(run, request.config)
    device = resolve_device(request.config.runtime)
    record = {
        "made_by": MADE_BY,
        "version": __version__,
        "runs": [str(run.resolve()) for run in request.runs],
    }
    with (
        stoppable(lambda: f"{request.out}: stopped; nothing was written. Repeat the command to start again"),
        staged_folder(request.out, MARKER, record, overwrite=request.overwrite) as folder,
        using_threads(cpu_threads(request.config.runtime)),
    ):
        metrics = _Merging(request, (first, second), folder, device, progress, TimedSteps(progress, say)).do()
        shutil.rmtree(folder / SCRATCH)
        report(folder)
        return metrics


def _side(run: Reopened, matcher: Matcher) -> _Side:
    """A run with its tracks, triangulated by the final poses."""
    path, model = run.path, run.model
    tracks = joined_tracks(path, read_matches(path).tracks, read_poses(path))
    scale = error_scale(run.frames)
    points, number = triangulate(tracks, model.cam_from_world, model.camera, matcher.config, scale=scale)
    order = np.unique(number, return_index=True)[1]
    views = ModelViews(
        matcher=matcher,
        pooled=matcher.maps.pooled(),
        poses=model.cam_from_world,
        camera=model.camera,
        track=tracks.track,
        xy=tracks.xy,
        rows=FrameRows(tracks.frame),
        number=number[order],
        xyz=points.xyz[order],
        scale=scale,
        seed=matcher.config.runtime.seed,
    )
    return _Side(run, tracks, views)


def joined_figures(runs: Sequence[Reopened], found: RunRelation) -> dict[str, Any]:
    """What speaks for the runs being one, for ``metrics.json``."""
    relation = found.relation
    return {
        "runs": [str(run.path.resolve()) for run in runs],
        "sources": [run.source for run in runs],
        "frames": [len(run.model.cam_from_world) for run in runs],
        "scale": round(relation.transform.scale, 6),
        "scale_error": round(relation.sigma, 5),
        "rotation": relation.transform.rotation.round(9).tolist(),
        "translation": relation.transform.shift.round(9).tolist(),
        "matches": found.matches,
        "pairs": found.pairs,
        "frames_supporting": list(relation.frames),
    }
