"""A finished run whose frames are matched again: with frames of another video, or of another run.

Nothing is written into the run. Its descriptors are read from there, or are made anew where they were deleted.
"""

import logging
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from dd_sfm.config import Config
from dd_sfm.errors import InputError, WeightsError
from dd_sfm.features.describe import Describer, describe_frames, has_descriptors
from dd_sfm.features.descriptor_files import DescriptorFiles
from dd_sfm.features.match import Matcher
from dd_sfm.features.model_views import ModelViews
from dd_sfm.io.atomic import output_error
from dd_sfm.io.colmap_model import image_names, read_model
from dd_sfm.io.finished_run import check_finished
from dd_sfm.io.run_config import read_config
from dd_sfm.io.run_folder import load_frames, read_frames, read_grid, read_metrics
from dd_sfm.io.working import load_working, working_grid
from dd_sfm.ops.frame_rows import FrameRows
from dd_sfm.ops.resize import working_scale
from dd_sfm.progress import Progress
from dd_sfm.sfm.error_scale import error_scale
from dd_sfm.structures import FrameSet, Model

logger = logging.getLogger(__name__)

DESCRIPTORS = "descriptors"
SAME_NETWORK = 0.95
"""Median cosine similarity of a frame's descriptors with those that the run has, from which on both are of one network:
above what lower precision changes."""

MOST_RESIZED = 2.5
"""By this factor frames are described larger or smaller than a run of their own would have them, at most."""


@dataclass(frozen=True)
class Reopened:
    """A finished run: its settings, frames, and first model."""

    path: Path
    config: Config
    frames: FrameSet
    model: Model

    @property
    def source(self) -> str:
        """The name of what the run was made from."""
        return read_frames(self.path).source


def reopen(run: Path) -> Reopened:
    """Read what of a finished run is needed to match its frames again.

    Raises:
        InputError: If it is no finished run, has no learned descriptors, or its frames were deleted.
    """
    check_finished(run)
    if "localized" in read_metrics(run):
        raise InputError(f"{run}: holds frames placed in another run; expected that run itself, whose points they lack")
    config = read_config(run)
    if config.features != "learned":
        raise InputError(
            f"{run}: was made with {config.features}; expected a run with learned descriptors, which frames of another "
            "video are compared by. Repeat dd-sfm reconstruct without --features, to a new folder"
        )
    frames = load_frames(run)
    model = read_model(run / "sparse" / "0", {name: k for k, name in enumerate(image_names(frames))})
    missing = next((frames.frames[k].path for k in sorted(model.cam_from_world) if not _is_there(frames, k)), None)
    if missing is not None:
        raise InputError(f"{missing}: not found; expected the frames of the run and their masks. Make the run again")
    return Reopened(run, config, frames, model)


def _is_there(frames: FrameSet, position: int) -> bool:
    frame = frames.frames[position]
    return frame.path.is_file() and frame.mask_path.is_file()


def describe_again(
    run: Reopened,
    scratch: Path,
    config: Config,
    device: torch.device,
    progress: Progress,
    say: Callable[[str], None],
) -> Matcher:
    """Give the frames of a run to matching, with the descriptors that it has; what is missing is made anew.

    Args:
        run: The run.
        scratch: A folder for descriptors, which are linked into it where they are there.
        config: The settings; descriptors are those of its network.
        device: Where tensors are put.
        progress: Shows how many frames are described.
        say: Told what was not there.

    Raises:
        WeightsError: If the network is not there.
    """
    check_network(run, config)
    _link_all(run.path / DESCRIPTORS, scratch / DESCRIPTORS)
    if not _is_of_network(run.frames, scratch, config, device):
        shutil.rmtree(scratch / DESCRIPTORS)
        say(f"{run.path}: its descriptors are of other weights of that name: made again, apart from the run")
    elif not has_descriptors(run.frames, scratch, config):
        say(f"{run.path}: some or all descriptors were deleted: made again, apart from the run")
    describe_frames(run.frames, scratch, config, device, progress)
    return Matcher(run.frames, scratch, config, device)


