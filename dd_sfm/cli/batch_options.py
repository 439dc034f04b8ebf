"""From the entries of a manifest to what is done with each video, its options checked as those of its command are."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import typer

from dd_sfm.batch.manifest import Entry, Manifest
from dd_sfm.batch.names import nearest, shown
from dd_sfm.batch.storage import absolute, inside, is_there, is_url
from dd_sfm.batch.task import Command, Input, VideoTask
from dd_sfm.cli import options as o
from dd_sfm.cli.compare import CompareOptions, compare
from dd_sfm.cli.reconstruct import ReconstructOptions, extract, map_, match, reconstruct
from dd_sfm.config import Config
from dd_sfm.errors import DDSfMError, UsageError

FUNCTIONS = {
    Command.RECONSTRUCT: reconstruct,
    Command.COMPARE: compare,
    Command.EXTRACT: extract,
    Command.MATCH: match,
    Command.MAP: map_,
}
OF_THE_BATCH = ("output", "overwrite", "quiet", "debug", "json", "json-lines", "help")
"""Options that a batch sets for all videos."""
NUMBERS = re.compile(r"[-+0-9.eE,\s]+")
FILES, FILES_OR_NAMES = ("mask", "reference"), ("config", "weights")
FILES_OR_WORDS = {"hand-eye": ("auto", "none", "estimate")}
"""Options of files that take a few words besides."""
WITH_PART = ("calibration", "poses")
"""Options of files whose names may be followed by more: the name of a camera, or a unit."""
FIELD_NAMES = {"overrides": "set"}
"""Options that are not called as the fields that hold them."""


@dataclass(frozen=True)
class Video:
    """What is done with an entry: command, what it reads, its other options as typed, and the quality that it has."""

    entry: Entry
    command: Command
    inputs: tuple[Input, ...]
    arguments: tuple[str, ...]
    quality: str

    def task(self, out: str, **more: Any) -> VideoTask:
        """The task for a worker; ``more``: fields that all tasks of a batch have alike."""
        place = inside(out, self.entry.name)
        return VideoTask(self.entry.name, self.command, self.inputs, self.arguments, place, **more)


class _FaultError(Exception):
    """Why an entry cannot be used; ``option``: which of its options it is about, "" where the message names it."""

    def __init__(self, text: str, option: str = "") -> None:
        super().__init__(text)
        self.option = option


@dataclass
class _Parser:
    """The parser of a command: its options by name, and which of them are flags."""

    command: Any

    @property
    def names(self) -> dict[str, Any]:
        found = {
            name.removeprefix("--"): parameter
            for parameter in self.command.params
            for name in (*parameter.opts, *parameter.secondary_opts)
            if name.startswith("--")
        }
        return {name: parameter for name, parameter in found.items() if name not in OF_THE_BATCH}


@cache
def _parsers() -> dict[Command, _Parser]:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    for command, function in FUNCTIONS.items():
        app.command(name=command.value)(function)
    found = typer.main.get_command(app)
    return {command: _Parser(found.commands[command.value]) for command in FUNCTIONS}  # type: ignore[attr-defined]


def given(options: ReconstructOptions, configuration: o.ConfigOptions) -> dict[str, Any]:
    """The options of the command line that are for each video, by their names."""
    values = {**asdict(options), **asdict(configuration)}
    return {
        FIELD_NAMES.get(name, name.replace("_", "-")): str(value) if isinstance(value, Path) else value
        for name, value in values.items()
        # Flags that are not given are false.
        if value is not None and value is not False
    }


def read_videos(manifest: Manifest, options: Mapping[str, Any]) -> tuple[list[Video], list[str]]:
    """What is done with each entry of a manifest, and what is wrong with some, a line each.

    Args:
        manifest: The entries.
        options: Those of the command line; paths in them are relative to the current folder.
    """
    parsers, videos, faults = _parsers(), [], []
    here = str(Path.cwd())
    for entry in manifest.entries:
        groups = ((manifest.defaults, entry.folder), (options, here), (entry.options, entry.folder))
        values = {name: (value, folder) for group, folder in groups for name, value in group.items()}
        try:
            videos.append(_video(entry, {k: v for k, v in values.items() if v[0] is not None}, parsers))
        except (_FaultError, DDSfMError) as error:
            option = _option_of(error, values)
            # What all videos are given stands in another place than they.
            is_common = option in manifest.defaults and option not in {**options, **entry.options}
            place = manifest.places.get(option, entry.where) if is_common else entry.place(option)
            faults.append(f"{place}: {' '.join(str(error).split())}")
    # A fault of what is common to all videos is one fault.
    return videos, list(dict.fromkeys(faults))


def _option_of(error: Exception, values: Mapping[str, Any]) -> str:
    """Which of the options of an entry an error is about; "" where it does not tell."""
    option = getattr(error, "option", "")
    if option:
        return str(option)
    named = next((name for name in re.findall(r"--([a-z][a-z-]*)", str(error)) if name in values), "")
    # Settings are called by their own names.
    return named or ("set" if "set" in values else "")


def _video(entry: Entry, values: Mapping[str, tuple[Any, str]], parsers: Mapping[Command, _Parser]) -> Video:
    name, _ = values.get("command", (Command.RECONSTRUCT.value, ""))
    if name not in list(Command):
        raise _FaultError(f"command is {shown(name)}; expected {', '.join(Command)}", "command")
    command = Command(name)
    known = parsers[command].names
    inputs, arguments = [], []
    for option, (value, folder) in values.items():
        if option == "command":
            continue
        if option in OF_THE_BATCH:
            raise _FaultError(f"'{option}' is an option of the batch; expected those of one video", option)
        if option not in known:
            hint = nearest(option, (*known, "name", "source", "command"))
            raise _FaultError(f"unknown option '{option}'; {hint}", option)
        if getattr(known[option], "is_flag", False):
            arguments += _flag(option, value, known)
            continue
        texts = _texts(option, value, known[option])
        if (option in WITH_PART or _is_file(option)) and not any(text.strip() for text in texts):
            raise _FaultError(f"'{option}' is empty; expected a file", option)
        found = _input(option, texts[0], folder) if option in WITH_PART or _is_file(option) else None
        inputs += [found] if found else []
        arguments += [] if found else [f"--{option}={text}" for text in texts]
    sources = [Input("", source) for source in entry.sources]
    quality = _check(command, parsers[command].command, inputs, arguments)
    return Video(entry, command, (*inputs, *sources), tuple(arguments), quality)


def _is_file(option: str) -> bool:
    return option in FILES or option in FILES_OR_NAMES or option in FILES_OR_WORDS


def _texts(option: str, value: Any, parameter: Any) -> list[str]:
    """The value of an option as it would be typed, more than once for one that can be repeated.

    Raises:
        _FaultError: If no option has such a value.
    """
    if getattr(parameter, "multiple", False):
        pairs = [f"{key}={_text(option, item)}" for key, item in value.items()] if isinstance(value, dict) else value
        return [_text(option, item) for item in (pairs if isinstance(pairs, list) else [pairs])]
    if isinstance(value, list):
        return [",".join(_text(option, item) for item in value)]
    return [_text(option, value)]


def _text(option: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise _FaultError(f"'{option}' is {shown(value)}; expected a text or a number", option)


def _flag(option: str, value: Any, known: Mapping[str, Any]) -> list[str]:
    """A flag as it is typed, or the one that says the opposite where there is one."""
    if value not in (True, False, "true", "false"):
        raise _FaultError(f"'{option}' is {shown(value)}; expected true or false", option)
    if value in (True, "true"):
        return [f"--{option}"]
    opposite = f"no-{option}" if not option.startswith("no-") else option.removeprefix("no-")
    return [f"--{opposite}"] if opposite in known else []


def _input(option: str, text: str, folder: str) -> Input | None:
    """The file that an option names; None where it holds a name or numbers.

    Raises:
        _FaultError: If there is none.
    """
    place = absolute(text, folder)
    if option == "poses":
        file, at, unit = place.rpartition("@")
        return (
            Input(option, file, at + unit) if at and "/" not in unit and not is_there(place) else Input(option, place)
        )
    if option in FILES_OR_WORDS:
        return None if text in FILES_OR_WORDS[option] else Input(option, place)
    if option in FILES:
        return Input(option, place)
    if option in FILES_OR_NAMES:
        return Input(option, place) if is_url(place) or (is_there(place) and Path(place).is_file()) else None
    if NUMBERS.fullmatch(text):
        return None
    if is_url(place):
        location, sharp, camera = place.partition("#")
        return Input(option, location, sharp + camera)
    if is_there(place):
        return Input(option, place)
    file, sharp, camera = place.rpartition("#")
    if not sharp or not is_there(file):
        raise _FaultError(f"calibration {text}: neither numbers nor a file; expected fx,fy,cx,cy or a file", option)
    return Input(option, file, sharp + camera)


def _check(command: Command, parser: Any, inputs: list[Input], arguments: list[str]) -> str:
    """Let the command's own parser and configuration check options; returns the quality.

    Raises:
        _FaultError, ConfigError: If they refuse one.
    """
    # What a URL holds is not there yet; of its option only the kind is checked.
    files = [f"--{one.option}={'file' if is_url(one.location) else one.location}" for one in inputs]
    try:
        values = parser.make_context(command.value, ["--output=out", *files, *arguments, "--", "video"]).params
    except Exception as error:
        told = getattr(error, "format_message", None)
        if told is None:
            raise
        raise _FaultError(told()) from error
    kind = CompareOptions if command is Command.COMPARE else ReconstructOptions
    options: Any = kind(**{field.name: values[field.name] for field in fields(kind)})
    remote = any(one.option == "config" and is_url(one.location) for one in inputs)
    configuration = o.ConfigOptions(None if remote else values["config"], values["overrides"], values["device"])
    settings = {**options.settings(), "runtime.seed": options.seed}
    if isinstance(options, ReconstructOptions):
        settings |= options.own_settings()
    config = o.resolve_config(configuration, settings, options.quality)
    _check_comparison(options, config)
    return options.quality or "standard"


def _check_comparison(options: Any, config: Config) -> None:
    if isinstance(options, CompareOptions) and options.sift not in ("tuned", "strong"):
        raise UsageError(f"--sift {options.sift}: unknown; expected tuned or strong")
    if isinstance(options, CompareOptions) and config.features != "learned":
        raise UsageError("features is set; expected none: compare runs both")
