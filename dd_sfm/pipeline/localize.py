"""Frames of another video placed in a finished run: found, written as a folder of their own, and told of."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dd_sfm import __version__
from dd_sfm.config import CameraConfig, Config, FramesConfig, PosesConfig
from dd_sfm.errors import ReconstructionError, stoppable
from dd_sfm.features.localization import FramePlacer, Placement
from dd_sfm.features.match import Matcher
from dd_sfm.io.atomic import write_text
from dd_sfm.io.colmap_model import write_model
from dd_sfm.io.finished_run import check_finished
from dd_sfm.io.frame_poses import FramePose as FoundOfFrame
from dd_sfm.io.frame_poses import write_frame_poses
from dd_sfm.io.known_poses import hand_on_unit, run_metric
from dd_sfm.io.run_config import read_config, write_config
from dd_sfm.io.run_folder import ExtractedFrames, read_frames, write_metrics
from dd_sfm.io.staging import check_folder, staged_folder
from dd_sfm.io.trajectory import FramePose, write_trajectory
from dd_sfm.io.tum import tum_text
from dd_sfm.notes import Note, NoteCode
from dd_sfm.ops.compiled import using_threads
from dd_sfm.pipeline.between_frames import KeyPoints, find_poses_between
from dd_sfm.pipeline.frame_confidence import confidence_figures
from dd_sfm.pipeline.frames import check_source, decide_every, extract_frames
from dd_sfm.pipeline.metrics import camera_figures, memory_figures, model_figures
from dd_sfm.pipeline.reopened import Reopened, describe_again, describe_along, model_views, reopen
from dd_sfm.pipeline.run import resolved_config
from dd_sfm.pipeline.timed_steps import TimedSteps
from dd_sfm.progress import Progress
from dd_sfm.runtime import cpu_threads, resolve_device
from dd_sfm.sfm.error_scale import error_scale
from dd_sfm.sfm.point_selection import select_points
from dd_sfm.structures import FrameSet, Model

logger = logging.getLogger(__name__)

MARKER, MADE_BY = "localize.json", "dd-sfm localize"
TUM = "trajectory.tum"
SCRATCH = "scratch"
"""Folder of what is removed when all is done: descriptors."""
LISTED = 8
"""Frames that a note lists by name."""


@dataclass(frozen=True)
class LocalizeRequest:
    """What is to be placed.

    ``run``: the finished run; ``source``: a video or a folder of images, or several of one camera; ``config``: that of
    the run, with the frames and camera of the source; ``calibration``, ``mask``: of the source.
    """

    run: Path
    source: Path | tuple[Path, ...]
    out: Path
    config: Config
    calibration: str | None = None
    mask: Path | None = None
    overwrite: bool = False


def config_of_run(run: Path) -> Config:
    """The settings of a run, with those of frames, camera and measured poses as for a new video.

    Raises:
        InputError: If it is no finished run.
    """
    check_finished(run)
    return replace(read_config(run), frames=FramesConfig(), camera=CameraConfig(), poses=PosesConfig())


def localize(
    request: LocalizeRequest, progress: Progress, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Place the frames of a source in the first model of a run.

    Args:
        request: What to place.
        progress: Shows long steps.
        say: Given a line when a step begins, and for what degrades.

    Returns:
        The figures of ``metrics.json``.

    Raises:
        ReconstructionError: If none of the frames shows tissue that the model does; nothing is written.
        DDSfMError: Of the kind that fits, for what cannot be used.
    """
    check_folder(request.out, overwrite=request.overwrite)
    run = reopen(request.run)
    device = resolve_device(request.config.runtime)
    check_source(request.source, request.config, request.calibration, request.mask)
    frames = decide_every(request.source, request.config.frames)
    request = replace(request, config=replace(request.config, frames=frames))
    record = {"made_by": MADE_BY, "version": __version__, "run": str(request.run.resolve()), "source": _source(request)}
    with (
        stoppable(lambda: f"{request.out}: stopped; nothing was written. Repeat the command to start again"),
        staged_folder(request.out, MARKER, record, overwrite=request.overwrite) as folder,
        using_threads(cpu_threads(request.config.runtime)),
    ):
        metrics = _Localizing(request, run, folder, device, progress, say).do(record)
        shutil.rmtree(folder / SCRATCH)
        return metrics


