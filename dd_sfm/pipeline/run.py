"""A whole run: ordered stages, each skipped when what it made still holds."""

import hashlib
import json
import logging
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

import dd_sfm
from dd_sfm.config import Config, dump_config
from dd_sfm.errors import InputError, OutputError, ReconstructionError, telling_of_stop
from dd_sfm.features.describe import describe_frames, has_descriptors
from dd_sfm.features.match import MatchResult, match_frames
from dd_sfm.features.sift import sift_map, sift_match, sift_models, sift_pairs
from dd_sfm.features.weights import find_weights, load_weights
from dd_sfm.io.atomic import write_json, write_text
from dd_sfm.io.clouds import write_cloud
from dd_sfm.io.colmap_model import write_model
from dd_sfm.io.lock import locked
from dd_sfm.io.run_layout import is_own
from dd_sfm.mvs.densify import densify_model
from dd_sfm.mvs.uncertainty import keypoint_uncertainty
from dd_sfm.pipeline.frames import check_source, extract_frames, frame_counts, frame_notes, load_frames
from dd_sfm.pipeline.metrics import memory_figures, model_figures, point_notes
from dd_sfm.pipeline.results import load_map, load_match, save_map, save_match
from dd_sfm.pipeline.run_log import logging_to
from dd_sfm.pipeline.stages import STAGES, StageRecord, file_identity, fingerprint, make_folder
from dd_sfm.progress import Progress
from dd_sfm.runtime import cpu_threads, resolve_device
from dd_sfm.sfm.mapping import map_poses
from dd_sfm.sfm.point_cloud import to_cloud
from dd_sfm.sfm.point_colours import colour

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunRequest:
    """What a run is asked to do.

    ``last``: the stage to stop after; ``overwrite``: start over in a folder of an earlier run.
    """

    source: Path
    out: Path
    config: Config
    calibration: str | None = None
    mask: Path | None = None
    overwrite: bool = False
    last: str = STAGES[-1]


def check_request(request: RunRequest) -> torch.device:
    """Find out what cannot work before anything is written; returns the device."""
    if not request.source.exists():
        raise InputError(f"{request.source}: not found; expected a video file or a folder of images")
    if request.mask is not None and not request.mask.is_file():
        raise InputError(f"--mask {request.mask}: not found; expected an image, 255 where frames are usable")
    for path in (request.source, request.mask):
        if path is not None and is_own(request.out, path):
            raise InputError(f"{path}: is written by the run in {request.out}; expected a folder beside it with -o")
    if request.config.features == "learned":
        load_weights(request.config.describe.weights, torch.device("cpu"))
    device = resolve_device(request.config.runtime)
    check_source(request.source, request.config, request.calibration, request.mask)
    return device


def marks(request: RunRequest) -> dict[str, str]:
    """The fingerprint of every stage: its settings and inputs, and the fingerprint of the stage before."""
    config = dump_config(request.config)
    learned = request.config.features == "learned"
    calibration = request.calibration
    if calibration is not None and Path(calibration).is_file():
        calibration = hashlib.sha256(Path(calibration).read_bytes()).hexdigest()
    mask = hashlib.sha256(request.mask.read_bytes()).hexdigest() if request.mask else None
    weights = hashlib.sha256(find_weights(request.config.describe.weights).read_bytes()).hexdigest() if learned else ""
    own = {
        "frames": [
            file_identity(request.source), calibration, mask, config["frames"], config["masks"], config["camera"],
            config["describe"]["working_height_px"],
        ],
        "describe": [config["describe"], weights] if learned else [],
        "match": [
            config["features"],
            # COLMAP's own pairs know nothing of ours: another quality must not cost SIFT's features and matches.
            config["pairs"] if learned or request.config.sift.pairs != "sequential" else None,
            config["match" if learned else "sift"],
            config["runtime"]["seed"],
        ],
        "map": [config["map"], config["densify"] if learned else None],
        "densify": [config["densify"], config["dense"]] if learned else [],
    }  # fmt: skip
    result, before = {}, ""
    for stage in STAGES:
        before = result[stage] = fingerprint(stage, own[stage], before)
    return result


