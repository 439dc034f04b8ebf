"""Check that two reconstructions are of the same video, and give the same frames the same numbers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import InputError
from dd_sfm.evaluation.model.alignment import align_common_cameras
from dd_sfm.evaluation.model.frame_numbering import NumberedPoses, Numbering, match_frame_numbers
from dd_sfm.io.images import read_image
from dd_sfm.io.run_folder import has_frames, read_frames
from dd_sfm.io.scene import Scene, SceneImage
from dd_sfm.structures import FloatArray
from dd_sfm.viz.render.camera_shapes import evenly_spread
from dd_sfm.viz.render.cloud_view import CloudView, too_few_common_images

KINDS = ("run", "colmap", "jhu")
"""Kinds of reconstructions, the one that knows most about the numbers of its frames first."""
COMPARED_FRAMES = 5
"""Number of common frames whose pictures are compared."""
ASPECT_TOLERANCE = 0.01
"""Largest relative difference between the aspect ratios of two images of one frame, as rounding to pixels causes."""
THUMBNAIL_SIZE_PX = (48, 32)
"""Width and height at which pictures are compared."""
MAX_GREY_DIFFERENCE = 10.0
"""Largest mean difference in grey levels between pictures of the same frame: those of other videos differ by 16 or
more, the next frame by 6 or less.
"""  # fmt: skip


ReconstructionT = TypeVar("ReconstructionT", Scene, CloudView)


def renumber_images(moved: ReconstructionT, onto: ReconstructionT) -> tuple[ReconstructionT, list[str]]:
    """Number the images of a reconstruction as the same frames are numbered in another.

    Images of frames that the other does not have get numbers after its own. See :func:`match_frame_numbers`.

    Returns:
        The first reconstruction with these numbers, and a note where numbers have changed.
    """
    theirs: NumberedPoses = _numbered(moved)
    ours: NumberedPoses = _numbered(onto)
    # The reconstruction that knows more about its frames is the one to find in the other.
    find_moved = KINDS.index(theirs.kind) < KINDS.index(ours.kind)
    found = match_frame_numbers(theirs, ours) if find_moved else match_frame_numbers(ours, theirs)
    if found.numbering is Numbering.SAME_NUMBERS or not found.run:
        return moved, []
    number: dict[int, int] = (
        dict(found.reference_number) if find_moved else {there: here for here, there in found.reference_number.items()}
    )
    beyond = 1 + max((*number.values(), *ours.frames))
    images = tuple(replace(i, number=number.get(i.number, beyond + i.number)) for i in moved.images)
    first = (found.run if find_moved else found.reference)[0]
    note = f"{moved.source}: its frame {first} is frame {number[first]} of {onto.source}"
    return replace(moved, images=images), [note]


def poses_by_frame(scene: Scene) -> dict[int, FloatArray]:
    """cam_from_world (3, 4) of the registered images of a scene, by frame number."""
    return {scene.images[k].number: scene.model.cam_from_world[k] for k in scene.registered}


def _numbered(view: Scene | CloudView) -> NumberedPoses:
    if isinstance(view, CloudView):
        by_frame, frames = view.poses_by_frame, view.frames or tuple(view.frame_numbers)
    else:
        by_frame, frames = poses_by_frame(view), tuple(i.number for i in view.images)
    sources = {i.number: i.source_number for i in view.images if i.source_number is not None}
    return NumberedPoses(view.kind, by_frame, frames, sources)


def undistorted_otherwise(first: Path | None, second: Path | None) -> bool:
    """Whether two runs are of one source, of which they have undone another lens, so that their frames differ.

    Args:
        first, second: Their folders; None for what is no run.
    """
    if first is None or second is None or not (has_frames(first) and has_frames(second)):
        return False
    try:
        ours, theirs = read_frames(first), read_frames(second)
    except InputError:
        # Pictures and cameras tell then.
        return False
    same = ("source", "sources", "width", "height", "frames_in_source")
    if any(getattr(ours, name) != getattr(theirs, name) for name in same):
        return False
    has_lens = ours.lens is not None or theirs.lens is not None
    return has_lens and (ours.lens, ours.camera) != (theirs.lens, theirs.camera)


def check_same_video(first: Scene, second: Scene) -> None:
    """Check that frames of the same number in two reconstructions show the same picture.

    Of images that are missing or cannot be read only the aspect ratio of the camera is compared; of runs of one source
    that have undone another lens nothing.

    Raises:
        InputError: If they have no frame number in common, or aspect ratios or pictures differ.
    """
    pairs = _pairs(first.images, [second.images[k] for k in second.registered])
    if not pairs:
        raise too_few_common_images(first.source, second.source, 0)
    if not undistorted_otherwise(first.run, second.run):
        _check_pairs(first.source, second.source, pairs)


def check_same_pictures(first: CloudView, second: CloudView) -> None:
    """As :func:`check_same_video`, for those frames whose images both clouds have.

    Raises:
        InputError: If aspect ratios or pictures differ.
    """
    pairs = _pairs(first.images, second.images)
    runs = (cloud.source if cloud.kind == "run" else None for cloud in (first, second))
    if undistorted_otherwise(*runs):
        return
    _check_pairs(first.source, second.source, [(a, b) for a, b in pairs if a.path is not None and b.path is not None])


def scenes_agree(first: Scene, second: Scene) -> bool | None:
    """Whether the cameras of two scenes agree (:func:`dd_sfm.evaluation.model.alignment.cameras_agree`).

    None where it cannot be told: too few cameras are common, or all of them are at one place.
    """
    try:
        return align_common_cameras(poses_by_frame(second), poses_by_frame(first)).agrees
    except InputError:
        return None


def _pairs(ours: Sequence[SceneImage], theirs: Sequence[SceneImage]) -> list[tuple[SceneImage, SceneImage]]:
    """Pairs of images with the same frame number, in order."""
    first, second = ({image.number: image for image in images} for images in (ours, theirs))
    return [(first[number], second[number]) for number in sorted(first.keys() & second.keys())]


def _check_pairs(first: Path, second: Path, pairs: list[tuple[SceneImage, SceneImage]]) -> None:
    differences = [_difference(first, second, *pairs[k]) for k in evenly_spread(len(pairs), COMPARED_FRAMES)]
    difference = float(np.median(differences)) if differences else 0.0
    if difference > MAX_GREY_DIFFERENCE:
        raise InputError(
            f"{first} and {second}: frames of the same number show different pictures ({difference:.0f} of "
            "255 grey levels apart); expected two runs of the same video"
        )


def _difference(first: Path, second: Path, ours: SceneImage, theirs: SceneImage) -> float:
    """Mean difference of two images of a frame in grey levels, made small; 0 where one of them is missing."""
    pictures = [_picture(image) for image in (ours, theirs)]
    a, b = (
        (image.camera.width, image.camera.height) if picture is None else (picture.shape[1], picture.shape[0])
        for image, picture in zip((ours, theirs), pictures, strict=True)
    )
    if abs(a[0] * b[1] / (a[1] * b[0]) - 1) > ASPECT_TOLERANCE:
        raise InputError(
            f"{first} and {second}: frame {ours.number} is {a[0]} x {a[1]} in one and {b[0]} x {b[1]} in "
            "the other; expected two runs of the same video"
        )
    small = [
        cv2.resize(p, THUMBNAIL_SIZE_PX, interpolation=cv2.INTER_AREA).astype(float) for p in pictures if p is not None
    ]
    return float(np.abs(small[0] - small[1]).mean()) if len(small) == 2 else 0.0


def _picture(image: SceneImage) -> NDArray[np.uint8] | None:
    try:
        return None if image.path is None else read_image(image.path)
    except InputError:
        return None