def _source(request: LocalizeRequest) -> list[str]:
    paths = (request.source,) if isinstance(request.source, Path) else request.source
    return [str(path.resolve()) for path in paths]


class _Localizing:
    """The steps, in their order, and what they take."""

    def __init__(
        self,
        request: LocalizeRequest,
        run: Reopened,
        folder: Path,
        device: torch.device,
        progress: Progress,
        say: Callable[[str], None],
    ) -> None:
        self.request, self.run, self.folder, self.device = request, run, folder, device
        self.progress, self.steps = progress, TimedSteps(progress, say)
        self.notes: list[Note] = []

    def do(self, record: dict[str, Any]) -> dict[str, Any]:
        """Do all steps; returns the figures."""
        frames = self.steps.do("frames", self._extract)
        known, matcher = self.steps.do("describe", lambda: self._describe(frames))
        views, pooled = model_views(self.run, known), matcher.maps.pooled()
        placer = FramePlacer(views, matcher, pooled, frames.camera, error_scale(frames))
        placement = self.steps.do("localize", lambda: placer.place_all(self.progress))
        if not placement.placed:
            raise ReconstructionError(
                f"{read_frames(self.folder).source}: none of {len(frames)} frames shows tissue that {self.run.path} "
                "does; expected a video of the same place. Nothing was written; see that calibration and mask are right"
            )
        return self.steps.do("write", lambda: self._write(frames, placement, record))

    def _extract(self) -> FrameSet:
        request = self.request
        return extract_frames(
            request.source,
            self.folder,
            request.config,
            calibration=request.calibration,
            mask=request.mask,
            progress=self.progress,
        )

    def _describe(self, frames: FrameSet) -> tuple[Matcher, Matcher]:
        """The matchers of the run and of the frames: described by the same network, along the same basis."""

        def tell(line: str) -> None:
            self.notes.append(Note(NoteCode.DESCRIBED_AGAIN, line))

        scratch, config = self.folder / SCRATCH, self.request.config
        known = describe_again(self.run, scratch / "run", config, self.device, self.progress, tell)
        return known, describe_along(frames, scratch / "frames", known, self.progress)

    def _write(self, frames: FrameSet, placement: Placement, record: dict[str, Any]) -> dict[str, Any]:
        run, extracted = self.run, read_frames(self.folder)
        model = placed_model(run.model, frames, placement)
        write_model(self.folder / "sparse" / "0", model, frames)
        poses = self._all_poses(extracted, placement)
        write_trajectory(self.folder, poses)
        times = {pose.record.index: pose.record.seconds for pose in poses}
        table = np.stack([pose.cam_from_world for pose in poses])
        metric = run_metric(run.path)
        comments = () if metric is None else metric.comments
        write_text(self.folder / TUM, tum_text(list(times), table, times, comments))
        shutil.copyfile(run.path / "points.ply", self.folder / "points.ply")
        write_config(self.folder, resolved_config(self.request.config, self.device))
        found = [_of_frame(extracted, position, placement) for position in range(len(frames))]
        write_frame_poses(self.folder, found)
        unit = hand_on_unit(run.path, self.folder)
        self.notes += [*extracted.notes, *_notes(extracted, placement)]
        metrics = self._metrics(extracted, placement, model, found, len(poses), record)
        metrics |= {"unit": unit} if unit else {}
        write_metrics(self.folder, metrics)
        return metrics

    def _all_poses(self, extracted: ExtractedFrames, placement: Placement) -> list[FramePose]:
        """Poses of the frames that were placed, and of those between them with which nothing is wrong."""
        seen = {k: (placed.agreeing.xyz, placed.agreeing.xy) for k, placed in placement.placed.items()}
        poses = {k: placed.cam_from_world for k, placed in placement.placed.items()}
        known = KeyPoints(extracted.camera, poses, seen)
        request = self.request
        between = find_poses_between(request.source, self.folder, request.config, [known], self.progress)
        own = {
            extracted.kept[k].index: FramePose(extracted.kept[k], 0, placed.cam_from_world, placed.inliers)
            for k, placed in placement.placed.items()
        }
        found = {pose.record.index: pose for pose in between} | own
        return [found[number] for number in sorted(found)]

    def _metrics(
        self,
        extracted: ExtractedFrames,
        placement: Placement,
        model: Model,
        found: list[FoundOfFrame],
        posed: int,
        record: dict[str, Any],
    ) -> dict[str, Any]:
        config, count = self.request.config, len(placement.placed)
        details = {
            extracted.kept[k].name: {
                "inliers": placed.inliers,
                "matches": placed.matches,
                "confidence": placed.confidence,
                "position_sigma": round(placed.sigma, 6),
                "frames_of_run": [self.run.frames.frames[own].path.name for own in placed.supporting],
            }
            for k, placed in sorted(placement.placed.items())
        }
        return {
            "features": config.features,
            "weights": config.describe.weights,
            "device": str(self.device),
            "frames_total": extracted.frames_in_source,
            "frames_chosen": len(extracted.records),
            "frames_thinned": sum(r.dropped is not None and r.dropped.is_thinning for r in extracted.records),
            "frames_used": len(extracted.kept),
            "frames_registered": count,
            "frames_posed": posed,
            "models": [count],
            **confidence_figures(found),
            **_figures(model),
            "mapper": "localize",
            "instruments_share": 0.0,
            "field_kept": extracted.field_kept,
            **camera_figures(extracted, extracted.camera.fx),
            "lens": config.camera.lens,
            "localized": {"run": record["run"], "source": record["source"], "frames": details},
            "degradations": [note.text for note in self.notes],
            "degradation_codes": [note.code.value for note in self.notes],
            "seconds": self.steps.seconds | {"total": round(sum(self.steps.seconds.values()), 2)},
            "stages_kept": [],
            **memory_figures(),
        }


