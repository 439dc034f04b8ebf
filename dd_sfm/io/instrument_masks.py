"""Masks of a run without the instruments that it found: beside those that matching used, and of the same names."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dd_sfm.io.images import write_mask
from dd_sfm.structures import FrameSet

OWN, FOLDER = "masks", "instruments"
"""In a run: the masks of all frames, and others of those that show an instrument."""


def write_instrument_masks(run: Path, masks: Mapping[str, NDArray[np.bool_]]) -> None:
    """Write masks (H, W) by the file name of the frame's own mask; those of an earlier call are removed.

    Only what is called like a frame's mask is ours; other files in the folder stay.
    """
    for old in (run / FOLDER).glob("*.png"):
        if old.name not in masks and (run / OWN / old.name).is_file():
            old.unlink()
    for name, mask in masks.items():
        (run / FOLDER).mkdir(exist_ok=True)
        write_mask(run / FOLDER / name, mask)


def final_mask(mask: Path) -> Path:
    """Of a frame's own mask the path of the one without instruments, where there is one."""
    without = mask.parent.parent / FOLDER / mask.name
    return without if without.is_file() else mask


def own_mask(mask: Path) -> Path:
    """Of any of a frame's masks the path of the one in ``masks/``."""
    return mask.parent.parent / OWN / mask.name


def without_instruments(frames: FrameSet) -> FrameSet:
    """The frames with masks that leave out the instruments found."""
    return replace(frames, frames=tuple(replace(f, mask_path=final_mask(f.mask_path)) for f in frames.frames))
