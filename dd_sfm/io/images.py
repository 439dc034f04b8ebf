"""Images and masks on disk: RGB uint8, written atomically."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.documents import regular
from dd_sfm.errors import InputError
from dd_sfm.io.atomic import write_bytes
from dd_sfm.io.image_files import check_pixels, silenced

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
RARE_SUFFIXES = (
    ".webp", ".jp2", ".j2k", ".j2c", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".pam", ".pfm", ".gif", ".avif", ".heic",
    ".heif", ".tga", ".jpe", ".jfif", ".dib", ".hdr", ".exr", ".ras", ".sr", ".jxl",
)  # fmt: skip
"""Read too, as far as OpenCV or Pillow decode them, but not named in hints."""
MASK_THRESHOLD = 128
ENCODING = {
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 97],
    # Differences to the row above alone: trying every filter takes longer, and files of frames are no smaller.
    ".png": [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP],
}
"""How images are written, by suffix; PNG without loss."""


def _decode(path: Path, flag: int) -> NDArray[Any]:
    try:
        data = regular(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected an image") from error
    check_pixels(path, data)
    try:
        with silenced():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flag) if data else None
    except cv2.error:
        image = None
    if image is None:
        raise InputError(f"{path}: not an image that can be decoded; expected PNG, JPEG, BMP or TIFF")
    return image


def read_image(path: Path) -> NDArray[Any]:
    """Read an image as RGB (H, W, 3) uint8."""
    return np.asarray(_decode(path, cv2.IMREAD_COLOR_RGB))


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask (H, W) bool: grey levels of at least 128 are usable (masks saved as JPEG have grey edges)."""
    return _decode(path, cv2.IMREAD_GRAYSCALE) >= MASK_THRESHOLD


def write_image(path: Path, image: NDArray[Any]) -> None:
    """Write RGB (H, W, 3) or grey (H, W) uint8; the suffix decides the format (JPEG at quality 97).

    The disk is not waited for, as images are many: what lists them calls :func:`dd_sfm.io.atomic.sync_all` before.
    """
    write_bytes(path, encoded_image(path.suffix, image), durable=False)


def encoded_image(suffix: str, image: NDArray[Any]) -> bytes:
    """The file of an image, as :func:`write_image` writes it."""
    swapped = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else np.ascontiguousarray(image)
    return bytes(cv2.imencode(suffix, swapped, ENCODING.get(suffix, []))[1].tobytes())


def write_mask(path: Path, mask: NDArray[np.bool_]) -> None:
    """Write a mask (H, W) bool as 0 and 255, as :func:`write_image` does."""
    write_image(path, mask.astype(np.uint8) * 255)


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Sorts 'frame2' before 'frame10'."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts]


def is_hidden(path: Path) -> bool:
    """Whether a file or folder is one that systems leave beside those of the user: hidden, or a Mac's metadata."""
    return path.name.startswith((".", "@")) or path.name == "__MACOSX"


def has_image_suffix(path: Path) -> bool:
    """Whether a file is named as an image, and not hidden, as a Mac's ``._x.jpg`` is."""
    return path.suffix.lower() in SUFFIXES + RARE_SUFFIXES and not is_hidden(path)


def list_images(folder: Path) -> Sequence[Path]:
    """The images of a folder by their suffixes, in natural order.

    Raises:
        InputError: If there is none.
    """
    found = sorted((p for p in folder.iterdir() if has_image_suffix(p) and p.is_file()), key=natural_key)
    if not found:
        raise InputError(no_image_text(folder))
    return found


def no_image_text(folder: Path) -> str:
    """What is said of a folder without images."""
    return (
        f"{folder}: no image found; expected a video file, or a folder of images (PNG, JPEG, TIFF, BMP, WebP, GIF and "
        "others) or DICOM files; docs/reconstruct.md names all"
    )
