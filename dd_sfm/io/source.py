"""What frames come from: a video or a folder of images, or several of them, as they were found on opening."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise, starmap
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from dd_sfm.io.dicom import DicomFrames
from dd_sfm.io.video_file import VideoFile
from dd_sfm.notes import Note
from dd_sfm.structures import DropReason

ROUNDED_S = 0.001
"""Containers round times to this."""


class Crop(NamedTuple):
    """The part of a picture that is used: its upper left pixel and its size."""

    x: int
    y: int
    width: int
    height: int

    def cut(self, image: NDArray[Any]) -> NDArray[Any]:
        """That part of an image (H, W, ...)."""
        return image[self.y : self.y + self.height, self.x : self.x + self.width]


@dataclass(frozen=True)
class SourceInfo:
    """A video or a folder of images.

    ``width``, ``height``: of a frame, after the crop; ``frame_count``: those that cannot be decoded are counted;
    ``fps``: frames a second, on average, None where no time is known, as of images in a folder; ``names`` are the
    files of a folder, empty for a video; ``unusable``: frames known on opening to be of no use, by number, with the
    reason; ``notes``: what the user should know of it; ``crop``: the part of the picture that is used, None for all of
    it, and ``picture``: then width and height of the whole; ``turns``: EXIF's orientation, by number, of images that
    are turned; ``white_level``: the highest level that images of more than 8 bits use; ``video``, ``dicom``: how such
    a file is read, None for another.

    Several sources of one camera are one source with ``parts``, whose frames are numbered one part after the other;
    ``labels`` are names of the parts that are different and fit for files. Times are those within a part.
    """

    path: Path
    width: int
    height: int
    fps: float | None
    frame_count: int
    names: tuple[str, ...] = ()
    unusable: Mapping[int, tuple[DropReason, str]] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    crop: Crop | None = None
    picture: tuple[int, int] | None = None
    turns: Mapping[int, int] = field(default_factory=dict)
    white_level: float = 65535.0
    video: VideoFile | None = field(default=None, compare=False, repr=False)
    dicom: DicomFrames | None = field(default=None, compare=False, repr=False)
    parts: tuple["SourceInfo", ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def spans(self) -> tuple[range, ...]:
        """The numbers of the frames of each part; of the whole where there are none."""
        ends = list(accumulate((part.frame_count for part in self.parts or (self,)), initial=0))
        return tuple(starmap(range, pairwise(ends)))

    def place(self, number: int) -> tuple[int, int]:
        """The part that a frame is of, and its number there."""
        spans = self.spans
        part = bisect_right([span.start for span in spans], number) - 1
        return part, number - spans[part].start

    def stem(self, number: int) -> str:
        """The name that the files of a frame have in a run, without ending."""
        part, own = self.place(number)
        return f"{self.labels[part]}_{own:08d}" if self.parts else f"{own:08d}"

    def file(self, number: int) -> str:
        """The file that a frame is from, "" for the frames of a single video."""
        if not self.parts:
            return self.names[number] if self.names else ""
        part, own = self.place(number)
        inside = self.parts[part].file(own)
        return f"{self.parts[part].title}/{inside}" if inside else self.parts[part].title

    @property
    def title(self) -> str:
        """The name of the file or folder, of several those of all."""
        return ", ".join(part.title for part in self.parts) if self.parts else self.path.name or str(self.path)

    @property
    def where(self) -> str:
        """The path of the file or folder, of several those of all, for messages."""
        return ", ".join(part.where for part in self.parts) if self.parts else str(self.path)

    def is_timed(self, number: int) -> bool:
        """Whether it is known when a frame is shown."""
        return (self.parts[self.place(number)[0]] if self.parts else self).fps is not None

    def time_s(self, number: int) -> float:
        """When a frame is shown, in seconds from the first one; its number where that is not known."""
        if self.parts:
            part, own = self.place(number)
            return self.parts[part].time_s(own)
        if self.video is not None:
            return float(self.video.index.time_s[number])
        if self.dicom is not None and self.dicom.times_s:
            return self.dicom.times_s[number]
        return number / self.fps if self.fps else float(number)

    def number_at(self, seconds: float) -> int:
        """The first frame of a video that is shown at a time, or after it; one past the last where none is."""
        return bisect_left(range(self.frame_count), seconds - ROUNDED_S, key=self.time_s)

    def cropped(self, crop: Crop) -> "SourceInfo":
        """The same source, of whose pictures only a part is used."""
        return replace(self, crop=crop, picture=self.picture_size, width=crop.width, height=crop.height)

    @property
    def picture_size(self) -> tuple[int, int]:
        """Width and height of the whole picture, as it is decoded."""
        return self.picture or (self.width, self.height)

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height of the whole picture before its pixels were made square, where they were not."""
        if self.parts:
            stored = {part.stored_size for part in self.parts}
            return stored.pop() if len(stored) == 1 else self.picture_size
        return self.picture_size if self.video is None else self.video.display.shown_as_stored

    def cut(self, image: NDArray[Any]) -> NDArray[Any]:
        """The part of a decoded picture (H, W, 3) that is used."""
        return image if self.crop is None else self.crop.cut(image)
