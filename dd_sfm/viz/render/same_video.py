"""Whether two reconstructions are of the same frames."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import InputError
from dd_sfm.evaluation.model.alignment import align_cameras, follows
from dd_sfm.evaluation.model.frame_numbering import PLAIN, NumberedPoses, same_frames
from dd_sfm.io.images import read_image
from dd_sfm.io.scene import Scene, SceneImage
from dd_sfm.viz.render.camera_shapes import spread
from dd_sfm.viz.render.cloud_view import Shown, no_common_images

KINDS = ("run", "colmap", "jhu")
COMPARED = 5
"""So many of the common frames are looked at."""
ASPECT_SHARE = 0.01
"""Shapes may differ by this much, as they do when images are shrunk to whole pixels."""
SMALL = (48, 32)
MOST_DIFFERENT = 10.0
"""Mean difference of frames made this small, in grey levels: frames of five endoscopic videos differed from those of
the others by 16 to 27, from the one after them by 0.2 to 6.
"""  # fmt: skip


SeenT = TypeVar("SeenT", Scene, Shown)


def number_alike(moved: SeenT, onto: SeenT) -> tuple[SeenT, list[str]]:
    """Give the images of a reconstruction the numbers that the same frames have in another (:func:`same_frames`).

    Images of frames that the other does not have are numbered after its own.

    Returns:
        The first with other numbers, and a note where these differ.
    """
    theirs: NumberedPoses = _numbered(moved)
    ours: NumberedPoses = _numbered(onto)
    # Of both, the one that says more of its frames is the one to find in the other.
    is_found = KINDS.index(theirs.kind) < KINDS.index(ours.kind)
    found = same_frames(theirs, ours) if is_found else same_frames(ours, theirs)
    if found.numbering == PLAIN or not found.run:
        return moved, []
    number: dict[int, int] = dict(found.number) if is_found else {there: here for here, there in found.number.items()}
    beyond = 1 + max((*number.values(), *ours.frames))
    images = tuple(replace(i, number=number.get(i.number, beyond + i.number)) for i in moved.images)
    first = (found.run if is_found else found.reference)[0]
    note = f"{moved.source}: its frame {first} is frame {number[first]} of {onto.source}"
    return replace(moved, images=images), [note]


def _numbered(seen: Scene | Shown) -> NumberedPoses:
    if isinstance(seen, Shown):
        posed, poses, frames = seen.images, list(seen.cam_from_world), seen.frames or tuple(seen.numbers)
    else:
        posed = tuple(seen.images[k] for k in seen.registered)
        poses, frames = [seen.model.cam_from_world[k] for k in seen.registered], tuple(i.number for i in seen.images)
    sources = {i.number: i.source_number for i in seen.images if i.source_number is not None}
    by_frame = {image.number: pose for image, pose in zip(posed, poses, strict=True)}
    return NumberedPoses(seen.kind, by_frame, frames, sources)


def check_same_video(first: Scene, second: Scene) -> None:
    """See that the frames of two reconstructions that bear the same number are the same picture.

    Frames whose images are not there or cannot be read are not looked at; their shape is that of the camera.

    Raises:
        InputError: If no number is common, or shapes or pictures differ.
    """
    pairs = _pairs(first.images, [second.images[k] for k in second.registered])
    if not pairs:
        raise no_common_images(first.source, second.source, 0)
    _check_pairs(first.source, second.source, pairs)


def check_same_pictures(first: Shown, second: Shown) -> None:
    """As :func:`check_same_video`, as far as the images of both are there.

    Raises:
        InputError: If shapes or pictures differ.
    """
    pairs = _pairs(first.images, second.images)
    _check_pairs(first.source, second.source, [(a, b) for a, b in pairs if a.path is not None and b.path is not None])


def cameras_follow(first: Scene, second: Scene) -> bool | None:
    """Whether the cameras of one follow the other's (:func:`dd_sfm.evaluation.model.alignment.follows`).

    None where it cannot be told: too few are common, or all are at one place.
    """
    poses = [{s.images[k].number: s.model.cam_from_world[k] for k in s.registered} for s in (second, first)]
    common = sorted(poses[0].keys() & poses[1].keys())
    try:
        ours, theirs = (np.array([p[number] for number in common]) for p in poses)
        return follows(align_cameras(ours, theirs).similarity.poses(ours), theirs)
    except InputError:
        return None


def _pairs(ours: Sequence[SceneImage], theirs: Sequence[SceneImage]) -> list[tuple[SceneImage, SceneImage]]:
    """The images of the same numbers, in order."""
    first, second = ({image.number: image for image in images} for images in (ours, theirs))
    return [(first[number], second[number]) for number in sorted(first.keys() & second.keys())]


def _check_pairs(first: Path, second: Path, pairs: list[tuple[SceneImage, SceneImage]]) -> None:
    differences = [_difference(first, second, *pairs[k]) for k in spread(len(pairs), COMPARED)]
    apart = float(np.median(differences)) if differences else 0.0
    if apart > MOST_DIFFERENT:
        raise InputError(
            f"{first} and {second}: frames of the same number show different pictures ({apart:.0f} of "
            "255 grey levels apart); expected two runs of the same video"
        )


def _difference(first: Path, second: Path, ours: SceneImage, theirs: SceneImage) -> float:
    """Mean difference of two frames that were made small, in grey levels; 0 where one of them is not there."""
    pictures = [_picture(image) for image in (ours, theirs)]
    a, b = (
        (image.camera.width, image.camera.height) if picture is None else (picture.shape[1], picture.shape[0])
        for image, picture in zip((ours, theirs), pictures, strict=True)
    )
    if abs(a[0] * b[1] / (a[1] * b[0]) - 1) > ASPECT_SHARE:
        raise InputError(
            f"{first} and {second}: frame {ours.number} is {a[0]} x {a[1]} in one and {b[0]} x {b[1]} in "
            "the other; expected two runs of the same video"
        )
    small = [cv2.resize(p, SMALL, interpolation=cv2.INTER_AREA).astype(float) for p in pictures if p is not None]
    return float(np.abs(small[0] - small[1]).mean()) if len(small) == 2 else 0.0


def _picture(image: SceneImage) -> NDArray[np.uint8] | None:
    try:
        return None if image.path is None else read_image(image.path)
    except InputError:
        return None
