"""Writes the frames and masks of a run, leaving out frames without motion."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.config import Config
from dd_sfm.io.colmap_camera import Undistortion
from dd_sfm.io.images import write_image, write_mask
from dd_sfm.pipeline.frame_selection import small_grey
from dd_sfm.pipeline.masks import frame_mask


class FrameWriter:
    """Writes frames and masks, leaving out those that show no motion since the last one written."""

    def __init__(self, out: Path, config: Config, lens: Undistortion, usable: NDArray[np.bool_], height: int) -> None:
        self.config, self.lens, self.usable = config, lens, usable
        self.frames, self.masks = out / "frames", out / "masks"
        for folder in (self.frames, self.masks):
            folder.mkdir(parents=True, exist_ok=True)
        # Half the working size is enough to see motion, and four times faster.
        self.scale = min(1.0, config.describe.working_height_px / max(1, height)) / 2
        self.last: NDArray[Any] | None = None
        small = (max(16, round(usable.shape[1] * self.scale)), max(16, round(usable.shape[0] * self.scale)))
        self.inside = cv2.resize(usable.astype(np.uint8), small, interpolation=cv2.INTER_NEAREST) > 0
        preset = cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST
        self.flow = cv2.DISOpticalFlow_create(preset)  # type: ignore[attr-defined]

    def offer(self, number: int, image: NDArray[Any]) -> str:
        """Write a frame and its mask; or return the motion measured, as a text, where it is too small."""
        image = self.lens.apply(image)
        grey = small_grey(image, self.scale)
        if self.last is not None and self.config.frames.min_motion_px > 0:
            flow = self.flow.calc(self.last, grey, None)
            motion = float(np.median(np.linalg.norm(flow[self.inside], axis=1)) * 2) if self.inside.any() else 0.0
            if motion < self.config.frames.min_motion_px:
                return f"no motion: {motion:.2f} working px since the last frame kept"
        self.last = grey
        name = f"{number:08d}.{self.config.frames.format}"
        write_image(self.frames / name, image)
        write_mask(self.masks / f"{name}.png", frame_mask(image, self.usable, self.config.masks))
        return ""
