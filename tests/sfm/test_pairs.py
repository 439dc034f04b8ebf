from dataclasses import replace

import pytest
import torch

from dd_sfm.config import PairsConfig
from dd_sfm.sfm.pairs import (
    adaptive_targets,
    loop_targets,
    other_targets,
    piece_of,
    pool_descriptors,
    reference_positions,
    spread_pairs,
    window_pairs,
    window_targets,
)


def test_window_by_hand():
    config = PairsConfig(reference_every=3, offsets=(1, 2))
    assert reference_positions([range(8)], config) == [0, 3, 6]
    assert window_targets(3, range(8), config) == [4, 2, 5, 1]
    assert window_targets(0, range(8), config) == [1, 2]
    assert window_pairs([range(5)], config) == [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4)]


def test_every_frame_is_a_target_or_a_reference():
    config = PairsConfig()
    for count in (3, 10, 101):
        seen = {p for pair in window_pairs([range(count)], config) for p in pair}
        assert seen == set(range(count))


def test_probing_stops_where_the_view_changes():
    config = PairsConfig(offsets=(1, 2, 3, 4), probe_every=5, min_inlier_ratio=0.4)
    targets = list(adaptive_targets(10, range(100), config, lambda p: 0.8 if 0 <= p <= 22 else 0.0))
    assert sorted(targets) == sorted(set(range(0, 23)) - {10})
    assert len(targets) == len(set(targets))


def test_one_bad_probe_ends_nothing():
    config = PairsConfig(offsets=(1, 2, 3, 4), probe_every=5, min_inlier_ratio=0.4)
    targets = set(adaptive_targets(0, range(60), config, lambda p: 0.3 if p == 7 else 0.9 if p <= 30 else 0.0))
    assert 7 in targets
    assert max(targets) == 27


def test_loops_are_found_beyond_the_window_and_apart():
    pooled = torch.zeros(100, 3)
    pooled[:, 0] = 1.0
    pooled[16:] = torch.tensor([0.0, 1.0, 0.0])
    pooled[80:84] = torch.tensor([0.96, 0.28, 0.0])
    config = PairsConfig(offsets=(1, 10), loop_candidates=2, loop_min_similarity=0.8)
    found = loop_targets(pooled, 5, range(100), config)
    assert 80 in found
    assert not set(found) & {81, 82, 83}
    assert all(abs(f - 5) > 10 for f in found)


def test_pooled_descriptor_depends_on_usable_cells_alone():
    descriptors = torch.nn.functional.normalize(torch.randn(8, 20, 20), dim=0)
    usable = torch.zeros(20, 20, dtype=torch.bool)
    usable[5:15, 5:15] = True
    changed = descriptors.clone()
    changed[:, :5] = 0
    assert torch.allclose(pool_descriptors(descriptors, usable), pool_descriptors(changed, usable))
    assert torch.isclose(pool_descriptors(descriptors, usable).norm(), torch.tensor(1.0))


@pytest.mark.parametrize("every", [1, 4, 6, 7, 20])
@pytest.mark.parametrize("count", [3, 24, 30, 41])
def test_every_frame_is_in_a_pair(every, count):
    config = replace(PairsConfig(), reference_every=every)
    references = reference_positions([range(count)], config)
    assert references == sorted(set(references))
    assert {p for pair in window_pairs([range(count)], config) for p in pair} == set(range(count))
    if every == 4:
        assert references == list(range(0, count, 4))


def test_no_pair_leads_over_the_end_of_a_piece():
    config = PairsConfig(reference_every=3, offsets=(1, 2))
    pieces = [range(5), range(5, 12)]
    assert reference_positions(pieces, config) == [0, 3, 5, 8, 11]
    assert window_targets(5, pieces[1], config) == [6, 7]
    assert piece_of(4, pieces) == pieces[0]
    pairs = window_pairs(pieces, config)
    assert {p for pair in pairs for p in pair} == set(range(12))
    assert all(piece_of(i, pieces) == piece_of(j, pieces) for i, j in pairs)
    adaptive = adaptive_targets(6, pieces[1], config, lambda p: 1.0)
    assert set(adaptive) == {5, 7, 8, 9, 10, 11}


def test_loops_stay_within_the_piece_and_others_are_references():
    pooled = torch.nn.functional.normalize(torch.rand(60, 4), dim=1)
    pooled[50] = pooled[2]
    config = PairsConfig(offsets=(1, 2), loop_candidates=3, loop_min_similarity=0.0)
    assert all(target < 40 for target in loop_targets(pooled, 2, range(40), config))
    assert other_targets(pooled, 2, [0, 30, 45, 50, 55], range(40))[0] == 50
    assert set(other_targets(pooled, 2, [0, 30, 45, 50, 55], range(40))) == {45, 50, 55}


def test_spread_pairs_are_of_different_pieces_and_bounded():
    pieces = [range(40), range(40, 90), range(90, 91)]
    assert spread_pairs(pieces[:1], 4, 100) == []
    pairs = spread_pairs(pieces, 4, 100)
    assert len(pairs) <= 100
    assert {(0, 40), (0, 90), (40, 90)} <= set(pairs)
    assert all(piece_of(i, pieces) != piece_of(j, pieces) for i, j in pairs)
