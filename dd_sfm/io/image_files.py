"""Images as people hand them over: what OpenCV or Pillow decode, and headers that are read without decoding."""

import io
import threading
import warnings
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.documents import regular
from dd_sfm.errors import InputError
from dd_sfm.io.shortage import raise_if_short

ORIENTATION_TAG = 0x0112
UPRIGHT = 1
"""EXIF's orientation of a picture that is stored as it is to be seen."""
SIDEWAYS = (5, 6, 7, 8)
"""EXIF's orientations that change width and height."""
SIGNATURES = (
    b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*", b"GIF8", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51",
    b"P5", b"P6", b"P7",
)  # fmt: skip
"""How files of images begin that are told by their content."""
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
MOST_PIXELS = 130_000_000
"""Of a picture; Pillow itself draws the line at 179 million."""
TAIL = 64
"""So many zeros at the end of a compressed picture are what an interrupted copy leaves."""


class UndecodableError(InputError):
    """An image file that cannot be decoded; ``reason`` says why, without the path."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}; expected an image that can be decoded")
        self.reason = reason


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of its picture: size as stored, and EXIF's orientation."""

    width: int
    height: int
    orientation: int = UPRIGHT

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height of the picture as it is stored."""
        return self.width, self.height

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height of the picture as it is to be seen."""
        turned = self.orientation in SIDEWAYS
        return (self.height, self.width) if turned else (self.width, self.height)


