"""dd-sfm demo: the work is that of reconstruct; what it says at the end can be typed."""

import shlex

from typer.main import get_command

from dd_sfm.cli import demo as module
from dd_sfm.cli.app import app
from dd_sfm.io.camera_paths import read_camera_path
from dd_sfm.resources import demo_folder


def test_the_demo_reconstructs_its_clip_and_says_what_to_try(dd_sfm, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "run_stages", lambda *words, **named: asked.append((words, named)))
    out = tmp_path / "my demo"
    ran = dd_sfm("demo", "-o", out)
    assert ran.code == 0
    ((sources, folder, options, _, last), named) = asked[0]
    assert (sources, folder, last) == ([demo_folder() / "clip.mp4"], out, "densify")
    assert (options.quality, named["overwrite"]) == ("preview", False)
    assert sources[0].is_file()
    lines = [shlex.split(line) for line in ran.err.splitlines() if line.startswith("dd-sfm ")]
    assert {words[1] for words in lines} == {"view", "mesh", "demo", "compare", "reconstruct"}
    commands = get_command(app).commands
    for words in lines:
        # Options that do not exist, or arguments that are missing, are errors here.
        commands[words[1]].make_context(words[1], words[2:], resilient_parsing="--help" in words)
    assert any(str(out) in words for words in lines)
    assert dd_sfm("demo", "-o", out, "--quiet").err == ""


def test_the_demo_has_the_position_of_every_frame():
    path = read_camera_path(demo_folder() / "positions.tum")
    assert path.stamps.tolist() == list(range(75))
    assert path.world_from_sensor[:, :, 3].std(0).max() > 1
