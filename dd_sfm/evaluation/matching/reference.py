"""References for matching, frames with known correspondences: JHU sequences, rendered clips and COLMAP models."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import world_to_camera
from dd_sfm.errors import InputError
from dd_sfm.io.images import read_image, read_mask
from dd_sfm.io.jhu import read_sequence
from dd_sfm.io.scene import SceneImage, find_model_folder, open_scene, undistorted_size
from dd_sfm.io.truth import read_rigid_truth
from dd_sfm.io.video import iter_frames, open_source
from dd_sfm.ops.pixels import inside_mask
from dd_sfm.ops.working import field_grid, working_image, working_mask
from dd_sfm.structures import WorkingGrid


@dataclass(frozen=True)
class View:
    """A frame as a matcher sees it: ``image`` (H, W, 3) uint8 RGB and ``mask`` (H, W) bool in working pixels."""

    frame: int
    image: NDArray[Any]
    mask: NDArray[np.bool_]


class Reference(Protocol):
    """Frames, and for pairs of them points that show the same place."""

    name: str
    grid: WorkingGrid

    def first_frames(self, gap: int) -> list[int]:
        """Frames i for which correspondences with frame i + gap are known."""
        ...

    def correspondences(
        self, source: int, target: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Corresponding points (N, 2) and (N, 2) in source pixels, inside the mask of both frames; N may be 0."""
        ...

    def view(self, frame: int) -> View:
        """A frame at working size."""
        ...


