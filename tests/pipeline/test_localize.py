"""The command that places the frames of another video in a run."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from converting import write_small_run

import dd_sfm as package
from dd_sfm.cameras import camera_centres
from dd_sfm.io.trajectory import read_trajectory
from dd_sfm.sfm.geometry import similarity

DEMOS = Path(__file__).parents[2] / "demo_videos"


def test_what_is_no_finished_run_is_told_in_a_line(dd_sfm, tmp_path):
    clip = DEMOS / "sinus" / "clip.mp4"
    ran = dd_sfm("localize", tmp_path / "none", clip, "-o", tmp_path / "out")
    assert ran.code == 1
    assert "none: not found; expected the folder of a run" in ran.err
    run = tmp_path / "run"
    write_small_run(run)
    ran = dd_sfm("localize", run, clip, "-o", tmp_path / "out")
    assert ran.code == 1
    assert "the run is not finished: " in ran.err
    assert not (tmp_path / "out").exists()


def state(folder):
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in folder.rglob("*")
    }


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """A few frames of the demo clip, reconstructed."""
    demo, out = DEMOS / "sinus", tmp_path_factory.mktemp("small") / "run"
    config = package.configure("preview", {"frames.every": 3, "frames.end": 30, "describe.working_height_px": 300})
    package.reconstruct(demo / "clip.mp4", out, config, calibration=demo / "calibration.txt")
    return out


@pytest.mark.slow
def test_frames_between_those_of_a_run_are_placed_and_those_of_another_place_are_not(small_run, tmp_path, dd_sfm):
    demo, out = DEMOS / "sinus", tmp_path / "out"
    shutil.rmtree(small_run / "descriptors")
    before = state(small_run)
    line = [small_run, demo / "clip.mp4", "--calibration", demo / "calibration.txt", "--every", "5", "--start", "2"]
    ran = dd_sfm("localize", *line, "--end", "38", "-o", out)
    assert ran.code == 0, ran.err
    assert "8 of 8 frames placed" in ran.err
    assert state(small_run) == before
    found = package.open_run(out)
    assert found.notes[0].code.value == "described_again"
    known, truth = package.open_run(small_run), np.load(demo / "truth.npz")["c"]
    scale, turn, shift = similarity(camera_centres(np.stack(list(known.poses.values()))), truth[list(known.poses)])
    centres = camera_centres(np.stack(list(found.poses.values())))
    assert list(found.poses) == list(range(2, 38, 5))
    error = np.linalg.norm(scale * centres @ turn.T + shift - truth[list(found.poses)], axis=1)
    path = np.linalg.norm(np.diff(truth[:38], axis=0), axis=1).sum()
    assert error.max() < 0.01 * path
    assert len(found.points) == len(known.points) == len(found.models[0].xyz)
    assert set(read_trajectory(out)[0]) == set(found.poses)
    assert len((out / "trajectory.tum").read_text().splitlines()) == 8
    details = json.loads((out / "metrics.json").read_text())["localized"]
    assert details["run"] == str(small_run.resolve())
    assert min(frame["confidence"] for frame in details["frames"].values()) > 0.4
    assert "holds frames placed in another run" in dd_sfm("localize", out, demo / "clip.mp4", "-o", tmp_path / "o").err
    assert "not empty" in dd_sfm("localize", *line, "-o", out).err

    other = DEMOS / "colon"
    ran = dd_sfm(
        "localize", small_run, other / "clip.mp4", "--calibration", other / "calibration.txt", "--every", "10",
        "-o", tmp_path / "none",
    )  # fmt: skip
    assert ran.code == 1
    assert "none of 8 frames shows tissue that" in ran.err
    assert not (tmp_path / "none").exists()
    ran = dd_sfm("localize", *line, "--weights", "compact", "-o", tmp_path / "none")
    assert "was described with compact-rendered, not compact;" in ran.err
