"""Options that commands share, and how they set the configuration."""

import math
import operator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from dd_sfm.config import Config, load_config
from dd_sfm.config_checks import check_config
from dd_sfm.errors import ConfigError
from dd_sfm.presets import find_config as find_config
from dd_sfm.presets import quality_config

RUN, GENERAL = "Run", "General"
OPTION_NAMES = {
    "effects.blur_px960": "--blur",
    "poses.file": "--poses",
    "poses.sigma": "--poses-sigma",
    "poses.offset_s": "--poses-offset",
    "poses.within_s": "--poses-offset",
}
"""Options that are not called like the last part of their key."""

Sources = Annotated[
    list[Path],
    typer.Argument(
        metavar="VIDEO",
        help="Video file, or folder of images; or several of one camera that share tissue.",
        show_default=False,
    ),
]
Out = Annotated[Path, typer.Option("--output", "-o", help="Run folder to write.", show_default=False)]
ConfigFile = Annotated[
    str | None,
    typer.Option("--config", help="YAML file, or a shipped configuration by name.", rich_help_panel=GENERAL),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set one key of the configuration, as SECTION.KEY=VALUE; repeat for more.",
        rich_help_panel=GENERAL,
    ),
]
Device = Annotated[
    str | None, typer.Option("--device", help="auto, cpu or cuda.", rich_help_panel=GENERAL, show_default="auto")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Start over in the folder of an earlier run.", rich_help_panel=GENERAL)
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print errors only.", rich_help_panel=GENERAL)]
JSON_HELP = "Print JSON for other programs, an object a line, in place of words and tables (docs/progress.md)."
Json = Annotated[bool, typer.Option("--json", "--json-lines", help=JSON_HELP, rich_help_panel=GENERAL)]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.", rich_help_panel=GENERAL)]
Seed = Annotated[int | None, typer.Option(help="Seed of every random choice.", rich_help_panel=RUN)]
Deterministic = Annotated[
    bool,
    typer.Option("--deterministic", help="Repeat to the bit: poses on one thread of the CPU.", rich_help_panel=RUN),
]
Weights = Annotated[
    str | None, typer.Option(help="Shipped weights by name, or a .safetensors file.", rich_help_panel=RUN)
]

Scale = Annotated[
    str | None,
    typer.Option(
        "--scale",
        metavar="SCALE",
        help="Lengths in mm: 0.31 (mm a unit), 12.5mm@x,y,z:x,y,z (a known distance), tum:FILE@mm (camera positions), "
        "tool:FRAME:x,y,x,y:5mm, baseline:4.2mm or registration:FILE (docs/export.md).",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class FrameOptions:
    """Which frames of a video are used, and with what camera and mask."""

    calibration: Annotated[
        str | None,
        typer.Option(
            help="'fx,fy,cx,cy[,k1,k2,p1,p2]' at source size (COLMAP's pixels), or a file of OpenCV, ROS, Kalibr, "
            "ORB-SLAM, OCamCalib, nerfstudio, COLMAP or JHU; FILE#NAME of several cameras. Without it the camera "
            "is estimated from the clip.",
            rich_help_panel=RUN,
        ),
    ] = None
    calibration_crop: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,W,H",
            help="The part of the calibrated picture that the frames show, in its pixels.",
            rich_help_panel=RUN,
        ),
    ] = None
    lens: Annotated[
        str | None,
        typer.Option(
            help="Kind of scope, where there is no calibration: rigid-30, colonoscope, ... (docs/calibrate.md).",
            rich_help_panel=RUN,
            show_default="unknown",
        ),
    ] = None
    mask: Annotated[
        Path | None,
        typer.Option(
            help="Image of the frames' size, 255 where usable, or a folder of such images named as the frames. Without "
            "it: found.",
            rich_help_panel=RUN,
        ),
    ] = None
    every: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="Use every N-th frame, or key frames chosen by motion.",
            rich_help_panel=RUN,
            show_default="1; auto from 401 frames on",
        ),
    ] = None
    start: Annotated[
        str | None,
        typer.Option(metavar="N|TIME", help="First source frame, or its time: 1:02:30, 12.5s.", rich_help_panel=RUN),
    ] = None
    end: Annotated[
        str | None,
        typer.Option(metavar="N|TIME", help="One past the last source frame, or a time.", rich_help_panel=RUN),
    ] = None
    crop: Annotated[
        str | None,
        typer.Option(metavar="X,Y,W,H", help="The part of the picture that is used, in pixels.", rich_help_panel=RUN),
    ] = None
    stereo: Annotated[
        str | None,
        typer.Option(help="left, right, top or bottom: the half of a stereo recording to use.", rich_help_panel=RUN),
    ] = None
    max_frames: Annotated[int | None, typer.Option(min=3, help="Thin to at most this many.", rich_help_panel=RUN)] = (
        None
    )

    def settings(self) -> dict[str, Any]:
        """The options that set a key of the configuration, by that key; None where an option was left out."""
        return {
            "camera.lens": self.lens,
            "frames.every": self.every,
            "frames.start": self.start,
            "frames.end": self.end,
            "frames.crop": None if self.crop is None else _crop("--crop", self.crop),
            "camera.calibration_crop": (
                None if self.calibration_crop is None else _crop("--calibration-crop", self.calibration_crop)
            ),
            "frames.stereo": self.stereo,
            "frames.max_frames": self.max_frames,
        }


