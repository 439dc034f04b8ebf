"""JSON files that ``dd-sfm evaluate`` writes: each says which command made it, and only its own are replaced."""

from pathlib import Path
from typing import Any

from dd_sfm.documents import read_json
from dd_sfm.errors import OutputError


def check_made_by(path: Path, made_by: str, overwrite: bool) -> None:
    """Check that a file does not exist, or was written by the command ``made_by``.

    Raises:
        OutputError: If it was not, and ``overwrite`` is not set.
    """
    if overwrite or not path.exists():
        return
    try:
        is_own = read_json(path).get("made_by") == made_by
    except (OSError, ValueError, AttributeError):
        is_own = False
    if not is_own:
        raise made_by_another(path, made_by)


def made_by_another(path: Path, made_by: str) -> OutputError:
    """The error for a file that exists and was not written by the command ``made_by``."""
    return OutputError(
        f"{path}: exists and is not from {made_by}; expected a new file. Choose another with -o, or replace it with "
        "--overwrite"
    )


def write_rounded_json(path: Path, content: Any) -> None:
    """Write JSON with floats rounded to six significant digits, and make the folder if needed.

    Raises:
        OutputError: If it cannot be written.
    """
    from dd_sfm.io.atomic import make_folder, write_json

    make_folder(path.parent)
    write_json(path, _rounded(content))


def _rounded(value: Any) -> Any:
    """Round all floats but those of the alignment, which is there to be applied."""
    if isinstance(value, dict):
        return {k: v if k == "alignment" else _rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