def run(request: RunRequest, progress: Progress, say: Callable[[str], None]) -> dict[str, Any]:
    """Do a run's stages, or what is left of them.

    Args:
        request: What to do.
        progress: Shows long stages.
        say: Told of each stage in a line.

    Returns:
        The figures of ``metrics.json``; empty when the run stops before the last stage.

    Raises:
        StoppedError: If the user stops it; the log then says so, too.
    """
    stopped = f"{request.out}: stopped; finished stages are kept. Repeat the command to go on"
    with telling_of_stop(lambda: stopped):
        device = check_request(request)
        marked = marks(request)
        make_folder(request.out)
        with locked(request.out):
            record = StageRecord.open(request.out, overwrite=request.overwrite)
            record.claim(request.source)
            work = _Work(request, device, progress)
            with logging_to(request.out / "run.log"), telling_of_stop(lambda: _stopped(work, record, marked)):
                resolved = yaml.safe_dump(_resolved(request.config, device), sort_keys=False)
                write_text(request.out / "config.yaml", resolved)
                torch.set_num_threads(cpu_threads(request.config.runtime))
                return _do_all(work, record, marked, say)


def _do_all(work: "_Work", record: StageRecord, marked: dict[str, str], say: Callable[[str], None]) -> dict[str, Any]:
    """Do the stages that are left, and write the figures if the last one is among those asked for."""
    kept, last = [], work.request.last
    for stage in STAGES[: STAGES.index(last) + 1]:
        if record.is_done(stage, marked[stage]) and not work.lacks_descriptors(stage, record, marked):
            say(f"{stage}: done before")
            logger.info("%s: done before", stage)
            kept.append(stage)
            continue
        record.begin(stage, marked[stage])
        say(f"{stage} ...")
        _do(work, stage, record)
    return work.finish(record, kept) if last == STAGES[-1] else {}


def _do(work: "_Work", stage: str, record: StageRecord) -> None:
    """Do a stage and note its time, also that of a try that is broken off."""
    started = time.monotonic()
    work.at = stage
    try:
        getattr(work, stage)()
    except BaseException:
        # What ended the stage is told, not that its time cannot be noted on a full disk.
        with suppress(OutputError):
            record.break_off(stage, time.monotonic() - started)
        raise
    record.finish(stage, time.monotonic() - started)
    work.at = ""
    logger.info("%s: %.1f s", stage, record.seconds(stage))


def _stopped(work: "_Work", record: StageRecord, marked: dict[str, str]) -> str:
    kept = [stage for stage in STAGES if record.is_done(stage, marked[stage])]
    # These two write frame by frame and go on after the last one.
    is_part_kept = work.learned and work.at in ("describe", "match") and work.at not in kept
    kept += [f"the finished part of {work.at}"] if is_part_kept else []
    where = f" in {work.at}" if work.at else ""
    return f"{work.out}: stopped{where}; kept: {', '.join(kept) or 'nothing yet'}. Repeat the command to go on"


