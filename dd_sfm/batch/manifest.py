"""Which videos a batch is of: a YAML file, a table, or a folder of videos."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from dd_sfm.batch.names import RECORD, folded, labels, name_fault, nearest, shown
from dd_sfm.batch.storage import absolute, filesystem, inside, is_there, is_url, read_text, unreachable, without_secrets
from dd_sfm.config_values import PlainLoader
from dd_sfm.documents import parse_yaml
from dd_sfm.errors import DDSfMError, InputError, UsageError
from dd_sfm.io.dicom_header import is_dicom
from dd_sfm.io.images import has_image_suffix, is_hidden, natural_key
from dd_sfm.io.source_hints import VIDEO_SUFFIXES, holds_images

TABLES, TREES = (".csv", ".tsv"), (".yaml", ".yml", ".json")
NAMED = 4
"""Files that are no videos are named up to this many."""
GROUP = "options"
"""The key of an entry whose keys stand for keys of the entry itself."""


class ManifestError(UsageError):
    """A manifest cannot be used; ``lines`` says why, one fault each."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = tuple(lines)


@dataclass(frozen=True)
class Entry:
    """A video as a manifest has it.

    ``where``: its place in the manifest, for messages; ``sources``: paths from the root, or URLs; ``options``: those of
    the command, with dashes in their names, as the manifest has their values; ``folder``: what paths in them are
    relative to; ``places``: those of its keys, where they are not that of the video.
    """

    where: str
    name: str
    sources: tuple[str, ...]
    options: Mapping[str, Any]
    folder: str
    places: Mapping[str, str] = field(default_factory=dict)

    def place(self, key: str) -> str:
        """The place of one of its keys, or of the entry where that has none of its own."""
        return self.places.get(key, self.where)


