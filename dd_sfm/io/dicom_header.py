"""What is read of DICOM files beside their pictures: sizes, times and order, and nothing of the patient."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dd_sfm.errors import InputError

SUFFIXES = (".dcm", ".dicom", ".dic", ".ima")
PREAMBLE, MAGIC = 128, b"DICM"
INDEX_NAME = "DICOMDIR"
"""A file that lists others and holds no picture."""
VIDEO_SYNTAXES = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109))
"""Transfer syntaxes of MPEG-2, MPEG-4 and HEVC, also in fragments (the same with ``.1``)."""
COMPRESSED_SYNTAXES = ("1.2.840.10008.1.2.4.", "1.2.840.10008.1.2.5")
TAGS = (
    "TransferSyntaxUID", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
    "BitsAllocated", "BitsStored", "PixelRepresentation", "SeriesInstanceUID", "InstanceNumber", "FrameTime",
    "FrameTimeVector", "CineRate", "RecommendedDisplayFrameRate",
)  # fmt: skip


@dataclass(frozen=True)
class DicomHeader:
    """What a DICOM file says of its pictures.

    ``series``: tells files of one recording from others; ``instance``: its place among them, None where not stated;
    ``times_s``: of its frames from the first one, empty where not stated.
    """

    path: Path
    width: int
    height: int
    frames: int
    syntax: str
    photometric: str
    bits_allocated: int
    bits_stored: int
    series: str
    instance: int | None
    times_s: tuple[float, ...]

    @property
    def is_video(self) -> bool:
        """Whether the pictures are a video's stream instead of frames each for itself."""
        return self.syntax.removesuffix(".1") in VIDEO_SYNTAXES

    @property
    def is_compressed(self) -> bool:
        """Whether the pictures are compressed, each for itself or as a video."""
        return self.syntax.startswith(COMPRESSED_SYNTAXES)


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its content."""
    with suppress(OSError), path.open("rb") as file:
        file.seek(PREAMBLE)
        return file.read(len(MAGIC)) == MAGIC and path.name != INDEX_NAME
    return False


@contextmanager
def without_messages() -> Iterator[None]:
    """Without pydicom's warnings, which may quote what a file says of the patient."""
    from pydicom import config

    log = logging.getLogger("pydicom")
    level, mode = log.level, config.settings.reading_validation_mode
    log.setLevel(logging.CRITICAL + 1)
    config.settings.reading_validation_mode = config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
        config.settings.reading_validation_mode = mode


def require_pydicom(path: Path) -> None:
    """See that DICOM can be read.

    Raises:
        InputError: If pydicom is not installed, with the line that installs it.
    """
    try:
        import pydicom  # noqa: F401
    except ImportError:
        raise InputError(
            f"{path}: a DICOM file, for which pydicom is needed, and it is not installed; expected a video or images, "
            'or pydicom: pip install "dd-sfm[dicom]", or pip install pydicom'
        ) from None


def read_dicom_header(path: Path) -> DicomHeader:
    """Read what a file says of its pictures.

    Raises:
        InputError: If pydicom is not installed, or the file holds no pictures that can be found.
    """
    require_pydicom(path)
    from pydicom import dcmread

    try:
        with without_messages():
            found = dcmread(path, stop_before_pixels=True, specific_tags=list(TAGS))
            return _header(path, found)
    except Exception:
        # Not the library's words, which may quote the file: it is read without a patient's data getting anywhere.
        raise InputError(f"{path}: DICOM without pictures, or damaged; expected a DICOM image or video") from None


def _header(path: Path, found: Any) -> DicomHeader:
    frames = int(found.get("NumberOfFrames") or 1)
    if frames > path.stat().st_size:
        raise ValueError("more frames than bytes")
    instance = found.get("InstanceNumber")
    return DicomHeader(
        path,
        width=int(found.Columns),
        height=int(found.Rows),
        frames=max(1, frames),
        syntax=str(found.file_meta.TransferSyntaxUID),
        photometric=str(found.get("PhotometricInterpretation", "")),
        bits_allocated=int(found.BitsAllocated),
        bits_stored=int(found.BitsStored),
        series=str(found.get("SeriesInstanceUID", "")),
        instance=None if instance in (None, "") else int(instance),
        times_s=_times(found, frames),
    )


def _times(found: Any, frames: int) -> tuple[float, ...]:
    """The times of the frames: a step for each, or one for all, or a rate."""
    steps = found.get("FrameTimeVector")
    if steps and not isinstance(steps, float) and len(steps) == frames:
        times, now = [], 0.0
        for number, step in enumerate(steps):
            now += float(step) / 1000 if number else 0.0
            times.append(now)
        return tuple(times)
    step_ms = float(found.get("FrameTime") or 0.0)
    rate = float(found.get("CineRate") or found.get("RecommendedDisplayFrameRate") or 0.0)
    step_s = step_ms / 1000 if step_ms > 0 else 1 / rate if rate > 0 else 0.0
    return tuple(number * step_s for number in range(frames)) if step_s else ()
