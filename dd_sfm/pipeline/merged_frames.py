"""The frames of two runs as those of one: of one size and one camera, each under a name that tells its run."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera
from dd_sfm.features.run_joining import PixelMap
from dd_sfm.io.atomic import output_error
from dd_sfm.io.images import read_image, read_mask, write_image, write_mask
from dd_sfm.io.instrument_masks import FOLDER, final_mask
from dd_sfm.io.run_folder import ExtractedFrames, read_frames, write_frames
from dd_sfm.io.several_sources import source_labels
from dd_sfm.io.working import FIELD_OF_VIEW
from dd_sfm.notes import Note
from dd_sfm.pipeline.reopened import Reopened
from dd_sfm.progress import Progress
from dd_sfm.structures import Frame, FrameRecord

FARTHEST = 0.5
"""Frames are drawn out to hold the other run's, by at most this share of their size on each side."""


@dataclass(frozen=True)
class Canvas:
    """The frames that hold those of two runs: ``camera``, and ``maps`` of the pixels of each run to theirs.

    ``base``: which run has the larger focal length; only frames of the other one are resampled.
    """

    camera: PinholeCamera
    maps: tuple[PixelMap, PixelMap]
    base: int


def canvas_for(runs: Sequence[Reopened]) -> Canvas:
    """The camera of the frames of both: the one with the larger focal length, wide enough for the other's field."""
    cameras = [run.model.camera for run in runs]
    base = int(cameras[1].fx > cameras[0].fx)
    own, other = cameras[base], cameras[1 - base]
    way = PixelMap.between(other, own)
    camera = own
    if not (way.is_identity and own.size == other.size):
        corners = way.xy(_extent(runs[1 - base]))
        size = np.array(own.size)
        low = np.maximum(np.minimum(np.floor(corners[0]), 0), -FARTHEST * size).astype(int)
        high = np.minimum(np.maximum(np.ceil(corners[1]) + 1, size), (1 + FARTHEST) * size).astype(int)
        width, height = (int(side) for side in high - low)
        camera = own.cropped((int(low[0]), int(low[1])), (width, height))
    known = replace(
        camera,
        is_guess=any(c.is_guess for c in (run.frames.camera for run in runs)),
        focal_sigma=max(run.frames.camera.focal_sigma for run in runs),
    )
    return Canvas(known, (PixelMap.between(cameras[0], known), PixelMap.between(cameras[1], known)), base)


def _extent(run: Reopened) -> NDArray[np.float64]:
    """The first and last pixel (2, 2) of what the frames of a run show."""
    camera, field = run.model.camera, run.path / FIELD_OF_VIEW
    if field.is_file():
        rows, columns = np.nonzero(read_mask(field))
        if len(rows):
            return np.array([[columns.min(), rows.min()], [columns.max(), rows.max()]], np.float64)
    return np.array([[0, 0], [camera.width - 1, camera.height - 1]], np.float64)


def write_merged_frames(
    runs: Sequence[Reopened], canvas: Canvas, out: Path, notes: Sequence[Note], progress: Progress
) -> None:
    """Write frames, masks, ``field_of_view.png`` and ``frames.json`` of both runs.

    Args:
        runs: The first and the second.
        canvas: From :func:`canvas_for`.
        out: The folder.
        notes: What to know of the frames, besides what the runs say.
        progress: Shows how many frames are written.
    """
    extracted = [read_frames(run.path) for run in runs]
    labels = source_labels([run.path for run in runs])
    suffix = extracted[0].suffix if extracted[0].suffix == extracted[1].suffix else "png"
    records = list[FrameRecord]()
    tasks = list[tuple[Frame, PixelMap, str]]()
    for run, frames, label, way in zip(runs, extracted, labels, canvas.maps, strict=True):
        first, piece = (records[-1].index + 1, records[-1].piece + 1) if records else (0, 0)
        first = max(first, extracted[0].frames_in_source if records else 0)
        named = [
            replace(
                record,
                index=record.index + first,
                stem=f"{label}_{record.name}",
                source=f"{label}/{record.source or frames.source}",
                piece=record.piece + piece,
            )
            for record in frames.records
        ]
        kept = [record.name for record in named if record.kept]
        tasks += [(frame, way, name) for frame, name in zip(run.frames.frames, kept, strict=True)]
        records += named
    try:
        for folder in ("frames", "masks"):
            (out / folder).mkdir(parents=True)
        for frame, way, name in progress(tasks, total=len(tasks), label="frames of both"):
            _write_frame(frame, way, canvas.camera.size, out, f"{name}.{suffix}")
    except OSError as error:
        raise output_error(out, error) from error
    fields = [_field(run, way, canvas.camera.size) for run, way in zip(runs, canvas.maps, strict=True)]
    write_mask(out / FIELD_OF_VIEW, np.logical_or(*fields))
    write_frames(out, _together(runs, extracted, labels, canvas, suffix, records, notes))


