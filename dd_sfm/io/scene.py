"""A reconstruction with its images, from a run folder, a COLMAP model folder or a JHU sequence."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera, world_to_camera
from dd_sfm.errors import InputError
from dd_sfm.io.clouds import run_uncertainty
from dd_sfm.io.colmap_sample import Sample
from dd_sfm.io.colmap_source import is_model, read_any_model
from dd_sfm.io.images import list_images
from dd_sfm.io.instrument_masks import final_mask
from dd_sfm.io.jhu import JHUSequence, read_sequence
from dd_sfm.io.known_poses import run_metric
from dd_sfm.io.metric import MetricScale
from dd_sfm.io.run_folder import has_frames, read_frame_records
from dd_sfm.structures import FrameRecord, Model

Records = dict[int, tuple[float | None, int | None, str]]
"""What a run tells of its frames: time and number in the source image's name (None without any), source of several."""
UNKNOWN = None, None, ""
MOST_NUMBER = 2**63 - 1
"""Largest number of a frame; times in nanoseconds are below it."""


@dataclass(frozen=True)
class SceneImage:
    """An image, with or without a pose. ``name`` is COLMAP's; ``number`` that of the frame, different for all images.

    ``path`` and ``mask_path`` are None where there is no such file; ``time_s``, and ``source_number`` in the name of
    the image that a run has the frame from, where they are not known. ``source``: which of several sources of a run it
    is from, "" where there is one.
    """

    name: str
    number: int
    camera: PinholeCamera
    path: Path | None = None
    mask_path: Path | None = None
    time_s: float | None = None
    source_number: int | None = None
    source: str = ""

    @property
    def called(self) -> str:
        """What to call the frame in pictures and messages; of several sources with the one that it is of."""
        return f"frame {self.number}" + (f" of {self.source}" if self.source else "")


@dataclass(frozen=True)
class Scene:
    """A model, whose frame positions count ``images``, and what lies around it.

    ``kind``: run, colmap or jhu; ``lens``: the camera model, when it has distortion; ``model_folder``: of a COLMAP
    model; ``run``: the run's folder, also when the source is a folder in it; ``database``: COLMAP's, of a run;
    ``field_mask``: one mask for all images; ``notes``: what to tell the user; ``metric``: the unit that the model was
    brought to, None where it has that of what was read.
    """

    source: Path
    kind: str
    model: Model
    images: tuple[SceneImage, ...]
    lens: str = ""
    model_folder: Path | None = None
    run: Path | None = None
    database: Path | None = None
    field_mask: Path | None = None
    notes: tuple[str, ...] = ()
    metric: MetricScale | None = None

    @property
    def factor(self) -> float:
        """One unit of what was read in that of the model."""
        return 1.0 if self.metric is None else self.metric.factor

    @property
    def registered(self) -> list[int]:
        """Positions of the images with a pose, ascending."""
        return sorted(self.model.cam_from_world)


def find_model_folder(source: Path) -> Path | None:
    """Where a COLMAP model is: in a folder itself, or where one lies below it; None without any."""
    places = (source, source / "sparse" / "0", source / "sparse", source / "0")
    return next((place for place in places if is_model(place)), None)


def run_around(source: Path, folder: Path) -> Path | None:
    """The run that a model's folder belongs to: that asked for, or the one around the model; None without any."""
    around = (source, *folder.resolve().parents[:2])
    return next((place for place in around if has_frames(place)), None)


def undistorted_size(scene: Scene) -> tuple[int, int]:
    """Width and height of the images with a pose.

    Raises:
        InputError: If they have distortion, or are of several sizes.
    """
    if scene.lens:
        raise InputError(
            f"{scene.source}: the camera model {scene.lens} has distortion; expected undistorted images (PINHOLE). "
            "Make them: colmap image_undistorter, or dd-sfm reconstruct with --calibration"
        )
    cameras = [scene.images[k].camera for k in scene.registered]
    sizes = sorted({(camera.width, camera.height) for camera in cameras})
    if len(sizes) > 1:
        raise InputError(f"{scene.source}: images of {len(sizes)} sizes ({sizes[0]}, {sizes[1]}); expected one size")
    return sizes[0]


