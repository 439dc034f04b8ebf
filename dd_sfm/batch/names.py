"""Names of videos, which are names of folders too."""

import difflib
import re
import reprlib
import unicodedata
from collections.abc import Collection, Iterable
from typing import Any

LONGEST_BYTES, LONGEST_SHOWN = 120, 80
RECORD, PAGE, PICTURES = "batch.json", "batch.html", "pictures"
RESERVED = (RECORD, PAGE, PICTURES)
"""What a batch writes beside the folders of its videos."""


def name_fault(name: str) -> str:
    """What is wrong with a name that is to be one of a folder; empty when nothing is."""
    if not name.strip():
        return "is empty"
    if name != name.strip():
        return "begins or ends with a space"
    if "/" in name or "\\" in name:
        return "holds a slash"
    if name[0] in "-.":
        return f"begins with '{name[0]}'"
    if any(unicodedata.category(character).startswith("C") for character in name):
        return "holds a line break or another character that is not printed"
    if len(name.encode()) > LONGEST_BYTES:
        return f"is longer than {LONGEST_BYTES} bytes"
    if folded(name) in RESERVED or name.endswith(".partial"):
        return "is what a batch calls a file of its own"
    return ""


def shown(value: Any) -> str:
    """A value as messages have it: short, however large or deep it is."""
    short = reprlib.Repr()
    short.maxlevel = 2
    text = short.repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def folded(name: str) -> str:
    """The same text for names that some file systems take for one."""
    return unicodedata.normalize("NFC", name).casefold()


def nearest(key: str, known: Collection[str]) -> str:
    """The known key that is most like an unknown one, else all of them, for a message."""
    close = difflib.get_close_matches(key, known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"


def labels(stems: Iterable[str]) -> list[str]:
    """Names for folders, made of those of files: all different, also where capital letters do not count."""
    found: list[str] = []
    taken: set[str] = set()
    for stem in stems:
        base = re.sub(r"[^\w.+ -]+", "_", stem).strip(" ._-")[:60] or "video"
        base = base if not name_fault(base) else f"video_{base}"
        name, count = base, 1
        while folded(name) in taken:
            count += 1
            name = f"{base}_{count}"
        taken.add(folded(name))
        found.append(name)
    return found
