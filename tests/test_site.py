"""The site of the documentation, its notebooks and its tutorial."""

import contextlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urljoin, urlparse

import pytest
from typer.main import get_command

from dd_sfm.cli.app import app

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
TRUE_MM = 9.98
"""What the tutorial measures, by the truth of the rendered clip."""


def test_commands_of_the_tutorial_can_be_typed():
    lines = [line for block in re.findall(r"```sh\n(.*?)```", TUTORIAL, re.S) for line in block.splitlines()]
    lines += [" ".join(line.split()) for line in re.findall(r"`(dd-sfm [^`]+)`", TUTORIAL)]
    words = [shlex.split(line) for line in lines]
    assert {"demo", "view", "mesh", "calibrate", "convert"} <= {line[1] for line in words}
    commands = get_command(app).commands
    for line in words:
        if len(line) > 2:
            commands[line[1]].make_context(line[1], line[2:])


def test_there_are_three_notebooks_without_output_whose_code_can_be_read():
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text())["cells"]:
            assert not cell.get("outputs"), path.name
            if cell["cell_type"] == "code":
                compile("".join(cell["source"]), path.name, "exec")


def test_all_pages_are_in_the_navigation_of_the_site():
    named = set(re.findall(r"([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    pages |= {f"notebooks/{path.stem}.md" for path in NOTEBOOKS}
    assert pages <= named
    for name in named - pages - {"index.md"}:
        assert (ROOT / name).is_file(), name


@pytest.mark.slow
def test_the_site_is_built_and_no_link_leads_nowhere(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    built = tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(built)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    pages = [page for page in built.rglob("*.html") if page.name != "404.html"]
    assert len(pages) > 25
    for page in pages:
        text, here = page.read_text(), page.relative_to(built).as_posix()
        for name, link in re.findall(r'(href|src)="([^"]+)"', text):
            if link.startswith(("http:", "https:", "mailto:")):
                # Nothing is fetched from elsewhere when a page is read.
                assert name == "href", (here, link)
                continue
            found = built / unquote(urlparse(urljoin(f"/{here}", link)).path).lstrip("/")
            assert (found / "index.html").is_file() if found.is_dir() else found.is_file(), (here, link)
    assert "Pixels are" in (built / "api" / "index.html").read_text()
    assert "on_stage" in (built / "reference" / "index.html").read_text()


@pytest.mark.slow
def test_the_notebooks_run_and_the_tutorial_measures_what_is_true(tmp_path, monkeypatch):
    client = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("MPLBACKEND", "agg")
    printed = {}
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, 4)
        where = {"metadata": {"path": str(tmp_path)}}
        client.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=where).execute()
        printed[path.stem[0]] = "".join(
            output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])
        )
    assert "25 of 25 frames" in printed["1"]
    assert float(re.findall(r"([\d.]+) mm, \+-", printed["2"])[0]) == pytest.approx(TRUE_MM, abs=0.6)
    assert "registers 25 frames" in printed["3"]
    ours, sift = (int(count.replace(",", "")) for count in re.findall(r"([\d,]+) points, \d+ frames", printed["3"]))
    assert ours > 2 * sift
    factor = re.findall(r"one unit is ([\d.]+) mm", printed["2"])[0]
    monkeypatch.chdir(tmp_path)
    shutil.move("runs/both/learned", "demo")
    (block,) = re.findall(r"```python\n(.*?)```", TUTORIAL, re.S)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(re.sub(r"(?<=, )0\.98\d+$", factor, block, flags=re.M), {})
    assert float(out.getvalue().split()[0]) == pytest.approx(TRUE_MM, abs=0.6)
