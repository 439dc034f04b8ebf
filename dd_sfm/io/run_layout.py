"""Which files of a run folder are ours, by the stage that makes them: only these are ever removed."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, get_args

from dd_sfm.config import Mapper
from dd_sfm.documents import read_json
from dd_sfm.errors import OutputError
from dd_sfm.io import run_folder
from dd_sfm.io.clouds import is_own_mesh
from dd_sfm.io.links import check_no_links
from dd_sfm.io.lock import LOCK, locked
from dd_sfm.io.several_sources import LABEL
from dd_sfm.io.staging import earlier_files

NUMBER = r"\d{8}"
MODEL = r"\d+/(cameras|images|points3D|rigs|frames)\.bin"
JOURNAL = r"(-shm|-wal|-journal)?"
"""What SQLite leaves beside a database of a killed process; found beside a new one, it would spoil that."""
MADE_BY = {
    "frames": {
        "": r"frames\.json|masks\.json|field_of_view\.png",
        "frames": rf"({LABEL}_)?{NUMBER}\.(png|jpg)",
        "masks": rf"({LABEL}_)?{NUMBER}\.(png|jpg)\.png",
        # What a broken-off estimate of the camera left behind.
        "camera.partial": r".*",
    },
    "describe": {"descriptors": rf"grid\.json|basis\.npy|{NUMBER}(\.npz|(\.pooled)?\.npy)?", "describe": r".*"},
    "match": {
        "match": r".*",
        "": rf"tracks\.npz|sift\.partial\.txt|sift(\.partial)?\.db{JOURNAL}",
        "matches": rf"{NUMBER}(\.npz)?",
    },
    "map": {
        "map": r".*",
        "instruments": rf"({LABEL}_)?{NUMBER}\.(png|jpg)\.png",
        "": rf"map\.json|frame_poses\.json|known_poses\.json|database\.db(\.partial)?{JOURNAL}",
        "poses": rf"{MODEL}|\.({'|'.join(get_args(Mapper))})/.*",
    },
    "densify": {
        "": r"points\.ply|densify\.json|metrics\.json|trajectory\.csv|coverage\.(ply|json)|report\.html",
        "sparse": MODEL,
    },
}
"""By folder ("" for the run folder itself) a pattern of the files in it; each may end in ``.partial`` after a break.

The folders called like a stage are free for what a feature method keeps of that stage.
"""
OWN_FILES = (run_folder.STAGES, run_folder.CHECKSUMS, run_folder.CONFIG, "run.log")
DEPTH = "depth"
"""Where ``dd-sfm reconstruct --depth`` writes."""
EVALUATION = ("cloud.png", "trajectory.png", "errors.png", "trajectory.tum", "reference.tum")


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run, finished or not."""
    return (folder / run_folder.STAGES).is_file()


def locked_if_run(folder: Path) -> AbstractContextManager[None]:
    """The lock of a folder that holds a run; nothing for any other, where no run can come in between."""
    return locked(folder) if is_run(folder) else nullcontext()


def own_files(out: Path, stage: str) -> list[Path]:
    """The files of a stage that are there."""
    found = []
    for folder, pattern in MADE_BY[stage].items():
        place = out / folder
        if place.is_symlink() and folder:
            # Made by the user; what it leads to is elsewhere and stays.
            found.append(place)
            continue
        for path in place.glob("**/*" if folder else "*"):
            inside = path.relative_to(place).as_posix()
            # A link in the place of a model's folder goes: what it leads to is not ours.
            is_link = path.is_symlink() and _fits(pattern, f"{inside}/images.bin")
            if is_link or (_fits(pattern, inside) and not _is_folder(path)):
                found.append(path)
    return sorted(found)


def remove_own(out: Path, stage: str) -> None:
    """Remove what a stage made, and with the last one what other commands made of its model."""
    for path in [*own_files(out, stage), *(_products(out) if stage == "densify" else ())]:
        path.unlink(missing_ok=True)
    for folder in [*filter(None, MADE_BY[stage]), *(["evaluation", DEPTH] if stage == "densify" else [])]:
        _remove_empty(out / folder)


def check_stage_folders(out: Path, stage: str, *, made_anew: bool) -> None:
    """Check that no folder that a stage writes to is a link, and none in it.

    Args:
        out: The run folder.
        stage: The stage.
        made_anew: Whether what the stage made is removed first, links in the place of its folders too.

    Raises:
        OutputError: If one is.
    """
    check_no_links(out, filter(None, MADE_BY[stage]), but=own_files(out, stage) if made_anew else ())


