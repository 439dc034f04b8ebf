"""The files in which the stages of a run hand their results on: the only place that reads and writes them.

Runs of older versions are read, too: what they did not store gets a default.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from dd_sfm.cameras import PinholeCamera
from dd_sfm.documents import finite, parse_json, read_json, whole, whole_number
from dd_sfm.errors import InputError, OutputError, ShapeError, reason_of
from dd_sfm.io.arrays import READ_ERRORS, read_arrays, write_arrays
from dd_sfm.io.atomic import write_bytes, write_json
from dd_sfm.io.lens import Lens
from dd_sfm.io.run_values import (
    camera_of,
    check_tracks,
    finite_or_none,
    lens_of,
    one_of,
    point_figures_of,
    pose_of,
    record_json,
    records_of,
    stage_of,
    texts,
)
from dd_sfm.io.shortage import raise_if_short
from dd_sfm.io.source import Crop
from dd_sfm.io.undistortion import Undistortion
from dd_sfm.notes import Note
from dd_sfm.structures import (
    DropReason,
    Frame,
    FrameRecord,
    FrameSet,
    MapResult,
    MatchResult,
    ModelScale,
    Tracks,
    VerifiedPairs,
    WorkingGrid,
)

FRAMES, GRID, TRACKS, POSES = "frames.json", "descriptors/grid.json", "tracks.npz", "map.json"
POINTS, METRICS, STAGES, CHECKSUMS, CONFIG, EVALUATION = (
    "densify.json", "metrics.json", "stages.json", "checksums.json", "config.yaml", "evaluation.json"
)  # fmt: skip
COVERAGE, REPORT = "coverage.json", "report.html"
STAGES_FORMAT = 1
TRACK_ARRAYS = ("track", "frame", "xy", "score", "anchor")


@dataclass(frozen=True)
class ExtractedFrames:
    """What ``frames.json`` holds.

    ``width``, ``height``: of a source frame, or of ``crop``, the part of it that is used, None for all; ``camera``: of
    the frames as written, without distortion; ``lens``: the lens whose distortion was undone, if any; ``suffix``:
    ending of the images' names, without the dot; ``field_kept``: the share that the frames show of the field of view
    that the lens shows, None in runs of older versions; ``sources``: names of the sources, where there are several.
    """

    source: str
    width: int
    height: int
    fps: float | None
    frames_in_source: int
    camera: PinholeCamera
    lens: Lens | None
    field_of_view_px: int
    suffix: str
    records: tuple[FrameRecord, ...]
    notes: tuple[Note, ...] = ()
    crop: Crop | None = None
    field_kept: float | None = None
    sources: tuple[str, ...] = ()

    @property
    def kept(self) -> list[FrameRecord]:
        """The frames that are used."""
        return [record for record in self.records if record.kept]

    def count(self, reason: DropReason) -> int:
        """How many frames were dropped for a reason."""
        return sum(record.dropped is reason for record in self.records)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what goes wrong while a file of a run is read into one line for the user."""
    try:
        yield
    except (*READ_ERRORS, IndexError, TypeError, AttributeError, OverflowError, ShapeError, yaml.YAMLError) as error:
        raise_if_short(str(path), error)
        found = "missing" if isinstance(error, FileNotFoundError) else f"damaged ({reason_of(error)})"
        raise InputError(
            f"{path}: {found}; expected what dd-sfm reconstruct writes. Repeat the run with --overwrite"
        ) from error


def has_frames(run: Path) -> bool:
    """Whether a folder holds the frames of a run."""
    return (run / FRAMES).is_file()


def write_frames(run: Path, frames: ExtractedFrames) -> None:
    """Write ``frames.json``."""
    lens = frames.lens
    content = {
        "source": frames.source,
        **({"sources": frames.sources} if frames.sources else {}),
        "width": frames.width,
        "height": frames.height,
        "crop": frames.crop,
        "fps": frames.fps,
        "frames_in_source": frames.frames_in_source,
        "camera": asdict(frames.camera),
        "undistorted": {"model": lens.model, "params": lens.params} if lens else None,
        "field_of_view_px": frames.field_of_view_px,
        "field_kept": frames.field_kept,
        "format": frames.suffix,
        "notes": [note.as_json() for note in frames.notes],
        "frames": [record_json(record) for record in frames.records],
    }
    write_json(run / FRAMES, content)


