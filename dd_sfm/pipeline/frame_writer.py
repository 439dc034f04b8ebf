"""Frames on their way from the decoder to the disk: measured, chosen and written."""

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.config import Config
from dd_sfm.io.edited_masks import mask_hash
from dd_sfm.io.images import write_image, write_mask
from dd_sfm.io.undistortion import Undistortion
from dd_sfm.notes import Note
from dd_sfm.ops.working import mask_height
from dd_sfm.pipeline.cuts import Boundary, Comparison, PathFollower
from dd_sfm.pipeline.frame_content import SceneField
from dd_sfm.pipeline.frame_motion import MotionMeter, key_frames, moved_frames
from dd_sfm.pipeline.frame_selection import (
    Drops,
    small_area,
    small_grey,
    small_image,
)
from dd_sfm.pipeline.frame_texture import (
    NEIGHBOURS,
    BlurFilter,
    Texture,
    TextureMeter,
    why_featureless,
)
from dd_sfm.pipeline.masks import frame_mask
from dd_sfm.pipeline.obscured_frames import unobscured
from dd_sfm.pipeline.user_masks import UserMasks
from dd_sfm.runtime import cpu_threads, map_ahead, worker_threads
from dd_sfm.structures import DropReason

logger = logging.getLogger(__name__)

MAX_WORKERS = 8
"""More are not kept busy by one decoder."""
MORE_TO_DESCRIBE = 2.0
"""An undistorted frame has at most so many times the working pixels of the box around the source's field of view."""
LEAST_MOTION_PX = 125
"""Height of the field of view below which motion is no longer seen well."""
LEAST_USABLE = 0.01
"""Share of the field of view that a mask leaves of a frame that is used."""
NumberedImage = tuple[int, NDArray[Any]]
"""Number of a source frame and its RGB image (H, W, 3) uint8."""


@dataclass(frozen=True)
class View:
    """What all frames of a source share.

    ``lens``: what undoes distortion; ``field_of_view`` (H, W) bool in frames as they are in the source; ``eroded``: the
    same without its rim; ``scene``: tells frames that do not show the scene; ``masks``: the user's, in the source;
    ``usual``: the middle texture; ``notes``: what was noticed.
    """

    lens: Undistortion
    field_of_view: NDArray[np.bool_]
    eroded: NDArray[np.bool_]
    scene: SceneField
    masks: UserMasks
    usual: Texture
    notes: tuple[Note, ...] = ()

    @cached_property
    def usable(self) -> NDArray[np.bool_]:
        """What can be used of undistorted frames (H, W)."""
        return self.lens.apply_to_mask(self.eroded)

    def usable_in(self, number: int) -> NDArray[np.bool_]:
        """What of a source frame can be used, but for highlights, once it is undistorted."""
        own = self.masks.of_frame(number)
        return self.usable if own is None else self.usable & self.lens.apply_to_mask(own)

    @property
    def height(self) -> int:
        """Height of the field of view in undistorted frames, by which they are resized to be described.

        At the resolution of their centre, so that what is far off the axis and drawn out there does not count; but of
        a frame that is much larger than the field in the source as much larger as keeps the work within bounds.
        """
        height = mask_height(self.field_of_view)
        box = max(1, height * mask_height(self.field_of_view.T))
        drawn_out = self.lens.camera.width * self.lens.camera.height / (MORE_TO_DESCRIBE * box)
        is_same = self.lens.camera.size == (self.field_of_view.shape[1], self.field_of_view.shape[0])
        return round(height * (1.0 if is_same else max(self.lens.scale, drawn_out**0.5)))


