"""YAML, XML and JSON of calibration files as plain dicts, OpenCV's own dialects among them."""

import re
from typing import Any
from xml.etree import ElementTree

import yaml

from dd_sfm.documents import parse_json, yaml_documents
from dd_sfm.io.calibration.found import bad

MOST_DEEP = 20
"""Levels of elements in XML."""


def load_tree(where: str, content: str) -> dict[str, Any] | None:
    """The values of a YAML, XML or JSON file by key; None for other text.

    An OpenCV matrix becomes a dict with its numbers under ``data``.

    Raises:
        InputError: If it is one of them, but damaged.
    """
    start = content.lstrip("\ufeff \t\r\n")[:1]
    if start == "<":
        return _xml(where, content)
    if start in ("{", "["):
        return _mapping(where, "JSON", lambda: parse_json(content))
    if content.startswith("%YAML") or re.search(r"^\s*[\"']?[A-Za-z_][\w. /-]*[\"']?\s*:(\s|$)", content, re.M):
        # FileStorage writes '%YAML:1.0' and '!!opencv-matrix', which are not YAML to other readers, and takes
        # 'key:value' for a key and a value.
        text = re.sub(r"^%YAML.*$|!!opencv-(nd-)?matrix", "", content, flags=re.M).replace("\t", "    ")
        text = re.sub(r"^(\s*[A-Za-z_][\w.]*):(?=[\w.+\-\[\"])", r"\1: ", text, flags=re.M)
        return _mapping(where, "YAML", lambda: next((part for part in yaml_documents(text) if part), None))
    return None


def _mapping(where: str, kind: str, read: Any) -> dict[str, Any]:
    try:
        found = read()
    except (ValueError, yaml.YAMLError) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise bad(where, f"not {kind} that can be parsed ({line})", "a complete file") from error
    if not isinstance(found, dict):
        raise bad(where, f"{kind} that holds no names", "a camera's values by their names")
    return {str(key): value for key, value in found.items()}


def _xml(where: str, content: str) -> dict[str, Any]:
    """What OpenCV's XML holds; not read by OpenCV, which writes beyond its memory where a number has many digits."""
    try:
        if re.search(r"<!(DOCTYPE|ENTITY)", content):
            raise ValueError("entities, which may grow without end")
        root = ElementTree.fromstring(content.lstrip("\ufeff \t\r\n"))
        if root.tag != "opencv_storage":
            raise ValueError("another root")
        return {child.tag: _element(child, MOST_DEEP) for child in root}
    except (ElementTree.ParseError, ValueError) as error:
        raise bad(where, "not XML that OpenCV can parse", "what cv::FileStorage writes, <opencv_storage>") from error


def _element(element: ElementTree.Element, deep: int) -> Any:
    """The value of an element: a mapping, a sequence, numbers or words.

    Raises:
        ValueError: If elements lie in it at more than ``deep`` levels.
    """
    if not deep:
        raise ValueError("elements in elements without end")
    if len(element) and all(child.tag == "_" for child in element):
        return [_element(child, deep - 1) for child in element]
    if len(element):
        return {child.tag: _element(child, deep - 1) for child in element}
    text = (element.text or "").strip()
    if text[:1] in ("'", '"'):
        return text.strip("'\"")
    values = [_number_or_word(word) for word in text.split()]
    return values[0] if len(values) == 1 and element.tag != "data" else values


def _number_or_word(word: str) -> float | str:
    try:
        return float(word)
    except ValueError:
        return word
