"""Matching real frames of the demo clip against its truth."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dd_sfm.config import Config, load_config
from dd_sfm.features.describe import DescriptorCache, describe_frames
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
    queries = query_points(matcher.image(0)[0], config.match)
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
        queries = query_points(matcher.image(0)[0], settings.match)
        found = matcher.match(0, 4, queries)
        results.append(dict(zip(found.query.tolist(), map(tuple, found.xy), strict=True)))
    common = results[0].keys() & results[1].keys()
    assert len(common) > 0.95 * len(results[1])
    same = [np.allclose(results[0][k], results[1][k], atol=0.05) for k in common]
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
    frames, out, _ = described
    cache = DescriptorCache(frames, out, CPU, capacity=2)
    for position in range(5):
        found = cache[position]
    assert len(cache._held) == 2
    grid = read_grid(out)
    assert found.descriptors.shape == (64, grid.height // 2, grid.width // 2)
    assert torch.allclose(found.descriptors.norm(dim=0).mean(), torch.tensor(1.0), atol=1e-2)


@pytest.mark.gpu
def test_cuda_and_cpu_describe_alike(described, tmp_path):
    frames, out, config = described
    (tmp_path / "frames").symlink_to(out / "frames")
    describe_frames(frames, tmp_path, config, torch.device("cuda"), silent)
    ours, theirs = DescriptorCache(frames, out, CPU)[3], DescriptorCache(frames, tmp_path, CPU)[3]
    assert (ours.descriptors * theirs.descriptors).sum(0).median() > 0.99


def test_confidence_falls_with_the_error():
    score = confidence(torch.tensor([0.0, 1 / 3, 10.0]))
    assert score[0] == 1
    assert score[1] == pytest.approx(0.5)
    assert score[2] < 0.01
