"""Training sources as text: PATH[:FIRST-LAST][@WEIGHT] on the command line, or a YAML file of such entries."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from dd_sfm.documents import parse_yaml, regular, shown
from dd_sfm.errors import ConfigError

SYNTH = re.compile(r"synth:(?P<organ>[a-z_]+)(?::(?P<seed>\d+)(?:-(?P<last>\d+)|(?P<endless>\+))?)?")

RenderScene = Callable[[int], Path]
"""Renders scene N of a stream and returns its folder."""


@dataclass(frozen=True)
class DataPath:
    """A source: a path, the positions of its first and last frame (None: to the end), and a factor on its share.

    ``part``: its share of an entry that is a folder of sources or several clips; ``stream``: renders the later scenes
    of an endless stream whose first scene is at the path; ``stream_name``: what that stream is called.
    """

    path: Path
    first: int = 0
    last: int | None = None
    weight: float = 1.0
    part: float = 1.0
    stream: RenderScene | None = field(default=None, compare=False)
    stream_name: str = ""

    @classmethod
    def parse(cls, text: str) -> "DataPath":
        """Read ``PATH[:FIRST-LAST][@WEIGHT]``; both ends belong to the range.

        Raises:
            ConfigError: If the range is empty or the weight is not above zero.
        """
        rest, at, number = text.rpartition("@")
        weight = 1.0
        if at and re.fullmatch(r"[0-9.]+(e-?\d+)?", number):
            weight, source = _weight(number, text), rest
        else:
            source = text
        path, colon, span = source.rpartition(":")
        first, dash, last = span.partition("-")
        if colon and dash and first.isdecimal() and last.isdecimal() and not SYNTH.fullmatch(source):
            if int(last) < int(first):
                raise ConfigError(f"{text}: the range ends before it starts; expected FIRST-LAST")
            return cls(Path(path), int(first), int(last), weight)
        return cls(Path(source), weight=weight)

    @property
    def label(self) -> str:
        """Its name in messages: path and range."""
        span = "" if not self.first and self.last is None else f":{self.first}-{'' if self.last is None else self.last}"
        return f"{self.path}{span}"


@dataclass(frozen=True)
class RenderedScene:
    """A clip to render, ``synth:ORGAN[:SEED]``; ``is_stream``: the first of a stream, ``synth:ORGAN:SEED+``."""

    organ: str
    seed: int
    weight: float = 1.0
    part: float = 1.0
    is_stream: bool = False


def rendered_scenes(data: DataPath) -> list[RenderedScene]:
    """The clips of ``synth:ORGAN[:SEED]``, ``synth:ORGAN:SEED-SEED`` or ``synth:ORGAN:SEED+``; none for another path.

    Raises:
        ConfigError: If it begins with synth: and is none of these.
    """
    text = str(data.path)
    if not text.startswith("synth:"):
        return []
    found = SYNTH.fullmatch(text)
    if found is None:
        raise ConfigError(f"{text}: expected synth:ORGAN, synth:ORGAN:SEED, synth:ORGAN:SEED-SEED or synth:ORGAN:SEED+")
    first = int(found["seed"] or 0)
    if found["endless"]:
        return [RenderedScene(found["organ"], first, data.weight, is_stream=True)]
    last = int(found["last"] or first)
    if last < first:
        raise ConfigError(f"{text}: the seeds end before they start; expected synth:ORGAN:SEED-SEED")
    part = 1 / (last - first + 1)
    return [RenderedScene(found["organ"], seed, data.weight, part) for seed in range(first, last + 1)]


def read_data_file(path: Path) -> tuple[list[DataPath], list[DataPath]]:
    """Sources to train and to validate on, from YAML: lists ``train`` and ``validation``.

    An entry is a text as on the command line, or a mapping of ``path``, ``frames: [first, last]`` and ``weight``.
    Paths count from the file's own folder.

    Raises:
        ConfigError: If it cannot be read, or holds anything else.
    """
    try:
        content = parse_yaml(regular(path).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"--data {path}: cannot be read ({' '.join(str(error).split())}); expected YAML") from error
    if not isinstance(content, dict) or not set(content) <= {"train", "validation"}:
        raise ConfigError(f"--data {path}: expected the lists 'train' and 'validation', and nothing else")
    lists = [content.get(name) or [] for name in ("train", "validation")]
    if not all(isinstance(entries, list) for entries in lists):
        raise ConfigError(f"--data {path}: 'train' and 'validation' must be lists")
    train, validation = ([_entry(e, path) for e in entries] for entries in lists)
    return train, validation


def _entry(entry: Any, file: Path) -> DataPath:
    if isinstance(entry, str):
        data = DataPath.parse(entry)
    elif isinstance(entry, dict) and "path" in entry and set(entry) <= {"path", "frames", "weight"}:
        data = DataPath(Path(str(entry["path"])), weight=_weight(entry.get("weight", 1.0), f"--data {file}"))
        if "frames" in entry:
            first, last = _span(entry["frames"], file)
            data = replace(data, first=first, last=last)
    else:
        raise ConfigError(
            f"--data {file}: entry {shown(entry)}; expected PATH[:FIRST-LAST][@WEIGHT] or path, frames, weight"
        )
    is_synth = str(data.path).startswith("synth:")
    return data if is_synth or data.path.is_absolute() else replace(data, path=file.parent / data.path)


def _span(frames: Any, file: Path) -> tuple[int, int]:
    ok = isinstance(frames, list) and len(frames) == 2 and all(type(f) is int for f in frames)
    if not ok or not 0 <= frames[0] <= frames[1]:
        raise ConfigError(f"--data {file}: frames {shown(frames)}; expected [first, last]")
    return frames[0], frames[1]


def _weight(value: Any, where: str) -> float:
    try:
        weight = float(value)
    except (TypeError, ValueError):
        weight = 0.0
    if not 0 < weight < float("inf"):
        raise ConfigError(f"{where}: weight {shown(value)}; expected a number above zero")
    return weight
