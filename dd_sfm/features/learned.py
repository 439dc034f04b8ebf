"""The learned dense descriptor: described, matched into dense tracks, mapped, and searched for dense depth."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from dd_sfm.config import Config, dump_config
from dd_sfm.errors import ReconstructionError
from dd_sfm.features.describe import describe_frames, has_descriptors
from dd_sfm.features.match import match_frames
from dd_sfm.features.method import Job
from dd_sfm.features.weights import find_weights, load_weights
from dd_sfm.io.colmap_model import write_model
from dd_sfm.mvs.densify import densify_model
from dd_sfm.sfm.mapping import map_poses
from dd_sfm.sfm.point_colours import colour
from dd_sfm.structures import FinishedModel, MapResult, MatchResult, Tracks


class LearnedFeatures:
    """The feature method that ``features: learned`` names."""

    resumes = frozenset({"describe", "match"})

    def check(self, config: Config) -> None:
        """See that the weights can be loaded."""
        load_weights(config.describe.weights, torch.device("cpu"))

    def weights(self, config: Config) -> str | None:
        """Name or path of the weights."""
        return config.describe.weights

    def stage_inputs(self, config: Config) -> Mapping[str, Any]:
        """The settings of each stage, and the content of the weights."""
        settings = dump_config(config)
        weights = hashlib.sha256(find_weights(config.describe.weights).read_bytes()).hexdigest()
        return {
            "describe": [settings["describe"], weights],
            "match": [settings["features"], settings["pairs"], settings["match"], settings["runtime"]["seed"]],
            "map": map_inputs(config),
            "densify": points_inputs(config),
        }

    def describe(self, job: Job) -> None:
        """Write the descriptors of all frames; frames already there are kept."""
        describe_frames(job.frames, job.out, job.config, job.device, job.progress)

    def is_described(self, job: Job) -> bool:
        """Whether every frame has its descriptors."""
        return has_descriptors(job.frames, job.out)

    def match(self, job: Job) -> MatchResult:
        """Find points of reference frames in the frames around them; finished reference frames are kept."""
        return match_frames(job.frames, job.out, job.config, job.device, job.progress)

    def map(self, job: Job, tracks: Tracks) -> MapResult:
        """Find the poses from the tracks."""
        return map_poses(job.frames, tracks, job.out, job.config, job.progress)

    def points(self, job: Job, tracks: Tracks, found: MapResult) -> Iterator[FinishedModel]:
        """Adjust the poses, search dense depth, and fill its gaps with tracks."""
        return densify_tracks(job, tracks, found)


def map_inputs(config: Config) -> list[Any]:
    """What :func:`dd_sfm.sfm.mapping.map_poses` depends on; for a method's ``stage_inputs``."""
    settings = dump_config(config)
    return [settings["map"], settings["triangulation"]]


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
        dense = densify_model(job.frames, tracks, poses, camera, job.config, job.progress)
        if number == 0 and not len(dense.model.xyz):
            raise ReconstructionError(
                f"{job.out}: none of {tracks.count} tracks could be triangulated with the poses found; "
                "expected points. Try a calibration or --set triangulation.min_angle_deg=0.7"
            )
        model = colour(dense.model, job.frames, job.progress)
        write_model(job.out / "sparse" / str(number), model, job.frames)
        expected = round(float(np.median(dense.uncertainty)), 5) if len(model.xyz) else None
        yield FinishedModel(model, dense.uncertainty, {"median_uncertainty": expected, **dense.figures})
