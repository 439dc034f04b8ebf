"""Stage: frames. From a video or a folder of images to the frames, masks and camera of a run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.config import Config, FramesConfig
from dd_sfm.errors import InputError
from dd_sfm.io.edited_masks import ASIDE, put_back, record_masks
from dd_sfm.io.image_folder import refuse_undecodable
from dd_sfm.io.images import write_mask
from dd_sfm.io.run_folder import ExtractedFrames, load_frames, write_frames
from dd_sfm.io.undistortion import Undistortion, undistortion
from dd_sfm.io.video import SourceInfo, iter_frames
from dd_sfm.notes import Note, NoteCode
from dd_sfm.pipeline.camera_estimate import estimate_camera
from dd_sfm.pipeline.camera_guess import calibration_notes, field_notes, guess_camera
from dd_sfm.pipeline.expected_time import CAMERA_STEP
from dd_sfm.pipeline.frame_content import overview, overview_size, scene_field, shrunk
from dd_sfm.pipeline.frame_selection import (
    Drops,
    chosen_by_source,
    chosen_numbers,
    drop_notes,
    require_three,
    small_image,
    thin,
    with_every,
)
from dd_sfm.pipeline.frame_texture import Texture, find_blurred, usual_texture
from dd_sfm.pipeline.frame_writer import FrameWriter, View
from dd_sfm.pipeline.masks import erode_mask, find_field_of_view
from dd_sfm.pipeline.pieces import cut_notes, number_pieces, unused_notes
from dd_sfm.pipeline.scene_samples import nothing_decoded, scene_samples
from dd_sfm.pipeline.source_part import open_sources, part_calibration
from dd_sfm.pipeline.stereo import stereo_notes
from dd_sfm.pipeline.user_masks import UserMasks, read_user_masks
from dd_sfm.progress import Progress, labelled
from dd_sfm.structures import DropReason, FrameRecord, FrameSet

FEWEST_KEYS, ENOUGH_KEYS = 30, 60
"""Of fewer key frames than the first number more are taken, so that there are about as many as the second."""
COARSE_PX = 300
"""Height of frames by which a field of view is found that only tells which frames show it."""


def check_source(source: Path | Sequence[Path], config: Config, calibration: str | None, mask: Path | None) -> None:
    """Find out what cannot be used before anything of an earlier run is replaced.

    Raises:
        InputError: If the source cannot be opened or has too few frames, or calibration or mask do not fit it.
    """
    info = open_sources(source, config.frames)
    chosen_numbers(info, config.frames)
    if calibration:
        part_calibration(calibration, info, config)
    read_user_masks(mask, info)


def decide_every(source: Path | Sequence[Path], config: FramesConfig) -> FramesConfig:
    """Settings in which it is decided whether key frames are used."""
    if config.every is not None:
        return config
    return with_every(config, len(chosen_numbers(open_sources(source, config), config)))


def extract_frames(
    source: Path | Sequence[Path],
    out: Path,
    config: Config,
    *,
    calibration: str | None,
    mask: Path | None,
    progress: Progress,
) -> FrameSet:
    """Choose, undistort and write the frames of a run, their masks and ``frames.json``.

    Args:
        source: A video or a folder of images, or several of one camera.
        out: The run folder.
        config: Which frames, masks and camera.
        calibration: See :func:`dd_sfm.io.calibration.open_calibration`; None: a guess from the field of view.
        mask: The user's mask, or folder of masks; see :func:`dd_sfm.pipeline.user_masks.read_user_masks`.
        progress: Shows decoding.
    """
    info = open_sources(source, config.frames)
    numbers = chosen_numbers(info, config.frames)
    view = _view(info, numbers, config, calibration, mask)
    notes = [*info.notes, *view.notes]
    if not calibration:
        estimated = estimate_camera(info, numbers, view, out, config, labelled(progress, CAMERA_STEP))
        view, notes = replace(view, lens=estimated.lens), notes + estimated.notes
    kept, seen = view.lens.shares(view.field_of_view)
    if calibration:
        notes += calibration_notes(view.lens.camera, view.lens.apply_to_mask(view.field_of_view))
    notes += field_notes(kept, seen, calibrated=calibration is not None)
    writer = FrameWriter(out, config, view)
    textures, dropped = _write_chosen(info, numbers, writer, config, progress)
    if not textures:
        raise nothing_decoded(info.where)
    records = _records(info, numbers, textures, dropped)
    _refuse_damaged_folders(info, records)
    require_three(info.where, records)
    records, cuts = number_pieces(info, records, writer.boundaries)
    notes += [*unused_notes(info, records), *cut_notes(info, cuts)]
    notes += _mask_notes(view.masks, records)
    notes += _put_edits_back(out, info, view, writer.mask_hashes)
    write_mask(out / "field_of_view.png", view.usable)
    extracted = ExtractedFrames(
        source=info.title,
        width=info.width,
        height=info.height,
        crop=info.crop,
        fps=info.fps,
        frames_in_source=info.frame_count,
        camera=view.lens.camera,
        lens=view.lens.lens,
        field_of_view_px=view.height,
        field_kept=round(kept, 4),
        suffix=config.frames.format,
        records=tuple(records),
        notes=(*notes, *drop_notes(records, config.frames)),
        sources=tuple(part.title for part in info.parts),
    )
    write_frames(out, extracted)
    return load_frames(out)


def _view(info: SourceInfo, numbers: Sequence[int], config: Config, calibration: str | None, mask: Path | None) -> View:
    """Find the field of view and the lens."""
    known = part_calibration(calibration, info, config) if calibration else None
    samples = scene_samples(numbers, lambda wanted: iter_frames(info, wanted), info.where)
    stereo = stereo_notes(samples) if config.frames.stereo is None else []
    masks = read_user_masks(mask, info)
    found = _found_field(samples, masks.common, info.where)
    scene = scene_field(shrunk(found, overview_size(samples[0].shape)), [overview(sample) for sample in samples])
    field_of_view = found if masks.common is None else masks.common
    if known is not None:
        lens = undistortion(known.lens, field_of_view)
    else:
        lens = Undistortion(guess_camera(field_of_view, config.camera.field_of_view_deg))
    return View(
        lens,
        field_of_view,
        erode_mask(field_of_view, config.masks),
        scene,
        masks,
        usual_texture(samples, field_of_view, config.describe.working_height_px),
        (*stereo, *(known.notes if known else ())),
    )


def _found_field(samples: list[NDArray[Any]], given: NDArray[np.bool_] | None, where: str) -> NDArray[np.bool_]:
    """The field of view (H, W) by which frames are judged.

    Where the user gave one, it is only that: then a coarse one does, or the given one where none is found.
    """
    if given is None:
        return find_field_of_view(samples, where)
    try:
        return find_field_of_view([small_image(s, min(1.0, COARSE_PX / s.shape[0])) for s in samples], where)
    except InputError:
        return given


def _write_chosen(
    info: SourceInfo, numbers: Sequence[int], writer: FrameWriter, config: Config, progress: Progress
) -> tuple[dict[int, Texture], Drops]:
    """Write the frames that are used; returns the texture of all that can be decoded, and which are dropped.

    The sharpness of a frame's neighbours decides whether it is used, for which a few frames are held; where there may
    be more frames than ``max_frames`` that of all decides, and the source is read twice. Frames are compared with those
    of their own source alone.
    """

    def read(wanted: Sequence[int], label: str) -> Iterator[tuple[int, NDArray[Any]]]:
        return progress(iter_frames(info, wanted, skipped), total=len(wanted), label=label)

    most, dropped, skipped = config.frames.max_frames, Drops(), Drops()
    sources = chosen_by_source(info, numbers)
    if config.frames.every == "auto":
        textures, dropped = _write_keys(sources, writer, config, read)
        return textures, dropped | skipped
    textures = {}
    if most is None or len(numbers) <= most:
        for own in sources:
            textures |= writer.write_sharp(read(own, "read frames"), dropped)
        return textures, dropped | skipped
    for own in sources:
        found = writer.measure(read(own, "read frames"), dropped)
        fit = {number: value for number, value in found.items() if number not in dropped}
        dropped |= find_blurred(fit, config.frames.min_sharpness, writer.view.usual)
        textures |= found
    for own in chosen_by_source(info, thin([n for n in textures if n not in dropped], most, dropped)):
        writer.write(read(own, "write frames"), dropped)
    return textures, dropped | skipped


def _write_keys(
    sources: Sequence[Sequence[int]],
    writer: FrameWriter,
    config: Config,
    read: Callable[[Sequence[int], str], Iterator[tuple[int, NDArray[Any]]]],
) -> tuple[dict[int, Texture], Drops]:
    """Write key frames, nearer to each other where a scope that hardly moves would give too few; then thin them."""
    while True:
        textures, dropped = dict[int, Texture](), Drops()
        for own in sources:
            textures |= writer.write_sharp(read(own, "read frames"), dropped)
        keys = [number for number in textures if number not in dropped]
        if not writer.takes_nearer_keys(keys, len(textures), FEWEST_KEYS, ENOUGH_KEYS):
            break
    few = thin(keys, config.frames.max_frames, dropped)
    writer.remove(sorted(set(keys) - set(few)))
    return textures, dropped


def _records(
    info: SourceInfo, numbers: Sequence[int], textures: Mapping[int, Texture], dropped: Drops
) -> list[FrameRecord]:
    records = []
    for number in numbers:
        reason, detail = dropped.get(number, (None, ""))
        if number not in textures and reason is None:
            reason, detail = info.unusable.get(number, (DropReason.UNDECODABLE, "cannot be decoded"))
        stem = info.stem(number) if info.parts else ""
        value = round(textures[number].sharpness, 4) if number in textures else 0.0
        time_s = round(info.time_s(number), 4) if info.is_timed(number) else None
        records.append(FrameRecord(number, time_s, value, reason, detail, info.file(number), stem))
    return records


def _refuse_damaged_folders(info: SourceInfo, records: list[FrameRecord]) -> None:
    """See that most images of each folder can be decoded."""
    for part, span in zip(info.parts or (info,), info.spans, strict=True):
        if part.names:
            own = [r for r in records if r.index in span]
            lost = {r.index - span.start: r.detail for r in own if r.dropped is DropReason.UNDECODABLE}
            refuse_undecodable(part.path, part.names, lost, len(own))


def _mask_notes(masks: UserMasks, records: list[FrameRecord]) -> list[Note]:
    """How many of the frames used have no mask in the user's folder."""
    used = [record.index for record in records if record.kept]
    without = sum(number not in masks.files for number in used)
    if masks.folder is None or not without:
        return []
    text = f"{without} of {len(used)} frames have no mask in {masks.folder.name}: all of their field of view is used"
    return [Note(NoteCode.FRAMES_WITHOUT_MASK, text)]


def _put_edits_back(out: Path, info: SourceInfo, view: View, hashes: Mapping[str, str]) -> list[Note]:
    """Give frames that come out as before the masks that the user edited, and note what the others are."""
    lens = view.lens.lens
    undone = {"model": lens.model, "params": lens.params, "camera": asdict(view.lens.camera)} if lens else None
    frames = {"source": info.title, "picture": info.picture_size, "crop": info.crop, "undistorted": undone}
    record_masks(out, hashes, frames)
    left = put_back(out, {name.partition(".")[0]: name for name in hashes}, frames)
    if not left:
        return []
    text = f"{left} edited masks are of frames that are not used, or not like this: {ASIDE} in the run keeps them"
    return [Note(NoteCode.EDITED_MASKS_NOT_USED, text)]