def read_frames(run: Path) -> ExtractedFrames:
    """Read ``frames.json``.

    Raises:
        InputError: If it is missing or damaged.
    """
    path = run / FRAMES
    with readable(path):
        content = read_json(path)
        records = records_of(content)
        return ExtractedFrames(
            source=str(content.get("source", "")),
            width=whole(content["width"], 1),
            height=whole(content["height"], 1),
            crop=Crop(*map(int, content["crop"])) if content.get("crop") else None,
            fps=finite_or_none(content.get("fps")),
            # The first versions listed the chosen frames alone.
            frames_in_source=int(content.get("frames_in_source", len(records))),
            camera=camera_of(content["camera"]),
            lens=lens_of(content),
            field_of_view_px=whole(content["field_of_view_px"], 1),
            suffix=one_of(("png", "jpg"), content.get("format") or _suffix(run, records)),
            records=records,
            notes=tuple(Note.from_json(note) for note in content.get("notes", [])),
            field_kept=finite_or_none(content.get("field_kept")),
            sources=texts(content.get("sources", ())),
        )


def read_frame_records(run: Path) -> tuple[FrameRecord, ...]:
    """Read only what became of each source frame.

    Raises:
        InputError: If ``frames.json`` is missing or damaged.
    """
    path = run / FRAMES
    with readable(path):
        return records_of(read_json(path))


def read_sources(run: Path) -> tuple[str, ...]:
    """Read only the names of a run's sources, where it has several.

    Raises:
        InputError: If ``frames.json`` is missing or damaged.
    """
    path = run / FRAMES
    with readable(path):
        return texts(read_json(path).get("sources", ()))


def read_undistortion(run: Path) -> Undistortion | None:
    """Read only how a run has undone the distortion of its frames; None where there was nothing to undo.

    Raises:
        InputError: If ``frames.json`` is missing or damaged.
    """
    path = run / FRAMES
    with readable(path):
        content = read_json(path)
        lens = lens_of(content)
        return Undistortion(camera_of(content["camera"]), lens) if lens else None


def _suffix(run: Path, records: Sequence[FrameRecord]) -> str:
    """Older versions did not store how images are written: by the first one that is there."""
    first = next((record for record in records if record.kept), None)
    is_jpg = first is not None and (run / "frames" / f"{first.index:08d}.jpg").is_file()
    return "jpg" if is_jpg else "png"


def load_frames(run: Path) -> FrameSet:
    """The frames of a run that are used.

    Raises:
        InputError: If ``frames.json`` is missing or damaged.
    """
    found = read_frames(run)
    frames = tuple(_frame(run, record, found.suffix) for record in found.kept)
    return FrameSet(frames, found.camera, found.field_of_view_px)


def _frame(run: Path, record: FrameRecord, suffix: str) -> Frame:
    name = f"{record.name}.{suffix}"
    return Frame(record.index, run / "frames" / name, run / "masks" / f"{name}.png", record.seconds, record.piece)


def write_grid(run: Path, grid: WorkingGrid, descriptors: int) -> None:
    """Write ``descriptors/grid.json``; ``descriptors`` is the format of the files beside it."""
    write_json(run / GRID, {"format": descriptors, **asdict(grid)})


def has_grid(run: Path, descriptors: int) -> bool:
    """Whether there is a ``descriptors/grid.json`` with descriptors of this format beside it."""
    try:
        return bool(read_json(run / GRID)["format"] == descriptors)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_grid(run: Path) -> WorkingGrid:
    """Read ``descriptors/grid.json``."""
    path = run / GRID
    with readable(path):
        values = read_json(path)
        x, y = map(whole_number, values["origin"])
        scale, size = finite(values["scale"]), (whole(values["width"], 1), whole(values["height"], 1))
        if scale <= 0:
            raise ValueError(f"a scale of {scale:g}")
        return WorkingGrid(scale, (x, y), *size, whole(values["stride"], 1))


def write_matches(run: Path, result: MatchResult) -> None:
    """Write ``tracks.npz``."""
    buffer = io.BytesIO()
    arrays = {name: getattr(result.tracks, name) for name in TRACK_ARRAYS}
    notes = np.array(json.dumps([note.as_json() for note in result.notes]))
    pairs = np.array(result.pairs, np.int64).reshape(-1, 2)
    write_arrays(buffer, {"pairs": pairs, "notes": notes, **arrays})
    write_bytes(run / TRACKS, buffer.getbuffer())


def read_matches(run: Path) -> MatchResult:
    """Read ``tracks.npz``."""
    path = run / TRACKS
    with readable(path):
        arrays = read_arrays(path)
        check_tracks(arrays)
        tracks = Tracks(**{name: arrays[name] for name in TRACK_ARRAYS})
        pairs = [(int(i), int(j)) for i, j in arrays["pairs"]]
        _check_positions(run, [int(tracks.frame.max(initial=-1)), *(k for pair in pairs for k in pair)])
        return MatchResult(tracks, pairs, [Note.from_json(note) for note in parse_json(str(arrays["notes"]))])


