"""Where models are while mappers are tried, and once one of them is chosen."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from dd_sfm.io.colmap_own import write_part
from dd_sfm.io.run_layout import own_files
from dd_sfm.sfm.mappers import MAPPERS


def candidate_folder(out: Path, mapper: str) -> Path:
    """Where a mapper's reconstructions are until one result is chosen."""
    return out / "poses" / f".{mapper}"


def keep_models(out: Path, mapper: str, ordered: Sequence[int]) -> None:
    """Move a mapper's models to poses/0, 1, ..., in this order of its folders, and drop those of other mappers."""
    poses = out / "poses"
    remove_models(out)
    source = candidate_folder(out, mapper)
    written = sorted(int(folder.name) for folder in source.iterdir() if folder.is_dir() and folder.name.isdecimal())
    # Reconstructions of fewer than three frames are none of ours; they come last.
    for number, folder in enumerate([*ordered, *(k for k in written if k not in ordered)]):
        (poses / str(number)).mkdir(exist_ok=True)
        for file in (source / str(folder)).iterdir():
            file.replace(poses / str(number) / file.name)
    for tried in MAPPERS:
        shutil.rmtree(candidate_folder(out, tried), ignore_errors=True)


def keep_parts(out: Path, mapper: str, parts: Sequence[tuple[int, set[str]]]) -> None:
    """Write parts of a mapper's models to poses/0, 1, ..., and drop its models and those of other mappers.

    Args:
        out: The run folder.
        mapper: The mapper.
        parts: For each part which of its models it is of, and the names of its images.
    """
    remove_models(out)
    for number, (folder, images) in enumerate(parts):
        write_part(candidate_folder(out, mapper) / str(folder), out / "poses" / str(number), images)
    for tried in MAPPERS:
        shutil.rmtree(candidate_folder(out, tried), ignore_errors=True)


def remove_models(out: Path) -> None:
    """Remove the models under poses/0, 1, ..., and nothing else that is there."""
    for old in own_files(out, "map"):
        if old.parent.parent == out / "poses":
            old.unlink()
