"""COLMAP models of any origin, read as arrays, and written again as binary or text."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pycolmap

from dd_sfm.errors import InputError
from dd_sfm.io.atomic import output_error
from dd_sfm.io.colmap_database import silence
from dd_sfm.io.colmap_model import read_model
from dd_sfm.ops.coordinates import from_colmap
from dd_sfm.structures import Model, PinholeCamera

MODEL_FILES = ("cameras", "images", "points3D")
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


def read_any_model(folder: Path) -> ColmapSource:
    """Read a binary or text model with any cameras.

    Raises:
        InputError: If a file is missing or damaged, or no image has a pose.
    """
    if (folder / "images.bin").is_file():
        # COLMAP reads a file that was cut short for minutes, as if it went on.
        read_model(folder, camera=PinholeCamera(1, 1, 1.0, 1.0, 0.0, 0.0))
    model = _open(folder)
    ids = model.reg_image_ids()
    if not ids:
        raise InputError(f"{folder}: the model has no image with a pose; expected at least one")
    images = sorted((model.images[i] for i in ids), key=lambda image: image.name)
    names = tuple(image.name for image in images)
    lenses = [model.cameras[image.camera_id] for image in images]
    cameras = tuple(_pinhole(lens) for lens in lenses)
    bent = [lens.model.name for lens in lenses if _is_bent(lens)]
    with TemporaryDirectory() as scratch:
        # The binary form is read many times faster than objects are walked through, and text becomes binary.
        model.write_binary(scratch)
        arrays = read_model(Path(scratch), {name: k for k, name in enumerate(names)}, camera=cameras[0])
    if model.compute_num_observations() != len(arrays.point):
        raise InputError(
            f"{folder}: images and points do not fit together ({model.compute_num_observations()} observations in the "
            f"images, {len(arrays.point)} in the points); expected a complete model. Export it again"
        )
    return ColmapSource(arrays, names, cameras, bent[0] if bent else "")


def rewrite_model(source: Path, folder: Path, *, text: bool) -> None:
    """Write a model again as text or binary, with all that it holds (any cameras, rigs, ids).

    Args:
        source: Folder of a binary or text model.
        folder: An existing folder.
        text: The format to write.

    Raises:
        InputError: If the model cannot be read.
        OutputError: If it cannot be written.
    """
    model = _open(source)
    try:
        (model.write_text if text else model.write_binary)(str(folder))
    except (ValueError, RuntimeError, OSError) as error:
        raise output_error(folder, OSError(_first_line(error))) from error


def _open(folder: Path) -> pycolmap.Reconstruction:
    silence()
    # Text beside binary may be older: COLMAP itself prefers binary.
    suffix = ".bin" if (folder / "images.bin").is_file() else ".txt"
    for name in MODEL_FILES:
        if not (folder / f"{name}{suffix}").is_file():
            raise InputError(
                f"{folder / (name + suffix)}: missing; expected {', '.join(f + suffix for f in MODEL_FILES)}"
            )
    model = pycolmap.Reconstruction()
    try:
        (model.read_binary if suffix == ".bin" else model.read_text)(str(folder))
    except READ_ERRORS as error:
        raise InputError(
            f"{folder}: the COLMAP model cannot be read ({_first_line(error)}); expected a complete model. "
            "Export it again"
        ) from error
    return model


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