def open_scene(source: Path, images: Path | None = None, sample: Sample | None = None) -> Scene:
    """Read a reconstruction.

    Args:
        source: Run folder, COLMAP model folder (or one around it), or JHU sequence.
        images: Where the images are, when not beside the model.
        sample: How much of a large COLMAP model to read; None for all of it.

    Raises:
        InputError: If there is no model, or it is damaged.
    """
    if not source.is_dir():
        found = "a file, which holds no cameras" if source.is_file() else "not found"
        raise InputError(f"{source}: {found}; expected a run folder, a COLMAP model folder or a JHU sequence")
    if images is not None and not images.is_dir():
        raise InputError(f"{images}: not a folder; expected the folder of the model's images")
    if (source / "motion.yaml").is_file():
        return _jhu_scene(source, images)
    folder = find_model_folder(source)
    if folder is not None:
        return _colmap_scene(source, folder, images, sample)
    raise InputError(
        f"{source}: no model found; expected sparse/0 (run), images.bin or images.txt (COLMAP model) or motion.yaml "
        "(JHU sequence). Finish a run: dd-sfm reconstruct"
    )


def scene_uncertainty(scene: Scene) -> NDArray[np.float64] | None:
    """Expected relative errors (P,) of the points: the run's own cloud has them, and is that of its first model.

    None for other models, and where the cloud is missing or of other points.

    Raises:
        InputError: If that cloud cannot be read.
    """
    if scene.run is None or scene.model_folder is None:
        return None
    is_first = scene.model_folder.resolve() == (scene.run / "sparse" / "0").resolve()
    return run_uncertainty(scene.run, scene.model.xyz / scene.factor) if is_first else None


