"""Checksums of what the finished stages of a run have written: damage is found before a later call builds on it.

``checksums.json`` holds size and CRC-32 of every file that a later stage or a user reads, but for the masks, which
users edit and :mod:`dd_sfm.io.edited_masks` tells, and for maps of descriptors, which come and go while a run matches
and hold checksums themselves.
"""

import re
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from dd_sfm.documents import read_json
from dd_sfm.io.arrays import check_archive
from dd_sfm.io.atomic import output_error, sync_all, write_json
from dd_sfm.io.links import check_no_links
from dd_sfm.io.run_folder import CHECKSUMS
from dd_sfm.io.run_layout import own_files
from dd_sfm.io.shortage import raise_if_short

CHECKED = {
    "frames": r"frames\.json|field_of_view\.png|frames/.*",
    "describe": r"descriptors/(grid\.json|basis\.npy|\d{8}\.pooled\.npy)|describe/.*",
    "match": r"tracks\.npz|sift\.db|match/.*",
    "map": r"map\.json|(frame|known)_poses\.json|map/.*|instruments/.*|poses/.*",
    "densify": r"points\.ply|densify\.json|trajectory\.csv|sparse/.*",
}
"""By stage the files that are checked."""
MAPS = r"descriptors/\d{8}\.npz"
"""Files with checksums of their own."""
CACHE = "descriptors"
"""Folder of files that may be deleted once they are matched."""
NEEDED = r"(describe|match|map)/.*|sift\.db|points\.ply|trajectory\.csv|sparse/.*"
"""Of the files that are checked those without which the next stage cannot do its work, beside its key file, and those
that a run is made for."""
UNSUMMED = r"sift\.db"
"""Noted without a checksum: COLMAP, which reads it, marks it as opened, and SQLite tells when it is damaged."""
ASIDE = "damaged"
"""Folder of a run for damaged files, which may be a user's changes; nothing removes it."""
CHUNK = 1 << 20
THREADS = 4


def seal(run: Path, stage: str) -> None:
    """Wait until all that a stage has written is on the disk, and note its checksums.

    Raises:
        OutputError: If something cannot be written.
    """
    files = [path for path in own_files(run, stage) if path.is_file()]
    sync_all(run, files)
    checked = [path for path in files if _is_summed(run, stage, path)]
    with ThreadPoolExecutor(THREADS) as pool:
        sums = pool.map(_noted_sum, checked)
        found = {path.relative_to(run).as_posix(): text for path, text in zip(checked, sums, strict=True)}
    write_json(run / CHECKSUMS, {**_read(run), stage: found})


def damaged(run: Path, stage: str, *, is_done: bool = True, has_caches: bool = True) -> list[Path]:
    """The files of a stage that are not as it has written them; files that were deleted are none of them.

    Args:
        run: The run folder.
        stage: The stage.
        is_done: Whether it is finished; of one that is not only files with checksums of their own can be told.
        has_caches: Whether caches are looked at, too, which of a long video are gigabytes.
    """
    noted = _read(run).get(stage, {}) if is_done else {}
    files = [path for path in own_files(run, stage) if path.is_file() and (has_caches or not is_cache(run, path))]
    checked = [path for path in files if noted.get(path.relative_to(run).as_posix()) or _is_map(run, path)]

    def is_whole(path: Path) -> bool:
        try:
            if _is_map(run, path):
                check_archive(path)
                return True
            return _sum(path) == noted[path.relative_to(run).as_posix()]
        except (OSError, BadZipFile) as error:
            raise_if_short(str(path), error)
            return False

    with ThreadPoolExecutor(THREADS) as pool:
        return [path for path, good in zip(checked, pool.map(is_whole, checked), strict=True) if not good]


def model_sums(run: Path) -> dict[str, str]:
    """Size and CRC-32 of the files of a run's first model and its cloud: what is made of them is of no other model.

    Raises:
        OSError: If one cannot be read.
    """
    files = [run / "points.ply", *sorted((run / "sparse" / "0").glob("*.bin"))]
    return {path.relative_to(run).as_posix(): _sum(path) for path in files if path.is_file()}


def lost(run: Path, stage: str) -> list[Path]:
    """The files of a finished stage that the next one, or the user, cannot do without, and that are no longer there."""
    needed = [name for name in _read(run).get(stage, {}) if re.fullmatch(NEEDED, name)]
    return [run / name for name in needed if not (run / name).is_file()]


def is_cache(run: Path, path: Path) -> bool:
    """Whether a file of a run is only kept to save time."""
    return path.relative_to(run).parts[0] == CACHE


def put_aside(run: Path, files: list[Path]) -> None:
    """Move files of a run out of the way, but for caches, which are removed.

    Raises:
        OutputError: If they cannot be moved, or only to where a link leads.
    """
    check_no_links(run, [ASIDE])
    for path in files:
        inside = path.relative_to(run)
        try:
            if is_cache(run, path):
                path.unlink()
                continue
            target = _free(run / ASIDE / inside)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
        except OSError as error:
            raise output_error(path, error) from error


def _free(path: Path) -> Path:
    """The path, or one beside it where there is something already."""
    number, free = 2, path
    while free.exists():
        free = path.with_name(f"{path.name}.{number}")
        number += 1
    return free


def _is_summed(run: Path, stage: str, path: Path) -> bool:
    inside = path.relative_to(run).as_posix()
    return not inside.endswith(".partial") and re.fullmatch(CHECKED[stage], inside) is not None


def _is_map(run: Path, path: Path) -> bool:
    return re.fullmatch(MAPS, path.relative_to(run).as_posix()) is not None


def _noted_sum(path: Path) -> str:
    """Size and CRC-32 of a file that has just been written, "" for one that readers write to.

    Raises:
        OutputError: If it cannot be read: it was removed meanwhile.
    """
    if re.fullmatch(UNSUMMED, path.name):
        return ""
    try:
        return _sum(path)
    except OSError as error:
        raise output_error(path, error) from error


def _sum(path: Path) -> str:
    """Size and CRC-32 of a file."""
    size, crc = 0, 0
    with path.open("rb") as file:
        while part := file.read(CHUNK):
            size, crc = size + len(part), zlib.crc32(part, crc)
    return f"{size} {crc:08x}"


def _read(run: Path) -> dict[str, dict[str, Any]]:
    """What :func:`seal` wrote; nothing for runs of older versions, and where it is damaged itself."""
    try:
        return {str(stage): dict(sums) for stage, sums in dict(read_json(run / CHECKSUMS)).items()}
    except (OSError, ValueError, TypeError) as error:
        raise_if_short(str(run / CHECKSUMS), error)
        return {}
