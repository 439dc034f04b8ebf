"""Output folders that are filled completely or not at all, and in which only own files are replaced."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from dd_sfm.documents import read_json
from dd_sfm.errors import OutputError
from dd_sfm.io.atomic import output_error, sync_all, write_json
from dd_sfm.io.links import check_is_no_link
from dd_sfm.io.lock import LOCK, locked

WHOLE = "whole"
"""In a marker whether all its files are there: not while they are moved, and after a break of that."""


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Check that a folder may be written to.

    Raises:
        OutputError: If it is a file, or holds something and ``overwrite`` is not set.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder}: is a file; expected a folder to write to. Choose another with -o")
        if not overwrite and folder.is_dir() and any(not p.name.endswith(".partial") for p in folder.iterdir()):
            raise OutputError(
                f"{folder}: not empty; expected a new or empty folder. Choose another with -o, or replace what an "
                "earlier call wrote there with --overwrite"
            )
    except OSError as error:
        raise output_error(folder, error) from error


@contextmanager
def staged_folder(
    folder: Path, marker: str, record: dict[str, Any], *, overwrite: bool, names: Sequence[str] = ()
) -> Iterator[Path]:
    """Give a temporary folder to write to, whose files are moved into ``folder`` on success.

    What an earlier call wrote there goes; everything else stays. One process at a time does so.

    Args:
        folder: Where the files shall be; made when missing.
        marker: Name of the JSON file in it that lists them: only what it lists is ever replaced.
        record: What the marker holds besides; its ``made_by`` tells an earlier call's marker from another file.
        overwrite: Whether the folder may hold something.
        names: Files that will be written, as far as they are known before; others of these names are told of at once.

    Raises:
        OutputError: If the folder may not be filled, cannot be written, holds a file of the same name, or another
            process is filling it.
    """
    check_folder(folder, overwrite=overwrite)
    # Links in the place of its folders are told of before the work is done, and files of others.
    check_replaceable(folder, marker, record["made_by"], names)
    is_new = not folder.exists()
    staging = folder / f".{marker}.partial"
    check_is_no_link(folder, staging)
    try:
        staging.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
    with locked(staging, of=folder):
        try:
            _empty(staging)
            yield staging
            _publish(staging, folder, marker, record)
        except OSError as error:
            raise output_error(folder, error) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            if is_new and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _empty(staging: Path) -> None:
    """Remove what a call that was killed has left, but for the lock that is held."""
    for path in staging.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != LOCK:
            path.unlink()


def _publish(staging: Path, folder: Path, marker: str, record: dict[str, Any]) -> None:
    found = (p.relative_to(staging).as_posix() for p in staging.rglob("*") if p.is_file() and p != staging / LOCK)
    # What tells of the files in folders comes after these.
    new = sorted(found, key=lambda name: ("/" not in name, name))
    earlier = check_replaceable(folder, marker, record["made_by"], new)
    sync_all(staging, (staging / name for name in new))
    # Listed before they are moved: after a break they are still known as ours.
    write_json(folder / marker, {**record, "files": sorted({*earlier, *new} - {marker}), WHOLE: False})
    for name in sorted({*earlier} - {*new, marker}):
        if (folder / name).is_file():
            (folder / name).unlink()
            _remove_empty((folder / name).parent, folder)
    for name in new:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).replace(folder / name)
    write_json(folder / marker, {**record, "files": sorted(new), WHOLE: True})


def check_replaceable(folder: Path, marker: str, made_by: str, names: Sequence[str]) -> set[str]:
    """Check that no file would be replaced that an earlier call did not write.

    Returns:
        The files that one wrote.

    Raises:
        OutputError: If there is another file of one of the names, or of the marker's, or a link in a folder's place.
    """
    earlier = earlier_files(folder / marker, made_by)
    for inside in sorted({parent for name in (*earlier, *names) for parent in PurePosixPath(name).parents[:-1]}):
        check_is_no_link(folder, folder / inside)
    for name in [marker, *names]:
        if (folder / name).exists() and name not in earlier:
            raise OutputError(
                f"{folder / name}: exists and is not from {made_by}; it is never replaced. "
                "Choose another folder with -o"
            )
    return earlier


def earlier_files(marker: Path, made_by: str) -> set[str]:
    """The files that an earlier call wrote, its marker among them; none when the marker is not its."""
    try:
        content = read_json(marker)
        if content["made_by"] != made_by:
            return set()
        names = [PurePosixPath(name) for name in content["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    inside = [n for n in names if not n.is_absolute() and ".." not in n.parts]
    return {n.as_posix() for n in inside} | {marker.name}


def whole_record(folder: Path, marker: str, made_by: str) -> dict[str, Any] | None:
    """The record of an earlier call, when all the files that it lists are there; None otherwise."""
    try:
        record = dict(read_json(folder / marker))
        files = earlier_files(folder / marker, made_by)
        is_whole = record.get(WHOLE) is True and bool(files) and all((folder / name).is_file() for name in files)
    except (OSError, ValueError, TypeError):
        return None
    return record if is_whole else None


def _remove_empty(folder: Path, top: Path) -> None:
    while folder != top and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