@dataclass(frozen=True)
class MeasuredFrame:
    """A frame without distortion, the ``texture`` that it had before, and ``grey``, a copy by which motion is seen.

    ``overview`` (h, w): the smaller one by which frames are compared; ``usable`` (H, W): what of the frame can be used,
    but for highlights; ``unfit``: why it does not show the scene, if it does not; it then has no arrays.
    """

    number: int
    image: NDArray[Any]
    texture: Texture
    grey: NDArray[Any]
    overview: NDArray[Any]
    usable: NDArray[np.bool_]
    unfit: tuple[DropReason, str] | None = None

    @property
    def sharpness(self) -> float:
        """See :func:`dd_sfm.pipeline.frame_texture.sharpness_of`."""
        return self.texture.sharpness


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
        self.mask_hashes: dict[str, str] = {}
        """Masks written, by file name."""
        self.boundaries: list[Boundary] = []
        """Those between frames written, of all sources."""
        for folder in (self.frames, self.masks):
            folder.mkdir(parents=True, exist_ok=True)
        self.highlight_height = mask_height(view.eroded) * view.lens.scale
        source_height, height = mask_height(view.field_of_view), view.height
        self.scale = min(1.0, config.describe.working_height_px / max(1, source_height))
        self.undistorted_scale = min(1.0, config.describe.working_height_px / max(1, height))
        # Half the working size is enough to see motion, and four times faster; a small picture stays large enough.
        self.motion_scale = max(self.undistorted_scale / 2, LEAST_MOTION_PX / max(1, height))
        self.inside = small_area(view.usable, self.motion_scale)
        self.texture = TextureMeter(view.field_of_view, self.scale)
        self.comparison = Comparison.of(small_area(view.field_of_view, self.scale))
        self.meter = MotionMeter(self.inside, self.motion_scale / self.undistorted_scale)
        self.key_spacing_px = config.frames.key_motion_px
        self.workers = min(MAX_WORKERS, cpu_threads(config.runtime))

    def remove(self, numbers: Iterable[int]) -> None:
        """Remove frames that were written."""
        for number in numbers:
            name = self._name(number)
            del self.mask_hashes[f"{name}.png"]
            (self.frames / name).unlink()
            (self.masks / f"{name}.png").unlink()

    def takes_nearer_keys(self, keys: Sequence[int], seen: int, fewest: int, enough: int) -> bool:
        """Whether too few key frames were found, and more may be, nearer to each other: these are then removed.

        Args:
            keys: Numbers of the key frames written.
            seen: Frames that they were chosen from.
            fewest: Fewer of them are too few.
            enough: As many as are wanted then.
        """
        nearer_px = max(self.config.frames.min_motion_px, self.key_spacing_px * len(keys) / enough)
        if len(keys) >= fewest or nearer_px >= self.key_spacing_px or len(keys) == seen:
            return False
        logger.info("frames: %d key frames; chosen again %.2f working px apart", len(keys), nearer_px)
        self.remove(keys)
        self.boundaries.clear()
        self.key_spacing_px = nearer_px
        return True

    def measure(self, images: Iterable[NumberedImage], dropped: Drops) -> dict[int, Texture]:
        """The texture of frames by number; those that do not show the scene are entered into ``dropped``."""

        def measure(item: NumberedImage) -> MeasuredFrame:
            return self._measure(item, keep=False)

        textures: dict[int, Texture] = {}
        with worker_threads(self.workers) as pool:
            for _ in self._fit(map_ahead(pool, measure, images, self.workers), textures, dropped):
                pass
        return textures

    def write(self, images: Iterable[NumberedImage], dropped: Drops) -> None:
        """Write frames that are known to be sharp; those without motion are entered into ``dropped``."""
        with worker_threads(self.workers) as pool:
            measured = map_ahead(pool, self._read_again, images, self.workers)
            for _ in map_ahead(pool, self._write, self._moving(measured, dropped), self.workers):
                pass

    def write_sharp(self, images: Iterable[NumberedImage], dropped: Drops) -> dict[int, Texture]:
        """Write frames that show the scene, sharp and moved; the others are entered into ``dropped``.

        A frame is blurred as :func:`dd_sfm.pipeline.frame_texture.find_blurred` would tell it. Returns the texture of
        all by number.
        """
        blur, textures = BlurFilter(self.config.frames.min_sharpness, self.view.usual), dict[int, Texture]()
        with worker_threads(self.workers) as pool:
            measured = self._fit(map_ahead(pool, self._measure, images, self.workers), textures, dropped)
            moving = self._moving(_sharp(measured, blur, dropped), dropped)
            for _ in map_ahead(pool, self._write, moving, self.workers):
                pass
        return textures

    def _fit(
        self, frames: Iterable[MeasuredFrame], textures: dict[int, Texture], dropped: Drops
    ) -> Iterator[MeasuredFrame]:
        """The frames that show the scene; the others go into ``dropped``, and the texture of all into ``textures``."""
        shown = _showing(frames, textures, dropped)
        if self.config.frames.min_sharpness == 0:
            return shown
        return unobscured(shown, self.comparison, self.view.usual, dropped)

    def _measure(self, item: NumberedImage, *, keep: bool = True) -> MeasuredFrame:
        small = small_image(item[1], self.scale)
        texture, unfit = self.texture.of(small), self.view.scene.why_unfit(small)
        usable = self.view.usable_in(item[0])
        unfit = unfit or self._why_masked(usable)
        if self.config.frames.min_sharpness > 0:
            unfit = unfit or why_featureless(texture)
        nothing = np.zeros((0, 0), np.uint8)
        if unfit:
            return MeasuredFrame(item[0], nothing, texture, nothing, nothing, nothing > 0, unfit)
        overview = self.comparison.shrunk(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
        if not keep:
            return MeasuredFrame(item[0], nothing, texture, nothing, overview, nothing > 0)
        return self._undistort(item, usable, texture, overview)

    def _read_again(self, item: NumberedImage) -> MeasuredFrame:
        nothing = np.zeros((0, 0), np.uint8)
        return self._undistort(item, self.view.usable_in(item[0]), Texture(0.0, 0.0), nothing)

    def _undistort(
        self, item: NumberedImage, usable: NDArray[np.bool_], texture: Texture, overview: NDArray[Any]
    ) -> MeasuredFrame:
        number, image = item
        image = self.view.lens.apply(image)
        return MeasuredFrame(number, image, texture, small_grey(image, self.motion_scale), overview, usable)

    def _why_masked(self, usable: NDArray[np.bool_]) -> tuple[DropReason, str] | None:
        """Why a frame is left out of which the user's mask leaves next to nothing."""
        if usable is self.view.usable:
            return None
        share = usable.sum() / max(1, self.view.usable.sum())
        return (
            (DropReason.MASKED, f"masked: {100 * share:.2f} % of the field is usable") if share < LEAST_USABLE else None
        )

    def _moving(self, frames: Iterable[MeasuredFrame], dropped: Drops) -> Iterator[MeasuredFrame]:
        """The frames that moved enough since the last one yielded; the others are entered into ``dropped``."""
        follower, settings = PathFollower(self.inside), self.config.frames
        if settings.every == "auto":
            chosen = key_frames(frames, self.meter, self.key_spacing_px, dropped)
        else:
            chosen = moved_frames(frames, self.meter, settings.min_motion_px, dropped)
        for frame in chosen:
            follower.see(frame.number, frame.grey)
            yield frame
        self.boundaries += follower.boundaries

    def _name(self, number: int) -> str:
        return f"{self.view.masks.source.stem(number)}.{self.config.frames.format}"

    def _write(self, frame: MeasuredFrame) -> None:
        name = self._name(frame.number)
        path = self.masks / f"{name}.png"
        write_image(self.frames / name, frame.image)
        mask = frame_mask(frame.image, frame.usable, self.config.masks, height=self.highlight_height)
        write_mask(path, mask)
        self.mask_hashes[path.name] = mask_hash(path)


def _showing(frames: Iterable[MeasuredFrame], textures: dict[int, Texture], dropped: Drops) -> Iterator[MeasuredFrame]:
    for frame in frames:
        textures[frame.number] = frame.texture
        if frame.unfit:
            dropped[frame.number] = frame.unfit
        else:
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
        blur.values.append(frame.texture)
        waiting.append(frame)
        if len(waiting) > NEIGHBOURS:
            yield from judge()
    while waiting:
        yield from judge()
