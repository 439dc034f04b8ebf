"""Part of a model: the points of a sample with all they have in the whole one, in little memory."""

import tracemalloc

import numpy as np
import pytest
from plane import plane_model, write_run

from dd_sfm.errors import InputError
from dd_sfm.io import colmap_sample
from dd_sfm.io.colmap_sample import Sample
from dd_sfm.io.colmap_source import read_any_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("sample") / "sparse" / "0", plane_model(0.2))


def test_a_sample_holds_what_the_whole_model_holds_of_its_points(folder, monkeypatch):
    monkeypatch.setattr(colmap_sample, "READ_AT_ONCE", 1000)
    whole = read_any_model(folder).model
    for sample in (Sample(40, 10**9), Sample(10**9, 40 * len(whole.point) // len(whole.xyz))):
        part = read_any_model(folder, sample).model
        assert 35 < len(part.xyz) <= 41
        rows = {tuple(place): k for k, place in enumerate(whole.xyz)}
        taken = [rows[tuple(place)] for place in part.xyz]
        assert taken == sorted(taken)
        assert taken[0] < len(rows) / 30
        assert taken[-1] > len(rows) * 29 / 30
        for k, number in enumerate(taken):
            mine, other = part.point == k, whole.point == number
            np.testing.assert_array_equal(part.frame[mine], whole.frame[other])
            np.testing.assert_array_equal(part.xy[mine], whole.xy[other])
        np.testing.assert_array_equal(part.rgb, whole.rgb[taken])
        assert part.cam_from_world.keys() == whole.cam_from_world.keys()


def test_a_sample_larger_than_the_model_is_the_model(folder):
    whole, part = read_any_model(folder), read_any_model(folder, Sample(10**9, 10**9))
    for name in ("xyz", "rgb", "error_px", "point", "frame", "xy"):
        np.testing.assert_array_equal(getattr(part.model, name), getattr(whole.model, name))
    alone = read_any_model(folder, Sample(10**9, 0))
    np.testing.assert_array_equal(alone.model.xyz, whole.model.xyz)
    assert (len(alone.model.point), alone.names, alone.cameras) == (0, whole.names, whole.cameras)


def test_a_sample_takes_little_memory(folder, monkeypatch):
    monkeypatch.setattr(colmap_sample, "READ_AT_ONCE", 1 << 14)
    count = len(read_any_model(folder).model.point)
    tracemalloc.start()
    try:
        read_any_model(folder, Sample(200, 2000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 * count


@pytest.mark.parametrize("name", ["images.bin", "points3D.bin"])
@pytest.mark.parametrize("left", [4, 20, 0.3, 0.99])
def test_a_file_that_was_cut_short_is_told(folder, tmp_path, name, left):
    for path in folder.iterdir():
        content = path.read_bytes()
        kept = content[: left if isinstance(left, int) else int(left * len(content))] if path.name == name else content
        (tmp_path / path.name).write_bytes(kept)
    with pytest.raises(InputError, match=f"{name}: cut short or damaged"):
        read_any_model(tmp_path, Sample(100, 1000))
