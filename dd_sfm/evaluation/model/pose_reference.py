"""What a model is measured against, and which of its images are which frames."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dd_sfm.errors import InputError
from dd_sfm.evaluation.model.frame_numbering import CommonFrames, NumberedPoses, same_frames
from dd_sfm.evaluation.model.ground_truth import InTruth
from dd_sfm.io.calibration import Calibration
from dd_sfm.io.colmap_model import read_model, read_poses
from dd_sfm.io.colmap_source import as_binary
from dd_sfm.io.jhu import read_sequence
from dd_sfm.io.run_folder import read_frame_records, read_lens
from dd_sfm.io.scene import find_model_folder, last_number, run_around
from dd_sfm.io.truth import RenderedTruth, read_truth
from dd_sfm.structures import FloatArray, Model


@dataclass(frozen=True)
class PoseReference:
    """Poses to measure against.

    ``kind``: rendered, jhu or colmap; ``unit``: of its lengths; ``cam_from_world`` (3, 4) by frame number;
    ``frames``: all its frame numbers, also without a pose; ``truth``: depth, when it is a rendered clip; ``is_run``:
    whether it is a run's own model.
    """

    path: Path
    kind: str
    unit: str
    cam_from_world: dict[int, FloatArray]
    frames: tuple[int, ...]
    truth: RenderedTruth | None = None
    is_run: bool = False


@dataclass(frozen=True)
class EvaluatedRun:
    """A model to measure. Its frames bear source frame numbers; ``root`` is the folder asked for, ``run`` that of the
    run, if it belongs to one.

    ``time_s`` and ``source_number`` (the number in the name of the source image, for folders of images) by frame;
    both are empty outside run folders. ``frames_used``: frames that the mapper was given, 0 when not known; ``lens``:
    whose distortion the run has undone.
    """

    root: Path
    model_folder: Path
    model: Model
    time_s: dict[int, float]
    source_number: dict[int, int]
    frames_used: int
    run: Path | None = None
    lens: Calibration | None = None


def find_model(folder: Path) -> Path:
    """The folder of a COLMAP model: the folder itself, or what lies below it.

    Raises:
        InputError: If there is none.
    """
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "not found"
        raise InputError(f"{folder}: {found}; expected a run folder or a COLMAP model folder")
    place = find_model_folder(folder)
    if place is None:
        raise InputError(
            f"{folder}: no model found; expected a run folder with sparse/0, or a folder with images.bin or "
            "images.txt. Finish the run: dd-sfm reconstruct"
        )
    return place


def frame_numbers(folder: Path, names: list[str]) -> dict[str, int]:
    """Frame number of every image: the last number in its file name.

    Raises:
        InputError: If a name holds no number, or two the same.
    """
    numbers: dict[str, int] = {}
    for name in names:
        number = last_number(name)
        if number is None:
            raise InputError(f"{folder}: image '{name}' has no number in its name; expected the frame number")
        numbers[name] = number
    if len(set(numbers.values())) < len(numbers):
        values = list(numbers.values())
        twice = next(name for name in names if values.count(numbers[name]) > 1)
        raise InputError(
            f"{folder}: several images have frame number {numbers[twice]} ('{twice}' is one); expected one a frame"
        )
    return numbers


def open_run(path: Path) -> EvaluatedRun:
    """Read a run folder or a COLMAP model folder.

    Raises:
        InputError: If there is no model, or it holds no image.
    """
    folder = find_model(path)
    with as_binary(folder) as binary:
        names = list(read_poses(binary))
        if not names:
            raise InputError(f"{folder}: the model has no registered image; expected at least 3")
        model = read_model(binary, frame_numbers(folder, names))
    place = run_around(path, folder)
    return _with_records(path, folder, model, place) if place else EvaluatedRun(path, folder, model, {}, {}, 0)


def _with_records(root: Path, folder: Path, model: Model, run: Path) -> EvaluatedRun:
    kept = [record for record in read_frame_records(run) if record.kept]
    time_s = {record.index: record.time_s for record in kept}
    numbers = {record.index: last_number(record.source) for record in kept}
    source_number = {index: number for index, number in numbers.items() if number is not None}
    return EvaluatedRun(root, folder, model, time_s, source_number, len(kept), run, read_lens(run))


def open_pose_reference(path: Path) -> PoseReference:
    """Open a rendered clip's folder (truth.npz), a JHU sequence (motion.yaml), or a COLMAP model or run folder.

    Raises:
        InputError: If it is none of them, or damaged.
    """
    if not path.is_dir():
        found = f"is a file; expected the folder that it is in, {path.parent}" if path.exists() else "not found"
        expected = "" if path.exists() else "; expected the folder of a rendered clip, a JHU sequence, a model or a run"
        raise InputError(f"--reference {path}: {found}{expected}")
    if (path / "truth.npz").is_file():
        truth = read_truth(path)
        poses = dict(enumerate(truth.cam_from_world))
        return PoseReference(path, "rendered", "mm", poses, tuple(poses), truth)
    if (path / "motion.yaml").is_file():
        sequence = read_sequence(path)
        return PoseReference(path, "jhu", "scene units", sequence.cam_from_world, tuple(sequence.frames))
    try:
        folder = find_model(path)
    except InputError as error:
        raise InputError(
            f"--reference {path}: neither truth.npz (rendered clip), motion.yaml (JHU sequence) nor a COLMAP "
            "model found; expected a folder with one of them"
        ) from error
    with as_binary(folder) as binary:
        named = read_poses(binary)
    numbers = frame_numbers(folder, list(named))
    by_frame = {numbers[name]: pose for name, pose in named.items()}
    is_run = run_around(path, folder) is not None
    return PoseReference(path, "colmap", "scene units", by_frame, tuple(sorted(by_frame)), is_run=is_run)


def common_frames(run: EvaluatedRun, reference: PoseReference) -> CommonFrames:
    """Find which frame of the reference each frame of the model is (:func:`same_frames`).

    Raises:
        InputError: If fewer than 3 frames are in common.
    """
    frames = tuple(sorted({*run.time_s, *run.model.cam_from_world}))
    kind = "run" if run.run else "colmap"
    ours = NumberedPoses(kind, run.model.cam_from_world, frames, run.source_number)
    kind = "run" if reference.is_run else reference.kind
    found = same_frames(ours, NumberedPoses(kind, reference.cam_from_world, reference.frames))
    most = len(found.run)
    if most < 3:
        count = "no frame" if not most else f"{most} frame{'s' if most > 1 else ''}"
        raise InputError(
            f"{run.root}: {count} in common with {reference.path} (frames {_span(run.model.cam_from_world)} against "
            f"{_span(reference.cam_from_world)}); expected at least 3. Is it the same video?"
        )
    return found


def run_in_truth(run: EvaluatedRun, truth: RenderedTruth, common: CommonFrames) -> InTruth:
    """Where the run lies in a rendered clip; a model without a run is taken to be free of distortion, as COLMAP's are
    once their images are undistorted.
    """  # fmt: skip
    lens = run.lens if run.run else truth.lens
    return InTruth(truth, common.number, run.model.camera.width, lens)


def _span(poses: Mapping[int, FloatArray]) -> str:
    return f"{min(poses)} to {max(poses)}" if poses else "none"
