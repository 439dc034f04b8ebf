"""What each stage of a run does: reads what the stage before made, lets the feature method work, writes the result."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config
from dd_sfm.features.method import FeatureMethod, Job
from dd_sfm.features.methods import feature_method
from dd_sfm.io.clouds import write_cloud
from dd_sfm.io.colmap_versions import open_to_all_versions
from dd_sfm.io.frame_poses import write_frame_poses
from dd_sfm.io.known_poses import run_metric
from dd_sfm.io.run_folder import (
    load_frames,
    read_frames,
    read_matches,
    read_poses,
    write_matches,
    write_point_figures,
    write_poses,
)
from dd_sfm.io.trajectory import write_trajectory
from dd_sfm.mvs.uncertainty import whole_uncertainty
from dd_sfm.pipeline.between_frames import KeyPoints, find_poses_between, has_frames_between
from dd_sfm.pipeline.frame_confidence import frame_poses
from dd_sfm.pipeline.frames import extract_frames
from dd_sfm.pipeline.metrics import model_figures
from dd_sfm.pipeline.stages import STAGES
from dd_sfm.progress import Progress
from dd_sfm.sfm.point_cloud import to_cloud
from dd_sfm.structures import FinishedModel


@dataclass(frozen=True)
class RunRequest:
    """What a run is asked to do.

    ``source``: a video, a DICOM file or a folder of images, or several of one camera; ``last``: the stage to stop
    after; ``overwrite``: start over in a folder of an earlier run.
    """

    source: Path | tuple[Path, ...]
    out: Path
    config: Config
    calibration: str | None = None
    mask: Path | None = None
    overwrite: bool = False
    last: str = STAGES[-1]


@dataclass(frozen=True)
class Work:
    """What the stages of a run are given; ``memory``: see :class:`dd_sfm.features.method.Job`."""

    request: RunRequest
    device: torch.device
    progress: Progress
    memory: dict[str, Any] = field(default_factory=dict)

    @property
    def out(self) -> Path:
        """The run folder."""
        return self.request.out

    @property
    def config(self) -> Config:
        """The settings of the run."""
        return self.request.config

    @property
    def method(self) -> FeatureMethod:
        """The feature method that the configuration names."""
        return feature_method(self.config.features)

    def job(self) -> Job:
        """The frames of the run, as its feature method is given them."""
        return Job(load_frames(self.out), self.out, self.config, self.device, self.progress, self.memory)


def _extract(work: Work) -> None:
    request = work.request
    extract_frames(
        request.source,
        request.out,
        request.config,
        calibration=request.calibration,
        mask=request.mask,
        progress=work.progress,
    )


def _describe(work: Work) -> None:
    work.method.describe(work.job())


def _match(work: Work) -> None:
    write_matches(work.out, work.method.match(work.job()))


def _map(work: Work) -> None:
    found = work.method.map(work.job(), read_matches(work.out).tracks)
    write_frame_poses(work.out, frame_poses(read_frames(work.out).kept, found))
    write_poses(work.out, found)
    open_to_all_versions(work.out / "database.db")


def _make_points(work: Work) -> None:
    """Write the points of all models, and of the first one ``points.ply``.

    How uncertain the focal length is stands with the frames: the files of COLMAP's models have no place for it.
    """
    job = work.job()
    models = work.method.points(job, read_matches(work.out).tracks, read_poses(work.out))
    figures, known = list[dict[str, Any]](), list[KeyPoints]()
    has_more = has_frames_between(work.out)
    # Without enumerate, which holds a model while the next one is made.
    for finished in models:
        figures.append(write_finished(work.out, finished, job.frames.camera, is_first=not figures))
        if has_more:
            known.append(KeyPoints.of(finished))
        del finished
    if has_more:
        poses = find_poses_between(work.request.source, work.out, work.config, known, work.progress)
        write_trajectory(work.out, poses)
        figures[0]["frames_posed"] = sum(pose.model == 0 for pose in poses)
    write_point_figures(work.out, figures)


def write_finished(
    out: Path, finished: FinishedModel, camera: PinholeCamera, *, is_first: bool = True
) -> dict[str, Any]:
    """The figures of a model with its final points; of the first one ``points.ply`` is written.

    ``camera``: of the frames, whose focal length may not be sure.
    """
    uncertainty = whole_uncertainty(finished, camera.focal_sigma)
    own: dict[str, int | float | None] = {
        "frames_registered": len(finished.model.cam_from_world),
        "focal_length_px": round(finished.model.camera.fx, 2),
    }
    if len(uncertainty):
        own["median_uncertainty"] = round(float(np.median(uncertainty)), 5)
    if is_first:
        metric = run_metric(out)
        comments = () if metric is None else metric.comments
        write_cloud(out / "points.ply", to_cloud(finished.model, uncertainty), comments=comments)
    return model_figures(finished.model) | dict(finished.figures) | own


STAGE_WORK: dict[str, Callable[[Work], None]] = {
    "frames": _extract,
    "describe": _describe,
    "match": _match,
    "map": _map,
    "densify": _make_points,
}
"""By stage what it does; in the order of :data:`dd_sfm.pipeline.stages.STAGES`."""