def _check_positions(run: Path, positions: Sequence[int]) -> None:
    """Check that there are the frames that are named by their position among those used.

    Raises:
        ValueError: If one is not.
    """
    last = max(positions, default=-1)
    if has_frames(run) and last >= (count := len(read_frames(run).kept)):
        raise ValueError(f"frame {last}, counted from 0, of {count}")


def write_poses(run: Path, result: MapResult) -> None:
    """Write ``map.json``."""
    content = asdict(result)
    content["models"] = [{str(k): np.asarray(v).tolist() for k, v in poses.items()} for poses in result.models]
    content["notes"] = [note.as_json() for note in result.notes]
    content["confidence"] = [{str(k): v for k, v in model.items()} for model in result.confidence]
    content["left_out"] = {str(k): why for k, why in result.left_out.items()}
    write_json(run / POSES, content)


def read_poses(run: Path) -> MapResult:
    """Read ``map.json``."""
    path = run / POSES
    with readable(path):
        content = read_json(path)
        models = [{whole(int(k)): pose_of(v) for k, v in poses.items()} for poses in content["models"]]
        _check_positions(run, [k for model in models for k in model])
        cameras = [camera_of(camera) for camera in content["cameras"]]
        if not models or len(cameras) != len(models):
            raise ValueError(f"{len(models)} models and {len(cameras)} cameras")
        # "rung" is what older versions called the mapper.
        mapper = content.get("mapper") or content["rung"]
        notes = [Note.from_json(note) for note in content["notes"]]
        pairs, instruments = VerifiedPairs(**content["pairs"]), finite(content.get("instruments", 0.0))
        seconds = {str(step): finite(value) for step, value in content["seconds"].items()}
        scales = [ModelScale(*map(finite_or_none, (s["scale"], s["sigma"]))) for s in content.get("scales", [])]
        confidence = [{whole(int(k)): finite(v) for k, v in one.items()} for one in content.get("confidence", [])]
        if confidence and len(confidence) != len(models):
            raise ValueError(f"confidence of {len(confidence)} models")
        left_out = {whole(int(k)): str(why) for k, why in content.get("left_out", {}).items()}
        return MapResult(models, cameras, str(mapper), pairs, seconds, notes, instruments, scales, confidence, left_out)


def write_point_figures(run: Path, figures: Sequence[Mapping[str, Any]]) -> None:
    """Write ``densify.json``: figures of the points, one object a model."""
    write_json(run / POINTS, list(figures))


def read_point_figures(run: Path) -> list[dict[str, Any]]:
    """Read ``densify.json``."""
    path = run / POINTS
    with readable(path):
        return point_figures_of(read_json(path))


def write_metrics(run: Path, metrics: Mapping[str, Any]) -> None:
    """Write ``metrics.json``."""
    write_json(run / METRICS, dict(metrics))


def read_metrics(run: Path) -> dict[str, Any]:
    """Read ``metrics.json``.

    Raises:
        InputError: If it is missing or damaged, as for a run that is not finished.
    """
    path = run / METRICS
    with readable(path):
        return dict(read_json(path))


def has_metrics(run: Path) -> bool:
    """Whether a run has its figures, which are written last."""
    return (run / METRICS).is_file()


def write_coverage(run: Path, figures: Mapping[str, Any]) -> None:
    """Write ``coverage.json``."""
    write_json(run / COVERAGE, dict(figures))


def read_coverage(run: Path) -> dict[str, Any]:
    """Read ``coverage.json``.

    Raises:
        InputError: If it is missing or damaged.
    """
    path = run / COVERAGE
    with readable(path):
        return dict(read_json(path))


def has_coverage(run: Path) -> bool:
    """Whether the coverage of a run is known."""
    return (run / COVERAGE).is_file()


@dataclass
class StoredStages:
    """What ``stages.json`` holds: ``source``, path of what the run was made from, and an entry for each stage."""

    source: str = ""
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)


def write_stages(run: Path, stored: StoredStages) -> None:
    """Write ``stages.json``."""
    write_json(run / STAGES, {"format": STAGES_FORMAT, "source": stored.source, "stages": stored.stages})


def read_stages(run: Path, names: Sequence[str]) -> StoredStages:
    """Read ``stages.json``, of which only the entries called ``names`` count; empty when there is no such file.

    Raises:
        OutputError: If it is damaged.
    """
    path = run / STAGES
    if not path.exists():
        return StoredStages()
    try:
        content = read_json(path)
        stages = content["stages"]
        return StoredStages(str(content.get("source", "")), {n: stage_of(stages[n]) for n in stages if n in names})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise_if_short(str(path), error)
        raise OutputError(
            f"{path}: damaged ({reason_of(error)}); remove it together with the run, or choose a new folder"
        ) from error