def _together(
    runs: Sequence[Reopened],
    extracted: Sequence[ExtractedFrames],
    labels: Sequence[str],
    canvas: Canvas,
    suffix: str,
    records: Sequence[FrameRecord],
    notes: Sequence[Note],
) -> ExtractedFrames:
    first, second = extracted
    # How distortion was undone can be told of both only where it was the same.
    is_one = (first.lens, first.width, first.height, first.crop, first.camera) == (
        second.lens, second.width, second.height, second.crop, second.camera,
    )  # fmt: skip
    width, height = canvas.camera.size
    told = [Note(n.code, f"{label}: {n.text}") for label, e in zip(labels, extracted, strict=True) for n in e.notes]
    kept = [frames.field_kept for frames in extracted if frames.field_kept is not None]
    return ExtractedFrames(
        source=" and ".join(labels),
        width=first.width if is_one else width,
        height=first.height if is_one else height,
        crop=first.crop if is_one else None,
        fps=first.fps if first.fps == second.fps else None,
        frames_in_source=first.frames_in_source + second.frames_in_source,
        camera=canvas.camera,
        lens=first.lens if is_one else None,
        field_of_view_px=runs[canvas.base].frames.field_of_view_px,
        field_kept=min(kept) if kept else None,
        suffix=suffix,
        records=tuple(records),
        notes=(*told, *notes),
        sources=tuple(labels),
    )


def _write_frame(frame: Frame, way: PixelMap, size: tuple[int, int], out: Path, name: str) -> None:
    """Write a frame, its mask, and the mask without instruments where there is one."""
    masks = {out / "masks" / f"{name}.png": frame.mask_path}
    without = final_mask(frame.mask_path)
    if without != frame.mask_path:
        (out / FOLDER).mkdir(exist_ok=True)
        masks[out / FOLDER / f"{name}.png"] = without
    is_same = way.is_identity and frame.path.suffix == Path(name).suffix
    if is_same and read_mask(frame.mask_path).shape == size[::-1]:
        shutil.copyfile(frame.path, out / "frames" / name)
        for target, source in masks.items():
            shutil.copyfile(source, target)
        return
    write_image(out / "frames" / name, drawn(read_image(frame.path), way, size))
    for target, source in masks.items():
        write_mask(target, _mask(read_mask(source), way, size))


def drawn(image: NDArray[Any], way: PixelMap, size: tuple[int, int]) -> NDArray[Any]:
    """A picture with its pixels where a map puts them, in one of a (width, height); black where it shows nothing."""
    whole = all(math.isclose(value, round(value), abs_tol=1e-6) for value in (*way.scale, *way.shift))
    flags = cv2.INTER_NEAREST if whole else cv2.INTER_CUBIC
    return np.asarray(cv2.warpAffine(image, _matrix(way), size, flags=flags))


def _matrix(way: PixelMap) -> NDArray[np.float64]:
    return np.array([[way.scale[0], 0, way.shift[0]], [0, way.scale[1], way.shift[1]]], np.float64)


def _mask(mask: NDArray[np.bool_], way: PixelMap, size: tuple[int, int]) -> NDArray[np.bool_]:
    found = cv2.warpAffine(mask.astype(np.uint8) * 255, _matrix(way), size, flags=cv2.INTER_LINEAR)
    return np.asarray(found > 250)


def _field(run: Reopened, way: PixelMap, size: tuple[int, int]) -> NDArray[np.bool_]:
    path = run.path / FIELD_OF_VIEW
    camera = run.model.camera
    field = read_mask(path) if path.is_file() else np.ones((camera.height, camera.width), np.bool_)
    return _mask(field, way, size)
