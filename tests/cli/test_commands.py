import json

import cv2
import numpy as np
import pytest
import yaml

from dd_sfm.cli.app import explain
from dd_sfm.cli.console import _focal_length, summary
from dd_sfm.cli.options import ConfigOptions, resolve_config
from dd_sfm.errors import ConfigError
from dd_sfm.features.methods import METHODS
from dd_sfm.io.lock import locked
from dd_sfm.io.run_folder import read_frames
from dd_sfm.notes import NoteCode


@pytest.mark.parametrize(
    "command",
    [
        "reconstruct",
        "compare",
        "batch",
        "extract",
        "match",
        "map",
        "train",
        "synth",
        "bench",
        "doctor",
        "calibrate",
        "demo",
        "localize",
        "merge",
        "register",
    ],
)
def test_every_command_explains_itself_with_an_example(dd_sfm, command):
    ran = dd_sfm(command, "--help")
    assert ran.code == 0
    assert f"Example: dd-sfm {command}" in ran.out


def test_version(dd_sfm):
    import dd_sfm as package

    assert dd_sfm("--version").out.strip() == package.__version__


def test_flags_override_set_which_overrides_yaml(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("frames: {every: 2, start: 4}\nruntime: {seed: 9}\n")
    config = resolve_config(ConfigOptions(str(path), ["frames.every=3"]), {"frames.start": 5, "frames.end": None})
    assert (config.frames.every, config.frames.start, config.frames.end, config.runtime.seed) == (3, 5, None, 9)


@pytest.mark.parametrize("name", ["preview", "extreme", "paper"])
def test_shipped_configurations_are_valid(name):
    assert resolve_config(ConfigOptions(name), {}) != resolve_config(ConfigOptions(), {})


def test_quality_lies_under_everything_else_that_is_given():
    config = resolve_config(ConfigOptions(overrides=["dense.every=7"]), {}, "preview")
    assert (config.dense.every, config.dense.spacing_px, config.match.max_queries) == (7, 8, 1500)
    assert resolve_config(ConfigOptions(), {}, "standard") == resolve_config(ConfigOptions(), {})
    with pytest.raises(ConfigError, match="--quality best: unknown; expected preview, standard or extreme"):
        resolve_config(ConfigOptions(), {}, "best")


def test_unknown_configuration_lists_the_shipped_ones():
    with pytest.raises(ConfigError, match="extreme, paper, preview"):
        resolve_config(ConfigOptions("fats"), {})


def test_extract_is_skipped_when_repeated_and_redone_when_changed(dd_sfm, tiny_clip, tmp_path):
    out = tmp_path / "run"
    command = ("extract", tiny_clip, "-o", out, "--calibration", "90,90,80,60")
    on = "to go on, repeat the command with match, map or reconstruct in place of extract"
    written = f"written: {out / 'frames'} (12 of 12 frames), {out / 'masks'}; {on}"
    nothing = f"nothing to do: all stages done before, {written.removeprefix('written: ')}"
    assert dd_sfm(*command).err.splitlines() == ["frames ...", written]
    assert dd_sfm(*command).err.splitlines() == ["frames: done before", nothing]
    fewer = f"written: {out / 'frames'} (6 of 12 frames), {out / 'masks'}; {on}"
    replaced = "frames: made with other settings or masks; replaced, and what later stages made with it"
    assert dd_sfm(*command, "--every", 2).err.splitlines() == [replaced, "frames ...", fewer]
    assert len(list((out / "frames").iterdir())) == 6
    assert dd_sfm(*command, "--every", 2, "--quiet").err == ""
    resolved = yaml.safe_load((out / "config.yaml").read_text())
    assert resolved["frames"]["every"] == 2
    assert "pycolmap" in resolved["versions"]
    assert (out / "run.log").read_text()
    assert json.loads((out / "stages.json").read_text())["stages"]["frames"]["done"]


def test_extract_ends_with_the_notes_of_the_frames(dd_sfm, tiny_clip, tmp_path):
    command = ("extract", tiny_clip, "-o", tmp_path / "run", "--calibration", "90,90,40,60")
    (note,) = read_frames(tmp_path / "run").notes if dd_sfm(*command).code == 0 else ()
    assert note.code == NoteCode.CALIBRATION_CENTRE
    assert dd_sfm(*command).err.splitlines()[1] == f"note: {note.text}"
    assert dd_sfm(*command, "--quiet").err == ""


def test_later_settings_do_not_redo_frames(dd_sfm, tiny_clip, tmp_path):
    command = ("extract", tiny_clip, "-o", tmp_path / "run", "--calibration", "150,150,80,60")
    dd_sfm(*command)
    assert dd_sfm(*command, "--set", "map.min_inliers=9").err.splitlines()[0] == "frames: done before"


def test_doctor_names_what_there_is(dd_sfm):
    ran = dd_sfm("doctor")
    assert ran.code == 0
    for word in ("torch", "opencv", "processor", "memory", "weights", "viewing", "compact"):
        assert word in ran.out


def test_a_bug_is_one_line_that_asks_for_a_report():
    text, code = explain(ZeroDivisionError("division by zero\nsecond line"))
    assert code == 1
    assert text.startswith("unexpected ZeroDivisionError: division by zero (run again with --debug")


def test_where_memory_is_limited_it_is_the_likely_reason(monkeypatch):
    monkeypatch.setattr("dd_sfm.cli.app.address_space_warning", lambda: "ulimit -v leaves 1.0 GB")
    assert explain(ZeroDivisionError("a"))[0].startswith("not enough memory, as it seems (ZeroDivisionError: a); raise")


def test_a_file_that_goes_away_is_no_bug():
    text, code = explain(FileNotFoundError(2, "No such file or directory", "/a/b"))
    assert code == 1
    assert text.startswith("/a/b: No such file or directory; expected a file or folder that can be used")


@pytest.mark.parametrize(("command", "says"), [("train", "--workers 0"), ("synth", "--jobs 1"), ("match", "preview")])
def test_what_helps_where_memory_is_short_is_of_the_command(command, says):
    assert says in explain(MemoryError(), command)[0]


def test_a_stop_is_one_line_and_leaves_130(dd_sfm, tiny_clip, tmp_path, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    command = ("extract", tiny_clip, "-o", tmp_path / "run")
    monkeypatch.setattr("dd_sfm.pipeline.stage_work.extract_frames", stop)
    told = f"dd-sfm: {tmp_path / 'run'}: stopped in frames; kept: nothing yet. Repeat the command to go on"
    ran = dd_sfm(*command)
    assert (ran.code, ran.err.splitlines()) == (130, ["frames ...", told])
    assert dd_sfm(*command, "--quiet", "--overwrite").err.splitlines() == [f"{told}, without --overwrite"]
    monkeypatch.setattr("dd_sfm.mvs.mesh.mesh_cloud", stop)
    monkeypatch.setattr("dd_sfm.cli.mesh._open_cloud", lambda run: None)
    ran = dd_sfm("mesh", tmp_path / "run", "--debug")
    assert (ran.code, ran.err) == (130, "dd-sfm: stopped; repeat the command to start again\n")


def test_the_summary_tells_frames_and_seconds_apart(capsys):
    seconds = {"frames": 7.2, "describe": 14.0, "match": 234.0, "map": 10.0, "densify": 20.0, "total": 285.2}
    metrics = {
        "features": "learned", "frames_total": 75, "frames_chosen": 25, "frames_used": 24, "frames_registered": 23,
        "models": [23], "mapper": "global", "points": 9, "observations": 40, "mean_track_length": 4.4,
        "median_reprojection_error_px": 0.5, "p90_reprojection_error_px": 1.0, "median_triangulation_angle_deg": 5.0,
        "focal_length_px": 300.0, "calibrated": True, "seconds": seconds, "stages_kept": ["frames", "match"],
        "peak_rss_mb": 1250.0, "peak_gpu_mb": 0.0, "degradations": [], "degradation_codes": [],
    }  # fmt: skip
    summary(metrics, "run")
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "23 of 24 registered (75 in source, 25 chosen, 1 dropped)" in shown
    times = "frames 7 (kept), describe 14, match 234 (kept), map 10, densify 20; 285 in all, 44 without what was kept"
    assert times in shown
    assert "memory 1.25 GB, GPU 0.00 GB (with what was kept)" in shown
    whole = {"start": 4.0, **seconds, "coverage": 2.0, "report": 3.0, "total": 294.2}
    summary(metrics | {"seconds": whole}, "run")
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "seconds start 4, frames 7 (kept)" in shown
    assert "coverage 2, report 3; 294 in all, 53 without what was kept" in shown
    summary(metrics | {"seconds": whole, "stages_kept": list(seconds)[:-1]}, "run")
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "294 in all, 0 without what was kept" in shown
    assert "GPU 0.00 GB (kept)" in shown
    summary(metrics | {"frames_thinned": 1, "stages_kept": list(seconds)[:-1]}, "run")
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "23 of 24 registered (75 in source, 25 chosen, 1 thinned out)" in shown
    assert "memory 1.25 GB, GPU 0.00 GB (kept)" in shown
    summary(metrics | {"frames_chosen": 75, "frames_thinned": 40, "stages_kept": []}, "run")
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "23 of 24 registered (75 in source, 40 thinned out, 11 dropped)" in shown
    assert "GPU 0.00 GB (" not in shown
    assert "surface in view" not in shown
    summary(metrics | {"coverage": {"measured_share": 0.826}}, "run")
    assert "surface in view │ 83 % of it has points" in " ".join(capsys.readouterr().out.split())
    summary(metrics | {"frames_chosen": 75, "frames_used": 75, "stages_kept": []}, "runs/[real]")
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "focal length 300.0 px seconds" in shown
    assert "23 of 75 registered (75 in source)" in shown
    assert "densify 20; 285 in all memory" in shown
    assert "learned reconstruction: runs/[real]" in shown


def test_the_summary_tells_where_the_focal_length_comes_from():
    told = {"focal_length_px": 300.0, "calibrated": False}
    assert _focal_length(told) == "300.0 px (not calibrated)"
    told |= {"lens_focal_length_px": 300.0, "lens_focal_sigma_px": 9.0, "camera_from": "clip"}
    assert _focal_length(told) == "300.0 px +- 9.0 (estimated from the clip)"
    assert _focal_length(told | {"lens": "rigid-0"}) == "300.0 px +- 9.0 (estimated from the clip, --lens rigid-0)"
    assert _focal_length(told | {"lens": "unknown"}) == "300.0 px +- 9.0 (estimated from the clip)"
    told |= {"lens_focal_length_px": 450.0, "lens_focal_sigma_px": 200.0, "camera_from": "assumed"}
    assert _focal_length(told) == "450.0 px +- 200.0, 300.0 px in frames without distortion (not calibrated)"


def test_a_second_writer_is_refused(dd_sfm, tiny_clip, tmp_path):
    (tmp_path / "run").mkdir()
    with locked(tmp_path / "run"):
        ran = dd_sfm("extract", tiny_clip, "-o", tmp_path / "run")
    assert ran.code == 1
    assert ran.err.startswith(f"dd-sfm: {tmp_path / 'run'}: another dd-sfm (process ")
    assert len(ran.err.splitlines()) == 1


def test_every_stage_ends_with_what_it_made_and_what_comes_next(dd_sfm, tmp_path, monkeypatch):
    monkeypatch.setattr("dd_sfm.api.run", lambda *arguments: {})
    monkeypatch.setattr("dd_sfm.pipeline.stage_summary.stage_summary", lambda out, stage: f"{out}/{stage}")
    monkeypatch.setattr("dd_sfm.pipeline.stage_summary.stage_notes", lambda out, stage: [f"after {stage}"])
    out = tmp_path / "my run"
    for command, stage, next_step in (
        ("match", "match", "to go on, repeat the command with map or reconstruct in place of match"),
        ("map", "map", "to go on, repeat the command with reconstruct in place of map"),
        ("reconstruct", "densify", f"look at it: dd-sfm view '{out}'"),
    ):
        notes = [] if stage == "densify" else [f"note: after {stage}"]
        told = dd_sfm(command, "clip.mp4", "-o", out).err.splitlines()
        assert told == [*notes, f"written: {out}/{stage}; {next_step}"]


def test_unknown_features_are_one_clear_line(dd_sfm, tiny_clip, tmp_path):
    for option in (("--features", "orb"), ("--set", "features=orb")):
        ran = dd_sfm("extract", tiny_clip, "-o", tmp_path / "run", *option)
        assert ran.code == 2
        assert ran.err == f"dd-sfm: --features orb: expected one of {', '.join(METHODS)}\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "mistake",
    [("--calibration", "nowhere.txt"), ("--mask", "small.png"), ("--start", "80"), ("--start", "80", "--overwrite")],
)
def test_a_mistyped_option_leaves_an_earlier_run_whole(dd_sfm, tiny_clip, tmp_path, monkeypatch, mistake):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("small.png", np.full((10, 10), 255, np.uint8))
    command = ("extract", tiny_clip, "-o", tmp_path / "run", "--calibration", "150,150,80,60")
    assert dd_sfm(*command).code == 0
    before = sorted(p.name for p in (tmp_path / "run").rglob("*"))
    ran = dd_sfm(*command, *mistake)
    assert ran.code in (1, 2)
    assert sorted(p.name for p in (tmp_path / "run").rglob("*")) == before
