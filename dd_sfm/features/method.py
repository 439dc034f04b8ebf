"""What a feature method does for a run: the seam between the pipeline and the kinds of features it can work with.

A method is an object with the functions of :class:`FeatureMethod` and holds no state of its own: what one stage makes
the next is given, or finds in the run folder. What a method keeps there for itself goes into ``describe/``, ``match/``
and ``map/``, which are removed when the stage of that name is done again. A new method is a module beside
``learned.py`` and ``sift.py`` and a line in ``methods.py``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from dd_sfm.config import Config
from dd_sfm.progress import Progress
from dd_sfm.structures import FinishedModel, FrameSet, MapResult, MatchResult, Tracks


@dataclass(frozen=True)
class Job:
    """What every stage of a method is given.

    ``frames``: the frames with masks and camera; ``out``: the run folder; ``device``: where tensors are put;
    ``memory``: what a stage leaves for a later one of the same call, which must do without as well.
    """

    frames: FrameSet
    out: Path
    config: Config
    device: torch.device
    progress: Progress
    memory: dict[str, Any] = field(default_factory=dict)


class FeatureMethod(Protocol):
    """A kind of features, from frames to points."""

    resumes: frozenset[str]
    """Stages that keep what they have finished when they are stopped, and go on from there."""

    def check(self, config: Config) -> None:
        """Find out before any work what cannot work.

        Raises:
            DDSfMError: Of the kind that fits, for example when weights are missing.
        """

    def weights(self, config: Config) -> str | None:
        """Name of the weights that a run uses; None for a method without."""

    def stage_inputs(self, config: Config) -> Mapping[str, Any]:
        """What the result of each of the stages describe, match, map and densify depends on, as JSON can hold it.

        A stage is done again when this changes, or when a stage before it is done again. Code does not count: a method
        that is changed so that it finds something else puts a number into the inputs and counts it up.
        """

    def describe(self, job: Job) -> None:
        """Extract what matching needs of every frame, and keep it in the run folder."""

    def is_described(self, job: Job) -> bool:
        """Whether what :meth:`describe` made is complete; it may be deleted to save space."""

    def match(self, job: Job) -> MatchResult:
        """Match the frames; returns the tracks."""

    def map(self, job: Job, tracks: Tracks) -> MapResult:
        """Find the poses. Writes ``database.db``, and the models under ``poses/0``, ``1``, ..., largest first.

        Raises:
            ReconstructionError: If no model of three frames is found.
        """

    def points(self, job: Job, tracks: Tracks, found: MapResult) -> Iterator[FinishedModel]:
        """Make the final points of every model. Writes the models under ``sparse/0``, ``1``, ..., and yields them.

        Raises:
            ReconstructionError: If the first model has no point.
        """
