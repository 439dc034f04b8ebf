"""Configurations by name: the qualities of a reconstruction, and the YAML files that are shipped."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dd_sfm.config import Config, load_config
from dd_sfm.config_checks import check_config
from dd_sfm.config_values import with_settings
from dd_sfm.errors import ConfigError
from dd_sfm.resources import configs_folder

QUALITIES = ("preview", "standard", "extreme")
"""From sparse and quick to dense and slow; standard is what the defaults give."""


def find_config(name: str) -> Path:
    """Find a YAML file by its path, or a shipped one by its name.

    Raises:
        ConfigError: If there is none.
    """
    if Path(name).is_file():
        return Path(name)
    shipped = configs_folder() / f"{name}.yaml"
    if shipped.is_file():
        return shipped
    names = sorted(p.stem for p in configs_folder().glob("*.yaml"))
    raise ConfigError(f"--config {name}: not found; expected a YAML file or one of: {', '.join(names)}")


def quality_config(quality: str, *, where: str) -> Config:
    """The configuration of a quality; ``where`` names in the error what asked for it.

    Raises:
        ConfigError: If there is no such quality.
    """
    if quality not in QUALITIES:
        raise ConfigError(f"{where}: unknown; expected preview, standard or extreme")
    return Config() if quality == "standard" else load_config(Config, find_config(quality))


def configure(
    quality: str = "standard", settings: Mapping[str, Any] | None = None, *, file: str | Path | None = None
) -> Config:
    """Make a configuration of a quality, a YAML file and settings; what comes later wins.

    Args:
        quality: "preview", "standard" or "extreme": density for time.
        settings: Values by dotted key, as {"frames.end": 100}; the keys are those of ``dd-sfm --set``.
        file: A YAML file, or the name of a shipped one.

    Raises:
        ConfigError: If a key is unknown (with the nearest known one) or a value cannot be used.

    Example:
        >>> configure("preview", {"frames.every": 2, "match.query_spacing_px": 8})
    """
    base = quality_config(quality, where=f"quality {quality!r}")
    config = base if file is None else load_config(Config, find_config(str(file)), base=base)
    config = with_settings(config, settings or {}, where="settings")
    check_config(config)
    return config