def is_own(out: Path, path: Path) -> bool:
    """Whether a path is, or is a folder of, what a run writes to ``out``."""
    try:
        inside = path.resolve().relative_to(out.resolve()).as_posix()
    except ValueError:
        return False
    return _is_name_of_stage(inside)


def _is_name_of_stage(inside: str) -> bool:
    top, _, rest = inside.partition("/")
    folder, name = (top, rest) if any(top in stage for stage in MADE_BY.values()) else ("", inside)
    return any(folder in made and (not name or _fits(made[folder], name)) for made in MADE_BY.values())


def _fits(pattern: str, name: str) -> bool:
    return re.fullmatch(rf"({pattern})(\.partial)?", name) is not None


def is_empty(out: Path) -> bool:
    """Whether a folder holds nothing but the lock, or the unfinished record, of a command that got no further."""
    return all(path.name in (LOCK, "stages.json.partial") for path in out.iterdir())


def _products(out: Path) -> Iterator[Path]:
    """What ``dd-sfm mesh``, ``evaluate model`` and ``reconstruct --depth`` wrote into the run, by their own marks."""
    yield from _depth_maps(out / DEPTH)
    if is_own_mesh(out / "mesh.ply"):
        yield out / "mesh.ply"
    if str(read_evaluation(out).get("made_by", "")).startswith("dd-sfm"):
        # The record last: after a break the pictures are still known as ours.
        if not (out / "evaluation").is_symlink():
            yield from (out / "evaluation" / name for name in EVALUATION)
        yield out / run_folder.EVALUATION


def _depth_maps(folder: Path) -> Iterator[Path]:
    """The depth maps of the run, and last the record that lists them; nothing that leads out of the folder."""
    marker = folder / "convert.json"
    if folder.is_symlink() or not marker.is_file():
        return
    try:
        record = read_json(marker)
        is_depth = record["made_by"] == "dd-sfm convert" and record["target"] == "depth"
    except (OSError, ValueError, LookupError, TypeError):
        return
    if is_depth:
        for name in sorted(earlier_files(marker, "dd-sfm convert") - {marker.name}):
            path = folder / name
            if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
                yield path
        yield marker


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove_empty(folder: Path) -> None:
    """Remove a folder and those in it that hold no file."""
    if not _is_folder(folder):
        return
    for path in list(folder.iterdir()):
        _remove_empty(path)
    if not any(folder.iterdir()):
        folder.rmdir()


def run_with(path: Path) -> Path | None:
    """The run that has a file of this path as its own, written by its stages or made of its model; None without any."""
    # The path itself and where it leads to: a folder of a run may be a link.
    for place in (path.absolute(), path.resolve()):
        for run in place.parents:
            if is_run(run) and _is_name_of_run(place.relative_to(run).as_posix()):
                return run
    return None


def _is_name_of_run(inside: str) -> bool:
    products = ("mesh.ply", run_folder.EVALUATION, *(f"evaluation/{name}" for name in EVALUATION))
    return inside in (*OWN_FILES, *products) or inside.startswith(f"{DEPTH}/") or _is_name_of_stage(inside)


def is_reserved(inside: Path) -> bool:
    """Whether a path, relative to a run's folder, is one that commands write to, or lies in a folder of theirs."""
    top = inside.parts[0]
    names = (*OWN_FILES, "mesh.ply", DEPTH, "evaluation", run_folder.EVALUATION)
    return top in names or any(top in stage or _fits(stage.get("", "(?!)"), top) for stage in MADE_BY.values())


def check_not_in_run(out: Path) -> None:
    """See that a folder to fill is no run, and none that a run writes to: others in it may be filled.

    Raises:
        OutputError: If it is, whether it is there yet or not.
    """
    place = out.resolve()
    for run in (place, *place.parents):
        if is_run(run) and (place == run or is_reserved(place.relative_to(run))):
            raise OutputError(f"{out}: belongs to the run in {run}; expected another folder. Choose one with -o")


def read_evaluation(folder: Path) -> dict[str, Any]:
    """Read the ``evaluation.json`` that ``dd-sfm evaluate model`` left; empty when there is none that can be read."""
    try:
        return dict(read_json(folder / run_folder.EVALUATION))
    except (OSError, ValueError, TypeError):
        return {}
