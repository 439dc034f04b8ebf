"""What is installed works away from the source: weights and configurations travel inside the wheel."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import dd_sfm
from dd_sfm.features.weights import list_weights

ROOT = Path(__file__).parents[1]
FRAMES_OF_THE_DEMO = """
import sys
from dd_sfm.cli import app, demo
whole = demo.run_stages
demo.run_stages = lambda sources, out, options, configuration, last, **more: whole(
    sources, out, options, configuration, "frames", **more)
sys.argv = ["dd-sfm", "demo", "-o", "demo"]
app.main()
"""


@pytest.mark.slow
def test_wheel_runs_from_an_empty_folder(tmp_path):
    built = tmp_path / "dist"
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", str(built), str(ROOT)]
    subprocess.run(command, check=True)
    wheel = next(built.glob("dd_sfm-*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.name == f"dd_sfm-{dd_sfm.__version__}-py3-none-any.whl"
    assert "dd_sfm/py.typed" in names
    for weights in list_weights():
        assert f"dd_sfm/_models/{weights}/weights.safetensors" in names
        assert f"dd_sfm/_models/{weights}/README.md" in names
    assert "dd_sfm/_configs/preview.yaml" in names
    for name in ("clip.mp4", "calibration.txt", "positions.tum"):
        assert f"dd_sfm/_demo/{name}" in names
    assert wheel.stat().st_size < 12e6
    for asset in ("three.min.js", "three.LICENSE.txt", "viewer.js", "report.css"):
        assert f"dd_sfm/viz/report/assets/{asset}" in names
    assert not any(name.startswith(("tests/", "demo_videos/")) for name in names)
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target", str(site), str(wheel)], check=True
    )
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def installed(*words):
        command = [sys.executable, *words]
        return subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, check=True)

    ran = installed("-m", "dd_sfm", "doctor")
    assert "compact: 1.42 M parameters" in ran.stdout
    version = installed("-m", "dd_sfm", "--version")
    assert version.stdout.strip() == dd_sfm.__version__
    folders = "import dd_sfm.resources as r; print(r.models_folder(), r.configs_folder(), r.demo_folder())"
    where = installed("-c", folders)
    assert where.stdout.count(str(site)) == 3
    assert list(empty.iterdir()) == []
    # Of the demo's work only its first stage is done here: all of it takes a minute, and is that of reconstruct.
    demo = installed("-c", FRAMES_OF_THE_DEMO)
    assert "75 of 75 frames" in demo.stderr
    assert str(site) in demo.stderr
    assert [path.name for path in empty.iterdir()] == ["demo"]
