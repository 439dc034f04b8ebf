"""Arrays in NumPy's files, as they are read without parsing expressions."""

import ast
import io
import zipfile

import numpy as np
import pytest

from dd_sfm.io.arrays import read_array, read_arrays

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
