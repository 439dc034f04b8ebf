"""The camera of a clip without a calibration: estimated from some frames of it, before any frame is undistorted."""

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dd_sfm.config import Config, FramesConfig
from dd_sfm.errors import ReconstructionError
from dd_sfm.features.describe import describe_frames
from dd_sfm.features.held_maps import HeldMaps
from dd_sfm.features.match import match_frames
from dd_sfm.io.lens import Lens
from dd_sfm.io.undistortion import Undistortion, undistortion
from dd_sfm.io.video import SourceInfo, iter_frames
from dd_sfm.notes import Note, NoteCode
from dd_sfm.ops.coordinates import to_colmap
from dd_sfm.pipeline.camera_guess import field_extent
from dd_sfm.pipeline.frame_selection import Drops, chosen_by_source
from dd_sfm.pipeline.frame_writer import FrameWriter, View
from dd_sfm.pipeline.pieces import longest_piece
from dd_sfm.presets import configure
from dd_sfm.progress import Progress
from dd_sfm.runtime import resolve_device
from dd_sfm.sfm.error_scale import error_scale
from dd_sfm.sfm.eucm import ALPHA, BETA, CX, CY
from dd_sfm.sfm.lens_estimate import FieldShape, KnownLens, LensEstimate, estimate_lens, straightened
from dd_sfm.sfm.lens_priors import lens_prior
from dd_sfm.sfm.mapping import map_poses
from dd_sfm.sfm.track_selection import mapper_tracks
from dd_sfm.structures import Frame, FrameSet, Tracks

logger = logging.getLogger(__name__)

FOLDER = "camera.partial"
"""In the run folder while a camera is estimated."""
MIN_FRAMES = 15
"""Fewer do not tell a focal length."""
MOST_FRAMES, LEAST_FRAMES, MOST_STEP = 32, 24, 4
"""A stretch of the clip: so many frames at most, left out only where so many remain, every so manieth at most."""
KEYS_WITHIN = 8 * MOST_FRAMES
"""Key frames are looked for among so many frames of a stretch."""
TRIES = 3
"""Stretches looked at, the next one only where the one before does not tell the focal length."""
HEIGHT_PX = 360
"""Height of the field of view in which frames are matched: coarser than in a run, as few points do."""
TRACKS_PER_FRAME = 300
SPACING_PX, MAX_QUERIES = 14, 800
"""Of the points that are matched: half of a preview's, as only long tracks are used."""
LEAST_ALPHA = 0.03
"""Distortion below this moves no pixel of a usual field by more than its matches are off: left as it is."""


@dataclass(frozen=True)
class EstimatedCamera:
    """What undoes the lens's distortion, with its camera, and what to tell the user of it."""

    lens: Undistortion
    notes: list[Note]


def estimate_camera(
    info: SourceInfo, numbers: Sequence[int], view: View, out: Path, config: Config, progress: Progress
) -> EstimatedCamera:
    """Estimate focal length and distortion from the clip; what is known of the kind of lens stands in where it must.

    Args:
        info: The source.
        numbers: Its frames that are used.
        view: Field of view and pictures as they are, with a camera that is guessed.
        out: The run folder.
        config: The kind of lens, masks, device, threads and seed.
        progress: Shows describing and matching.
    """
    size, centre = field_extent(view.field_of_view)
    field = FieldShape(centre, size / 2)
    known = KnownLens.of_kind(lens_prior(config.camera.lens, config.camera.field_of_view_deg), field)
    if not config.camera.estimate:
        return EstimatedCamera(_undistortion(LensEstimate(known.lens, 0.0, is_told=False), view), [])
    found = LensEstimate(known.lens, known.focal_sigma, is_told=False)
    for stretch in _stretches_of_all(info, numbers, config.frames):
        with _scratch(out / FOLDER) as folder:
            found = _estimate(info, stretch, view, folder, field, known, _settings(config), progress) or found
        if found.is_told:
            break
    return EstimatedCamera(_undistortion(found, view), [_note(found, config)])


def _stretches_of_all(info: SourceInfo, numbers: Sequence[int], config: FramesConfig) -> list[Sequence[int]]:
    """Stretches of a source to look at; of several sources those of the longest one, then of the next."""
    by_source = sorted(chosen_by_source(info, numbers), key=len, reverse=True)
    found = [key_stretches(own) if config.every == "auto" else stretches(own) for own in by_source]
    in_turn = [some for turn in zip_longest(*found) for some in turn if some]
    return in_turn[:TRIES]


