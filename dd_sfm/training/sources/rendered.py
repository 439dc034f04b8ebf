"""Pairs of a rendered clip, from its true depth and poses."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import InputError
from dd_sfm.io.truth import RenderedTruth, read_rigid_truth
from dd_sfm.io.video import iter_frames, open_source
from dd_sfm.ops.working import field_grid, working_image, working_mask
from dd_sfm.structures import WorkingGrid
from dd_sfm.training.config import TrainConfig
from dd_sfm.training.sources.frames import WorkingFrames, store_frames
from dd_sfm.training.sources.pair_sample import PairSample, log_uniform_gap
from dd_sfm.training.sources.spec import DataPath


class RenderedSource:
    """A rendered clip with depth and poses; ``first`` is the frame of the clip that frame 0 here is."""

    def __init__(
        self,
        truth: RenderedTruth,
        frames: WorkingFrames,
        grid: WorkingGrid,
        gaps: tuple[int, int],
        first: int = 0,
        points: int = 1500,
    ) -> None:
        self.truth, self.frames, self.grid, self.gaps = truth, frames, grid, gaps
        self.first, self.points = first, points
        self.inside = np.argwhere(truth.mask)[:, ::-1]
        inside = (truth.depth_frames >= first) & (truth.depth_frames < first + len(frames))
        self.with_depth = truth.depth_frames[inside] - first

    def draw(self, rng: np.random.Generator, gap: int | None = None) -> PairSample:
        """A frame with depth and another at a log-uniform gap, in either order.

        Without points where no frames are as far apart as the gap that is asked for.
        """
        count, mask = len(self.frames), self.frames.mask(0)
        starts = self.with_depth
        if gap is not None:
            starts = starts[(starts + gap < count) | (starts >= gap)]
        if not len(starts):
            empty = np.zeros((0, 2))
            return PairSample(self.frames.image(0), self.frames.image(0), mask, mask, empty, empty)
        i = int(rng.choice(starts))
        step = (gap or log_uniform_gap(rng, self.gaps)) * (1 if rng.random() < 0.5 else -1)
        j = i + step if 0 <= i + step < count else i - step
        j = int(np.clip(j, 0, count - 1))
        xy = self.inside[rng.integers(len(self.inside), size=self.points)].astype(np.float64)
        there, visible = self.truth.correspondences(i + self.first, j + self.first, xy)
        xy0, xy1 = self.grid.to_working(xy[visible]), self.grid.to_working(there[visible])
        if rng.random() < 0.5:
            i, j, xy0, xy1 = j, i, xy1, xy0
        return PairSample(self.frames.image(i), self.frames.image(j), mask, mask, xy0, xy1)


def open_rendered(data: DataPath, config: TrainConfig) -> RenderedSource:
    """Prepare a rendered clip.

    Raises:
        InputError: If it cannot be read, its tissue moves, or no frame with depth lies in the range.
    """
    truth = read_rigid_truth(data.path)
    grid = field_grid(truth.mask, config.working_height_px, where=str(data.path))
    count = len(truth.cam_from_world)
    last = count - 1 if data.last is None else min(data.last, count - 1)
    numbers = range(data.first, last + 1)
    clip = open_source(truth.clip_path)
    if (clip.height, clip.width) != truth.mask.shape:
        raise InputError(
            f"{truth.clip_path}: {clip.width}x{clip.height} pixels; expected "
            f"{truth.mask.shape[1]}x{truth.mask.shape[0]}, as the mask"
        )

    def images() -> Any:
        return (working_image(image, grid) for _, image in iter_frames(clip, numbers))

    masks: list[NDArray[np.bool_]] = [working_mask(truth.mask, grid)]
    frames = store_frames(data.path.name, tuple(numbers), images(), masks, config.memory_mb)
    if len(frames) < len(numbers) or not len(numbers):
        raise InputError(
            f"{data.label}: {len(frames)} frames in {truth.clip_path.name}; expected {max(1, len(numbers))} of "
            f"{count}, as truth.npz has poses"
        )
    source = RenderedSource(truth, frames, grid, config.rendered_gaps, data.first)
    if len(frames) < 2 or not len(source.with_depth):
        raise InputError(
            f"{data.label}: {len(frames)} frames, {len(source.with_depth)} with depth; expected at least 2 and 1"
        )
    return source
