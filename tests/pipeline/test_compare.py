from contextlib import suppress
from dataclasses import replace

import cv2
import numpy as np
import pytest

from dd_sfm.config import Config, load_config
from dd_sfm.errors import InputError, OutputError, ReconstructionError, StoppedError
from dd_sfm.io import edited_masks
from dd_sfm.io.images import read_mask
from dd_sfm.io.lock import LOCK
from dd_sfm.pipeline import compare
from dd_sfm.pipeline.compare import CompareRequest, check_folder, comparing, run_all
from dd_sfm.pipeline.run import run as real_run
from dd_sfm.pipeline.stage_work import RunRequest
from dd_sfm.progress import silent


@pytest.fixture
def request_of(tiny_clip, tmp_path):
    config = load_config(Config, None, ["runtime.device=cpu"])
    return CompareRequest(RunRequest(tiny_clip, tmp_path / "out", config, "150,150,80,60"))


@pytest.fixture
def stub(monkeypatch):
    """Runs only extract frames; those named in ``failing`` find no model. The calls are kept."""
    calls, failing = [], set()

    def run(request, progress, say):
        calls.append((request.out.name, request.last, request.config.features, request.config.sift.preset))
        real_run(replace(request, last="frames"), progress, say)
        if request.last != "frames" and request.out.name in failing:
            raise ReconstructionError(f"{request.out}: no model\nfrom 12 frames")
        return {}

    monkeypatch.setattr(compare, "run", run)
    return calls, failing


def test_all_runs_see_the_same_bytes(request_of, stub, tmp_path):
    outcomes = run_all(request_of, silent, lambda _: None)
    assert [(o.name, o.failure) for o in outcomes] == [("learned", ""), ("sift", ""), ("sift_default", "")]
    out = tmp_path / "out"
    for part in ("frames", "masks"):
        names = sorted(p.name for p in (out / "learned" / part).iterdir())
        assert len(names) == 12
        for name in ("sift", "sift_default"):
            assert sorted(p.name for p in (out / name / part).iterdir()) == names
            for file in names:
                ours, theirs = out / "learned" / part / file, out / name / part / file
                assert ours.read_bytes() == theirs.read_bytes()
                assert ours.samefile(theirs)


def test_which_runs_are_done_and_in_which_order(request_of, stub):
    run_all(replace(request_of, sift="strong"), silent, lambda _: None)
    assert stub[0] == [
        ("learned", "frames", "learned", "tuned"),
        ("sift_default", "densify", "sift", "default"),
        ("sift", "densify", "sift", "strong"),
        ("learned", "densify", "learned", "tuned"),
    ]
    stub[0].clear()
    run_all(replace(request_of, default_sift=False), silent, lambda _: None)
    assert [call[0] for call in stub[0]] == ["learned", "sift", "learned"]


def test_frames_are_extracted_once(request_of, stub):
    lines = []
    run_all(request_of, silent, lines.append)
    assert lines == [
        "all: frames ...", "sift_default: frames: done before", "sift: frames: done before",
        "learned: frames: done before",
    ]  # fmt: skip


def test_changed_frames_reach_every_run(request_of, stub, tmp_path):
    run_all(request_of, silent, lambda _: None)
    changed = load_config(Config, None, ["runtime.device=cpu", "frames.every=2"])
    run_all(replace(request_of, base=replace(request_of.base, config=changed)), silent, lambda _: None)
    for name in ("learned", "sift", "sift_default"):
        assert len(list((tmp_path / "out" / name / "frames").iterdir())) == 6


def test_overwriting_starts_over_once(request_of, stub, tmp_path):
    run_all(request_of, silent, lambda _: None)
    lines = []
    run_all(replace(request_of, base=replace(request_of.base, overwrite=True)), silent, lines.append)
    assert lines[0] == "all: frames ..."
    assert lines[-1] == "learned: frames: done before"
    assert len(list((tmp_path / "out" / "sift" / "frames").iterdir())) == 12


@pytest.mark.parametrize("lost", [{"sift"}, {"sift_default"}, {"sift", "sift_default"}, {"learned"}])
def test_a_run_without_a_model_ends_nothing(request_of, stub, lost, tmp_path):
    stub[1].update(lost)
    lines = []
    outcomes = {o.name: o.failure for o in run_all(request_of, silent, lines.append)}
    assert {name for name, failure in outcomes.items() if failure} == lost
    for name in lost:
        assert outcomes[name] == f"{tmp_path / 'out' / name}: no model from 12 frames"
        assert any(line.startswith(f"{name}: no model: ") for line in lines)


def test_no_model_at_all(request_of, stub):
    stub[1].update(("learned", "sift", "sift_default"))
    with pytest.raises(
        ReconstructionError, match="no run found a model; the learned one failed: .*no model from 12 frames"
    ):
        run_all(request_of, silent, lambda _: None)


def test_other_errors_are_errors(request_of, monkeypatch):
    def broken(request, progress, say):
        raise InputError("masks are damaged")

    monkeypatch.setattr(compare, "run", broken)
    with pytest.raises(InputError, match="masks are damaged"):
        run_all(request_of, silent, lambda _: None)