def stretches(numbers: Sequence[int]) -> list[Sequence[int]]:
    """Stretches of the frames to look at: evenly spread over a short clip; the middle of a longer one, and its end."""
    if len(numbers) < MIN_FRAMES:
        return []
    step = min(MOST_STEP, max(1, len(numbers) // LEAST_FRAMES))
    length = step * MOST_FRAMES
    if len(numbers) <= length:
        return [numbers[::step]]
    first = (len(numbers) - length) // 2
    middle, end = numbers[first : first + length : step], numbers[-length::step]
    # One that shows mostly the same frames again tells nothing more.
    return [middle, end] if 2 * first >= length else [middle]


def key_stretches(numbers: Sequence[int]) -> list[Sequence[int]]:
    """Stretches to look for key frames in: the middle of a clip, and one on both sides of it."""
    if len(numbers) <= KEYS_WITHIN:
        return [numbers] if len(numbers) >= MIN_FRAMES else []
    free = len(numbers) - KEYS_WITHIN
    firsts = (free // 2, free // 4, 3 * free // 4)
    return [numbers[first : first + KEYS_WITHIN] for first in firsts]


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _settings(config: Config) -> Config:
    """A preview with the shipped weights, whatever the features of the run: the camera is the same for all."""
    preview = configure("preview")
    height = min(config.describe.working_height_px, HEIGHT_PX)
    describe = replace(preview.describe, working_height_px=height)
    frames = FramesConfig(format="jpg", min_sharpness=config.frames.min_sharpness)
    if config.frames.every == "auto":
        frames = replace(frames, every="auto")
    runtime = replace(config.runtime, cache_gb=None)
    match = replace(preview.match, query_spacing_px=SPACING_PX, max_queries=MAX_QUERIES)
    return replace(preview, describe=describe, match=match, frames=frames, masks=config.masks, runtime=runtime)


def _estimate(
    info: SourceInfo,
    numbers: Sequence[int],
    view: View,
    folder: Path,
    field: FieldShape,
    known: KnownLens,
    config: Config,
    progress: Progress,
) -> LensEstimate | None:
    """Estimate the lens from a stretch of the clip; None when no model can be made of it."""
    frames = _write(info, numbers, view, folder, config, progress)
    if len(frames) < MIN_FRAMES:
        return None
    tracks = _tracks(frames, folder, config, progress)
    straight, pinhole = straightened(known.lens, tracks, frames.camera)
    # Marked as uncertain, it is left as it is and not compared with what the matches ask for.
    seen = replace(frames, camera=replace(pinhole, focal_sigma=1.0))
    try:
        poses = map_poses(seen, straight, folder, config, progress).models[0]
    except ReconstructionError as error:
        logger.info("camera: %s", error)
        return None
    if len(poses) < MIN_FRAMES:
        return None
    chosen = tracks.where(mapper_tracks(tracks, TRACKS_PER_FRAME, frames.camera.size)[tracks.track])
    return estimate_lens(chosen, poses, frames.camera, field, known, config, error_scale(frames))


def _tracks(frames: FrameSet, folder: Path, config: Config, progress: Progress) -> Tracks:
    device = resolve_device(config.runtime)
    held = HeldMaps(device)
    describe_frames(frames, folder, config, device, progress, held)
    return match_frames(frames, folder, config, device, progress, held).tracks


def _write(
    info: SourceInfo, numbers: Sequence[int], view: View, folder: Path, config: Config, progress: Progress
) -> FrameSet:
    """Write the frames of a stretch as they are, but for blurred ones and those that do not show the scene.

    Of key frames, which may be nearer to each other than in the run, the first ones are taken; of a stretch with cuts
    the longest piece.
    """
    writer = FrameWriter(folder, config, view)
    while True:
        dropped = Drops()
        images: Iterator[tuple[int, NDArray[Any]]] = progress(
            iter_frames(info, numbers), total=len(numbers), label="read frames"
        )
        sharpness = writer.write_sharp(images, dropped)
        kept = [number for number in sharpness if number not in dropped]
        is_auto = config.frames.every == "auto"
        if not (is_auto and writer.takes_nearer_keys(kept, len(sharpness), LEAST_FRAMES, MOST_FRAMES)):
            break
    frames = []
    for number in longest_piece(kept, writer.boundaries)[:MOST_FRAMES]:
        name = f"{info.stem(number)}.{config.frames.format}"
        frames.append(Frame(number, folder / "frames" / name, folder / "masks" / f"{name}.png", info.time_s(number)))
    return FrameSet(tuple(frames), view.lens.camera, view.height)


def _undistortion(found: LensEstimate, view: View) -> Undistortion:
    """What undoes the distortion of an estimated lens."""
    size = view.lens.camera.size
    focal, alpha, beta = found.focal_px, float(found.lens[ALPHA]), float(found.lens[BETA])
    params = (focal, focal, *map(float, to_colmap(found.lens[[CX, CY]])))
    is_bent = abs(alpha) >= LEAST_ALPHA
    lens = Lens("EUCM", (*params, alpha, beta), *size) if is_bent else Lens("PINHOLE", params, *size)
    plan = undistortion(lens, view.field_of_view)
    camera = replace(plan.camera, is_guess=not found.is_told, focal_sigma=round(found.focal_sigma, 5))
    return replace(plan, camera=camera)


def _note(found: LensEstimate, config: Config) -> Note:
    share = 100 * found.focal_sigma
    if found.is_told:
        text = (
            f"no calibration: the focal length, {found.focal_px:.0f} px, was estimated from the clip and is good to "
            f"{share:.2g} % (one standard deviation), depths along the view as well. Give one with --calibration"
        )
        return Note(NoteCode.CAMERA_ESTIMATED, text)
    kind = "any endoscope" if config.camera.lens == "unknown" else f"--lens {config.camera.lens}"
    more = ", or the kind of scope with --lens" if config.camera.lens == "unknown" else ""
    text = (
        f"no calibration, and the motion of the clip does not tell the focal length: {found.focal_px:.0f} px is that "
        f"of {kind}, good to {share:.0f} % (one standard deviation). Depths along the view may be stretched by as "
        f"much, and angles with them. Give one with --calibration{more}"
    )
    return Note(NoteCode.NO_CALIBRATION, text)
