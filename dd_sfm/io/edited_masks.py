"""Masks of a run that the user has edited: told from those that the run wrote, and never lost.

A run notes the content of each mask that it writes; a mask with another content is the user's. Before frames are made
anew such masks are put aside, and those of frames that come out the same are put back.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dd_sfm.documents import file_name, read_json, regular
from dd_sfm.errors import InputError
from dd_sfm.io.atomic import json_content, write_bytes, write_json
from dd_sfm.io.image_files import read_header

RECORD = "masks.json"
MASKS = "masks"
ASIDE, OVERWRITTEN = "masks_edited", "masks_overwritten"
"""Folders of a run for edited masks whose frames are not used, and after ``--overwrite``; nothing removes them."""
FRAMES_OF_MASKS = "of.json"
"""Beside masks put aside: of which frames they are."""


def mask_hash(path: Path) -> str:
    """The content of a mask's file as a short text."""
    return hashlib.sha256(regular(path).read_bytes()).hexdigest()[:16]


def record_masks(run: Path, hashes: Mapping[str, str], frames: Mapping[str, Any]) -> None:
    """Note the masks that a run has written.

    Args:
        run: The run folder.
        hashes: By file name, from :func:`mask_hash`.
        frames: What tells frames of which a mask stays right: the source, its part and the undistortion.
    """
    write_json(run / RECORD, {"frames": frames, "written": dict(sorted(hashes.items()))})


def edited_masks(run: Path) -> dict[str, str]:
    """The masks that are not as the run wrote them, by file name, and their content ("" for one that was deleted)."""
    written: dict[str, str] = _read_record(run)["written"]
    found = {name: _hash_if_there(run / MASKS / name) for name in written}
    return {name: content for name, content in found.items() if content != written[name]}


def taken_masks(run: Path) -> dict[str, set[str]]:
    """The contents, by file name, of the edited masks that a run was last given, or about to be given."""
    record, found = _read_record(run), dict[str, set[str]]()
    for masks in (record["taken"], record["coming"]):
        for name, content in masks.items():
            found.setdefault(name, set()).add(content)
    return found


def note_taken(run: Path, masks: Mapping[str, str], coming: Mapping[str, str] | None = None) -> None:
    """Note the edited masks that a run was given by another one: they are not its own, and may be replaced.

    Args:
        run: The run folder.
        masks: The content of those that it has, by file name.
        coming: The content of those that it is about to be given.
    """
    record = _read_record(run)
    changed = record | {"taken": dict(sorted(masks.items())), "coming": dict(sorted((coming or {}).items()))}
    if changed != record:
        write_json(run / RECORD, changed)


def _hash_if_there(path: Path) -> str:
    try:
        return mask_hash(path)
    except OSError:
        return ""


def check_edited(run: Path, size: tuple[int, int]) -> int:
    """See that edited masks can be used; returns how many there are.

    Raises:
        InputError: If one was deleted, cannot be decoded, or has not the width and height of the frames.
    """
    edited = edited_masks(run)
    for name, content in edited.items():
        path = run / MASKS / name
        if not content:
            raise InputError(f"{path}: missing; expected the mask of a frame. Put one there, 255 where it is usable")
        header = read_header(path)
        if (header.width, header.height) != size:
            found, expected = f"{header.width}x{header.height}", f"{size[0]}x{size[1]}"
            raise InputError(f"{path}: {found} pixels; expected {expected}, as the frames in {run / 'frames'}")
    return len(edited)


def put_aside(run: Path, *, start_over: bool) -> None:
    """Copy edited masks out of the way of new ones; with ``start_over`` they are not put back."""
    edited = [name for name, content in edited_masks(run).items() if content]
    if not edited:
        return
    frames = _read_record(run)["frames"]
    folder = _new_folder(run, OVERWRITTEN) if start_over else _folder_for(run, frames)
    write_json(folder / FRAMES_OF_MASKS, frames)
    for name in edited:
        write_bytes(folder / name, (run / MASKS / name).read_bytes())


def put_back(run: Path, names: Mapping[str, str], frames: Mapping[str, Any]) -> int:
    """Put edited masks back to the frames that they are of; returns how many stay aside.

    Args:
        run: The run folder, with new masks.
        names: File names of these masks by the name of their frame without ending.
        frames: As for :func:`record_masks`.
    """
    left = 0
    for folder in _asides(run):
        fit = _frames_of(folder) == json_content(frames)
        for path in sorted(folder.glob("*.png")):
            name = names.get(path.name.partition(".")[0]) if fit else None
            if name is None:
                left += 1
                continue
            write_bytes(run / MASKS / name, path.read_bytes())
            path.unlink()
        if not any(folder.glob("*.png")):
            (folder / FRAMES_OF_MASKS).unlink(missing_ok=True)
            # What else the user keeps there stays.
            with suppress(OSError):
                folder.rmdir()
    return left


def _read_record(run: Path) -> dict[str, Any]:
    """What :func:`record_masks` and :func:`note_taken` wrote; without masks for runs of older versions."""
    try:
        content = read_json(run / RECORD)
        names = ("taken", "coming")
        found = {"frames": dict(content["frames"]), "written": _hashes(content["written"])}
        return found | {name: _hashes(content.get(name, {})) for name in names}
    except (OSError, ValueError, KeyError, TypeError):
        return {"frames": {}, "written": {}, "taken": {}, "coming": {}}


def _hashes(values: Mapping[str, Any]) -> dict[str, str]:
    """Content by the name of a mask's file, which lies in its folder and nowhere else."""
    return {file_name(name): str(content) for name, content in dict(values).items()}


def _asides(run: Path) -> Iterator[Path]:
    """The folders of masks put aside."""
    yield from sorted(
        path for path in run.glob(f"{ASIDE}*") if not path.is_symlink() and (path / FRAMES_OF_MASKS).is_file()
    )


def _folder_for(run: Path, frames: Mapping[str, Any]) -> Path:
    same = (folder for folder in _asides(run) if _frames_of(folder) == frames)
    return next(same, None) or _new_folder(run, ASIDE)


def _new_folder(run: Path, name: str) -> Path:
    number = 1
    while os.path.lexists(run / _numbered(name, number)):
        number += 1
    folder = run / _numbered(name, number)
    folder.mkdir(parents=True)
    return folder


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}_{number}"


def _frames_of(folder: Path) -> Any:
    try:
        return read_json(folder / FRAMES_OF_MASKS)
    except (OSError, ValueError):
        return None