class _Work:
    """The stages of a run; what one makes the next reads from the run folder. ``at``: the one that is being done."""

    def __init__(self, request: RunRequest, device: torch.device, progress: Progress) -> None:
        self.request, self.device, self.progress = request, device, progress
        self.out, self.config = request.out, request.config
        self.learned = request.config.features == "learned"
        self.at = ""

    def lacks_descriptors(self, stage: str, record: StageRecord, marked: dict[str, str]) -> bool:
        """Whether descriptors, which may be deleted to save space, are to be made once more for matching."""
        if not self.learned or stage != "describe" or record.is_done("match", marked["match"]):
            return False
        return not (record.has_files("describe") and has_descriptors(load_frames(self.out, self.config), self.out))

    def frames(self) -> None:
        extract_frames(
            self.request.source,
            self.out,
            self.config,
            calibration=self.request.calibration,
            mask=self.request.mask,
            progress=self.progress,
        )

    def describe(self) -> None:
        if self.learned:
            frames = load_frames(self.out, self.config)
            describe_frames(frames, self.out, self.config, self.device, self.progress)

    def match(self) -> None:
        frames = load_frames(self.out, self.config)
        if self.learned:
            result = match_frames(frames, self.out, self.config, self.device, self.progress)
        else:
            pairs = sift_pairs(len(frames), self.config)
            result = MatchResult(sift_match(frames, self.out, self.config, pairs), pairs)
        save_match(self.out, result)

    def map(self) -> None:
        frames = load_frames(self.out, self.config)
        match = load_match(self.out)
        find = map_poses if self.learned else sift_map
        result = find(frames, match.tracks, self.out, self.config, self.progress)
        save_map(self.out, result)

    def densify(self) -> None:
        if not self.learned:
            self._keep_colmaps_points()
            return
        frames, match, found = load_frames(self.out, self.config), load_match(self.out), load_map(self.out)
        figures = []
        for number, (poses, camera) in enumerate(zip(found.models, found.cameras, strict=True)):
            made = densify_model(frames, match.tracks, poses, camera, self.config, self.progress)
            if number == 0 and not len(made.model.xyz):
                raise ReconstructionError(
                    f"{self.out}: none of {match.tracks.count} tracks could be triangulated with the poses found; "
                    "expected points. Try a calibration or --set densify.min_angle_deg=0.7"
                )
            model = colour(made.model, frames, self.progress)
            write_model(self.out / "sparse" / str(number), model, frames)
            figures.append(
                model_figures(model)
                | {"median_uncertainty": round(float(np.median(made.uncertainty)), 5) if len(model.xyz) else None}
                | made.figures
                | {"frames_registered": len(model.cam_from_world)}
            )
            if number == 0:
                write_cloud(self.out / "points.ply", to_cloud(model, made.uncertainty))
        write_json(self.out / "densify.json", figures)

    def _keep_colmaps_points(self) -> None:
        """SIFT's points are COLMAP's own: what its user would get is what the learned descriptor is compared with."""
        models = sift_models(load_frames(self.out, self.config), self.out)
        figures = [model_figures(model) | {"frames_registered": len(model.cam_from_world)} for model in models]
        write_cloud(self.out / "points.ply", to_cloud(models[0], keypoint_uncertainty(models[0])))
        write_json(self.out / "densify.json", figures)

    def finish(self, record: StageRecord, kept: list[str]) -> dict[str, Any]:
        """Write metrics.json; finished anew on every call, since seconds and memory belong to the whole run.

        ``kept``: the stages that an earlier call did; their seconds are those of that call, and where it did all of
        them the memory is too.
        """
        path = self.out / "metrics.json"
        # What was kept took memory then; a call that did all of it anew knows its own.
        before = json.loads(path.read_text()) if kept and path.exists() else {}
        models = json.loads((self.out / "densify.json").read_text())
        frames, match, found = load_frames(self.out, self.config), load_match(self.out), load_map(self.out)
        total, chosen, thinned = frame_counts(self.out)
        main = {k: v for k, v in models[0].items() if k != "frames_registered"}
        seconds = {stage: record.seconds(stage) for stage in STAGES}
        memory = memory_figures() if len(kept) < len(STAGES) or not before else {}
        metrics: dict[str, Any] = {
            "features": self.config.features,
            "weights": self.config.describe.weights if self.learned else None,
            "device": str(self.device),
            "frames_total": total,
            "frames_chosen": chosen,
            "frames_thinned": thinned,
            "frames_used": len(frames),
            "frames_registered": models[0]["frames_registered"],
            "models": [m["frames_registered"] for m in models],
            **main,
            "pairs_tried": found.pairs.tried,
            "pairs_verified": found.pairs.verified,
            "matches_verified": found.pairs.matches,
            "mapper": found.mapper,
            "calibrated": not frames.camera.is_guess,
            "focal_length_px": round(found.cameras[0].fx, 2),
            "degradations": [*frame_notes(self.out), *match.notes, *found.notes, *point_notes(models[0])],
            "seconds": seconds | {"total": round(sum(seconds.values()), 2)},
            "stages_kept": kept,
            **{key: max(m.get(key, 0.0) for m in (memory, before)) for key in ("peak_rss_mb", "peak_gpu_mb")},
        }
        write_json(path, metrics)
        return metrics


def _resolved(config: Config, device: torch.device) -> dict[str, Any]:
    """The configuration as used, with the versions of what used it."""
    packages = ("torch", "pycolmap", "numpy", "scipy", "opencv-python-headless")
    versions = {name: metadata.version(name) for name in packages}
    versions |= {"dd-sfm": dd_sfm.__version__, "python": platform.python_version()}
    return {**dump_config(config), "versions": versions, "device_used": str(device)}
