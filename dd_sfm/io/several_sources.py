"""Several sources of one camera, videos, DICOM and folders in any mix, as one source."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dd_sfm.errors import InputError
from dd_sfm.io.source import SourceInfo
from dd_sfm.notes import Note

LABEL = r"[A-Za-z0-9_-]+"
"""What labels are made of: safe in file names of any system, and no dot, after which an ending would begin."""
LONGEST = 60
"""Characters of a label."""


def source_paths(source: Path | Sequence[Path]) -> tuple[Path, ...]:
    """One source or several as their paths."""
    return (source,) if isinstance(source, Path) else tuple(source)


def source_labels(paths: Sequence[Path]) -> tuple[str, ...]:
    """Names of sources that are different and fit for files, made of those of their files or folders.

    Also on systems that do not tell capital letters from small ones; what has the name of an earlier source gets a
    number.
    """
    labels: list[str] = []
    for path in paths:
        whole = path.resolve()
        name = whole.name if whole.is_dir() else whole.stem
        base = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")[:LONGEST] or "source"
        label, count = base, 1
        while label.lower() in {known.lower() for known in labels}:
            count += 1
            label = f"{base}_{count}"
        labels.append(label)
    return tuple(labels)


def join_sources(infos: Sequence[SourceInfo]) -> SourceInfo:
    """Take sources as one, whose frames follow each other; a single one stays as it is.

    Raises:
        InputError: If one is given twice or is a single picture, or their pictures are not of one size.
    """
    if len(infos) == 1:
        return infos[0]
    first = infos[0]
    seen: set[Path] = set()
    for info in infos:
        if info.path.resolve() in seen:
            raise InputError(f"{info.path}: given twice; expected different sources. Name it once")
        seen.add(info.path.resolve())
        if info.frame_count == 1 and not info.path.is_dir():
            raise InputError(f"{info.path}: a single picture; expected videos and folders of images. Name its folder")
        if info.picture_size != first.picture_size:
            (width, height), (first_width, first_height) = info.picture_size, first.picture_size
            raise InputError(
                f"{info.path}: {width}x{height} pixels; expected {first_width}x{first_height}, as {first.path}. "
                "Sources that are reconstructed together must come from one camera at one size"
            )
    joined = replace(first, video=None, dicom=None, names=(), turns={}, parts=tuple(infos))
    starts = [span.start for span in joined.spans]
    unusable = {start + k: v for start, info in zip(starts, infos, strict=True) for k, v in info.unusable.items()}
    return replace(
        joined,
        frame_count=sum(info.frame_count for info in infos),
        labels=source_labels([info.path for info in infos]),
        unusable=unusable,
        notes=tuple(Note(note.code, f"{info.title}: {note.text}") for info in infos for note in info.notes),
    )
