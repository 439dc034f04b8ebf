"""Checks of the file that a command writes, made before the work."""

from pathlib import Path

from dd_sfm.errors import OutputError, UsageError


def check_output_file(
    path: Path, endings: tuple[str, ...], *, overwrite: bool, option: str = "-o", own: str | None = None
) -> None:
    """Check that a file can be written.

    Args:
        path: The file.
        endings: Allowed suffixes of its name, in lower case; the name may be in any case.
        overwrite: Whether it may exist.
        option: How the user named it.
        own: Name of the file of a run that the command itself makes.

    Raises:
        UsageError: If its name ends otherwise.
        OutputError: If it exists, is a folder or another file of a run, or cannot be written there.
    """
    from dd_sfm.io.atomic import check_writable, output_error

    if path.suffix.lower() not in endings:
        raise UsageError(f"{option} {path}: expected a file name that ends in {' or '.join(endings)}")
    try:
        if path.is_dir():
            raise OutputError(f"{path}: is a folder; expected a file to write. Choose another name with {option}")
        check_outside_runs(path, option=option, own=own)
        if path.exists() and not overwrite:
            raise OutputError(f"{path}: exists; expected a new file. Replace it with --overwrite")
        if not path.parent.is_dir():
            raise OutputError(f"{path}: cannot be written ({path.parent} does not exist); choose another output folder")
    except OSError as error:
        raise output_error(path, error) from error
    check_writable(path)


def check_outside_runs(path: Path, *, option: str = "-o", own: str | None = None) -> None:
    """Check that a file is not one that a run has or will have, except the one called ``own``.

    Raises:
        OutputError: If it is.
    """
    from dd_sfm.io.run_layout import run_with

    run = run_with(path)
    if run is not None and (own is None or path.resolve() != (run / own).resolve()):
        raise OutputError(f"{path}: belongs to the run in {run}; expected another file. Choose one with {option}")
