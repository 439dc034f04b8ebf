import numpy as np

from dd_sfm.sfm.track_builder import PairFound, ReferenceMatches, TrackBuilder
from dd_sfm.structures import WorkingGrid

IDENTITY = WorkingGrid(scale=1.0, origin=(0, 0), width=100, height=100, stride=2)


def found(queries, xy, score=0.9):
    return PairFound(
        np.array(queries, np.int64),
        np.array(xy, np.float32).reshape(-1, 2),
        np.full(len(queries), score, np.float32),
        1.0,
    )


def reference(position, xy, tracks, matches):
    return ReferenceMatches(position, np.array(xy, np.float32), np.array(tracks, np.int64), matches)


def test_a_track_goes_on_from_its_next_anchor():
    builder = TrackBuilder(4)
    builder.add(
        reference(0, [[10, 10], [50, 50]], [], {1: found([0, 1], [[11, 10], [51, 50]]), 2: found([0], [[12, 10]])})
    )
    tracks, xy = builder.continuing(2, 2.0)
    assert tracks.tolist() == [0]
    assert xy.tolist() == [[12, 10]]
    builder.add(reference(2, [[12, 10], [80, 80]], tracks, {3: found([0, 1], [[13, 10], [81, 80]])}))
    result = builder.tracks(IDENTITY)
    assert result.count == 3
    assert result.frame[result.track == 0].tolist() == [0, 1, 2, 3]
    assert result.xy[result.track == 0][:, 0].tolist() == [10, 11, 12, 13]
    assert result.anchor[result.track == 0].tolist() == [True, False, False, False]
    assert result.frame[result.track == 2].tolist() == [2, 3]


def test_a_track_has_one_observation_a_frame_the_first():
    builder = TrackBuilder(3)
    builder.add(reference(0, [[10, 10]], [], {1: found([0], [[11, 10]]), 2: found([0], [[12, 10]])}))
    builder.add(reference(1, [[11, 10]], [0], {2: found([0], [[99, 99]])}))
    result = builder.tracks(IDENTITY)
    assert result.frame.tolist() == [0, 1, 2]
    assert result.xy[2].tolist() == [12, 10]


def test_of_close_tracks_the_best_continues():
    builder = TrackBuilder(2)
    builder.add(reference(0, [[10, 10], [60, 60], [30, 30]], [], {1: found([0], [[20, 20]], 0.7)}))
    builder.add(reference(0, np.zeros((0, 2)), [], {1: found([], [])}))
    builder._enter(1, np.array([1]), np.array([[20.5, 20]], np.float32), np.array([0.9], np.float32), anchor=False)
    tracks, _ = builder.continuing(1, 2.0)
    assert tracks.tolist() == [1]


def test_single_observations_are_no_tracks():
    builder = TrackBuilder(2)
    builder.add(reference(0, [[10, 10], [20, 20]], [], {1: found([1], [[21, 20]])}))
    result = builder.tracks(IDENTITY)
    assert result.count == 1
    assert result.track.tolist() == [0, 0]
    assert result.xy.tolist() == [[20, 20], [21, 20]]


def test_source_pixels():
    builder = TrackBuilder(2)
    builder.add(reference(0, [[10, 10]], [], {1: found([0], [[11, 12]])}))
    grid = WorkingGrid(scale=0.5, origin=(100, 40), width=100, height=100, stride=2)
    assert builder.tracks(grid).xy.tolist() == [[220.5, 100.5], [222.5, 104.5]]


def test_matches_survive_the_disk(tmp_path):
    matches = reference(3, [[1, 2], [3, 4]], [7], {4: found([0], [[5, 6]]), 2: found([], []), 9: found([1], [[7, 8]])})
    matches.save(tmp_path / "a.npz")
    read = ReferenceMatches.load(tmp_path / "a.npz", 10)
    assert read.reference == 3
    assert read.targets == [4, 2, 9]
    assert read.tracks.tolist() == [7]
    assert read.found[9].xy.tolist() == [[7, 8]]
    assert len(read.found[2].query) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]
