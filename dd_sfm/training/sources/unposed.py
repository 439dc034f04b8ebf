"""Sources without poses: videos, folders of images, single images. Training pairs are random warps of a frame."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import InputError
from dd_sfm.io.image_folder import open_images
from dd_sfm.io.images import has_image_suffix
from dd_sfm.io.video import SourceInfo, iter_frames, open_source
from dd_sfm.ops.working import field_grid, working_image, working_mask
from dd_sfm.training.config import TrainConfig
from dd_sfm.training.sources.cache import Cache
from dd_sfm.training.sources.frames import WorkingFrames, store_frames
from dd_sfm.training.sources.spec import DataPath

FindFieldOfView = Callable[[Sequence[NDArray[Any]], str], NDArray[np.bool_]]
"""Finds the field of view (H, W) from frames (H, W, 3) of one camera; the text names their source in messages."""


def open_unposed(
    data: DataPath, config: TrainConfig, find_field_of_view: FindFieldOfView, cache: Cache
) -> WorkingFrames:
    """Prepare a video, a folder of images of one size, or one image.

    Raises:
        InputError: If nothing in the range can be decoded.
    """
    if data.path.is_file() and has_image_suffix(data.path):
        info = open_images(data.path.parent, [data.path])
    else:
        info = open_source(data.path)
    last = info.frame_count - 1 if data.last is None else min(data.last, info.frame_count - 1)
    if last < data.first:
        raise InputError(f"{data.label}: the source has {info.frame_count} frames; expected some in the range")
    count = min(config.max_frames, last - data.first + 1)
    numbers = sorted({int(n) for n in np.linspace(data.first, last, count)})
    files = [info.path / name for name in info.names] or [info.path]
    key = cache.key(files, [np.array(numbers)], [config.working_height_px, config.memory_mb])
    held = cache.load(key)
    if held:
        return held["frames"]
    frames = _prepare(data, info, numbers, config, find_field_of_view)
    cache.save(key, {"frames": frames})
    return frames


def _prepare(
    data: DataPath, info: SourceInfo, numbers: list[int], config: TrainConfig, find_field_of_view: FindFieldOfView
) -> WorkingFrames:
    wanted = set(numbers)
    span = range(numbers[0], numbers[-1] + 1)
    samples = set(numbers[:: max(1, len(numbers) // 16)][:16])
    found = [image for n, image in iter_frames(info, span) if n in samples]
    if not found:
        raise InputError(f"{data.label}: no frame of the range can be decoded; expected at least one")
    field = find_field_of_view(found, data.label)
    grid = field_grid(field, config.working_height_px, where=data.label)
    images = (working_image(image, grid) for n, image in iter_frames(info, span) if n in wanted)
    return store_frames(data.path.name, tuple(numbers), images, [working_mask(field, grid)], config.memory_mb)
