"""How a scene is written in the format of each tool: every writer fills a folder and says what to know of it."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import InputError
from dd_sfm.export.hloc import MatchedImages, read_database_matches, write_hloc
from dd_sfm.export.nerfstudio import TransformsFrame, write_transforms
from dd_sfm.io.atomic import write_text
from dd_sfm.io.clouds import write_cloud
from dd_sfm.io.colmap_database import shared_keypoints, track_matches
from dd_sfm.io.colmap_model import write_model
from dd_sfm.io.colmap_source import rewrite_model
from dd_sfm.io.images import read_image, read_mask, write_image, write_mask
from dd_sfm.io.jhu import write_sequence
from dd_sfm.io.scene import Scene, SceneImage, scene_uncertainty
from dd_sfm.io.tum import tum_text
from dd_sfm.progress import Progress
from dd_sfm.sfm.point_cloud import to_cloud
from dd_sfm.structures import Frame, FrameSet, Tracks

CLOUD_NAME, PATH_NAME = "points.ply", "trajectory.tum"
PROJECTED = "the sequence stores no places of its points in the images: they are projections of the points"


def frame_set(scene: Scene) -> FrameSet:
    """The images as frames; those without a file go by their name."""
    frames = [Frame(i.number, i.path or Path(i.name), i.mask_path or Path(), i.time_s or 0.0) for i in scene.images]
    return FrameSet(tuple(frames), scene.model.camera, scene.model.camera.height)


def _write_colmap(scene: Scene, folder: Path, progress: Progress, *, text: bool) -> list[str]:
    if scene.model_folder is not None:
        rewrite_model(scene.model_folder, folder, text=text)
        return []
    cameras = {k: scene.images[k].camera for k in scene.registered}
    with TemporaryDirectory() as scratch:
        write_model(Path(scratch), scene.model, frame_set(scene), cameras)
        rewrite_model(Path(scratch), folder, text=text)
    return [PROJECTED]


def _write_jhu(scene: Scene, folder: Path, progress: Progress) -> list[str]:
    _need_pinhole(scene, "a JHU sequence")
    used = [i for i in scene.images if i.path is not None or i.number in _numbers(scene)]
    _need_images(scene, used)
    encoded = 0
    for image in progress(used, total=len(used), label="images"):
        encoded += _write_jpeg(image, folder / f"{image.number:08d}.jpg")
    cameras = [scene.images[k].camera for k in scene.registered]
    model = scene.model
    numbers = np.array([i.number for i in scene.images])
    write_sequence(
        folder,
        [i.number for i in used],
        {scene.images[k].number: model.cam_from_world[k] for k in scene.registered},
        np.array([[c.fx, c.fy, c.cx, c.cy] for c in cameras]),
        model.xyz,
        (model.point, numbers[model.frame]),
        _field_mask(scene),
    )
    notes = ["the format has neither colours nor the places of points in the images: they are not in it"]
    return notes + ([f"{encoded} images were encoded as JPEG at quality 97"] if encoded else [])


def _write_nerfstudio(scene: Scene, folder: Path, progress: Progress) -> list[str]:
    _need_pinhole(scene, "nerfstudio's pinhole images")
    used = [scene.images[k] for k in scene.registered]
    _need_images(scene, used)
    masked = all(i.mask_path is not None for i in used)
    frames = []
    for k, image in zip(scene.registered, progress(used, total=len(used), label="images"), strict=True):
        mask = None
        file = _copy_image(image, folder)
        if masked and image.mask_path is not None:
            mask = "masks/" + (image.name if image.name.endswith(".png") else image.name + ".png")
            (folder / mask).parent.mkdir(parents=True, exist_ok=True)
            write_mask(folder / mask, read_mask(image.mask_path))
        pose = scene.model.cam_from_world[k]
        frames.append(TransformsFrame(file.relative_to(folder).as_posix(), mask, image.camera, pose))
    write_transforms(folder, frames, scene.model.xyz, scene.model.rgb)
    return [] if masked else ["no masks: not every image has one beside it"]


def _write_hloc(scene: Scene, folder: Path, progress: Progress) -> list[str]:
    notes = ["hloc's features.h5 holds keypoints without descriptors"]
    if scene.database is not None:
        write_hloc(folder, read_database_matches(scene.database))
        return [*notes, "matches are the verified ones of the run's database, each with score 1"]
    model = scene.model
    count = len(model.point)
    tracks = Tracks(model.point, model.frame, model.xy.astype(np.float32), np.ones(count), np.zeros(count, bool))
    keypoint, places = shared_keypoints(tracks, len(scene.images))
    used = scene.registered
    place = {k: n for n, k in enumerate(used)}
    matches = {
        (place[i], place[j]): table.astype(np.int64) for (i, j), table in track_matches(tracks, keypoint).items()
    }
    cameras = [scene.images[k].camera for k in used]
    names, sizes = tuple(scene.images[k].name for k in used), tuple((c.width, c.height) for c in cameras)
    write_hloc(folder, MatchedImages(names, sizes, tuple(places[k] for k in used), matches))
    notes.append("matches follow the tracks of the model, each with score 1: there is no database beside it")
    return [*notes, PROJECTED] if scene.kind == "jhu" else notes


def _write_ply(scene: Scene, folder: Path, progress: Progress) -> list[str]:
    uncertainty, notes = None, []
    try:
        uncertainty = scene_uncertainty(scene)
    except InputError as error:
        # All but the expected errors is in the model.
        notes.append(f"{error}; the cloud is made from the model and knows no uncertainty")
    write_cloud(folder / CLOUD_NAME, to_cloud(scene.model, uncertainty))
    return notes


def _write_tum(scene: Scene, folder: Path, progress: Progress) -> list[str]:
    used = [scene.images[k] for k in scene.registered]
    times = {i.number: i.time_s for i in used if i.time_s is not None}
    poses = np.stack([scene.model.cam_from_world[k] for k in scene.registered])
    # Seconds or numbers, never both in one file.
    known = times if len(times) == len(used) else {}
    write_text(folder / PATH_NAME, tum_text([i.number for i in used], poses, known))
    return [] if known else ["the time of every pose is its frame number"]


WRITERS: dict[str, Callable[[Scene, Path, Progress], list[str]]] = {
    "colmap": partial(_write_colmap, text=False),
    "colmap-text": partial(_write_colmap, text=True),
    "jhu": _write_jhu,
    "nerfstudio": _write_nerfstudio,
    "hloc": _write_hloc,
    "ply": _write_ply,
    "tum": _write_tum,
}


def _numbers(scene: Scene) -> set[int]:
    return {scene.images[k].number for k in scene.registered}


def _need_pinhole(scene: Scene, what: str) -> None:
    if scene.lens:
        raise InputError(
            f"{scene.source}: camera model {scene.lens}; {what} expects undistorted images. Undistort them first: "
            "colmap image_undistorter"
        )


def _need_images(scene: Scene, used: list[SceneImage]) -> None:
    """See that the images are there."""
    missing = [i.name for i in used if i.path is None]
    if missing:
        raise InputError(
            f"{scene.source}: {len(missing)} of {len(used)} images not found ('{missing[0]}' is one); expected them in "
            "images/ or frames/ beside the model. Name their folder with --images"
        )


def _read(image: SceneImage) -> NDArray[np.uint8]:
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
            f"{image.path}: {width}x{height} pixels; the model's camera has {camera.width}x{camera.height}. {whole}"
        )
    return picture


def _copy(path: Path | None, folder: Path, name: str) -> Path:
    """Copy a file to a place below a folder."""
    assert path is not None
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise InputError(
            f"image '{name}': its name leads out of the folder; expected a relative path. Rename the image"
        )
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, folder / name)
    return folder / name


def _copy_image(image: SceneImage, folder: Path) -> Path:
    """Copy an image that other tools will be able to read to images/ in a folder."""
    _read(image)
    return _copy(image.path, folder / "images", image.name)


def copy_image_files(scene: Scene, folder: Path, progress: Progress) -> None:
    """Copy the images with a pose to images/ and their masks to masks/, named as COLMAP wants them."""
    used = [scene.images[k] for k in scene.registered]
    _need_images(scene, used)
    for image in progress(used, total=len(used), label="images"):
        _copy_image(image, folder)
        if image.mask_path is not None and scene.kind != "jhu":
            read_mask(image.mask_path)
            _copy(image.mask_path, folder / "masks", image.name + ".png")


def _write_jpeg(image: SceneImage, path: Path) -> bool:
    """Write an image as JPEG; one that is JPEG already is copied as it is. Returns whether it was encoded."""
    assert image.path is not None
    picture = _read(image)
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
                f"{path}: {one.shape[1]}x{one.shape[0]} pixels; the model's camera has {camera.width}x{camera.height}"
            )
        mask |= one
    return mask if mask.any() else ~mask