def placed_model(known: Model, frames: FrameSet, placement: Placement) -> Model:
    """The points of a model with the frames that were placed, and where these see them."""
    placed = sorted(placement.placed.items())
    point = np.concatenate([p.agreeing.track for _, p in placed])
    frame = np.repeat([k for k, _ in placed], [p.inliers for _, p in placed])
    xy = np.concatenate([p.agreeing.xy for _, p in placed])
    order = np.lexsort((frame, point))
    return replace(
        known,
        camera=frames.camera,
        cam_from_world={k: p.cam_from_world for k, p in placed},
        point=point[order],
        frame=frame[order],
        xy=xy[order].astype(np.float32),
    )


def _figures(model: Model) -> dict[str, float | int]:
    """The figures of the points that the frames see, and the number of all."""
    seen = np.zeros(len(model.xyz), np.bool_)
    seen[model.point] = True
    return model_figures(select_points(model, seen)) | {"points": len(model.xyz), "points_seen": int(seen.sum())}


def _of_frame(extracted: ExtractedFrames, position: int, placement: Placement) -> FoundOfFrame:
    name, placed = extracted.kept[position].name, placement.placed.get(position)
    if placed is None:
        return FoundOfFrame(name, None, None, placement.reasons[position])
    return FoundOfFrame(name, 0, placed.confidence)


def _notes(extracted: ExtractedFrames, placement: Placement) -> list[Note]:
    """What to know of frames that have no pose: how many, and why."""
    kept, by_reason = extracted.kept, dict[str, list[str]]()
    for position, reason in sorted(placement.reasons.items()):
        by_reason.setdefault(reason, []).append(kept[position].name.lstrip("0") or "0")
    notes = []
    for reason, names in by_reason.items():
        listed = ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
        text = f"{len(names)} of {len(kept)} frames were not localized, as {reason}: {listed}"
        notes.append(Note(NoteCode.FRAMES_NOT_LOCALIZED, text))
    return notes
