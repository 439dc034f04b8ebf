"""How a run ends other than well: what is told, what is noted, what is kept."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from dd_sfm.config import Config, load_config
from dd_sfm.errors import InputError, OutputError, ReconstructionError, ShortageError, StoppedError, WeightsError
from dd_sfm.features.descriptor_files import FORMAT
from dd_sfm.io.lock import LOCK, locked
from dd_sfm.pipeline import frames as frame_stage
from dd_sfm.pipeline import run as running
from dd_sfm.pipeline.run import run
from dd_sfm.pipeline.stage_work import RunRequest
from dd_sfm.progress import silent
from dd_sfm.structures import MatchResult, Tracks

PLACES = {
    "extract_frames": "dd_sfm.pipeline.stage_work.extract_frames",
    "describe_frames": "dd_sfm.features.learned.describe_frames",
    "match_frames": "dd_sfm.features.learned.match_frames",
}
TRACKS = ((0, np.int64), (0, np.int64), ((0, 2), np.float32), (0, np.float32), (0, np.bool_))


@pytest.fixture
def request_of(tiny_clip, tmp_path):
    config = load_config(Config, None, ["runtime.device=cpu"])
    return RunRequest(tiny_clip, tmp_path / "run", config, "150,150,80,60", last="match")


@pytest.fixture
def ends(monkeypatch):
    """Makes a stage end with an error."""

    def call(stage, error):
        def fail(*arguments, **options):
            raise error

        monkeypatch.setattr(PLACES[stage], fail)

    return call


def go(request):
    return run(request, silent, lambda _: None)


def test_the_error_that_ended_a_run_is_in_its_log(request_of, ends):
    ends("describe_frames", ReconstructionError("nothing\nfound"))
    with pytest.raises(ReconstructionError):
        go(request_of)
    last = (request_of.out / "run.log").read_text().splitlines()[-1]
    assert last.endswith("ERROR dd_sfm.pipeline.run_log: nothing found")


def test_an_unexpected_error_is_logged_with_its_traceback(request_of, ends):
    ends("describe_frames", ZeroDivisionError("by zero"))
    with pytest.raises(ZeroDivisionError):
        go(request_of)
    log = (request_of.out / "run.log").read_text()
    assert "Traceback" in log
    assert "ZeroDivisionError: by zero" in log


def test_a_log_that_cannot_be_written_hides_no_error(request_of, ends, monkeypatch, capsys):
    def full(handler):
        raise OSError("no space")

    ends("describe_frames", ReconstructionError("nothing found"))
    monkeypatch.setattr("dd_sfm.pipeline.run_log._RunLog.flush", full)
    with pytest.raises(ReconstructionError, match="nothing found"):
        go(request_of)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("stage", "kept"),
    [
        ("extract_frames", "stopped in frames; kept: nothing yet"),
        ("describe_frames", "stopped in describe; kept: frames, the finished part of describe"),
        ("match_frames", "stopped in match; kept: frames, describe, the finished part of match"),
    ],
)
def test_a_stop_says_what_is_kept(request_of, ends, monkeypatch, stage, kept):
    if stage == "match_frames":
        monkeypatch.setattr(PLACES["describe_frames"], lambda *arguments: None)
    ends(stage, KeyboardInterrupt())
    with pytest.raises(StoppedError) as caught:
        go(request_of)
    assert str(caught.value) == f"{request_of.out}: {kept}. Repeat the command to go on"
    assert caught.value.exit_code == 130
    assert str(caught.value) in (request_of.out / "run.log").read_text()


def test_a_stop_between_stages(request_of, monkeypatch):
    def say(text):
        if text == "describe ...":
            raise KeyboardInterrupt

    with pytest.raises(StoppedError) as caught:
        run(request_of, silent, say)
    assert str(caught.value) == f"{request_of.out}: stopped; kept: frames. Repeat the command to go on"
    assert str(caught.value) in (request_of.out / "run.log").read_text()
    monkeypatch.setattr(running, "fingerprints", lambda request: say("describe ..."))
    with pytest.raises(StoppedError, match=r"run: stopped; finished stages are kept\. Repeat the command to go on$"):
        go(request_of)


@pytest.mark.parametrize("kind", [SystemError, RuntimeError, ImportError])
def test_a_stop_in_compiled_code_is_a_stop(request_of, monkeypatch, kind):
    def compiled(*arguments):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise kind("CPUDispatcher returned a result with an exception set") from error

    monkeypatch.setattr(PLACES["describe_frames"], compiled)
    with pytest.raises(StoppedError, match="stopped in describe"):
        go(request_of)

    def broken(*arguments):
        raise kind("a bug")

    monkeypatch.setattr(PLACES["describe_frames"], broken)
    with pytest.raises(kind, match="a bug"):
        go(request_of)


def test_a_run_goes_on_after_a_stop(request_of, ends, monkeypatch):
    ends("describe_frames", KeyboardInterrupt())
    with pytest.raises(StoppedError):
        go(request_of)
    monkeypatch.undo()
    lines = []
    run(replace(request_of, last="describe"), silent, lines.append)
    assert lines == ["frames: done before", "describe ..."]
    record = json.loads((request_of.out / "stages.json").read_text())["stages"]
    assert record["describe"]["done"]


def test_deleted_descriptors_are_made_again_only_to_match(request_of, monkeypatch):
    def describe(frames, out, *rest):
        (out / "descriptors").mkdir(exist_ok=True)
        (out / "descriptors" / "grid.json").write_text(json.dumps({"format": FORMAT}))
        (out / "descriptors" / "basis.npy").touch()
        for frame in frames.frames:
            np.savez(out / "descriptors" / f"{frame.index:08d}.npz")
            (out / "descriptors" / f"{frame.index:08d}.pooled.npy").touch()

    nothing = Tracks(*(np.zeros(shape, kind) for shape, kind in TRACKS))
    monkeypatch.setattr(PLACES["describe_frames"], describe)
    monkeypatch.setattr(PLACES["match_frames"], lambda *arguments: MatchResult(nothing, []))
    go(request_of)
    for name in ("descriptors", "matches"):
        shutil.rmtree(request_of.out / name, ignore_errors=True)
    lines = []
    run(request_of, silent, lines.append)
    assert lines == ["frames: done before", "describe: done before", "match: done before"]
    changed = load_config(Config, None, ["runtime.device=cpu", "match.max_queries=100"])
    lines.clear()
    run(replace(request_of, config=changed), silent, lines.append)
    assert lines == ["frames: done before", "describe ...", "match ..."]
    assert (request_of.out / "descriptors" / "grid.json").exists()
    # One that is missing is enough.
    lost = sorted((request_of.out / "descriptors").glob("*.npz"))[2]
    lost.unlink()
    lines.clear()
    run(request_of, silent, lines.append)
    assert lines == ["frames: done before", "describe ...", "match ..."]
    assert lost.exists()


def test_a_repeated_run_says_so_in_its_log(request_of):
    short = replace(request_of, last="frames")
    go(short)
    go(short)
    assert (request_of.out / "run.log").read_text().splitlines()[-1].endswith("frames: done before")


def test_weights_are_looked_at_before_anything_is_done(request_of, tmp_path):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"no weights")
    config = load_config(Config, None, ["runtime.device=cpu", f"describe.weights={path}"])
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        go(replace(request_of, config=config))
    assert not request_of.out.exists()


def test_two_processes_do_not_write_one_run(request_of):
    short = replace(request_of, last="frames")
    go(short)
    before = sorted(p.name for p in request_of.out.iterdir())
    log = (request_of.out / "run.log").read_text()
    for overwrite in (False, True):
        with locked(request_of.out), pytest.raises(OutputError, match="another dd-sfm"):
            go(replace(short, overwrite=overwrite))
    assert sorted(p.name for p in request_of.out.iterdir()) == before
    assert (request_of.out / "run.log").read_text() == log


def test_a_folder_with_nothing_but_a_lock_is_empty(request_of):
    request_of.out.mkdir()
    with locked(request_of.out):
        pass
    assert (request_of.out / LOCK).exists()
    go(replace(request_of, last="frames"))


def test_what_a_run_writes_is_no_input_of_it(request_of):
    go(replace(request_of, last="frames"))
    own = request_of.out / "frames"
    for changed in ({"source": own}, {"mask": request_of.out / "field_of_view.png"}):
        with pytest.raises(InputError, match="is written by the run in .*; expected a folder beside it with -o"):
            go(replace(request_of, overwrite=True, **changed))
    assert len(list(own.iterdir())) == 12
    go(replace(request_of, source=own, out=request_of.out.parent / "again", last="frames"))


def test_what_a_changed_setting_replaces_is_said(request_of):
    short = replace(request_of, last="frames")
    go(short)
    changed = load_config(Config, None, ["runtime.device=cpu", "frames.every=2"])
    lines = []
    run(replace(short, config=changed), silent, lines.append)
    assert lines[0] == "frames: made with other settings or masks; replaced, and what later stages made with it"


@pytest.mark.parametrize("name", ["frames.json", "frames/00000003.png", "frames/00000000.png"])
def test_a_stage_whose_file_is_damaged_is_done_again(request_of, name):
    first = replace(request_of, last="frames")
    go(first)
    path, lines = request_of.out / name, list[str]()
    whole = path.read_bytes()
    path.write_bytes(whole[:-7] + bytes([whole[-7] ^ 1]) + whole[-6:])
    run(first, silent, lines.append)
    assert lines[0] == f"{path}: damaged, not as frames has written it; put into damaged, frames is done again"
    assert lines[1] == "frames ..."
    assert path.read_bytes() == whole
    lines.clear()
    run(first, silent, lines.append)
    assert lines == ["frames: done before"]


def test_a_source_that_changes_while_it_is_read_is_no_run(request_of, tiny_clip, tmp_path, monkeypatch):
    source = tmp_path / "clip.mp4"
    shutil.copyfile(tiny_clip, source)
    first = replace(request_of, source=source, last="frames")
    real = frame_stage.write_frames

    def changed(*arguments):
        real(*arguments)
        source.write_bytes(source.read_bytes() + b"more")

    monkeypatch.setattr(frame_stage, "write_frames", changed)
    with pytest.raises(InputError, match="clip.mp4: changed while the run works with it"):
        go(first)
    assert json.loads((request_of.out / "stages.json").read_text())["stages"]["frames"]["done"] is False

    def cut(*arguments):
        source.write_bytes(source.read_bytes()[:5000])
        raise InputError("ends early")

    monkeypatch.setattr(frame_stage, "write_frames", cut)
    with pytest.raises(InputError, match="changed while"):
        go(first)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), "run: describe: the GPU has not enough free memory"),
        (MemoryError(), "run: describe: not enough memory"),
        (RuntimeError("bad allocation: std::bad_alloc"), "run: describe: not enough memory"),
    ],
)
def test_a_lack_of_memory_is_a_line_that_says_where(request_of, ends, error, says):
    ends("describe_frames", error)
    with pytest.raises(ShortageError, match=says):
        go(request_of)
    assert "Traceback" not in (request_of.out / "run.log").read_text()
