"""dd-sfm batch: what is refused before anything starts, and batches of tiny clips without Dask."""

import json
import sys
from pathlib import Path

import pytest
from conftest import moving_frames, write_video

from dd_sfm.batch.inputs import look_at
from dd_sfm.batch.manifest import read_manifest
from dd_sfm.batch.task import Command, Ending, Outcome
from dd_sfm.batch.work import do_video
from dd_sfm.cli.batch_options import read_videos


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A folder with a clip and what goes with it; the current folder is another one."""
    # What a batch starts is to find the package that is tested, also from another folder.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    write_video(tmp_path / "a.avi", moving_frames(4))
    (tmp_path / "scope.yaml").write_text("{}")
    (tmp_path / "mask.png").write_bytes(b"x")
    return tmp_path


def videos_of(study, text, options=None):
    path = study / "batch.yaml"
    path.write_text(text)
    return read_videos(read_manifest(str(path)), options or {})


def test_options_become_what_would_be_typed(study):
    text = """
defaults: {every: 5, max-frames: 9, quality: preview, mask: mask.png}
videos:
  - source: a.avi
    calibration: scope.yaml#left
    every: 3
    deterministic: true
    mask: null
    options: {crop: [0, 0, 80, 60], end: "0:01", set: {dense.every: 2}, seed: 4}
  - {source: a.avi, name: b, command: compare, options: {default_sift: false, sift: strong}, calibration: [1, 1, 2, 2]}
  - {source: a.avi, name: c, command: extract, deterministic: false, set: ["frames.min_sharpness=0", frames.every=2]}
"""
    videos, faults = videos_of(study, text, {"every": 7, "weights": "compact"})
    assert faults == []
    a, b, c = (video.task("/out") for video in videos)
    assert (a.command, a.out) == (Command.RECONSTRUCT, "/out/a")
    assert [(one.option, one.location, one.part) for one in a.inputs] == [
        ("calibration", str(study / "scope.yaml"), "#left"), ("", str(study / "a.avi"), ""),
    ]  # fmt: skip
    assert set(a.arguments) == {
        "--every=3", "--max-frames=9", "--quality=preview", "--weights=compact", "--crop=0,0,80,60", "--end=0:01",
        "--set=dense.every=2", "--seed=4", "--deterministic",
    }  # fmt: skip
    assert {"--no-default-sift", "--sift=strong", "--every=7", "--calibration=1,1,2,2"} <= set(b.arguments)
    assert b.inputs[0].location == str(study / "mask.png")
    assert {"--set=frames.min_sharpness=0", "--set=frames.every=2"} <= set(c.arguments)
    assert not any("deterministic" in argument for argument in c.arguments)
    assert [video.quality for video in videos] == ["preview"] * 3


def test_known_poses_are_files_of_each_video_with_their_unit(study):
    (study / "path.tum").write_text("0 1 2 3 0 0 0 1\n")
    text = """
videos:
  - {source: a.avi, poses: path.tum@mm, poses-sigma: [0.5, 1], hand-eye: none, poses-offset: "0,0.5"}
"""
    (video,), faults = videos_of(study, text)
    assert faults == []
    task = video.task("/out")
    assert ("poses", str(study / "path.tum"), "@mm") in [(one.option, one.location, one.part) for one in task.inputs]
    assert {"--poses-sigma=0.5,1", "--hand-eye=none", "--poses-offset=0,0.5"} <= set(task.arguments)


def test_a_hand_eye_transform_that_is_missing_is_told_before_any_work(study):
    (study / "path.tum").write_text("0 1 2 3 0 0 0 1\n")
    (video,), faults = videos_of(study, "videos: [{source: a.avi, poses: path.tum, hand-eye: x.json}]")
    assert faults == []
    assert ("hand-eye", str(study / "x.json")) in [(one.option, one.location) for one in video.inputs]
    (fault,) = look_at([video.task("/out")], lambda *_: "batch.yaml:1").faults
    assert fault.startswith(f"batch.yaml:1: hand-eye {study / 'x.json'}: not found; expected a file")


@pytest.mark.parametrize("option", ["poses: []", "mask: []", "hand-eye: ''", "poses: ' '"])
def test_an_option_of_a_file_that_is_empty_is_a_fault(study, option):
    _, (fault,) = videos_of(study, f"videos: [{{source: a.avi, {option}}}]")
    assert f"'{option.split(':')[0]}' is empty; expected a file" in fault


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("evry: 2", "unknown option 'evry'; did you mean 'every'?"),
        ("max-frames: 1", "Invalid value for '--max-frames'"),
        ("max-frames: many", "Invalid value for '--max-frames'"),
        ("every: often", "--every often"),
        ("every: [1, {}]", "'every' is {}; expected a text or a number"),
        ("quality: best", "--quality best: unknown; expected preview"),
        ("set: dense.evry=2", "unknown key 'dense.evry'; did you mean 'dense.every'?"),
        ("config: nosuch", "--config nosuch: not found"),
        ("command: [map]", "command is ['map']; expected reconstruct"),
        ("lens: 'no'", "lens"),
        ("command: delete", "command is 'delete'; expected reconstruct"),
        ("output: /etc", "'output' is an option of the batch"),
        ("overwrite: true", "'overwrite' is an option of the batch"),
        ("reference: truth", "unknown option 'reference'"),
        ("calibration: none.yaml", "calibration none.yaml: neither numbers nor a file"),
        ("command: compare, sift: x", "--sift x: unknown"),
        ("command: compare, default-sift: perhaps", "expected true or false"),
    ],
)
def test_options_are_checked_as_those_of_the_command(study, fields, said):
    videos, faults = videos_of(study, f"videos:\n- {{name: a, source: a.avi, {fields}}}\n")
    assert not videos
    assert len(faults) == 1
    assert faults[0].startswith(f"{study / 'batch.yaml'}:2: videos[0] 'a': ")
    assert said in faults[0]


def test_a_fault_of_an_option_names_its_line_once(study, dd_sfm):
    manifest = study / "batch.yaml"
    manifest.write_text("""