class SequenceReference:
    """A JHU sequence: points of its structure that ``view_indexes_per_point`` lists for both frames.

    Args:
        folder: The sequence.
        working_height_px: Height of the field of view in working pixels.
        frame_range: Indices of the first and last frame of the sequence to use; None for all.
    """

    def __init__(self, folder: Path, working_height_px: int, frame_range: tuple[int, int] | None = None) -> None:
        self.name = folder.name
        self.sequence = read_sequence(folder)
        self.grid = field_grid(self.sequence.mask, working_height_px, where=str(folder))
        self._mask = working_mask(self.sequence.mask, self.grid)
        first, last = _checked_range(folder, frame_range, len(self.sequence.frames))
        self.frames = [f for f in self.sequence.frames[first : last + 1] if f in self.sequence.cam_from_world]

    def first_frames(self, gap: int) -> list[int]:
        """Frames whose partner is in the range as well, and shares points with them."""
        known, seen = set(self.frames), self.sequence.points_seen
        empty = np.zeros(0, np.int64)
        return [
            f
            for f in self.frames
            if f + gap in known and len(np.intersect1d(seen.get(f, empty), seen.get(f + gap, empty)))
        ]

    def correspondences(
        self, source: int, target: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Projections of all points that both frames see; they are accurate to 1 to 3 pixels."""
        common = np.intersect1d(self.sequence.points_seen[source], self.sequence.points_seen[target])
        xy0, xy1 = self._project(common, source), self._project(common, target)
        keep = inside_mask(self.sequence.mask, xy0) & inside_mask(self.sequence.mask, xy1)
        return xy0[keep], xy1[keep]

    def _project(self, points: NDArray[np.int64], frame: int) -> NDArray[np.float64]:
        local = world_to_camera(self.sequence.points[points], self.sequence.cam_from_world[frame])
        return self.sequence.cameras[frame].project(local)[0]

    def view(self, frame: int) -> View:
        """A frame at working size."""
        return View(frame, working_image(read_image(self.sequence.image_paths[frame]), self.grid), self._mask)


class RenderedReference:
    """A rendered clip: random pixels with depth that are visible in the other frame.

    Args:
        folder: The clip's folder.
        working_height_px: Height of the field of view in working pixels.
        frame_range: First and last frame to use; None for all.
        points: Number of random pixels per pair.
    """

    def __init__(
        self, folder: Path, working_height_px: int, frame_range: tuple[int, int] | None = None, points: int = 400
    ) -> None:
        self.name, self.points = folder.name, points
        self.truth = read_rigid_truth(folder)
        self.grid = field_grid(self.truth.mask, working_height_px, where=str(folder))
        self._mask = working_mask(self.truth.mask, self.grid)
        self._pixels = np.argwhere(self.truth.mask)[:, ::-1].astype(np.float64)
        count = len(self.truth.cam_from_world)
        clip = open_source(self.truth.clip_path)
        # Decoded once, as seeking in a compressed clip costs as much as reading it up to there.
        self._images = [working_image(image, self.grid) for _, image in iter_frames(clip, range(count))]
        if len(self._images) != count:
            raise InputError(
                f"{clip.path}: {len(self._images)} frames; expected {count}, one for each pose in truth.npz"
            )
        self.first, self.last = _checked_range(folder, frame_range, count)

    def first_frames(self, gap: int) -> list[int]:
        """Frames with depth whose partner is in the range as well."""
        return [int(f) for f in self.truth.depth_frames if self.first <= f and f + gap <= self.last]

    def correspondences(
        self, source: int, target: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Random pixels of the source frame and their exact positions in the target, where visible there."""
        xy = self._pixels[rng.integers(len(self._pixels), size=self.points)]
        target_xy, visible = self.truth.correspondences(source, target, xy)
        return xy[visible], target_xy[visible]

    def view(self, frame: int) -> View:
        """A frame at working size."""
        return View(frame, self._images[frame], self._mask)


class ModelReference:
    """A COLMAP model with its images: projections of the points that both frames observe.

    A model that was made with the measured matcher favours it: its points are those that were matched well.

    Args:
        folder: A run folder, a COLMAP model (binary or text) with images/ beside or above it, or the folder that holds
            both.
        working_height_px: Height of the field of view in working pixels.
        frame_range: Indices of the first and last frame of the model to use; None for all.

    Raises:
        InputError: If there is no model, its lens has distortion, or an image is missing.
    """

    def __init__(self, folder: Path, working_height_px: int, frame_range: tuple[int, int] | None = None) -> None:
        self.name = folder.resolve().name
        scene = open_scene(folder)
        size = undistorted_size(scene)
        self.model, registered = scene.model, scene.registered
        self._images = {scene.images[k].number: scene.images[k] for k in registered}
        self._paths = {number: _image_path(folder, image) for number, image in self._images.items()}
        self._position = {scene.images[k].number: k for k in registered}
        self._usable = _usable_area(scene.field_mask, *size)
        self.grid = field_grid(self._usable, working_height_px, where=str(folder))
        self._mask = working_mask(self._usable, self.grid)
        first, last = _checked_range(folder, frame_range, len(registered))
        self.frames = list(self._images)[first : last + 1]
        self._seen = {f: np.unique(self.model.point[self.model.frame == self._position[f]]) for f in self.frames}

    def first_frames(self, gap: int) -> list[int]:
        """Frames whose partner is in the range as well, and shares points with them."""
        return [f for f in self.frames if f + gap in self._seen and len(self._common(f, f + gap))]

    def correspondences(
        self, source: int, target: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Projections of all points that both frames observe."""
        common = self._common(source, target)
        xy0, xy1 = self._project(common, source), self._project(common, target)
        keep = inside_mask(self._usable, xy0) & inside_mask(self._usable, xy1)
        return xy0[keep], xy1[keep]

    def _common(self, source: int, target: int) -> NDArray[np.int64]:
        return np.intersect1d(self._seen[source], self._seen[target])

    def _project(self, points: NDArray[np.int64], frame: int) -> NDArray[np.float64]:
        local = world_to_camera(self.model.xyz[points], self.model.cam_from_world[self._position[frame]])
        return self._images[frame].camera.project(local)[0]

    def view(self, frame: int) -> View:
        """A frame at working size."""
        image = read_image(self._paths[frame])
        if image.shape[:2] != self._usable.shape:
            raise InputError(
                f"{self._paths[frame]}: {image.shape[1]}x{image.shape[0]} pixels; expected "
                f"{self._usable.shape[1]}x{self._usable.shape[0]}, the size of the model's camera"
            )
        return View(frame, working_image(image, self.grid), self._mask)


def _checked_range(folder: Path, frame_range: tuple[int, int] | None, count: int) -> tuple[int, int]:
    """A range of indices below ``count``, both ends included; all of them for None."""
    first, last = frame_range or (0, count - 1)
    if not first <= last < count:
        raise InputError(f"{folder}:{first}-{last}: expected FIRST-LAST within its frames, 0-{count - 1}")
    return first, last


def _usable_area(mask_path: Path | None, width: int, height: int) -> NDArray[np.bool_]:
    """The mask (H, W) of all images of a model."""
    usable = read_mask(mask_path) if mask_path else np.ones((height, width), bool)
    if usable.shape != (height, width):
        raise InputError(
            f"{mask_path}: {usable.shape[1]}x{usable.shape[0]} pixels; expected {width}x{height}, as the model's camera"
        )
    return usable


def _image_path(folder: Path, image: SceneImage) -> Path:
    if image.path is None:
        raise InputError(
            f"{folder}: image '{image.name}' of the model is in neither frames/ nor images/; expected it there"
        )
    return image.path


def open_reference(text: str, working_height_px: int) -> SequenceReference | RenderedReference | ModelReference:
    """Open a reference: a JHU sequence, a rendered clip, or a COLMAP model with images.

    Args:
        text: ``FOLDER``, or ``FOLDER:FIRST-LAST`` with indices of frames.
        working_height_px: Height of the field of view in working pixels.

    Raises:
        InputError: If the folder is none of them, or the range is not within its frames.
    """
    path, _, ends = text.rpartition(":")
    first, dash, last = ends.partition("-")
    ranged = bool(path and dash and first.isdecimal() and last.isdecimal())
    folder, frame_range = Path(path if ranged else text), (int(first), int(last)) if ranged else None
    if (folder / "motion.yaml").is_file():
        return SequenceReference(folder, working_height_px, frame_range)
    if (folder / "truth.npz").is_file():
        return RenderedReference(folder, working_height_px, frame_range)
    if find_model_folder(folder) is not None:
        return ModelReference(folder, working_height_px, frame_range)
    raise InputError(
        f"{text}: found neither motion.yaml (JHU sequence, FOLDER or FOLDER:FIRST-LAST) nor truth.npz (rendered clip) "
        "nor sparse/0 or images.bin (run or COLMAP model with images); expected one of them"
    )
