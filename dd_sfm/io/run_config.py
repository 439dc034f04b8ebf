"""The configuration that a run was made with, in its ``config.yaml``."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from dd_sfm.config import Config, build_config
from dd_sfm.config_values import with_new_names
from dd_sfm.documents import parse_yaml, regular
from dd_sfm.io.atomic import write_text
from dd_sfm.io.run_folder import CONFIG, readable


def read_config(run: Path) -> Config:
    """The configuration that a run was made with.

    Settings that this version does not know, in a run of another one, are left out; those that the run does not
    state have their default.

    Raises:
        InputError: If ``config.yaml`` is missing or damaged.
        ConfigError: If a setting has a value that this version does not know.
    """
    path = run / CONFIG
    with readable(path):
        values = _known(Config, with_new_names(Config, dict(parse_yaml(regular(path).read_text())), where=str(path)))
    return build_config(Config, values, where=str(path))


def _known(cls: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values whose keys are fields of a dataclass, and likewise in its sections."""
    kinds = get_type_hints(cls)
    return {
        key: _known(kinds[key], value) if dataclasses.is_dataclass(kinds[key]) and isinstance(value, Mapping) else value
        for key, value in values.items()
        if key in kinds
    }


def write_config(run: Path, config: Mapping[str, Any]) -> None:
    """Write ``config.yaml``: the configuration as used."""
    write_text(run / CONFIG, yaml.safe_dump(dict(config), sort_keys=False))
