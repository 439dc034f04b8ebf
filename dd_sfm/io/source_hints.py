"""What a user may have meant by a folder that is no source of frames itself."""

from pathlib import Path

from dd_sfm.io.images import has_image_suffix, is_hidden

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".mpg", ".mpeg", ".wmv", ".webm", ".ts")
"""Only for hints: whatever can be decoded is a video."""
MOST_NAMED = 4
"""More folders are not listed in one line."""


def source_hint(folder: Path) -> str:
    """Asks whether a video in a folder, or a folder of images in it, was meant; empty when there is none."""
    videos = sorted(p for p in folder.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES and _is_users_file(p))
    if videos:
        return f". Did you mean {videos[0]}?"
    inside = _folders_with_images(_folders(folder))
    if not inside:
        inside = _folders_with_images([deeper for sub in _folders(folder) for deeper in _folders(sub)])
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
    return sorted(p for p in folder.iterdir() if p.is_dir() and not is_hidden(p))


def _folders_with_images(folders: list[Path]) -> list[Path]:
    return [f for f in folders if any(has_image_suffix(p) and p.is_file() for p in f.iterdir())]
