"""A sequence of the Johns Hopkins format, as dd-sfm train reads it; see :mod:`dd_sfm.io.jhu` for its files."""

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import InputError
from dd_sfm.export.images import need_images, need_pinhole, read_checked
from dd_sfm.io.images import read_mask, write_image
from dd_sfm.io.jhu import write_sequence
from dd_sfm.io.scene import Scene, SceneImage
from dd_sfm.progress import Progress


def write(scene: Scene, folder: Path, progress: Progress) -> list[str]:
    """Write the frames as JPEG, poses, intrinsics, points, who sees them, and the mask."""
    need_pinhole(scene, "a JHU sequence")
    posed = set(scene.registered)
    used = [image for k, image in enumerate(scene.images) if image.path is not None or k in posed]
    need_images(scene, used)
    encoded = 0
    for image in progress(used, total=len(used), label="images"):
        encoded += _write_jpeg(image, folder / f"{image.number:08d}.jpg")
    model = scene.model
    numbers = np.array([i.number for i in scene.images])
    write_sequence(
        folder,
        [i.number for i in used],
        {scene.images[k].number: model.cam_from_world[k] for k in scene.registered},
        {scene.images[k].number: scene.images[k].camera for k in scene.registered},
        model.xyz,
        (model.point, numbers[model.frame]),
        _field_mask(scene),
    )
    notes = ["the format has neither colours nor the places of points in the images: they are not in it"]
    return notes + ([f"{encoded} images were encoded as JPEG at quality 97"] if encoded else [])


def _write_jpeg(image: SceneImage, path: Path) -> bool:
    """Write an image as JPEG; one that is JPEG already is copied as it is. Returns whether it was encoded."""
    assert image.path is not None
    picture = read_checked(image)
    if image.path.suffix.lower() in (".jpg", ".jpeg"):
        shutil.copyfile(image.path, path)
        return False
    write_image(path, picture)
    return True


def _field_mask(scene: Scene) -> NDArray[np.bool_]:
    """One mask for all images: that of the field of view, else what is usable in any image, else everything."""
    camera = scene.model.camera
    if scene.field_mask is not None:
        return read_mask(scene.field_mask)
    mask = np.zeros((camera.height, camera.width), bool)
    for path in dict.fromkeys(i.mask_path for i in scene.images if i.mask_path is not None):
        one = read_mask(path)
        if one.shape != mask.shape:
            raise InputError(
                f"{path}: {one.shape[1]}x{one.shape[0]} pixels; expected {camera.width}x{camera.height}, as the "
                "model's camera"
            )
        mask |= one
    return mask if mask.any() else ~mask