def describe_along(frames: FrameSet, folder: Path, known: Matcher, progress: Progress) -> Matcher:
    """Describe other frames so that they can be matched with those of a run: by its network, along its basis.

    A pixel of theirs that the network sees is the same angle as one of the run's, whatever their lens is: tissue that
    is seen at half the size is hardly found again.

    Args:
        frames: The frames.
        folder: Where their descriptors are written.
        known: The matcher of the run.
        progress: Shows how many frames are described.
    """
    config, device = known.config, known.device
    frames = at_angle(frames, known)
    folder.mkdir(parents=True)
    grid = working_grid(frames, config, known.maps.grid.stride)
    DescriptorFiles(folder, config.runtime.cache_gb).begin(grid, known.maps.files.basis())
    describe_frames(frames, folder, config, device, progress)
    return Matcher(frames, folder, config, device)


def at_angle(frames: FrameSet, known: Matcher) -> FrameSet:
    """Frames whose field of view is stated so high that a working pixel is the same angle as one of a run's frames."""
    height = known.config.describe.working_height_px
    usual = working_scale(frames.field_of_view_px, height)
    scale = known.maps.grid.scale * known.frames.camera.fx / frames.camera.fx
    scale = float(np.clip(scale, usual / MOST_RESIZED, usual * MOST_RESIZED))
    return replace(frames, field_of_view_px=max(1, round(height / scale)))


def check_network(run: Reopened, config: Config) -> None:
    """See that what is to be compared is described by the network of the run.

    Raises:
        WeightsError: If it is not.
    """
    own, asked = run.config.describe, config.describe
    if own.weights != asked.weights:
        raise WeightsError(
            f"{run.path}: was described with {own.weights}, not {asked.weights}; expected one network for all. Leave "
            "--weights out, or make the run with them"
        )
    if own.working_height_px != asked.working_height_px:
        raise InputError(
            f"{run.path}: was described at {own.working_height_px} pixels, not {asked.working_height_px}; expected one "
            "height for all. Leave describe.working_height_px as the run has it"
        )


def _link_all(source: Path, target: Path) -> None:
    """Link files into a new folder; copied where they cannot be linked."""
    try:
        target.mkdir(parents=True)
        for path in sorted(source.iterdir()) if source.is_dir() else ():
            if not path.is_file() or path.name.endswith(".partial"):
                continue
            try:
                os.link(path, target / path.name)
            except OSError:
                shutil.copyfile(path, target / path.name)
    except OSError as error:
        raise output_error(target, error) from error


def _is_of_network(frames: FrameSet, folder: Path, config: Config, device: torch.device) -> bool:
    """Whether the descriptors of a folder are those of the network, by a frame of which there are some."""
    files = DescriptorFiles(folder, config.runtime.cache_gb)
    if not files.is_begun():
        return True
    describer = Describer(config, device)
    for frame in frames.frames:
        held = None
        with suppress(InputError):
            held = files.load(frame.index)
        if held is None:
            continue
        basis = files.basis()
        if len(basis) != describer.dim:
            return False
        made, _ = describer.pack(load_working(frame, read_grid(folder)), basis)
        if made.cells.shape != held.cells.shape:
            return False
        both = (made.cells.astype(np.float32), held.cells.astype(np.float32))
        lengths = np.prod([np.linalg.norm(cells, axis=1) for cells in both], axis=0)
        return bool(np.median((both[0] * both[1]).sum(1) / np.maximum(lengths, 1e-9)) >= SAME_NETWORK)
    return True


def model_views(run: Reopened, matcher: Matcher) -> ModelViews:
    """The first model of a run and its frames, ready to be matched."""
    model = run.model
    return ModelViews(
        matcher=matcher,
        pooled=matcher.maps.pooled(),
        poses=model.cam_from_world,
        camera=model.camera,
        track=model.point,
        xy=model.xy,
        rows=FrameRows(model.frame),
        number=np.arange(len(model.xyz)),
        xyz=model.xyz,
        scale=error_scale(run.frames),
        seed=matcher.config.runtime.seed,
    )
