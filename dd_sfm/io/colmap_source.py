"""COLMAP models of any origin, read as arrays, and written again as binary or text."""

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from dd_sfm.cameras import PinholeCamera
from dd_sfm.documents import regular
from dd_sfm.errors import InputError
from dd_sfm.io.atomic import output_error
from dd_sfm.io.colmap import pycolmap
from dd_sfm.io.colmap_database import log_kept, silence
from dd_sfm.io.colmap_model import CAMERA_HEADER, check_size, read_images, read_points, to_model
from dd_sfm.io.colmap_sample import Sample, read_sample
from dd_sfm.io.shortage import raise_if_short
from dd_sfm.ops.coordinates import from_colmap
from dd_sfm.structures import FloatArray, Model

Reconstruction = pycolmap.Reconstruction
MODEL_FILES = ("cameras", "images", "points3D")
FURTHER_FILES = ("rigs", "frames")
"""Read by COLMAP itself where they are there."""
# Lenses that are pinholes when all their distortion is zero.
POLYNOMIAL = ("SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV")
READ_ERRORS = (ValueError, IndexError, KeyError, RuntimeError, MemoryError, OSError)


@dataclass(frozen=True)
class ColmapSource:
    """A model in arrays.

    ``model``'s frame positions count ``names``, which are sorted; ``cameras`` holds one camera a name, without its
    distortion; ``lens`` names the camera model that has distortion, and is empty when none has.
    """

    model: Model
    names: tuple[str, ...]
    cameras: tuple[PinholeCamera, ...]
    lens: str


def is_model(folder: Path) -> bool:
    """Whether a folder holds the files of a binary or text model."""
    return any((folder / f"images{suffix}").is_file() for suffix in (".bin", ".txt"))


def read_any_model(folder: Path, sample: Sample | None = None) -> ColmapSource:
    """Read a binary or text model with any cameras.

    Args:
        folder: Where it is.
        sample: How much of a large model to read; None for all of it.

    Raises:
        InputError: If a file is missing or damaged, or no image has a pose.
    """
    if _suffix(folder) == ".bin":
        _check_files(folder, ".bin")
    # The binary form is read many times faster than objects are walked through.
    with as_binary(folder) as binary:
        return _read_binary(binary, folder, sample)


def _read_binary(folder: Path, where: Path, sample: Sample | None) -> ColmapSource:
    """The model in a folder; ``where`` it is from, for messages. COLMAP itself reads only its few cameras."""
    images, points = (read_images(folder), None) if sample is None else read_sample(folder, sample)
    if not images.names:
        raise InputError(f"{where}: the model has no image with a pose; expected at least one")
    by_id = read_lenses(folder / "cameras.bin", where)
    ids = sorted(images.names, key=lambda i: images.names[i])
    try:
        lenses = [by_id[images.camera_ids[i]] for i in ids]
    except KeyError as error:
        raise InputError(f"{where}: camera {error} of an image is missing; expected a complete model") from error
    names = tuple(images.names[i] for i in ids)
    cameras = tuple(_pinhole(lens) for lens in lenses)
    bent = [lens.model.name for lens in lenses if _is_bent(lens)]
    positions = {name: k for k, name in enumerate(names)}
    model = to_model(where, cameras[0], images, points or read_points(folder), positions)
    return ColmapSource(model, names, cameras, bent[0] if bent else "")


def read_lenses(path: Path, where: Path) -> dict[int, pycolmap.Camera]:
    """The cameras of a cameras.bin by id.

    COLMAP, which takes a file that was cut short for a whole one, only tells how many parameters a model has.

    Raises:
        InputError: If it is damaged.
    """
    silence()
    lenses = {}
    try:
        data = regular(path).read_bytes()
        at = 8
        for _ in range(struct.unpack_from("<Q", data)[0]):
            number, kind, width, height = CAMERA_HEADER.unpack_from(data, at)
            check_size(width, height)
            lens = pycolmap.Camera.create_from_model_id(number, pycolmap.CameraModelId(kind), 1.0, width, height)
            lens.params = struct.unpack_from(f"<{len(lens.params)}d", data, at + CAMERA_HEADER.size)
            if not all(map(math.isfinite, lens.params)):
                raise ValueError(f"camera {number} has parameters that are not finite")
            at += CAMERA_HEADER.size + 8 * len(lens.params)
            lenses[number] = lens
    except (struct.error, *READ_ERRORS) as error:
        raise_if_short(str(where), error)
        raise InputError(
            f"{where}: cameras cannot be read ({_first_line(error)}); expected a complete model. Export it again"
        ) from error
    return lenses


