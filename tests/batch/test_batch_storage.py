"""Inputs and results at URLs, on a file system that fsspec keeps in memory."""

from pathlib import Path

import fsspec
import pytest

from dd_sfm.batch.inputs import look_at
from dd_sfm.batch.storage import Store, absolute, fetch, identity, upload, without_secrets
from dd_sfm.batch.task import Command, Input, VideoTask
from dd_sfm.errors import InputError, OutputError


@pytest.fixture
def memory():
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    return files


def test_relative_locations_lie_in_the_folder_of_the_manifest(monkeypatch):
    assert absolute("a.mp4", "/x/y") == "/x/y/a.mp4"
    assert absolute("a.mp4", "s3://bucket/x") == "s3://bucket/x/a.mp4"
    assert absolute("file:///z/a.mp4", "s3://bucket") == "/z/a.mp4"
    assert absolute("/a.mp4", "/x") == "/a.mp4"
    assert absolute("~/a.mp4", "/x") == str(Path.home() / "a.mp4")
    assert absolute("~no such user.mp4", "/x") == "/x/~no such user.mp4"
    assert absolute("~\0", "/x") == "/x/~\0"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sftp://me:secret@host/a.mp4 is missing", "sftp://***@host/a.mp4 is missing"),
        ("https://b.s3.com/a.mp4?X-Amz-Signature=abc'", "https://b.s3.com/a.mp4?***'"),
        ("s3://bucket/a.mp4", "s3://bucket/a.mp4"),
    ],
)
def test_no_text_shows_a_secret(text, shown):
    assert without_secrets(text) == shown


def test_a_file_is_fetched_once_and_keeps_the_time_of_the_original(memory, tmp_path):
    memory.pipe("/in/a.mp4", b"abc")
    path = fetch("memory://in/a.mp4", tmp_path)
    assert (path.name, path.read_bytes()) == ("a.mp4", b"abc")
    before = path.stat()
    again = fetch("memory://in/a.mp4", tmp_path).stat()
    assert (again.st_mtime_ns, again.st_ino) == (before.st_mtime_ns, before.st_ino)
    memory.pipe("/in/a.mp4", b"abcd")
    assert fetch("memory://in/a.mp4", tmp_path).read_bytes() == b"abcd"


def test_a_folder_is_fetched_and_names_that_lead_out_of_it_are_refused(memory, tmp_path):
    memory.pipe("/in/clip/1.png", b"1")
    memory.pipe("/in/clip/more/2.png", b"2")
    path = fetch("memory://in/clip", tmp_path / "a")
    assert sorted(p.relative_to(path).as_posix() for p in path.rglob("*.png")) == ["1.png", "more/2.png"]
    memory.store["/in/clip/../../evil"] = memory.store["/in/clip/1.png"]
    with pytest.raises(InputError, match="leads out of it"):
        fetch("memory://in/clip", tmp_path / "b")
    assert not list(tmp_path.rglob("evil"))


def test_a_signature_does_not_get_into_names_of_files(memory, tmp_path):
    memory.pipe("/in/a.mp4?X-Amz-Signature=abc", b"abc")
    assert fetch("memory://in/a.mp4?X-Amz-Signature=abc", tmp_path).name == "a.mp4"


def test_a_run_is_uploaded_without_caches_and_replaces_an_older_one(memory, tmp_path):
    for name in ("stages.json", "sparse/0/images.bin", "descriptors/00000000.npz", ".dd-sfm.lock"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    memory.pipe("/out/a/stages.json", b"old")
    memory.pipe("/out/a/points.ply", b"old")
    upload(tmp_path, "memory://out/a")
    assert sorted(memory.find("/out/a")) == ["/out/a/sparse/0/images.bin", "/out/a/stages.json"]
    memory.pipe("/out/b/thesis.tex", b"mine")
    with pytest.raises(OutputError, match="not of a dd-sfm run"):
        upload(tmp_path, "memory://out/b")
    assert memory.exists("/out/b/thesis.tex")


def test_files_of_a_batch_are_written_and_read(memory, tmp_path):
    for place in ("memory://out", str(tmp_path / "out")):
        store = Store(place)
        assert (store.read("batch.json"), store.has("a", "metrics.json")) == (None, False)
        store.write("pictures/a.jpg", b"x")
        assert (store.read("pictures/a.jpg"), store.has("pictures", "a.jpg")) == (b"x", True)


def test_inputs_are_known_again_until_they_change(memory, tmp_path):
    memory.pipe("/in/a.mp4", b"abc")
    mask = tmp_path / "mask.png"
    mask.write_bytes(b"1")

    def task(*arguments):
        inputs = (Input("mask", str(mask)), Input("", "memory://in/a.mp4"))
        return VideoTask("a", Command.RECONSTRUCT, inputs, arguments, str(tmp_path / "a"))

    def known(*arguments):
        found = look_at([task(*arguments)], lambda name, option: "here")
        assert (found.faults, found.size) == ((), {"a": 3})
        return found.known["a"]

    first = known()
    assert known() == first
    assert known("--every=2") != first
    mask.write_bytes(b"12")
    assert known() != first


def test_the_largest_videos_are_begun_first(tmp_path):
    tasks = []
    for name, size in (("a", 2), ("b", 5), ("c", 5), ("d", 9)):
        (tmp_path / name).write_bytes(b"x" * size)
        tasks.append(VideoTask(name, Command.EXTRACT, (Input("", str(tmp_path / name)),), (), f"/out/{name}"))
    found = look_at(tasks, lambda name, option: "")
    assert [task.name for task in found.largest_first(tasks)] == ["d", "b", "c", "a"]


def test_all_inputs_that_are_missing_are_named(memory, tmp_path):
    tasks = [
        VideoTask("a", Command.EXTRACT, (Input("", "memory://in/none.mp4"), Input("mask", "/none.png")), (), "/x"),
        VideoTask("b", Command.EXTRACT, (Input("", "nosuch://u:secret@host/x"),), (), "/x"),
        VideoTask("c", Command.EXTRACT, (Input("", "/" + "x" * 3000),), (), "/x"),
    ]
    places = {"a": "m.yaml: videos[0]", "b": "m.yaml: videos[1]", "c": "c"}
    faults = look_at(tasks, lambda name, option: places[name]).faults
    assert len(faults) == 4
    assert faults[0].startswith("m.yaml: videos[0]: source memory://in/none.mp4: not found")
    assert "secret" not in "".join(faults)


def test_a_store_that_needs_a_package_says_which(tmp_path, monkeypatch):
    def missing(url):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(InputError, match=r"Install s3fs.*pip install 'dd-sfm\[s3\]'"):
        identity("s3://bucket/a.mp4")
