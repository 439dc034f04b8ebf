"""Frames on their way from the decoder to the disk: measured, chosen and written."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.config import Config
from dd_sfm.io.images import write_image, write_mask
from dd_sfm.io.undistortion import Undistortion
from dd_sfm.pipeline.frame_selection import (
    NEIGHBOURS,
    BlurFilter,
    Drops,
    sharpness_area,
    sharpness_of,
    small_area,
    small_grey,
)
from dd_sfm.pipeline.masks import frame_mask
from dd_sfm.runtime import cpu_threads, map_ahead, worker_threads
from dd_sfm.structures import DropReason

MAX_WORKERS = 8
"""More are not kept busy by one decoder."""
NumberedImage = tuple[int, NDArray[Any]]
"""Number of a source frame and its RGB image (H, W, 3) uint8."""


@dataclass(frozen=True)
class View:
    """What all frames of a source share.

    ``lens``: what undoes distortion; ``field_of_view`` (H, W) bool in undistorted frames; ``usable``: that, eroded;
    ``height``: of the field of view in source pixels.
    """

    lens: Undistortion
    field_of_view: NDArray[np.bool_]
    usable: NDArray[np.bool_]
    height: int


@dataclass(frozen=True)
class MeasuredFrame:
    """A frame without distortion, its ``sharpness``, and ``grey``, a small copy by which motion is seen."""

    number: int
    image: NDArray[Any]
    sharpness: float
    grey: NDArray[Any]


class FrameWriter:
    """Writes frames and masks, leaving out those that are blurred or show no motion since the last one written.

    Measuring and writing are done by worker threads beside the caller's, which decodes and chooses. Frames in memory
    are those in work, two a worker at most, and the ones that wait for the sharpness of their neighbours.

    Args:
        out: The run folder.
        config: The configuration.
        view: What the frames share.
    """

    def __init__(self, out: Path, config: Config, view: View) -> None:
        self.config, self.view = config, view
        self.frames, self.masks = out / "frames", out / "masks"
        for folder in (self.frames, self.masks):
            folder.mkdir(parents=True, exist_ok=True)
        self.scale = min(1.0, config.describe.working_height_px / max(1, view.height))
        # Half the working size is enough to see motion, and four times faster.
        self.motion_scale = self.scale / 2
        self.inside = small_area(view.usable, self.motion_scale)
        self.sharpness_area = sharpness_area(view.field_of_view, self.scale)
        preset = cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST
        self.flow = cv2.DISOpticalFlow_create(preset)  # type: ignore[attr-defined]
        self.workers = min(MAX_WORKERS, cpu_threads(config.runtime))

    def sharpness(self, images: Iterable[NumberedImage]) -> dict[int, float]:
        """The sharpness of frames by number; nothing is written."""

        def measure(item: NumberedImage) -> tuple[int, float]:
            return item[0], sharpness_of(item[1], self.sharpness_area, self.scale)

        with worker_threads(self.workers) as pool:
            return dict(map_ahead(pool, measure, images, self.workers))

    def write(self, images: Iterable[NumberedImage], dropped: Drops) -> None:
        """Write frames that are known to be sharp; those without motion are entered into ``dropped``."""
        with worker_threads(self.workers) as pool:
            measured = map_ahead(pool, self._undistort, images, self.workers)
            for _ in map_ahead(pool, self._write, self._moving(measured, dropped), self.workers):
                pass

    def write_sharp(self, images: Iterable[NumberedImage], dropped: Drops) -> dict[int, float]:
        """Write frames; those that are blurred or without motion are entered into ``dropped``.

        Returns the sharpness of all by number.

        A frame is blurred as :func:`dd_sfm.pipeline.frame_selection.find_blurred` would tell it.
        """
        blur = BlurFilter(self.config.frames.min_sharpness)
        sharpness: dict[int, float] = {}
        with worker_threads(self.workers) as pool:
            measured = _noted(map_ahead(pool, self._measure, images, self.workers), sharpness)
            moving = self._moving(_sharp(measured, blur, dropped), dropped)
            for _ in map_ahead(pool, self._write, moving, self.workers):
                pass
        return sharpness

    def _measure(self, item: NumberedImage) -> MeasuredFrame:
        return self._undistort(item, sharpness_of(item[1], self.sharpness_area, self.scale))

    def _undistort(self, item: NumberedImage, sharpness: float = 0.0) -> MeasuredFrame:
        number, image = item
        image = self.view.lens.apply(image)
        return MeasuredFrame(number, image, sharpness, small_grey(image, self.motion_scale))

    def _moving(self, frames: Iterable[MeasuredFrame], dropped: Drops) -> Iterator[MeasuredFrame]:
        """The frames that moved since the last one yielded; the others are entered into ``dropped``."""
        last: NDArray[Any] | None = None
        least = self.config.frames.min_motion_px
        for frame in frames:
            if last is not None and least > 0:
                flow = self.flow.calc(last, frame.grey, None)
                motion = float(np.median(np.linalg.norm(flow[self.inside], axis=1)) * 2) if self.inside.any() else 0.0
                if motion < least:
                    detail = f"no motion: {motion:.2f} working px since the last frame kept"
                    dropped[frame.number] = DropReason.NO_MOTION, detail
                    continue
            last = frame.grey
            yield frame

    def _write(self, frame: MeasuredFrame) -> None:
        name = f"{frame.number:08d}.{self.config.frames.format}"
        write_image(self.frames / name, frame.image)
        write_mask(self.masks / f"{name}.png", frame_mask(frame.image, self.view.usable, self.config.masks))


def _noted(frames: Iterable[MeasuredFrame], sharpness: dict[int, float]) -> Iterator[MeasuredFrame]:
    """The frames as they are, with their sharpness entered into ``sharpness``."""
    for frame in frames:
        sharpness[frame.number] = frame.sharpness
        yield frame


def _sharp(frames: Iterable[MeasuredFrame], blur: BlurFilter, dropped: Drops) -> Iterator[MeasuredFrame]:
    """The frames that are not blurred, each as soon as its neighbours are known; the others go into ``dropped``."""
    waiting: deque[MeasuredFrame] = deque()

    def judge() -> Iterator[MeasuredFrame]:
        frame, detail = waiting.popleft(), blur.judge_next()
        if detail:
            dropped[frame.number] = DropReason.BLURRED, detail
        else:
            yield frame

    for frame in frames:
        blur.values.append(frame.sharpness)
        waiting.append(frame)
        if len(waiting) > NEIGHBOURS:
            yield from judge()
    while waiting:
        yield from judge()