@dataclass(frozen=True)
class Manifest:
    """The videos, options that all have that do not have their own, and what the user should know.

    ``places``: those of the keys of ``defaults``, for messages.
    """

    entries: tuple[Entry, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_manifest(location: str, out: str = "") -> Manifest:
    """Read a manifest: YAML or JSON with ``videos`` and ``defaults``, a table with a row for each, or a folder.

    Faults of single entries are collected, so that all can be told at once.

    Args:
        location: Path or URL.
        out: Where the batch writes to, which is no video where it lies in the folder.

    Raises:
        ManifestError: If the file as a whole cannot be used.
        InputError: If it cannot be read.
    """
    place = absolute(location, str(Path.cwd()))
    ending = PurePosixPath(place).suffix.lower()
    if ending in TABLES or ending in TREES:
        parent = place.rpartition("/")[0] or "/"
        found = (_table if ending in TABLES else _tree)(read_text(place), without_secrets(location), parent)
    elif _is_folder(place):
        found = _folder(place, without_secrets(location), out)
    else:
        is_file = not is_url(place) and is_there(place)
        found_there = "neither a folder nor named as a manifest" if is_file else "not found"
        raise ManifestError(
            [f"{without_secrets(location)}: {found_there}; expected a .yaml or .csv file, or a folder of videos"]
        )
    return _with_distinct_names(found)


def _is_folder(place: str) -> bool:
    if not is_url(place):
        return is_there(place) and Path(place).is_dir()
    files, path = filesystem(place)
    try:
        return bool(files.isdir(path))
    except Exception as error:
        raise unreachable(place, error) from error


def _with_distinct_names(found: Manifest) -> Manifest:
    """The manifest with a fault for every name that an earlier entry has, or that is no name for a folder."""
    seen: dict[str, str] = {}
    faults = list(found.faults)
    for entry in found.entries:
        fault = name_fault(entry.name)
        if fault:
            faults.append(f"{entry.place('name')}: name {shown(entry.name)} {fault}; expected a plain name of a folder")
        elif folded(entry.name) in seen:
            first = seen[folded(entry.name)]
            faults.append(f"{entry.place('name')}: name '{entry.name}' is that of {first}; expected another")
        seen.setdefault(folded(entry.name), entry.where)
    return replace(found, faults=tuple(faults))


def _tree(text: str, where: str, folder: str) -> Manifest:
    """Read YAML."""
    try:
        loader = PlainLoader(text)
        node = loader.get_single_node()
        content = None if node is None else parse_yaml(text, PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ManifestError([f"{where}: not YAML: {' '.join(str(error).split())}"]) from error
    if node is None or not isinstance(content, dict):
        raise ManifestError([f"{where}: found {type(content).__name__}; expected a mapping with videos: [...]"])
    lines = _lines_of_keys(node)
    places = {key: f"{where}:{line}" for key, line in lines.items()}
    faults = [*_repeated_keys(node, where), *_unknown(content, ("videos", "defaults"), where, places)]
    defaults, videos = content.get("defaults") or {}, content.get("videos")
    if not isinstance(defaults, dict):
        place = places.get("defaults", where)
        raise ManifestError([*faults, f"{place}: defaults is {shown(defaults)}; expected a mapping of options"])
    if not isinstance(videos, list) or not videos:
        place = places.get("videos", where)
        raise ManifestError([*faults, f"{place}: videos is {shown(videos)}; expected a list of one or more"])
    common_places = _places(_value_of(node, "defaults"), where, "defaults")
    common, wrong = _options(defaults, f"{places.get('defaults', where)}: defaults", common_places)
    faults += wrong
    nodes = _value_of(node, "videos").value
    stems = labels(_stem(video.get("source") if isinstance(video, dict) else video) for video in videos)
    entries = []
    for number, (video, item, stem) in enumerate(zip(videos, nodes, stems, strict=True)):
        place = f"{where}:{item.start_mark.line + 1}: videos[{number}]"
        fields = {"source": video} if isinstance(video, str) else video
        if not isinstance(fields, dict):
            faults.append(f"{place}: found {shown(fields)}; expected a mapping with a source")
            continue
        entry, wrong = _entry(fields, place, stem, folder, _places(item, where, f"videos[{number}]"))
        faults += wrong
        entries += [entry] if entry else []
    return Manifest(tuple(entries), common, common_places, tuple(faults))


def _unknown(content: Mapping[Any, Any], known: Sequence[str], where: str, places: Mapping[str, str]) -> list[str]:
    return [
        f"{places.get(str(key), where)}: unknown key '{key}'; {nearest(str(key), known)}"
        for key in content
        if key not in known
    ]


def _lines_of_keys(node: Any) -> dict[str, int]:
    """The line of every key of a mapping; of one that stands twice that of the last, which counts for YAML itself."""
    return {str(key.value): key.start_mark.line + 1 for key, _ in node.value}


def _value_of(node: Any, name: str) -> Any:
    return {str(key.value): value for key, value in node.value}.get(name)


def _places(node: Any, where: str, inside: str) -> dict[str, str]:
    """The places of the keys of an entry, with dashes in their names, those that are grouped among them."""
    if not isinstance(node, yaml.MappingNode):
        return {}
    lines = {**_lines_of_keys(node)}
    grouped = _value_of(node, GROUP)
    if isinstance(grouped, yaml.MappingNode):
        lines |= _lines_of_keys(grouped)
    return {key.replace("_", "-"): f"{where}:{line}: {inside}" for key, line in lines.items()}


def _repeated_keys(node: yaml.Node, where: str) -> list[str]:
    """Faults for keys that stand twice in one mapping, of which YAML would take the last in silence."""
    faults, left, seen = [], [node], set()
    while left:
        found = left.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, yaml.SequenceNode):
            left += found.value
        if isinstance(found, yaml.MappingNode):
            keys = [str(key.value) for key, _ in found.value]
            again = [(key, k) for k, key in enumerate(keys) if key in keys[:k]]
            faults += [f"{where}:{found.value[k][0].start_mark.line + 1}: '{key}' stands twice" for key, k in again]
            left += [value for _, value in found.value]
    return faults


def _entry(
    fields: Mapping[Any, Any], where: str, stem: str, folder: str, places: Mapping[str, str]
) -> tuple[Entry | None, list[str]]:
    """A video of a manifest and what is wrong with it; ``places``: those of its keys, where they are known."""
    own, faults = _options({k: v for k, v in fields.items() if k not in ("name", "source")}, where, places)
    name = fields.get("name")
    name = stem if name is None else name
    if not isinstance(name, str):
        # 007 and 2024-11-28 are no texts in YAML, and become others when they are written.
        faults.append(f"{places.get('name', where)}: name is {shown(name)}; expected a text, in quotes")
        return None, faults
    if not name_fault(name):
        where, places = f"{where} '{name}'", {key: f"{place} '{name}'" for key, place in places.items()}
    source = fields.get("source")
    sources = source if isinstance(source, list) else [source]
    found = [absolute(one, folder) for one in sources if isinstance(one, str) and one.strip()]
    if not found or len(found) < len(sources):
        place = places.get("source", where)
        faults.append(f"{place}: source is {shown(source)}; expected a video file, folder or URL, or a list")
        return None, faults
    return Entry(where, name, tuple(found), own, folder, places), faults


def _options(fields: Mapping[Any, Any], where: str, places: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Options of an entry, those grouped under ``options`` and those beside it, by their names with dashes."""
    grouped = fields.get(GROUP)
    if grouped is not None and not isinstance(grouped, dict):
        return {}, [f"{places.get(GROUP, where)}: options is {shown(grouped)}; expected a mapping of options"]
    found: dict[str, Any] = {}
    faults = []
    for key, value in [*((k, v) for k, v in fields.items() if k != GROUP), *(grouped or {}).items()]:
        name = str(key).replace("_", "-")
        if name in found:
            faults.append(f"{places.get(name, where)}: '{name}' is given twice; expected it once")
        found[name] = value
    return found, faults


def _stem(source: Any) -> str:
    first = source[0] if isinstance(source, list) and source else source
    text = first.rstrip("/") if isinstance(first, str) else ""
    return PurePosixPath(text).stem or PurePosixPath(text).name


def _table(text: str, where: str, folder: str) -> Manifest:
    """Read a table: a line of names, then a line for each video; an empty cell is an option left out."""
    separator = max(",;\t", key=text.partition("\n")[0].count)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        rows, line = [], 1
        for row in reader:
            rows.append((line, [cell.strip() for cell in row]))
            # A cell in quotes may hold line breaks: the next row begins where this one has ended.
            line = reader.line_num + 1
    except csv.Error as error:
        raise ManifestError([f"{where}: not a table ({error}); expected CSV"]) from error
    rows = [(line, row) for line, row in rows if any(row)]
    if len(rows) < 2:
        raise ManifestError([f"{where}: no videos; expected a line of names with 'source', and a line for each video"])
    (first, head), body = rows[0], rows[1:]
    faults = [f"{where}:{first}: column '{name}' stands twice" for k, name in enumerate(head) if name in head[:k]]
    if "source" not in head:
        raise ManifestError([f"{where}:{first}: no column 'source' among {', '.join(head)}; expected one", *faults])
    sources = head.index("source")
    stems = labels(_stem(row[sources]) if len(row) > sources else "" for _, row in body)
    entries = []
    for (line, row), stem in zip(body, stems, strict=True):
        place = f"{where}:{line}"
        if len(row) != len(head):
            faults.append(f"{place}: {len(row)} cells; expected {len(head)}, as in the first line")
            continue
        entry, wrong = _entry({k: v for k, v in zip(head, row, strict=True) if v}, place, stem, folder, {})
        faults += wrong
        entries += [entry] if entry else []
    return Manifest(tuple(entries), faults=tuple(faults))


def _folder(place: str, where: str, out: str) -> Manifest:
    """Take the videos, DICOM files and folders of images of a folder."""
    if is_url(place):
        sources, others = _listed(place)
    else:
        sources, others = _found(Path(place), out)
    if not sources:
        hint = ". Its images are one source, for dd-sfm reconstruct" if any(map(_is_image, others)) else ""
        raise ManifestError([f"{where}: no video, DICOM file or folder of images in it; expected one or more{hint}"])
    more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
    notes = [f"{where}: not taken for videos: {', '.join(others[:NAMED])}{more}"] if others else []
    names = labels(_stem(source) for source in sources)
    entries = [
        Entry(f"{where}: {shown(PurePosixPath(source).name)}", name, (source,), {}, place)
        for source, name in zip(sources, names, strict=True)
    ]
    return Manifest(tuple(entries), notes=tuple(notes))


def _is_image(name: str) -> bool:
    return has_image_suffix(Path(name))


def _found(folder: Path, out: str) -> tuple[list[str], list[str]]:
    try:
        paths = sorted((p for p in folder.iterdir() if not is_hidden(p)), key=natural_key)
        taken = [path for path in paths if str(path) != out and _is_source(path)]
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); expected a folder of videos") from error
    return [str(path) for path in taken], [p.name for p in paths if p not in taken and p.is_file()]


def _is_source(path: Path) -> bool:
    if path.is_dir():
        return not (path / RECORD).exists() and holds_images(path)
    return path.is_file() and (path.suffix.lower() in VIDEO_SUFFIXES or is_dicom(path))


def _listed(url: str) -> tuple[list[str], list[str]]:
    """The videos of a URL, and its other files; folders are not looked into."""
    files, path = filesystem(url)
    try:
        items = sorted(files.ls(path, detail=True), key=lambda item: item["name"])
    except DDSfMError:
        raise
    except Exception as error:
        raise unreachable(url, error) from error
    names = [PurePosixPath(item["name"]).name for item in items if item["type"] == "file"]
    videos = [name for name in names if PurePosixPath(name).suffix.lower() in (*VIDEO_SUFFIXES, ".dcm")]
    return [inside(url, name) for name in videos], [name for name in names if name not in videos]