defaults:
  quality: preview
  mask: none.png
videos:
  - name: a
    source: a.avi
    options:
      every: 2
      max_frames: many
      seed: 3
  - name: b
    source: none.avi
    set:
      - dense.every=2
      - dense.evry=2
  - name: c
    source: none.avi
    mask:
  - name: d
    source: a.avi
""")
    ran = dd_sfm("batch", manifest, "-o", study / "out")
    found = [line.removeprefix(f"dd-sfm: {manifest}:") for line in ran.err.splitlines()]
    assert found[0].startswith("10: videos[0] 'a': Invalid value for '--max-frames'")
    assert found[1].startswith("14: videos[1] 'b': ")
    assert "dense.evry" in found[1]
    assert found[2:4] == [
        f"18: videos[2] 'c': source {study / 'none.avi'}: not found; expected a file or folder",
        f"4: defaults: mask {study / 'none.png'}: not found; expected a file or folder",
    ]
    manifest.write_text("defaults:\n  evry: 2\nvideos:\n  - a.avi\n  - b.avi\n")
    ran = dd_sfm("batch", manifest, "-o", study / "out")
    assert ran.err.splitlines() == [f"dd-sfm: {manifest}:2: defaults: unknown option 'evry'; did you mean 'every'?"]


def test_all_faults_are_told_at_once_and_nothing_is_started(study, dd_sfm):
    manifest = study / "batch.csv"
    manifest.write_text("name,source,mask,seed\na,none.avi,,\na,a.avi,none.png,x\n../c,a.avi,,\n")
    ran = dd_sfm("batch", manifest, "-o", study / "out")
    assert ran.code == 2
    lines = ran.err.splitlines()
    assert [line.removeprefix(f"dd-sfm: {manifest}") for line in lines] == [
        ":3 'a': name 'a' is that of " + f"{manifest}:2 'a'; expected another",
        ":4: name '../c' holds a slash; expected a plain name of a folder",
        ":3 'a': Invalid value for '--seed': Input should be a valid integer, unable to parse string as an integer",
        f":2 'a': source {study / 'none.avi'}: not found; expected a file or folder",
        ": 4 faults, of which 4 are named above; nothing was started",
    ]
    assert not (study / "out").exists()


def test_one_fault_is_one_line(study, dd_sfm):
    (study / "batch.yaml").write_text("videos: [{source: none.avi}]")
    ran = dd_sfm("batch", study / "batch.yaml", "-o", study / "out")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "source" in ran.err


@pytest.fixture
def fake_work(monkeypatch):
    """Work that writes a result and says how it was asked."""
    asked = []

    def work(task):
        asked.append(task)
        if "broken" in task.name:
            return Outcome(Ending.FAILED, "broken")
        Path(task.out).mkdir(parents=True, exist_ok=True)
        (Path(task.out) / "metrics.json").write_text("{}")
        return Outcome(Ending.DONE, "", {"points": 7})

    from dd_sfm.batch import engine

    original = engine.SerialEngine.__init__
    monkeypatch.setattr(engine.SerialEngine, "__init__", lambda self: original(self, work))
    return asked


def test_a_batch_is_done_once_and_failed_videos_again(study, dd_sfm, fake_work):
    out = study / "out"
    write_video(study / "broken.avi", moving_frames(4))
    (study / "mask.png").unlink()
    command = ("batch", study, "-o", out, "--workers", 1, "--every", 2, "--cores-per-video", 3, "--timeout", 2)
    ran = dd_sfm(*command)
    assert ran.code == 1
    assert f"{out}: 1 of 2 videos failed; {out / 'batch.html'} says why" in ran.err
    assert "not taken for videos: scope.yaml" in ran.err
    assert [(t.name, t.arguments, t.threads, t.gpu, t.timeout_s) for t in fake_work] == [
        (name, ("--every=2",), 3, False, 120) for name in ("a", "broken")
    ]
    fake_work.clear()
    ran = dd_sfm(*command)
    assert (ran.code, [t.name for t in fake_work]) == (1, ["broken"])
    assert "1 of 2 done before" in ran.err
    (study / "broken.avi").unlink()
    fake_work.clear()
    ran = dd_sfm(*command)
    assert (ran.code, fake_work) == (0, [])
    assert "written: " in ran.err
    dd_sfm(*command, "--overwrite")
    assert [task.overwrite for task in fake_work] == [True]
    content = json.loads((out / "batch.json").read_text())
    assert content["videos"][0]["metrics"] == {"points": 7}


def test_a_video_that_wants_a_gpu_is_refused_where_none_is_for_it(study, dd_sfm):
    ran = dd_sfm("batch", study, "-o", study / "out", "--device", "cuda", "--gpu-per-video", 0)
    assert ran.code == 2
    assert "'a' has device: cuda, and no GPU is for videos; expected --gpu-per-video 1" in ran.err


def test_the_folder_of_a_run_is_not_that_of_a_batch(study, dd_sfm):
    (study / "run").mkdir()
    (study / "run" / "stages.json").write_text("{}")
    ran = dd_sfm("batch", study, "-o", study / "run")
    assert ran.code == 1
    assert "is the folder of a run" in ran.err


def test_several_workers_need_dask_and_say_how_to_get_it(study, dd_sfm, monkeypatch):
    write_video(study / "b.avi", moving_frames(4))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ran = dd_sfm("batch", study, "-o", study / "out", "--workers", 2)
    assert ran.code == 2
    assert "pip install 'dd-sfm[batch]'" in ran.err
    assert "--workers 1" in ran.err
    assert ran.err.count("\n") == 2


@pytest.mark.slow
def test_nobody_at_an_address_is_told(study, dd_sfm, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("dd_sfm.batch.dask_engine.CONNECT_S", 0.3)
    ran = dd_sfm("batch", study, "-o", study / "out", "--address", "tcp://127.0.0.1:9")
    assert ran.code == 1
    assert "no scheduler of Dask answers" in ran.err


@pytest.mark.slow
def test_a_batch_from_and_to_a_url(study, dd_sfm):
    import fsspec

    files = fsspec.filesystem("memory")
    files.store.clear()
    files.put_file(str(study / "a.avi"), "/study/a.avi")
    files.pipe("/study/b.avi", b"no video")
    files.pipe(
        "/study/batch.yaml",
        b"""
