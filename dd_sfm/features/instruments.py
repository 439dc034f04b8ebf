"""Instruments of a clip, found by how they move and look, and its masks and tracks without them."""

import logging
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.config import Config
from dd_sfm.features.instrument_areas import HEIGHT_PX, ColourOdds, SmallFrame, filled, find_area
from dd_sfm.io.edited_masks import edited_masks
from dd_sfm.io.images import read_image, read_mask
from dd_sfm.io.instrument_masks import FOLDER, write_instrument_masks
from dd_sfm.notes import Note, NoteCode
from dd_sfm.ops.coordinates import resize_xy
from dd_sfm.ops.pixels import inside_mask
from dd_sfm.ops.resize import resize_image
from dd_sfm.runtime import cpu_threads, worker_threads
from dd_sfm.sfm.moving_tracks import JudgedObservations
from dd_sfm.structures import FrameSet, Tracks

logger = logging.getLogger(__name__)

LOOKED_AT = 40
"""Frames by which it is told whether there is an instrument at all."""
LEAST_FRAMES = 3
"""Fewest of them that show one."""
ROUNDS = 2
"""How often colours are learned anew from the areas found, which then grow over parts that have few tracks."""
REACH = 3
"""Frames to each side in which an area may continue."""
MOST_MOVING = 0.4
"""Where more of the observations move, the poses themselves are in doubt."""
Mask = NDArray[np.bool_]


def mask_instruments(
    frames: FrameSet, judged: JudgedObservations, out: Path, config: Config
) -> tuple[float, list[Note]]:
    """Write masks without the instruments that are found; frames whose masks the user has edited stay as they are.

    Args:
        frames: The run's frames, with the masks that they were matched with.
        judged: Which of the tracks move.
        out: The run folder.
        config: The configuration.

    Returns:
        The share of what can be used of all frames that instruments cover, and a note where there are any.
    """
    areas, edited = find_instruments(frames, judged, config), edited_masks(out)
    masks: dict[str, Mask] = {}
    usable, covered = 0, 0
    for position, frame in enumerate(frames.frames):
        name = frame.mask_path.name
        mask = read_mask(frame.mask_path) if areas else np.zeros((1, 1), np.bool_)
        usable += int(mask.sum())
        if position in areas and name not in edited:
            masks[name] = mask & ~_enlarged(areas[position], mask.shape)
            covered += int(mask.sum() - masks[name].sum())
    write_instrument_masks(out, masks)
    if not masks:
        return 0.0, []
    share = covered / max(1, usable)
    text = (
        f"what moves against the tissue, as instruments do, is masked in {len(masks)} of {len(frames)} frames, "
        f"{100 * share:.1f} % of all that can be used: {FOLDER}/ shows where; --set masks.instruments=off leaves it in"
    )
    logger.info("instruments: %d frames, share %.4f", len(masks), share)
    return round(share, 5), [Note(NoteCode.INSTRUMENTS_MASKED, text)]


def _enlarged(area: Mask, shape: tuple[int, ...]) -> Mask:
    """An area of a small frame in one of full size (H, W)."""
    return np.asarray(cv2.resize(area.astype(np.float32), shape[::-1], interpolation=cv2.INTER_LINEAR) > 0.5)


def tracks_without_instruments(frames: FrameSet, tracks: Tracks) -> Tracks:
    """Tracks without their observations on instruments.

    Args:
        frames: From :func:`dd_sfm.io.instrument_masks.without_instruments`.
        tracks: All tracks.
    """
    keep = np.ones(len(tracks.track), np.bool_)
    for position, frame in enumerate(frames.frames):
        if frame.mask_path.parent.name == FOLDER:
            rows = tracks.frame == position
            keep[rows] = inside_mask(read_mask(frame.mask_path), tracks.xy[rows])
    return tracks if keep.all() else tracks.where(keep)


def find_instruments(frames: FrameSet, judged: JudgedObservations, config: Config) -> dict[int, Mask]:
    """Areas of instruments, by frame position, in small frames.

    Args:
        frames: The run's frames.
        judged: Which of the tracks move.
        config: The configuration.
    """
    if not judged.moving.any() or judged.moving_share > MOST_MOVING:
        return {}
    posed = np.unique(judged.frame).tolist()
    load = _Loader(frames, judged)
    with worker_threads(cpu_threads(config.runtime)) as pool:
        some = posed[:: max(1, len(posed) // LOOKED_AT)]
        small = list(pool.map(load, some))
        colour = ColourOdds.of_tracks(small)
        areas = [find_area(frame, colour) for frame in small]
        if sum(bool(clear.any()) for clear, _ in areas) < LEAST_FRAMES:
            return {}
        for _ in range(ROUNDS):
            colour = ColourOdds.of_areas(small, [clear for clear, _ in areas])
            areas = [find_area(frame, colour) for frame in small]
        every = dict(zip(some, small, strict=True))
        left = [k for k in posed if k not in every]
        every |= zip(left, pool.map(load, left), strict=True)
    both = {k: find_area(frame, colour) for k, frame in every.items()}
    return {k: area for k, frame in every.items() if (area := _with_continued(both, k, frame)).any()}


def _with_continued(both: dict[int, tuple[Mask, Mask]], position: int, frame: SmallFrame) -> Mask:
    clear, possible = both[position]
    near = [both[k][0] for k in range(position - REACH, position + REACH + 1) if k in both]
    _, labels = cv2.connectedComponents(possible.astype(np.uint8))
    continued = np.unique(labels[np.logical_or.reduce(near) & possible])
    return filled(clear | np.isin(labels, continued[continued > 0]), frame.usable)


@dataclass(frozen=True)
class _Loader:
    """Reads small frames with their judged tracks."""

    frames: FrameSet
    judged: JudgedObservations

    def __call__(self, position: int) -> SmallFrame:
        frame, scale = self.frames.frames[position], HEIGHT_PX / self.frames.field_of_view_px
        image = resize_image(read_image(frame.path), scale)
        mask = resize_image(read_mask(frame.mask_path).astype(np.uint8) * 255, scale) > 127
        rows = self.judged.frame == position
        return SmallFrame(image, mask, resize_xy(self.judged.xy[rows], scale), self.judged.moving[rows])
