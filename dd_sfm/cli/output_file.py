"""The file that a command writes, looked at before the work."""

from pathlib import Path

from dd_sfm.errors import OutputError, UsageError


def check_file(path: Path, endings: tuple[str, ...], *, overwrite: bool, option: str = "-o") -> None:
    """See that a file can be written.

    Args:
        path: The file.
        endings: One of them its name must end in, whatever the case.
        overwrite: Whether it may exist.
        option: How the user named it.

    Raises:
        UsageError: If its name ends otherwise.
        OutputError: If it exists, is a folder, or its folder does not.
    """
    if path.suffix.lower() not in endings:
        raise UsageError(f"{option} {path}: expected a file name that ends in {' or '.join(endings)}")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; expected a file to write. Choose another name with {option}")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists; expected a new file. Replace it with --overwrite")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: cannot be written ({path.parent} is not there); choose another output folder")