defaults: {command: extract, calibration: "150,150,80,60"}
videos: [{source: a.avi}, {source: b.avi}]
""",
    )
    command = ("batch", "memory://study/batch.yaml", "-o", "memory://results", "--workers", 1)
    ran = dd_sfm(*command, "--scratch", study / "scratch")
    assert ran.code == 1, ran.err
    content = json.loads(files.cat("/results/batch.json"))
    a, b = content["videos"]
    assert (a["status"], a["metrics"], a["run"]) == (
        "done",
        {"frames_total": 4, "frames_used": 4},
        "memory://results/a",
    )
    assert (b["status"], "memory://study/b.avi" in b["error"]) == ("failed", True)
    assert files.exists("/results/a/frames/00000003.png")
    assert files.exists("/results/pictures/a.jpg")
    assert files.exists("/results/batch.html")
    assert not [path for path in (study / "scratch").rglob("*") if path.is_file()]
    files.rm("/study/b.avi")
    files.pipe("/study/batch.yaml", b'videos: [{source: a.avi, command: extract, calibration: "150,150,80,60"}]')
    ran = dd_sfm(*command)
    assert ran.code == 0
    assert json.loads(files.cat("/results/batch.json"))["videos"][0]["status"] == "skipped"


@pytest.mark.slow
def test_a_picture_shows_the_frame_of_an_extracted_clip(study):
    from dd_sfm.batch.task import Input, VideoTask

    inputs = (Input("", str(study / "a.avi")),)
    task = VideoTask("a", Command.EXTRACT, inputs, ("--calibration=150,150,80,60",), str(study / "out" / "a"))
    outcome = do_video(task)
    assert outcome.ending is Ending.DONE, outcome.error
    assert outcome.picture.startswith(b"\xff\xd8")
    assert sys.platform != "linux" or outcome.machine
