"""Cameras of COLMAP: cameras.txt, cameras.bin, or the folder of a model."""

import re
from pathlib import Path

from dd_sfm.errors import InputError
from dd_sfm.io.calibration.found import FoundLens, bad, numbers
from dd_sfm.io.colmap_source import read_lenses
from dd_sfm.io.lens import LENS_MODELS, Lens

PLACES = ("", "sparse/0", "sparse", "0")
NAMES = ("cameras.bin", "cameras.txt")


def cameras_in(folder: Path) -> Path | None:
    """The file of the cameras of a model in a folder or below it; None without any."""
    return next((folder / p / n for p in PLACES for n in NAMES if (folder / p / n).is_file()), None)


def read_binary(where: str, path: Path) -> list[FoundLens]:
    """Read a cameras.bin.

    Raises:
        InputError: If it is damaged.
    """
    try:
        cameras = read_lenses(path, path)
    except InputError as error:
        raise InputError(f"--calibration {error}") from error
    found = []
    for number, camera in sorted(cameras.items()):
        if camera.model.name not in LENS_MODELS:
            raise bad(where, f"camera {number} has no model", "a model of COLMAP's")
        lens = Lens(camera.model.name, tuple(map(float, camera.params)), camera.width, camera.height)
        found.append(FoundLens(lens, True, str(number)))
    return found


def is_text(rows: list[list[str]]) -> bool:
    """Whether rows of words are those of a cameras.txt."""
    return bool(rows) and all(len(row) > 3 and re.fullmatch(r"[A-Z][A-Z0-9_]+", row[1]) for row in rows)


def read_text(where: str, rows: list[list[str]]) -> list[FoundLens]:
    """Read the rows of a cameras.txt.

    Raises:
        InputError: If a model is not known, or has another number of parameters.
    """
    found = []
    for name, model, *rest in rows:
        if model not in LENS_MODELS:
            raise bad(where, f"camera model {model} is not known", f"one of {', '.join(LENS_MODELS)}")
        expected, count = len(LENS_MODELS[model]), len(rest) - 2
        if count != expected:
            raise bad(
                where, f"{max(0, count)} parameters of model {model}", f"{expected}: {', '.join(LENS_MODELS[model])}"
            )
        width, height, *params = numbers(where, f"camera {name}", rest)
        found.append(FoundLens(Lens(model, tuple(params), int(width), int(height)), True, name))
    return found
