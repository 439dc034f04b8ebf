"""Open a model and the reference that it is measured against, and find the frames that both have."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dd_sfm.errors import InputError
from dd_sfm.evaluation.model.frame_numbering import CommonFrames, NumberedPoses, match_frame_numbers
from dd_sfm.evaluation.model.ground_truth import GroundTruthLookup
from dd_sfm.evaluation.model.path_reference import path_reference
from dd_sfm.io.camera_paths import split_unit
from dd_sfm.io.colmap_model import read_model, read_poses
from dd_sfm.io.colmap_source import as_binary
from dd_sfm.io.jhu import read_sequence
from dd_sfm.io.run_folder import read_frame_records, read_sources, read_undistortion
from dd_sfm.io.scene import find_model_folder, last_number, number_by_stem, run_around
from dd_sfm.io.truth import RenderedTruth, read_truth
from dd_sfm.io.tum import running_times
from dd_sfm.io.undistortion import Undistortion
from dd_sfm.structures import FloatArray, Model

OF_FOLDERS = ("truth.npz", "motion.yaml", "points.ply", "images.txt", "images.bin", "cameras.txt", "cameras.bin")
"""Files of references that are folders."""


@dataclass(frozen=True)
class PoseReference:
    """Reference poses to measure a model against.

    ``kind``: rendered, jhu, colmap or path; ``unit``: of lengths; ``cam_from_world`` (3, 4): by frame number;
    ``frames``: all frame numbers, also without a pose; ``truth``: poses and depth of a rendered clip, else None;
    ``is_run``: whether this is the model of a run; ``sources``: names of the sources, where a run has several.
    """

    path: Path
    kind: str
    unit: str
    cam_from_world: dict[int, FloatArray]
    frames: tuple[int, ...]
    truth: RenderedTruth | None = None
    is_run: bool = False
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class EvaluatedRun:
    """A model to measure, with source frame numbers.

    ``root``: the folder that the user named; ``run``: the folder of the run that the model belongs to, None for other
    models; ``time_s`` and ``source_number``: by frame, the time, which goes on over several sources, and the number in
    the name of the source image, both empty outside run folders; ``frames_used``: number of frames that the mapper was
    given, 0 when unknown; ``undistortion``: how the run has removed the distortion of its frames, None where it had
    none to remove; ``sources``: names of the sources, where a run has several.
    """

    root: Path
    model_folder: Path
    model: Model
    time_s: dict[int, float]
    source_number: dict[int, int]
    frames_used: int
    run: Path | None = None
    undistortion: Undistortion | None = None
    sources: tuple[str, ...] = ()


def find_model(folder: Path) -> Path:
    """Find the folder of a COLMAP model: the folder itself or one below it.

    Raises:
        InputError: If there is none.
    """
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "not found"
        raise InputError(f"{folder}: {problem}; expected a run folder or a COLMAP model folder")
    found = find_model_folder(folder)
    if found is None:
        raise InputError(
            f"{folder}: no model found; expected a run folder with sparse/0, or a folder with images.bin or "
            "images.txt. Finish the run: dd-sfm reconstruct"
        )
    return found


def frame_numbers(folder: Path, names: list[str], run: Path | None = None) -> dict[str, int]:
    """Frame number of every image: the last number in its file name, or that of a run's frame of several sources.

    Raises:
        InputError: If a name holds no number, or two the same.
    """
    named = number_by_stem(read_frame_records(run)) if run else {}
    numbers: dict[str, int] = {}
    for name in names:
        number = named.get(Path(name).stem, last_number(name))
        if number is None:
            raise InputError(
                f"{folder}: image '{name}' has no number in its name, or none below 2^63; expected the frame number"
            )
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
        run = run_around(path, folder)
        model = read_model(binary, frame_numbers(folder, names, run))
    return _with_records(path, folder, model, run) if run else EvaluatedRun(path, folder, model, {}, {}, 0)


def _with_records(root: Path, folder: Path, model: Model, run: Path) -> EvaluatedRun:
    kept = [record for record in read_frame_records(run) if record.kept]
    times = {record.index: record.seconds for record in kept}
    labels = {record.index: record.label for record in kept}
    time_s, sources = running_times(times, labels), read_sources(run)
    numbers = {record.index: None if sources else last_number(record.source) for record in kept}
    source_number = {index: number for index, number in numbers.items() if number is not None}
    return EvaluatedRun(root, folder, model, time_s, source_number, len(kept), run, read_undistortion(run), sources)


def open_pose_reference(
    path: Path, time_s: Mapping[int, float] | None = None, model: Mapping[int, FloatArray] | None = None
) -> PoseReference:
    """Open the folder of a rendered clip (truth.npz), a JHU sequence (motion.yaml), a COLMAP model or a run, or a path.

    Args:
        path: The folder; or a file of poses, TUM or a table, with @mm, @cm or @m behind it where its unit is known.
        time_s: Times by frame of the model that is measured, for poses that are known by seconds.
        model: Its poses by frame, which tell seconds and numbers of frames apart.

    Raises:
        InputError: If it is none of them, or damaged.
    """
    if not path.is_dir():
        if not split_unit(str(path))[0].is_file():
            expected = "the folder of a rendered clip, a JHU sequence, a model or a run, or a TUM file"
            raise InputError(f"--reference {path}: not found; expected {expected}")
        if path.name in OF_FOLDERS:
            raise InputError(f"--reference {path}: is a file; expected the folder that it is in, {path.parent}")
        poses, unit = path_reference(path, time_s, model)
        return PoseReference(path, "path", unit, poses, tuple(sorted(poses)))
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
    run = run_around(path, folder)
    numbers = frame_numbers(folder, list(named), run)
    by_frame = {numbers[name]: pose for name, pose in named.items()}
    sources = read_sources(run) if run else ()
    return PoseReference(
        path, "colmap", "scene units", by_frame, tuple(sorted(by_frame)), is_run=run is not None, sources=sources
    )


def common_frames(run: EvaluatedRun, reference: PoseReference) -> CommonFrames:
    """Find the frames that a model and a reference share; see :func:`match_frame_numbers`.

    Raises:
        InputError: If fewer than 3 frames are in common.
    """
    if run.sources != reference.sources:
        raise InputError(
            f"{run.root}: {_of_sources(run.sources)}, {reference.path}: {_of_sources(reference.sources)}; frames of "
            "several sources are only compared with those of a run of the same sources. Evaluate a run of each source"
        )
    frames = tuple(sorted({*run.time_s, *run.model.cam_from_world}))
    kind = "run" if run.run else "colmap"
    ours = NumberedPoses(kind, run.model.cam_from_world, frames, run.source_number)
    kind = "run" if reference.is_run else reference.kind
    found = match_frame_numbers(ours, NumberedPoses(kind, reference.cam_from_world, reference.frames))
    common = len(found.run)
    if common < 3:
        count = "no frame" if not common else f"{common} frame{'s' if common > 1 else ''}"
        raise InputError(
            f"{run.root}: {count} in common with {reference.path} (frames {_span(run.model.cam_from_world)} against "
            f"{_span(reference.cam_from_world)}); expected at least 3. Is it the same video?"
        )
    return found


def _of_sources(sources: tuple[str, ...]) -> str:
    return f"a run of {len(sources)} sources ({', '.join(sources)})" if sources else "frames of one source"


def ground_truth_lookup(run: EvaluatedRun, truth: RenderedTruth, common: CommonFrames) -> GroundTruthLookup:
    """Prepare to look up the ground truth of a rendered clip for a run.

    A model outside run folders is taken to be free of distortion, as COLMAP's models of undistorted images are.
    """
    undone = run.undistortion
    if not run.run and truth.lens.has_distortion:
        undone = Undistortion(truth.lens.pinhole, truth.lens)
    return GroundTruthLookup(truth, common.reference_number, run.model.camera.width, undone)


def _span(poses: Mapping[int, FloatArray]) -> str:
    return f"{min(poses)} to {max(poses)}" if poses else "none"