@pytest.mark.parametrize("left", [(), (LOCK,), (LOCK, "stages.json.partial")])
def test_a_comparison_that_was_stopped_at_once_goes_on(request_of, stub, tmp_path, left):
    learned = tmp_path / "out" / "learned"
    learned.mkdir(parents=True)
    for path in (learned.parent / LOCK, *(learned / name for name in left)):
        path.touch()
    with comparing(request_of):
        run_all(request_of, silent, lambda _: None)
    (learned.parent / "mine").mkdir()
    check_folder(learned.parent)


def test_a_folder_named_like_a_run_is_not_one(tmp_path):
    (tmp_path / "learned").mkdir()
    (tmp_path / "learned" / "words.txt").touch()
    with pytest.raises(OutputError, match="not of a comparison"):
        check_folder(tmp_path)


def test_a_stop_between_runs(request_of):
    with (
        pytest.raises(StoppedError, match=r"out: stopped; finished stages are kept\. Repeat the command to go on$"),
        comparing(request_of),
    ):
        raise KeyboardInterrupt


def test_folders_that_belong_to_something_else(tmp_path):
    check_folder(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    check_folder(tmp_path / "empty")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file; expected a folder"):
        check_folder(tmp_path / "file")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").touch()
    with pytest.raises(OutputError, match="holds files that are not of a comparison; choose an empty or new folder"):
        check_folder(tmp_path / "thesis")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "stages.json").touch()
    with pytest.raises(OutputError, match="is the folder of a run"):
        check_folder(tmp_path / "run")


def save(path, image):
    """As editors save: a new file in place of the old one."""
    new = path.with_name("new.png")
    cv2.imwrite(str(new), image)
    new.replace(path)


def save_bytes(path, content):
    path.with_name("new").write_bytes(content)
    path.with_name("new").replace(path)


def test_masks_that_are_edited_again_and_again_reach_every_run(request_of, stub, tmp_path):
    run_all(request_of, silent, lambda _: None)
    ours, *theirs = (tmp_path / "out" / name / "masks" / "00000003.png.png" for name in compare.RUNS)
    first = read_mask(ours) * np.uint8(255)
    for rows in (10, 40, 60, 0):
        changed = first.copy()
        changed[:rows] = 0
        save(ours, changed)
        run_all(request_of, silent, lambda _: None)
        assert all(path.read_bytes() == ours.read_bytes() for path in theirs)
    save(theirs[0], first * np.uint8(0) + np.uint8(255))
    with pytest.raises(OutputError, match="is edited, and not as .*expected the same masks in all runs"):
        run_all(request_of, silent, lambda _: None)


def test_masks_edited_before_frames_are_shared_can_be_edited_again(request_of, stub, tmp_path):
    real_run(replace(request_of.base, out=tmp_path / "out" / "learned", last="frames"), silent, lambda _: None)
    ours, *theirs = (tmp_path / "out" / name / "masks" / "00000003.png.png" for name in compare.RUNS)
    for level in (0, 255):
        save(ours, np.full((120, 160), level, np.uint8) * np.uint8(read_mask(ours)) + np.eye(120, 160, dtype=np.uint8))
        run_all(request_of, silent, lambda _: None)
        assert all(path.read_bytes() == ours.read_bytes() for path in theirs)


@pytest.mark.parametrize("dies_in", ["_link", "note_taken"])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_masks_are_shared_after_a_kill_in_between(tmp_path, monkeypatch, dies_in, call):
    """As where the process is killed: what it had begun is left, and the user edits masks again before the repeat."""
    ours, theirs = (tmp_path / run / "masks" for run in ("learned", "sift"))
    names = ["1.png", "2.png", "3.png"]
    for folder in (ours, theirs):
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_bytes(b"as written")
        edited_masks.record_masks(folder.parent, {name: edited_masks.mask_hash(folder / name) for name in names}, {})

    def edit(content):
        for name in names:
            save_bytes(ours / name, content)

    class Killed(BaseException):
        pass

    done = []

    def dying(real):
        def work(*given, **named):
            done.append(given)
            if len(done) == call:
                raise Killed
            real(*given, **named)

        return work

    for content in (b"once", b"twice", b"thrice"):
        edit(content)
        with monkeypatch.context() as patched, suppress(Killed):
            done.clear()
            patched.setattr(compare, dies_in, dying(getattr(compare, dies_in)))
            compare._share_edited_masks(ours.parent, theirs.parent)
    for content in (b"thrice", b"as written", b"more"):
        edit(content)
        compare._share_edited_masks(ours.parent, theirs.parent)
        assert [(theirs / name).read_bytes() for name in names] == [content] * 3
    save_bytes(theirs / names[0], b"by the user")
    with pytest.raises(OutputError, match="is edited, and not as"):
        compare._share_edited_masks(ours.parent, theirs.parent)
    (theirs / names[0]).unlink()
    (theirs / "1.png.partial").hardlink_to(ours / names[0])
    compare._share_edited_masks(ours.parent, theirs.parent)
    assert sorted(path.name for path in theirs.iterdir()) == names
    assert (theirs / names[0]).read_bytes() == b"more"