@contextmanager
def as_binary(folder: Path) -> Iterator[Path]:
    """A folder that holds a model in binary form: its own, or for the while of one of text a copy.

    Raises:
        InputError: If a text model cannot be read.
    """
    if _suffix(folder) == ".bin":
        yield folder
        return
    model = open_model(folder)
    with TemporaryDirectory() as scratch:
        model.write_binary(scratch)
        try:
            yield Path(scratch)
        except InputError as error:
            raise InputError(str(error).replace(scratch, str(folder))) from error


def read_reconstruction(folder: Path) -> Reconstruction:
    """A binary or text model as COLMAP's own object, with COLMAP's pixels: the first one's centre is at (0.5, 0.5).

    Raises:
        InputError: If the model is missing or cannot be read.
    """
    with log_kept():
        return open_model(folder)


def rewrite_model(source: Path, folder: Path, *, text: bool, scale: float = 1.0) -> None:
    """Write a model again as text or binary, with all that it holds (any cameras, rigs, ids).

    Args:
        source: Folder of a binary or text model.
        folder: An existing folder.
        text: The format to write.
        scale: What its unit is in that to write.

    Raises:
        InputError: If the model cannot be read.
        OutputError: If it cannot be written.
    """
    model = open_model(source)
    if scale != 1.0:
        model.transform(pycolmap.Sim3d(scale, pycolmap.Rotation3d(), [0.0, 0.0, 0.0]))
    with writing_model(folder):
        (model.write_text if text else model.write_binary)(str(folder))


@contextmanager
def writing_model(folder: Path) -> Iterator[None]:
    """Tell of what COLMAP cannot write as of any other file.

    Raises:
        OutputError: If it cannot.
    """
    try:
        yield
    except (ValueError, RuntimeError, OSError) as error:
        raise output_error(folder, OSError(_first_line(error))) from error


def move_model(folder: Path, scale: float, rotation: FloatArray, shift: FloatArray) -> None:
    """Bring a binary model by a similarity transform into another world: x becomes scale * rotation @ x + shift.

    Raises:
        OutputError: If it cannot be written.
    """
    model = open_model(folder)
    model.transform(pycolmap.Sim3d(scale, pycolmap.Rotation3d(rotation), shift))
    with writing_model(folder):
        model.write_binary(str(folder))


def make_pinhole(folder: Path) -> None:
    """Give a model that was just written as binary cameras of the kind PINHOLE, where it has others without distortion.

    Raises:
        OutputError: If it cannot be written.
    """
    model = open_model(folder)
    others = [lens for lens in model.cameras.values() if lens.model.name != "PINHOLE"]
    for lens in others:
        k = lens.calibration_matrix()
        lens.model = pycolmap.CameraModelId.PINHOLE
        lens.params = [k[0, 0], k[1, 1], k[0, 2], k[1, 2]]
    if others:
        with writing_model(folder):
            model.write_binary(str(folder))


def open_model(folder: Path) -> pycolmap.Reconstruction:
    """Read a binary or text model as COLMAP's own object.

    Raises:
        InputError: If it cannot be read.
    """
    silence()
    suffix = _suffix(folder)
    _check_files(folder, suffix)
    model = pycolmap.Reconstruction()
    try:
        (model.read_binary if suffix == ".bin" else model.read_text)(str(folder))
    except READ_ERRORS as error:
        raise_if_short(str(folder), error)
        raise InputError(
            f"{folder}: the COLMAP model cannot be read ({_first_line(error)}); expected a complete model. "
            "Export it again"
        ) from error
    return model


def _suffix(folder: Path) -> str:
    # Text beside binary may be older: COLMAP itself prefers binary.
    return ".bin" if (folder / "images.bin").is_file() else ".txt"


def _check_files(folder: Path, suffix: str) -> None:
    for name in FURTHER_FILES:
        path = folder / f"{name}{suffix}"
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: no ordinary file; expected that of a COLMAP model. Export it again")
    for name in MODEL_FILES:
        if not (folder / f"{name}{suffix}").is_file():
            raise InputError(
                f"{folder / (name + suffix)}: missing; expected {', '.join(f + suffix for f in MODEL_FILES)}"
            )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _is_bent(lens: pycolmap.Camera) -> bool:
    name = lens.model.name
    if name in ("PINHOLE", "SIMPLE_PINHOLE"):
        return False
    return name not in POLYNOMIAL or any(lens.params[i] != 0 for i in lens.extra_params_idxs())


def _pinhole(lens: pycolmap.Camera) -> PinholeCamera:
    k = lens.calibration_matrix()
    cx, cy = from_colmap(k[:2, 2])
    return PinholeCamera(lens.width, lens.height, float(k[0, 0]), float(k[1, 1]), float(cx), float(cy))
