"""What a user may have meant by a folder that is no source of frames itself."""

from pathlib import Path

from dd_sfm.io.dicom_header import is_dicom
from dd_sfm.io.images import has_image_suffix, is_hidden

VIDEO_SUFFIXES = (
    ".mp4", ".avi", ".mov", ".mkv", ".m4v", ".mpg", ".mpeg", ".wmv", ".webm", ".ts", ".m2ts", ".mts", ".vob", ".flv",
    ".ogv", ".3gp", ".mxf", ".asf", ".dv", ".m2v", ".h264", ".h265", ".hevc", ".mjpeg", ".mjpg", ".y4m",
)  # fmt: skip
"""For hints, and for what is a video in a folder of files: whatever can be decoded is one where it is named."""
DEPTH = 3
"""So deep are folders looked for: exports of DICOM have their files in the third."""
MOST_NAMED = 4
"""More folders are not listed in one line."""


def source_hint(folder: Path) -> str:
    """Asks whether a video in a folder, or a folder of images in it, was meant; empty when there is none."""
    videos = sorted(p for p in folder.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES and _is_users_file(p))
    if videos:
        return f". Did you mean {videos[0]}?"
    inside, level = list[Path](), [folder]
    for _ in range(DEPTH):
        level = [sub for outer in level for sub in _folders(outer)]
        inside = inside or [sub for sub in level if holds_images(sub)]
    if len(inside) == 1:
        return f". Did you mean {inside[0]}?"
    if inside:
        more = f" or {len(inside) - MOST_NAMED} more" if len(inside) > MOST_NAMED else ""
        named = ", ".join(str(sub) for sub in inside[:MOST_NAMED])
        return f". It holds folders of images: name one of them, {named}{more}"
    return ""


def _is_users_file(path: Path) -> bool:
    return path.is_file() and not is_hidden(path)


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if p.is_dir() and not is_hidden(p))
    except OSError:
        return []


def holds_images(folder: Path) -> bool:
    """Whether a folder holds images or DICOM files."""
    files = [path for path in folder.iterdir() if _is_users_file(path)]
    return any(has_image_suffix(path) for path in files) or any(is_dicom(path) for path in files)
