"""From dense tracks to points: what the learned descriptor and any other method that has dense tracks share."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from dd_sfm.config import Config, dump_config
from dd_sfm.errors import ReconstructionError
from dd_sfm.features.method import Job
from dd_sfm.io.colmap_model import write_model
from dd_sfm.mvs.densify import densify_model
from dd_sfm.sfm.point_colours import colour
from dd_sfm.structures import FinishedModel, MapResult, Tracks


def map_inputs(config: Config) -> list[Any]:
    """What :func:`dd_sfm.sfm.mapping.map_poses` depends on; for a method's ``stage_inputs``."""
    return [mapper_inputs(config), dump_config(config)["triangulation"]]


def mapper_inputs(config: Config) -> dict[str, Any]:
    """The settings of the mappers under the names of the first version, so that finished runs of it still hold."""
    settings = dict(dump_config(config)["map"])
    return {"ladder": settings.pop("mappers"), **settings}


def points_inputs(config: Config) -> list[Any]:
    """What :func:`densify_tracks` depends on; for a method's ``stage_inputs``."""
    settings = dump_config(config)
    return [settings["triangulation"], settings["dense"]]


def densify_tracks(job: Job, tracks: Tracks, found: MapResult) -> Iterator[FinishedModel]:
    """Make dense points of every model from its poses and the tracks; also for other methods that have tracks.

    Args:
        job: Frames, run folder and settings.
        tracks: All tracks.
        found: The poses.

    Yields:
        The models with coloured points, as written under ``sparse``; largest first.

    Raises:
        ReconstructionError: If the first model has no point.
    """
    for number, (poses, camera) in enumerate(zip(found.models, found.cameras, strict=True)):
        dense = densify_model(job.frames, tracks, poses, camera, job.config, job.progress, job.device)
        if number == 0 and not len(dense.model.xyz):
            raise ReconstructionError(
                f"{job.out}: none of {tracks.count} tracks could be triangulated with the poses found; "
                "expected points. Try a calibration or --set triangulation.min_angle_deg=0.7"
            )
        model = colour(dense.model, job.frames, job.progress)
        write_model(job.out / "sparse" / str(number), model, job.frames)
        expected = round(float(np.median(dense.uncertainty)), 5) if len(model.xyz) else None
        yield FinishedModel(model, dense.uncertainty, {"median_uncertainty": expected, **dense.figures})
