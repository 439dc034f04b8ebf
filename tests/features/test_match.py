"""Matching real frames of the demo clip against its truth."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dd_sfm.config import Config, load_config
from dd_sfm.features.describe import describe_frames, has_descriptors
from dd_sfm.features.descriptor_cache import DescriptorCache
from dd_sfm.features.held_maps import HeldMaps
from dd_sfm.features.match import Matcher, match_frames
from dd_sfm.features.queries import query_points
from dd_sfm.features.view_matching import confidence
from dd_sfm.io.run_folder import read_grid
from dd_sfm.io.truth import read_truth
from dd_sfm.pipeline.frames import extract_frames
from dd_sfm.progress import silent

DEMO = Path(__file__).parents[2] / "demo_videos" / "sinus"
CPU = torch.device("cpu")
OVERRIDES = ["frames.end=9", "match.query_spacing_px=10", "pairs.offsets=[1,2,4]", "pairs.loop_candidates=0"]


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """Nine frames of the demo clip with descriptors."""
    out = tmp_path_factory.mktemp("match")
    config = load_config(Config, None, OVERRIDES)
    calibration = str(DEMO / "calibration.txt")
    frames = extract_frames(DEMO / "clip.mp4", out, config, calibration=calibration, mask=None, progress=silent)
    describe_frames(frames, out, config, CPU, silent)
    return frames, out, config


@pytest.mark.slow
def test_matches_are_right_to_a_pixel_or_two(described):
    frames, out, config = described
    matcher, truth = Matcher(frames, out, config, CPU), read_truth(DEMO)
    queries = query_points(matcher.frame(0), config.match)
    found = matcher.match(0, 5, queries)
    assert len(found.query) > 0.5 * len(queries)
    grid = matcher.maps.grid
    source, target = (grid.to_source(v.astype(float)) for v in (queries[found.query], found.xy))
    true, visible = truth.correspondences(0, 5, source)
    error = np.linalg.norm(true - target, axis=1)[visible]
    assert np.median(error) < 1.2
    assert (error < 4).mean() > 0.9
    assert ((found.score > 0) & (found.score <= 1)).all()


@pytest.mark.slow
def test_coarse_search_agrees_with_exhaustive(described):
    frames, out, _ = described
    results = []
    for search in ("coarse", "exhaustive"):
        settings = load_config(Config, None, [*OVERRIDES, f"match.search={search}", "match.subpixel=false"])
        matcher = Matcher(frames, out, settings, CPU)
        queries = query_points(matcher.frame(0), settings.match)
        found = matcher.match(0, 4, queries)
        results.append(dict(zip(found.query.tolist(), map(tuple, found.xy), strict=True)))
    common = results[0].keys() & results[1].keys()
    assert len(common) > 0.95 * len(results[1])
    # The coarse search reads descriptors in 8 bits.
    same = [np.allclose(results[0][k], results[1][k], atol=0.2) for k in common]
    assert np.mean(same) > 0.97


@pytest.mark.slow
def test_tracks_are_long_and_the_same_after_a_break(described):
    frames, out, config = described
    first = match_frames(frames, out, config, CPU, silent)
    tracks = first.tracks
    lengths = np.bincount(tracks.track)
    assert tracks.count > 500
    assert np.median(lengths) >= 4
    # A track has one observation in a frame, and one anchor.
    assert len(np.unique(np.stack([tracks.track, tracks.frame]), axis=1).T) == len(tracks.track)
    assert (np.bincount(tracks.track, weights=tracks.anchor) == 1).all()
    references = sorted((out / "matches").glob("*.npz"))
    references[-1].unlink()
    again = match_frames(frames, out, config, CPU, silent)
    assert np.array_equal(again.tracks.xy, tracks.xy)
    assert again.pairs == first.pairs


@pytest.mark.slow
def test_cache_holds_few_maps(described):
    frames, out, config = described
    cache = DescriptorCache(frames, out, config, CPU, capacity=2)
    for position in range(5):
        found = cache[position]
    assert len(cache) == 2
    grid = read_grid(out)
    assert found.descriptors.shape == (48, grid.height // 2, grid.width // 2)
    assert torch.allclose(found.descriptors[:, found.usable].norm(dim=0), torch.tensor(1.0), atol=1e-5)


@pytest.mark.slow
def test_maps_that_are_not_on_disk_are_made_anew(described, tmp_path):
    frames, out, config = described
    (tmp_path / "run").mkdir()
    settings = load_config(Config, None, [*OVERRIDES, "runtime.cache_gb=0.006"])
    describe_frames(frames, tmp_path / "run", settings, CPU, silent)
    stored = sorted((tmp_path / "run" / "descriptors").glob("*.npz"))
    assert [int(path.stem) for path in stored] == [0, 1]
    assert has_descriptors(frames, tmp_path / "run", settings)
    assert not has_descriptors(frames, tmp_path / "run", config)
    found = match_frames(frames, tmp_path / "run", settings, CPU, silent).tracks
    expected = match_frames(frames, out, config, CPU, silent).tracks
    assert np.array_equal(found.xy, expected.xy)
    # Matching has come to the end, and the first frames have made room for those that it needed last.
    assert min(int(path.stem) for path in (tmp_path / "run" / "descriptors").glob("*.npz")) > 0


@pytest.mark.slow
def test_maps_that_describing_left_in_memory_are_matched(described, tmp_path, monkeypatch):
    frames, out, config = described
    assert not HeldMaps(CPU).has_room()
    monkeypatch.setattr(HeldMaps, "has_room", lambda self: len(self._maps) < 5)
    held = HeldMaps(CPU)
    describe_frames(frames, tmp_path, config, CPU, silent, held)
    assert sum(held.get(frame.index) is not None for frame in frames.frames) == 5
    cache = DescriptorCache(frames, tmp_path, config, CPU, held=held)
    for position, frame in enumerate(frames.frames):
        assert torch.equal(cache[position].descriptors, DescriptorCache(frames, out, config, CPU)[position].descriptors)
        if held.get(frame.index) is not None:
            assert cache[position] is held.get(frame.index)


@pytest.mark.gpu
def test_cuda_and_cpu_describe_alike(described, tmp_path):
    frames, out, config = described
    (tmp_path / "frames").symlink_to(out / "frames")
    describe_frames(frames, tmp_path, config, torch.device("cuda"), silent)
    ours, theirs = (DescriptorCache(frames, run, config, CPU)[3] for run in (out, tmp_path))
    assert (ours.descriptors * theirs.descriptors).sum(0).median() > 0.99


def test_confidence_falls_with_the_error():
    score = confidence(torch.tensor([0.0, 1 / 3, 10.0]))
    assert score[0] == 1
    assert score[1] == pytest.approx(0.5)
    assert score[2] < 0.01