def read_header(path: Path) -> ImageHeader:
    """Read size and orientation, without decoding where the format allows it.

    Raises:
        UndecodableError: If the file is empty, no image, or cut short as far as its end tells.
    """
    from PIL import Image, UnidentifiedImageError

    _check_end(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise UndecodableError(path, f"the file states {image.width}x{image.height} pixels")
                return ImageHeader(image.width, image.height, _orientation(image))
    except UnidentifiedImageError:
        # OpenCV knows formats that Pillow does not.
        height, width = read_levels(path).shape[:2]
        return ImageHeader(width, height)
    except UndecodableError:
        raise
    except Exception as error:
        raise_if_short(str(path), error)
        # Damaged files make Pillow's parsers raise errors of every kind.
        raise UndecodableError(path, f"cannot be decoded ({_first_line(error)})") from error


def _orientation(image: Any) -> int:
    """EXIF's orientation of a picture opened with Pillow, which has itself turned TIFF, as OpenCV does."""
    if image.format == "TIFF" or "exif" not in image.info:
        return UPRIGHT
    value = image.getexif().get(ORIENTATION_TAG, UPRIGHT)
    return int(value) if value in range(1, 9) else UPRIGHT


def _check_end(path: Path) -> None:
    """Refuse a file that is empty, or whose end is missing."""
    try:
        with regular(path).open("rb") as file:
            head = file.read(16)
            size = file.seek(0, io.SEEK_END)
            file.seek(max(0, size - TAIL))
            tail = file.read()
    except OSError as error:
        raise_if_short(str(path), error)
        raise UndecodableError(path, f"cannot be read ({error.strerror})") from error
    if not head:
        raise UndecodableError(path, "the file is empty")
    compressed = head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"))
    cut = compressed and len(tail) == TAIL and not any(tail)
    if head.startswith(b"\x89PNG"):
        cut = cut or (b"IEND" not in tail and b"IEND" not in path.read_bytes())
    if head.startswith(b"\xff\xd8\xff") and not tail.endswith(b"\xff\xd9"):
        # Some writers append data of their own; a thumbnail's end comes before the scan.
        data = path.read_bytes()
        cut = data.find(b"\xff\xd9", data.rfind(b"\xff\xda")) < 0
    if cut:
        raise UndecodableError(path, "cannot be decoded (the file is cut short)")


def check_pixels(path: Path, data: bytes) -> None:
    """See that a picture says of itself that it has a size that pictures have, before memory is taken for it.

    Raises:
        UndecodableError: If it is larger.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                width, height = image.size
    except Image.DecompressionBombError:
        width = height = MOST_PIXELS
    except Exception:
        # No kind that Pillow knows, or damaged: whoever decodes it will tell.
        return
    if width * height > MOST_PIXELS:
        raise UndecodableError(path, f"the file states more than {MOST_PIXELS // 1_000_000} million pixels")


def looks_like_image(path: Path) -> bool:
    """Whether a file begins as one of the common kinds of images, whatever its name."""
    with suppress(OSError), path.open("rb") as file:
        return _is_known(file.read(16))
    return False


def _is_known(head: bytes) -> bool:
    return head.startswith(SIGNATURES) or (head.startswith(b"RIFF") and head[8:12] == b"WEBP")


class _Silence:
    """OpenCV's level of messages is one for all threads: the first that reads sets it, the last one puts it back."""

    def __init__(self) -> None:
        self.lock, self.readers, self.level = threading.Lock(), 0, 0

    def __enter__(self) -> None:
        with self.lock:
            if self.readers == 0:
                self.level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
            self.readers += 1

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.readers -= 1
            if self.readers == 0:
                cv2.utils.logging.setLogLevel(self.level)


_silence = _Silence()


def silenced() -> AbstractContextManager[None]:
    """Without OpenCV's own complaints about a broken file, which would stand before our one clear line."""
    return _silence


def read_levels(path: Path) -> NDArray[Any]:
    """Decode an image as RGB (H, W, 3) as it is stored, in the depth of its file.

    Raises:
        UndecodableError: If that is not possible.
    """
    try:
        data = regular(path).read_bytes()
    except OSError as error:
        raise_if_short(str(path), error)
        raise UndecodableError(path, f"cannot be read ({error.strerror})") from error
    if not data:
        raise UndecodableError(path, "the file is empty")
    check_pixels(path, data)
    # Not IMREAD_COLOR_RGB: with 16 bits, OpenCV 5.0's TIFF reader leaves channels swapped, or damages them.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        with silenced():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise_if_short(str(path), error)
        raise UndecodableError(path, "cannot be decoded (the file is damaged)") from error
    if image is None:
        raise_if_short(str(path))
    if image is None and _is_known(data[:16]) and not data.startswith((b"II", b"MM")):
        # Pillow would decode some damaged files as far as they go.
        raise UndecodableError(path, "cannot be decoded (the file is damaged)")
    if image is None:
        return _decode_with_pillow(path, data)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if image.dtype in (np.uint8, np.uint16) else image[..., ::-1]


def _decode_with_pillow(path: Path, data: bytes) -> NDArray[Any]:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                return np.asarray(image.convert("RGB"))
    except UnidentifiedImageError as error:
        is_heic = data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS
        what = "HEIC, which is not read: convert it to PNG or JPEG" if is_heic else "not an image that can be decoded"
        raise UndecodableError(path, what) from error
    except Exception as error:
        raise_if_short(str(path), error)
        raise UndecodableError(path, f"cannot be decoded ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    """What an error of a library says, in one line and without addresses in memory."""
    text = str(error).partition("\n")[0].partition("<")[0].strip()
    return text or type(error).__name__


def to_bytes(levels: NDArray[Any], white: float) -> NDArray[np.uint8]:
    """Levels of any depth as uint8, where ``white``, the highest level that the pictures use, becomes 255."""
    if levels.dtype == np.uint8:
        return levels
    if levels.dtype == np.uint16 and white >= 255:
        shift = max(0, round(np.log2(white + 1)) - 8)
        return np.minimum(levels >> shift, 255).astype(np.uint8)
    scaled = np.nan_to_num(levels.astype(np.float32), posinf=white, neginf=0.0) * np.float32(255.0 / white)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def turned(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """An image (H, W, 3) as stored with an orientation of EXIF -> as it is to be seen."""
    if orientation in SIDEWAYS:
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)
