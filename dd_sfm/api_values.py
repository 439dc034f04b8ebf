"""What the calls of the Python interface are given, as the pipeline takes it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config
from dd_sfm.config_checks import check_config
from dd_sfm.errors import InputError
from dd_sfm.ops.coordinates import to_colmap
from dd_sfm.presets import configure

Source = str | Path | Sequence[str | Path]
"""A video file, a DICOM file or a folder of images, or several of one camera."""
OnStage = Callable[[str], None]


def calibration_text(given: str | Path | PinholeCamera | None) -> str | None:
    """A calibration as the command line takes it."""
    if isinstance(given, PinholeCamera):
        values = (*given.focal, *to_colmap(given.principal_point))
        return ",".join(repr(float(value)) for value in values)
    return None if given is None else str(given)


def source_paths_of(source: Source) -> Path | tuple[Path, ...]:
    """The paths of sources; a list of one is that one.

    Raises:
        InputError: If the list is empty.
    """
    if isinstance(source, str | Path):
        return Path(source)
    paths = tuple(map(Path, source))
    if not paths:
        raise InputError("source: an empty list; expected a video file or a folder of images")
    return paths[0] if len(paths) == 1 else paths


def settings_of(config: Config | str | None) -> Config:
    """A configuration, or that of a quality by its name; "standard" where none is given.

    Raises:
        ConfigError: If it cannot be used.
    """
    if config is None or isinstance(config, str):
        return configure(config or "standard")
    check_config(config)
    return config


def say_nothing(line: str) -> None:
    """Ignore the lines that say what is being done."""