def in_factor(pose: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """A pose (3, 4) in a world whose unit is that many times smaller."""
    return np.column_stack([pose[:, :3], factor * pose[:, 3]])


def in_unit(scene: Scene, metric: MetricScale) -> Scene:
    """The same scene with its model in a known unit."""
    poses = {k: in_factor(pose, metric.factor) for k, pose in scene.model.cam_from_world.items()}
    model = replace(scene.model, cam_from_world=poses, xyz=metric.factor * scene.model.xyz)
    return replace(scene, model=model, metric=metric, notes=(*scene.notes, *metric.notes))


def _colmap_scene(source: Path, folder: Path, images: Path | None, sample: Sample | None) -> Scene:
    read = read_any_model(folder, sample)
    run = run_around(source, folder)
    where = images or _images_folder(read.names, [*((run / "frames",) if run else ()), *_beside(source, folder)])
    masks = run / "masks" if run and images is None else where.parent / "masks" if where else None
    records = read_frame_records(run) if run else ()
    numbers, notes = _numbers(read.names, records)
    known = _known(records)
    found = [
        SceneImage(name, number, camera, _file(where, name), _mask(masks, name), *known.get(number, UNKNOWN))
        for name, number, camera in zip(read.names, numbers, read.cameras, strict=True)
    ]
    if run and where and images is None:
        found += _frames_without_pose(where, masks, {i.name for i in found}, read.cameras[0], records)
    scene = Scene(
        source,
        "run" if run else "colmap",
        read.model,
        tuple(found),
        read.lens,
        folder,
        run,
        _file(run, "database.db"),
        _file(run or (where.parent if where else None), "field_of_view.png"),
        tuple(notes),
        run_metric(run, folder),
    )
    return _in_order(scene)


def _in_order(scene: Scene) -> Scene:
    """The same scene with its images, and so the frame positions, in the order of their numbers."""
    order = sorted(range(len(scene.images)), key=lambda k: scene.images[k].number)
    if order == list(range(len(order))):
        return scene
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    model = scene.model
    frame = place[model.frame]
    rows = np.lexsort((frame, model.point))
    poses = {int(place[k]): pose for k, pose in model.cam_from_world.items()}
    moved = replace(model, cam_from_world=poses, point=model.point[rows], frame=frame[rows], xy=model.xy[rows])
    return replace(scene, model=moved, images=tuple(scene.images[k] for k in order))


def _frames_without_pose(
    where: Path, masks: Path | None, posed: set[str], camera: PinholeCamera, records: Sequence[FrameRecord]
) -> list[SceneImage]:
    named, known = number_by_stem(records), _known(records)
    found = []
    for path in list_images(where):
        if path.name not in posed and (path.stem.isdecimal() or path.stem in named):
            number = named.get(path.stem, last_number(path.name))
            if number is None:
                continue
            mask = _mask(masks, path.name)
            found.append(SceneImage(path.name, number, camera, path, mask, *known.get(number, UNKNOWN)))
    return found


def _beside(source: Path, folder: Path) -> list[Path]:
    places = dict.fromkeys((source, folder, *folder.resolve().parents[:2]))
    return [place / name for place in places for name in ("images", "frames")] + list(places)


def _images_folder(names: Iterable[str], places: list[Path]) -> Path | None:
    """The first place that holds an image of the model."""
    return next((p for p in places if any((p / name).is_file() for name in names)), None)


def _file(folder: Path | None, name: str) -> Path | None:
    return folder / name if folder is not None and (folder / name).is_file() else None


def _mask(masks: Path | None, name: str) -> Path | None:
    """The mask of an image, without instruments where a run has found some."""
    mask = _file(masks, name + ".png")
    return None if mask is None else final_mask(mask)


def last_number(name: str) -> int | None:
    """The last number in a file's name, without its ending: that of the frame, as a rule; None without any.

    Also None for one beyond ``MOST_NUMBER``, which counts no frames.
    """
    digits = re.findall(r"0*(\d+)", PurePosixPath(name).stem)
    if not digits or len(digits[-1]) > len(str(MOST_NUMBER)):
        return None
    return int(digits[-1]) if int(digits[-1]) <= MOST_NUMBER else None


def number_by_stem(records: Sequence[FrameRecord]) -> dict[str, int]:
    """The numbers of a run's frames by the names of their files without ending, where it has several sources.

    Their names hold numbers that are those of one source; over all of them frames count on.
    """
    return {record.stem: record.index for record in records if record.stem}


def _numbers(names: tuple[str, ...], records: Sequence[FrameRecord]) -> tuple[list[int], list[str]]:
    """Frame numbers: the last number of every name, or the order of the names where that is not one to one."""
    named = number_by_stem(records)
    stems = [PurePosixPath(name).stem for name in names]
    if named and all(stem in named for stem in stems):
        return [named[stem] for stem in stems], []
    numbers = [number for number in map(last_number, names) if number is not None]
    if len(set(numbers)) == len(names):
        return numbers, []
    return list(range(len(names))), ["the names of the images give no frame numbers: numbered in their order"]


def _known(records: Sequence[FrameRecord]) -> Records:
    return {r.index: (r.time_s, None if r.stem else last_number(r.source), r.label) for r in records}


def _jhu_scene(folder: Path, images: Path | None) -> Scene:
    read = read_sequence(folder)
    if not read.cam_from_world:
        raise InputError(f"{folder}: the sequence has no frame with a pose; expected at least one")
    first = next(iter(read.cameras.values()))
    numbers = sorted({*read.frames, *read.cameras})
    mask = folder / "undistorted_mask.bmp"
    found = []
    for number in numbers:
        name = f"{number:08d}.jpg"
        found.append(SceneImage(name, number, read.cameras.get(number, first), _file(images or folder, name), mask))
    model, left_out = _jhu_model(read, {number: k for k, number in enumerate(numbers)})
    notes = [f"{left_out} views of points that lie behind the camera are left out"] if left_out else []
    return Scene(folder, "jhu", model, tuple(found), field_mask=mask, notes=tuple(notes))


def _jhu_model(read: JHUSequence, position: dict[int, int]) -> tuple[Model, int]:
    """The sequence as a model without colours, and the number of observations left out."""
    point, frame, xy, left_out = [], [], [], 0
    for number, seen in read.points_seen.items():
        if number not in read.cam_from_world:
            continue
        places, depth = read.cameras[number].project(world_to_camera(read.points[seen], read.cam_from_world[number]))
        front = depth > 0
        left_out += int((~front).sum())
        point.append(seen[front])
        frame.append(np.full(int(front.sum()), position[number]))
        xy.append(places[front])
    points, frames = np.concatenate([np.zeros(0, np.int64), *point]), np.concatenate([np.zeros(0, np.int64), *frame])
    observed = np.concatenate([np.zeros((0, 2)), *xy])
    order = np.lexsort((frames, points))
    count = len(read.points)
    model = Model(
        next(iter(read.cameras.values())),
        {position[number]: pose for number, pose in read.cam_from_world.items()},
        read.points,
        np.full((count, 3), 128, np.uint8),
        # COLMAP's value for an error that was never computed.
        np.full(count, -1.0),
        points[order],
        frames[order],
        observed[order],
    )
    return model, left_out