@dataclass(frozen=True)
class InputOptions(FrameOptions):
    """Which frames of a video are reconstructed, and with what camera, mask, weights and quality."""

    weights: Weights = None
    quality: Annotated[
        str | None,
        typer.Option(
            help="preview, standard or extreme: density for time.", rich_help_panel=RUN, show_default="standard"
        ),
    ] = None

    def settings(self) -> dict[str, Any]:
        """The options that set a key of the configuration, by that key; None where an option was left out."""
        return {**super().settings(), "describe.weights": self.weights}


@dataclass(frozen=True)
class ConfigOptions:
    """Where the settings come from, and the device."""

    config: ConfigFile = None
    overrides: Overrides = None
    device: Device = None


@dataclass(frozen=True)
class MessageOptions:
    """What is printed.

    All three are also read before any parsing: see :func:`dd_sfm.cli.app.main` and
    :func:`dd_sfm.cli.reporter.reporting`.
    """

    quiet: Quiet = False
    debug: Debug = False
    json_lines: Json = False


@dataclass(frozen=True)
class MessageOptionsBesideFile(MessageOptions):
    """The same of a command whose --json FILE is another thing."""

    json_lines: Annotated[bool, typer.Option("--json-lines", help=JSON_HELP, rich_help_panel=GENERAL)] = False


def resolve_config(
    configuration: ConfigOptions, options: dict[str, Any], quality: str | None = None, base: Config | None = None
) -> Config:
    """Merge defaults, the preset of a quality, the YAML file, ``--set`` and options; what comes later wins.

    Args:
        configuration: The YAML file, the texts of ``--set``, and the device.
        options: Values by dotted key; None for an option that was left out.
        quality: preview, standard or extreme.
        base: Settings in place of the defaults and the preset.

    Raises:
        ConfigError: If a key is unknown or a value cannot be used.
    """
    path = find_config(configuration.config) if configuration.config else None
    base = base or quality_config(quality or "standard", where=f"--quality {quality}")
    options = {**options, "runtime.device": configuration.device}
    resolved = load_config(Config, path, configuration.overrides or [], base=base, options=given_options(options))
    check_config(resolved)
    return resolved


def given_options(options: dict[str, Any]) -> dict[str, tuple[str, Any]]:
    """Key and value of the options that were given, by their names: ``--weights`` sets ``describe.weights``."""
    return {
        OPTION_NAMES.get(key, f"--{key.rpartition('.')[2].replace('_', '-')}"): (key, value)
        for key, value in options.items()
        if value is not None
    }


def parse_integers(option: str, text: str) -> tuple[int, ...]:
    """Parse an option's positive integers, separated by commas; sorted, without duplicates."""
    values = sorted({_number(option, part) for part in text.split(",") if part.strip()})
    whole = tuple(int(v) for v in values)
    if not whole or any(v != w for v, w in zip(values, whole, strict=True)) or whole[0] < 1:
        raise ConfigError(f"{option} {text}: expected whole numbers above zero, such as 1,4,12")
    return whole


def parse_lengths(option: str, text: str) -> tuple[float, ...]:
    """Parse an option's positive numbers, separated by commas; sorted, without duplicates."""
    values = tuple(sorted({_number(option, part) for part in text.split(",") if part.strip()}))
    if not values or values[0] <= 0:
        raise ConfigError(f"{option} {text}: expected numbers above zero, such as 1,2,4")
    return values


def parse_numbers(option: str, text: str | None, counts: tuple[int, ...], example: str) -> list[float] | None:
    """Parse an option's numbers, separated by commas, of which there are so many; None for one that was left out."""
    if text is None:
        return None
    values = [_number(option, part) for part in text.split(",")]
    if len(values) not in counts:
        raise ConfigError(f"{option} {text}: expected {' or '.join(map(str, counts))} numbers, such as {example}")
    return values


def _crop(option: str, text: str) -> list[int]:
    values = [_number(option, part) for part in text.split(",")]
    whole = [int(v) for v in values]
    if len(whole) != 4 or min(whole) < 0 or min(whole[2:]) < 1 or any(map(operator.ne, values, whole)):
        raise ConfigError(f"{option} {text}: expected x,y,width,height, such as 320,0,1280,1080")
    return whole


def _number(option: str, part: str) -> float:
    try:
        value = float(part)
    except ValueError:
        raise ConfigError(f"{option}: '{part.strip()}' is not a number; expected numbers separated by commas") from None
    if not math.isfinite(value):
        raise ConfigError(f"{option}: '{part.strip()}' is not finite; expected numbers separated by commas")
    return value
