"""The learned dense descriptor: described, matched into dense tracks, mapped, and searched for dense depth."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from dd_sfm.config import Config, dump_config
from dd_sfm.errors import DeviceError
from dd_sfm.features.dense_tracks import densify_tracks, map_inputs, map_tracks, points_inputs
from dd_sfm.features.describe import describe_frames, has_descriptors
from dd_sfm.features.given_poses import on_path
from dd_sfm.features.held_maps import HeldMaps
from dd_sfm.features.match import match_frames
from dd_sfm.features.method import Job
from dd_sfm.features.model_joining import forget_joined, join_models, joined_tracks
from dd_sfm.features.weights import check_weights, find_weights
from dd_sfm.io.checksums import seal
from dd_sfm.mvs.device import why_not_on_gpu
from dd_sfm.sfm.known_poses import check_poses_settings
from dd_sfm.structures import FinishedModel, MapResult, MatchResult, Tracks

DESCRIPTORS = "descriptors"
"""Key of the maps that describing leaves in a GPU's memory for matching."""


class LearnedFeatures:
    """The feature method that ``features: learned`` names."""

    resumes = frozenset({"describe", "match"})

    def check(self, config: Config) -> None:
        """See that the weights can be loaded, and that a GPU that is asked for can be used in all stages."""
        check_weights(config.describe.weights)
        check_poses_settings(config)
        if config.runtime.device == "cuda" and config.dense.enabled and torch.cuda.is_available():
            problem = why_not_on_gpu()
            if problem:
                raise DeviceError(
                    f"--device cuda: numba cannot compile the dense search for the GPU ({problem}); expected "
                    "numba-cuda for the driver's CUDA version. Install dd-sfm[cuda12] or [cuda13], or use --device auto"
                )

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
        held = job.memory[DESCRIPTORS] = HeldMaps(job.device)
        describe_frames(job.frames, job.out, job.config, job.device, job.progress, held)

    def is_described(self, job: Job) -> bool:
        """Whether every frame has its descriptors."""
        return has_descriptors(job.frames, job.out, job.config)

    def match(self, job: Job) -> MatchResult:
        """Find points of reference frames in the frames around them; finished reference frames are kept."""
        held = job.memory.pop(DESCRIPTORS, None)
        return match_frames(job.frames, job.out, job.config, job.device, job.progress, held)

    def map(self, job: Job, tracks: Tracks) -> MapResult:
        """Find the poses from the tracks, and what of the frames shows instruments; join models that share tissue."""
        forget_joined(job.out)
        found = map_tracks(job, tracks)
        if len(found.models) == 1 or not job.config.pairs.loop_candidates:
            return on_path(job, tracks, found)
        if not self.is_described(job):
            self.describe(job)
            # Made on other threads, descriptors need not be those of the finished stage to the bit.
            seal(job.out, "describe")
        return on_path(job, tracks, join_models(job, tracks, found))

    def points(self, job: Job, tracks: Tracks, found: MapResult) -> Iterator[FinishedModel]:
        """Adjust the poses, search dense depth, and fill its gaps with tracks."""
        return densify_tracks(job, joined_tracks(job.out, tracks, found), found)
