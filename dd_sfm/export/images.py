"""The images of a scene, checked and copied: what several formats ask for."""

import shutil
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import InputError
from dd_sfm.io.images import read_image, read_mask
from dd_sfm.io.scene import Scene, SceneImage
from dd_sfm.progress import Progress
from dd_sfm.structures import Frame, FrameSet

PROJECTED = "the sequence stores no places of its points in the images: they are projections of the points"


def frame_set(scene: Scene) -> FrameSet:
    """The images as frames; those without a file go by their name."""
    frames = [Frame(i.number, i.path or Path(i.name), i.mask_path or Path(), i.time_s or 0.0) for i in scene.images]
    return FrameSet(tuple(frames), scene.model.camera, scene.model.camera.height)


def need_pinhole(scene: Scene, what: str) -> None:
    """See that the images have no distortion; ``what`` is the format that cannot say so."""
    if scene.lens:
        raise InputError(
            f"{scene.source}: camera model {scene.lens}; {what} expects undistorted images. Undistort them first: "
            "colmap image_undistorter"
        )


def need_images(scene: Scene, used: list[SceneImage]) -> None:
    """See that the images are there."""
    missing = [i.name for i in used if i.path is None]
    if missing:
        raise InputError(
            f"{scene.source}: {len(missing)} of {len(used)} images not found ('{missing[0]}' is one); expected them in "
            "images/ or frames/ beside the model. Name their folder with --images"
        )


def read_checked(image: SceneImage) -> NDArray[np.uint8]:
    """Read an image, and see that it is of the size that its camera has."""
    assert image.path is not None
    camera, whole = image.camera, "Name the folder of the images that the model was made from with --images"
    try:
        picture = read_image(image.path)
    except InputError as error:
        raise InputError(f"{error}. {whole}") from error
    height, width = picture.shape[:2]
    if (width, height) != (camera.width, camera.height):
        raise InputError(
            f"{image.path}: {width}x{height} pixels; expected {camera.width}x{camera.height}, as the model's "
            f"camera. {whole}"
        )
    return picture


def place_below(folder: Path, name: str) -> Path:
    """Where a file of an image's name lies below a folder, which is made."""
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise InputError(
            f"image '{name}': its name points outside the folder; expected a relative path. Rename the image"
        )
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    return folder / name


def _copy(path: Path | None, folder: Path, name: str) -> Path:
    """Copy a file to a place below a folder."""
    assert path is not None
    place = place_below(folder, name)
    shutil.copyfile(path, place)
    return place


def copy_image(image: SceneImage, folder: Path) -> Path:
    """Copy an image that other tools will be able to read to images/ in a folder."""
    read_checked(image)
    return _copy(image.path, folder / "images", image.name)


def copy_image_files(scene: Scene, folder: Path, progress: Progress) -> None:
    """Copy the images with a pose to images/ and their masks to masks/, named as COLMAP wants them."""
    used = [scene.images[k] for k in scene.registered]
    need_images(scene, used)
    for image in progress(used, total=len(used), label="images"):
        copy_image(image, folder)
        if image.mask_path is not None and scene.kind != "jhu":
            read_mask(image.mask_path)
            _copy(image.mask_path, folder / "masks", image.name + ".png")
