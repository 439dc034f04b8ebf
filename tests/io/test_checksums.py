import errno
import os
import shutil
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pytest

from dd_sfm.errors import OutputError, ShortageError
from dd_sfm.features.packed_map import load_packed
from dd_sfm.io import atomic, checksums
from dd_sfm.io.arrays import check_archive, read_arrays, write_arrays
from dd_sfm.io.atomic import sync_all, write_bytes
from dd_sfm.io.checksums import damaged, lost, put_aside, seal
from dd_sfm.sfm.track_builder import ReferenceMatches


@pytest.fixture
def run(tmp_path):
    """A folder with files of three stages."""
    for name in ("frames.json", "frames/00000000.png", "masks/00000000.png.png", "descriptors/basis.npy", "tracks.npz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    with (tmp_path / "descriptors" / "00000000.npz").open("wb") as file:
        write_arrays(file, {"a": np.arange(1000)})
    for stage in ("frames", "describe", "match"):
        seal(tmp_path, stage)
    return tmp_path


def spoil(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 8
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("frames/00000000.png", "frames"),
        ("descriptors/basis.npy", "describe"),
        ("descriptors/00000000.npz", "describe"),
        ("tracks.npz", "match"),
    ],
)
def test_a_flipped_bit_and_a_lost_end_are_found(run, name, stage):
    assert [damaged(run, each) for each in ("frames", "describe", "match")] == [[], [], []]
    whole = (run / name).read_bytes()
    for change in (spoil, lambda path: path.write_bytes(whole[:-1]), lambda path: path.write_bytes(b"")):
        change(run / name)
        assert damaged(run, stage) == [run / name]
        (run / name).write_bytes(whole)


def test_files_that_there_is_no_room_to_open_are_no_damage(run, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ShortageError, match=r"checksums.json: too many open files"):
        damaged(run, "frames")
    monkeypatch.setattr(checksums, "_read", lambda run: {"frames": {"frames/00000000.png": "1 2"}})
    with pytest.raises(ShortageError, match=r"00000000.png: too many open files"):
        damaged(run, "frames")
    monkeypatch.setattr("dd_sfm.io.arrays.ZipFile", refuse)
    for read in (lambda path: ReferenceMatches.load(path, 3), load_packed):
        with pytest.raises(ShortageError, match=r"tracks.npz: too many open files"):
            read(run / "tracks.npz")


def test_masks_are_the_users_and_deleted_files_are_no_damage(run):
    spoil(run / "masks" / "00000000.png.png")
    (run / "frames" / "00000000.png").unlink()
    assert damaged(run, "frames") == []


def test_maps_made_anew_are_whole_and_those_of_a_broken_off_stage_are_checked(run):
    path = run / "descriptors" / "00000000.npz"
    with path.open("wb") as file:
        write_arrays(file, {"a": np.arange(5)})
    assert damaged(run, "describe") == []
    spoil(path)
    assert damaged(run, "describe", is_done=False) == [path]
    # What is not noted cannot be told.
    spoil(run / "descriptors" / "basis.npy")
    assert damaged(run, "describe", is_done=False) == [path]


def test_caches_are_left_out_where_they_are_not_needed(run):
    for name in ("00000000.npz", "basis.npy"):
        spoil(run / "descriptors" / name)
    assert len(damaged(run, "describe")) == 2
    assert damaged(run, "describe", has_caches=False) == []


def test_files_that_the_next_stage_needs_are_missed(run):
    for name in ("tracks.npz", "match/own.npz", "sift.db"):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_bytes(b"matches")
    seal(run, "match")
    assert lost(run, "match") == []
    (run / "sift.db").write_bytes(b"opened")
    assert damaged(run, "match") == []
    for name in ("match/own.npz", "sift.db"):
        (run / name).unlink()
    assert lost(run, "match") == [run / "match/own.npz", run / "sift.db"]


def test_cloud_and_model_are_missed(run):
    model = run / "sparse" / "0"
    model.mkdir(parents=True)
    for path in (run / "densify.json", run / "points.ply", model / "points3D.bin"):
        path.write_bytes(b"points")
    seal(run, "densify")
    assert lost(run, "densify") == []
    shutil.rmtree(run / "sparse")
    (run / "points.ply").unlink()
    assert lost(run, "densify") == [run / "points.ply", model / "points3D.bin"]


def test_a_file_that_is_removed_while_it_is_summed_up_is_a_line(run, monkeypatch):
    def remove(top, files):
        (run / "tracks.npz").unlink()

    monkeypatch.setattr(checksums, "sync_all", remove)
    with pytest.raises(OutputError, match=r"tracks.npz: cannot be written \(No such file"):
        seal(run, "match")


def test_damaged_files_are_kept_aside_but_for_caches(run):
    names = ("frames/00000000.png", "descriptors/00000000.npz")
    for _ in range(2):
        for name in names:
            (run / name).write_bytes(b"other")
        put_aside(run, [run / name for name in names])
    assert sorted(path.name for path in (run / "damaged").rglob("*.*")) == ["00000000.png", "00000000.png.2"]
    assert not any((run / name).exists() for name in names)


def test_a_record_that_is_damaged_itself_or_leads_elsewhere_is_not_used(run, tmp_path):
    (run / "checksums.json").write_text('{"frames": {"../../etc/passwd": "0 00000000"}}')
    assert damaged(run, "frames") == []
    for text in ("{", "[]", '{"frames": 3}', '{"frames": {"frames.json": [1]}}'):
        (run / "checksums.json").write_text(text)
        assert damaged(run, "frames") in ([], [run / "frames.json"])


def test_archives_are_the_same_at_any_time_and_checked_by_their_checksums(tmp_path, monkeypatch):
    arrays = {"a": np.arange(9.0), "b": np.array("text"), "c": np.zeros((0, 2), np.int8)}
    for name, seconds in (("a.npz", 0.0), ("b.npz", 4e9)):
        monkeypatch.setattr("time.time", lambda seconds=seconds: seconds)
        with (tmp_path / name).open("wb") as file:
            write_arrays(file, arrays)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    found = read_arrays(tmp_path / "a.npz")
    for name, array in arrays.items():
        assert np.array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    check_archive(tmp_path / "a.npz")
    spoil(tmp_path / "a.npz")
    with pytest.raises(BadZipFile):
        check_archive(tmp_path / "a.npz")


def test_files_are_on_the_disk_before_they_have_their_name(tmp_path, monkeypatch):
    done, real = [], os.fsync

    def fsync(number):
        done.append(str(Path(f"/proc/self/fd/{number}").readlink()))
        real(number)

    monkeypatch.setattr(atomic.os, "fsync", fsync)
    write_bytes(tmp_path / "a", b"content")
    assert done == [str(tmp_path / "a.partial"), str(tmp_path)]
    done.clear()
    write_bytes(tmp_path / "b", b"content", durable=False)
    assert done == []
    sync_all(tmp_path, [tmp_path / "a", tmp_path / "b"])
    assert sorted(done) == [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "b")]
