"""Hooks of mkdocs: pages that lie outside docs/, links between all of them, and notebooks as pages."""

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OUTSIDE = ("CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "CITATION.cff", "models/**/README.md", "demo_videos/README.md",
           "examples/*.py")  # fmt: skip
"""Beside README.md, which is the first page."""
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")
CODE = re.compile(r"(^```.*?^```$)", re.S | re.M)


def pages() -> dict[str, str]:
    """The places of all files on the site by their paths in the repository."""
    found = {path.relative_to(ROOT).as_posix(): path for pattern in OUTSIDE for path in ROOT.glob(pattern)}
    placed = {name: name for name in found} | {"README.md": "index.md"}
    docs = ROOT / "docs"
    for path in docs.rglob("*"):
        if path.is_file():
            name = path.relative_to(docs).as_posix()
            placed[f"docs/{name}"] = re.sub(r"\.ipynb$", ".md", name)
    return placed


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside docs/, and those that notebooks become."""
    for source, place in pages().items():
        path = ROOT / source
        if source.endswith(".ipynb"):
            files.append(File.generated(config, place, content=notebook_page(path)))
        elif not source.startswith("docs/"):
            files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links lead to where files lie on the site; code is left as it is."""
    placed = pages()
    here = next((source for source, place in placed.items() if place == page.file.src_uri), page.file.src_uri)

    def moved(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), link[1]))
        if target not in placed:
            return link[0]
        return posixpath.relpath(placed[target], posixpath.dirname(page.file.src_uri) or ".") + (link[2] or "")

    parts = CODE.split(markdown)
    return "".join(part if part.startswith("```") else LINK.sub(moved, part) for part in parts)


def notebook_page(path: Path) -> str:
    """A notebook as Markdown: its text and code, and where the file is."""
    parts = []
    cells: list[dict[str, Any]] = json.loads(path.read_text())["cells"]
    for cell in cells:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    parts.append(f"This page is `docs/notebooks/{path.name}` in the repository, to be run cell by cell.")
    return "\n\n".join(parts) + "\n"
