"""Options that commands share, and what they do to the configuration."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from dd_sfm.config import Config, load_config
from dd_sfm.config_checks import check_config
from dd_sfm.errors import ConfigError
from dd_sfm.resources import configs_folder

RUN, GENERAL = "Run", "General"
SPELLING = {"effects.blur_px960": "--blur"}
"""Options that are not called like the last part of their key."""

Source = Annotated[Path, typer.Argument(help="Video file, or folder of images.", show_default=False)]
Out = Annotated[Path, typer.Option("--output", "-o", help="Run folder to write.", show_default=False)]
ConfigFile = Annotated[
    str | None,
    typer.Option("--config", help="YAML file, or a shipped configuration by name.", rich_help_panel=GENERAL),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a key, as match.max_queries=2000.", rich_help_panel=GENERAL),
]
Device = Annotated[
    str | None, typer.Option("--device", help="auto, cpu or cuda.", rich_help_panel=GENERAL, show_default="auto")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Start over in the folder of an earlier run.", rich_help_panel=GENERAL)
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors only.", rich_help_panel=GENERAL)]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.", rich_help_panel=GENERAL)]
Calibration = Annotated[
    str | None,
    typer.Option(
        help="'fx,fy,cx,cy' at source size (COLMAP's pixels), an OpenCV or ROS YAML, a COLMAP cameras.txt, or a JHU "
        "intrinsics file. Without it the focal length is guessed.",
        rich_help_panel=RUN,
    ),
]
Mask = Annotated[
    Path | None,
    typer.Option(help="Image of the frames' size, 255 where usable. Without it: found.", rich_help_panel=RUN),
]
Every = Annotated[int | None, typer.Option(min=1, help="Use every N-th frame.", rich_help_panel=RUN)]
Start = Annotated[int | None, typer.Option(min=0, help="First source frame.", rich_help_panel=RUN)]
End = Annotated[int | None, typer.Option(min=1, help="One past the last source frame.", rich_help_panel=RUN)]
MaxFrames = Annotated[int | None, typer.Option(min=3, help="Thin to at most this many.", rich_help_panel=RUN)]
Weights = Annotated[
    str | None, typer.Option(help="Shipped weights by name, or a .safetensors file.", rich_help_panel=RUN)
]
Features = Annotated[str | None, typer.Option(help="learned or sift.", rich_help_panel=RUN)]
Quality = Annotated[
    str | None,
    typer.Option(help="preview, standard or extreme: density for time.", rich_help_panel=RUN, show_default="standard"),
]
Seed = Annotated[int | None, typer.Option(help="Seed of every random choice.", rich_help_panel=RUN)]


def resolve_config(
    config: str | None, overrides: list[str] | None, flags: dict[str, Any], quality: str | None = None
) -> Config:
    """Defaults, then the quality's, then the YAML file, then ``--set``, then flags that were given.

    Args:
        config: Path of a YAML file or name of a shipped configuration.
        overrides: Texts of ``--set``.
        flags: Values by dotted key; None for a flag that was left out.
        quality: preview, standard or extreme.

    Raises:
        ConfigError: For anything that does not fit.
    """
    path = find_config(config) if config else None
    if quality not in (None, "preview", "standard", "extreme"):
        raise ConfigError(f"--quality {quality}: unknown; expected preview, standard or extreme")
    base = load_config(Config, find_config(quality)) if quality in ("preview", "extreme") else None
    resolved = load_config(Config, path, overrides or [], base=base, options=given(flags))
    check_config(resolved)
    return resolved


def given(flags: dict[str, Any]) -> dict[str, tuple[str, Any]]:
    """Those of the options that were given, by their names: ``describe.weights`` is set by ``--weights``."""
    return {
        SPELLING.get(key, f"--{key.rpartition('.')[2].replace('_', '-')}"): (key, value)
        for key, value in flags.items()
        if value is not None
    }


def numbers(option: str, text: str) -> tuple[int, ...]:
    """Whole numbers of an option, parted by commas: ascending, each once."""
    values = sorted({_number(option, part) for part in text.split(",") if part.strip()})
    whole = tuple(int(v) for v in values)
    if not whole or any(v != w for v, w in zip(values, whole, strict=True)) or whole[0] < 1:
        raise ConfigError(f"{option} {text}: expected whole numbers above zero, as 1,4,12")
    return whole


def lengths(option: str, text: str) -> tuple[float, ...]:
    """Numbers above zero of an option, parted by commas: ascending, each once."""
    values = tuple(sorted({_number(option, part) for part in text.split(",") if part.strip()}))
    if not values or values[0] <= 0:
        raise ConfigError(f"{option} {text}: expected numbers above zero, as 1,2,4")
    return values


def _number(option: str, part: str) -> float:
    try:
        value = float(part)
    except ValueError:
        raise ConfigError(f"{option}: '{part.strip()}' is no number; expected numbers parted by commas") from None
    if not math.isfinite(value):
        raise ConfigError(f"{option}: '{part.strip()}' is not finite; expected numbers parted by commas")
    return value


def find_config(name: str) -> Path:
    """A YAML file by path, or a shipped one by name."""
    if Path(name).is_file():
        return Path(name)
    shipped = configs_folder() / f"{name}.yaml"
    if shipped.is_file():
        return shipped
    names = sorted(p.stem for p in configs_folder().glob("*.yaml"))
    raise ConfigError(f"--config {name}: not found; expected a YAML file or one of: {', '.join(names)}")
