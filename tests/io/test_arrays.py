"""Arrays in NumPy's files, as they are read without parsing expressions."""

import ast
import io
import time
import zipfile
from contextlib import suppress

import numpy as np
import pytest

from dd_sfm.io.arrays import HEAD, read_array, read_arrays

ARRAYS = {
    "numbers": np.arange(24, dtype=np.float16).reshape(2, 3, 4),
    "columns": np.asfortranarray(np.arange(12).reshape(3, 4)),
    "one": np.array([7], np.int64),
    "scalar": np.array(2.5),
    "none": np.zeros((0, 2), np.float32),
    "no_axis": np.zeros((3, 0), np.int64),
    "flags": np.array([True, False]),
    "text": np.array('[{"code": "ä"}]'),
    "empty_text": np.array(""),
    "swapped": np.arange(5, dtype=">i4"),
    "strided": np.arange(10)[::2],
}


def test_arrays_are_those_that_numpy_reads(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", **ARRAYS)
    np.savez_compressed(tmp_path / "b.npz", **ARRAYS)
    for name, array in ARRAYS.items():
        np.save(tmp_path / f"{name}.npy", array)
    theirs = dict(np.load(tmp_path / "a.npz"))
    for function in ("literal_eval", "parse"):
        monkeypatch.setattr(ast, function, lambda *_: pytest.fail("an expression is parsed"))
    single = {name: read_array(tmp_path / f"{name}.npy") for name in ARRAYS}
    for found in (read_arrays(tmp_path / "a.npz"), read_arrays(tmp_path / "b.npz"), single):
        assert list(found) == list(ARRAYS)
        for name, array in found.items():
            assert (array.dtype, array.shape) == (theirs[name].dtype, theirs[name].shape)
            assert np.array_equal(array, theirs[name])
            assert array.flags.writeable


def test_heads_of_other_versions_of_the_format(tmp_path):
    for version in ((1, 0), (2, 0), (3, 0)):
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, ARRAYS["numbers"], version=version)
        (tmp_path / "a.npy").write_bytes(buffer.getvalue())
        assert np.array_equal(read_array(tmp_path / "a.npy"), ARRAYS["numbers"])


def test_what_is_no_array_is_told(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, ARRAYS["numbers"])
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with pytest.raises(ValueError, match="ends early"):
        read_array(path)
    for content in (b"", b"\x93NUM", b"nothing of the kind", whole[:40]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is no array|something else"):
            read_array(path)
    for array in (np.array([{}], object), np.zeros(3, [("a", int)])):
        np.save(path, array, allow_pickle=True)
        with pytest.raises(ValueError, match="something else than numbers or text"):
            read_array(path)
    path.write_bytes(whole)
    with pytest.raises(zipfile.BadZipFile):
        read_arrays(path)


@pytest.mark.parametrize(
    ("kind", "shape", "says"),
    [
        ("z9", "3,", "something else than numbers or text"),
        ("<f3", "3,", "something else than numbers or text"),
        ("O8", "3,", "something else than numbers or text"),
        ("<f4", "999999999999,", "ends early"),
        ("<f4", "99999, 99999, 99999", "ends early"),
        ("<f4", "9" * 30 + ",", "ends early"),
        ("<U0", "999999999999,", "ends early"),
        ("<f4", "0, " + "9" * 30, "dimension"),
        ("<f4", "1 1", "something else"),
    ],
)
def test_heads_that_claim_what_is_not_there(tmp_path, kind, shape, says):
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}\n".encode()
    content = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(12)
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=says):
        read_array(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(ValueError, match=says):
        read_arrays(tmp_path / "a.npz")


def test_a_head_is_read_in_time_that_grows_with_its_length():
    started = time.monotonic()
    for digits in ("1" * 5000, "1, " * 2000):
        assert not HEAD.fullmatch(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({digits}x")
    assert time.monotonic() - started < 1


def test_a_damaged_archive_raises_what_callers_expect(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, numbers=np.random.default_rng(0).integers(0, 9, 500))
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with suppress(OSError, ValueError, zipfile.BadZipFile):
            read_arrays(path)
