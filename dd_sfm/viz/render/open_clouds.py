"""Open one cloud to look at, or two of the same video in one frame."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dd_sfm.errors import InputError
from dd_sfm.io.run_folder import has_frames
from dd_sfm.viz.render.cloud_view import CloudView, align_cloud_view, distinct_labels, open_cloud_view
from dd_sfm.viz.render.same_video import check_same_pictures, renumber_images

CLOUD = "points.ply"


def open_clouds(sources: Sequence[Path], say: Callable[[str], None]) -> tuple[CloudView, ...]:
    """Open one cloud, or two that are brought into one frame, with names that tell them apart.

    Args:
        sources: One or two run folders, COLMAP models, JHU sequences or PLY files.
        say: Prints a line: what does not fit between the two.

    Raises:
        InputError: If one cannot be read, or cameras and pictures of the second are those of another video.
    """
    clouds = [open_cloud_view(sources[0])]
    if len(sources) > 1:
        clouds.append(_second(sources[1], clouds[0], say))
    for source in sources:
        if has_frames(source) and not (source / CLOUD).is_file():
            say(
                f"note: {source} has no {CLOUD}: shown are the points of its model, whose uncertainty is not known. "
                "Repeating dd-sfm reconstruct makes it"
            )
    labels = distinct_labels([cloud.label for cloud in clouds], [cloud.source for cloud in clouds])
    return tuple(replace(cloud, label=label) for cloud, label in zip(clouds, labels, strict=True))


def _second(source: Path, first: CloudView, say: Callable[[str], None]) -> CloudView:
    opened = open_cloud_view(source)
    second, notes = renumber_images(opened, first)
    second, same = align_cloud_view(_renumbered(second, opened), first)
    for note in notes:
        say(f"note: {note}")
    try:
        check_same_pictures(first, second)
    except InputError as error:
        # Pictures of one video differ too when one run undid the distortion of a wide lens.
        if not same:
            raise
        say(f"note: {error}")
    if not same:
        say(
            f"note: the cameras of {source} do not match those of {first.source}; one run failed, or they are of "
            "different videos"
        )
    return second


def _renumbered(cloud: CloudView, before: CloudView) -> CloudView:
    """The cloud with its other frame numbers changed as those of its images were."""
    number = dict(zip(before.frame_numbers, cloud.frame_numbers, strict=True))
    if all(old == new for old, new in number.items()):
        return cloud
    known = np.isfinite(cloud.first_frame)
    first_frame = cloud.first_frame.copy()
    frames, row = np.unique(cloud.first_frame[known], return_inverse=True)
    first_frame[known] = np.array([number[int(frame)] for frame in frames], np.float64)[row]
    confidence = {number[frame]: value for frame, value in cloud.confidence.items() if frame in number}
    return replace(cloud, first_frame=first_frame, confidence=confidence)
