"""YAML, XML and JSON of calibration files as plain dicts, OpenCV's own dialects among them."""

import re
from typing import Any

import cv2
import yaml

from dd_sfm.documents import parse_json, yaml_documents
from dd_sfm.io.calibration.found import bad


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
    try:
        storage = cv2.FileStorage(content, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
        root = storage.root()
        return {key: _node(root.getNode(key)) for key in root.keys()}  # noqa: SIM118 - a node is no mapping
    except (cv2.error, SystemError, UnicodeDecodeError) as error:
        # A system error is what OpenCV makes of text that Python cannot read.
        raise bad(where, "not XML that OpenCV can parse", "what cv::FileStorage writes, <opencv_storage>") from error


def _node(node: Any) -> Any:
    if node.isMap():
        keys = set(node.keys())
        if "data" in keys and keys & {"rows", "sizes"}:
            return {"data": node.mat().tolist()}
        return {key: _node(node.getNode(key)) for key in keys}
    if node.isSeq():
        return [_node(node.at(i)) for i in range(node.size())]
    return node.real() if node.isInt() or node.isReal() else node.string()
