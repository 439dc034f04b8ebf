"""Pieces are joined by frames that match, and more are tried where nothing joins them."""

from pathlib import Path

import torch
from scene import CAMERA

from dd_sfm.features.piece_links import MORE_TRIED, PieceLinks, without_followed_cuts
from dd_sfm.sfm.pairs import join_groups
from dd_sfm.structures import Frame, FrameSet


def links(pieces, pooled, matches, most=3):
    tried = []

    def probe(reference, target):
        tried.append((reference, target))
        return 0.5 if matches(reference, target) else 0.02

    references = [position for piece in pieces for position in range(piece.start, piece.stop, 4)]
    found = PieceLinks(pieces, references, torch.nn.functional.normalize(pooled, dim=1), probe, most)
    found.find()
    return found, tried


def test_frames_of_other_pieces_that_look_alike_are_found():
    pieces = [range(40), range(40, 80)]
    # The second recording begins where the first is at frame 20.
    place = torch.cat([torch.arange(40), torch.arange(20, 60)]) / 10
    pooled = torch.stack([torch.cos(place), torch.sin(place)], 1)
    found, tried = links(pieces, pooled, lambda a, b: abs(place[a] - place[b]) < 0.5)
    assert found.groups() == [{0, 1}]
    assert 48 in found.targets(28)
    assert 28 in found.targets(48)
    assert found.targets(0) == []
    assert all(found.number_of(a) != found.number_of(b) for a, b in tried)
    assert len(tried) == len(set(tried))
    assert all(len(found.targets(reference)) <= 3 for reference in found.references)


def test_more_is_tried_where_alike_frames_do_not_match_and_that_is_bounded():
    pieces = [range(80), range(80, 160), range(160, 180)]
    pooled = torch.rand(180, 8, generator=torch.Generator().manual_seed(0))
    first, tried = links(pieces, pooled, lambda a, b: False)
    assert first.groups() == [{0}, {1}, {2}]
    assert len(tried) <= 45 * 2 * 2 + 3 * MORE_TRIED
    # A pair that is found only by trying more.
    seen = set(tried)
    more = [pair for pair in list(seen) if pair[0] < 80 <= pair[1] < 160][-1]
    second, _ = links(pieces, pooled, lambda a, b: (a, b) == more)
    assert {0, 1} in second.groups()


def test_groups_by_hand():
    assert join_groups(5, [{0, 3}, {1, 2}, {3, 2}]) == [{0, 1, 2, 3}, {4}]
    assert join_groups(2, []) == [{0}, {1}]


def test_a_boundary_over_which_the_view_follows_is_none():
    pieces = [0] * 5 + [1] * 4 + [2] * 3
    frames = FrameSet(tuple(Frame(k, Path(), Path(), k / 25, piece) for k, piece in enumerate(pieces)), CAMERA, 500)
    tried = []

    def probe(reference, target):
        tried.append((reference, target))
        return 0.6 if (reference, target) == (5, 4) else 0.05

    assert without_followed_cuts(frames, probe).pieces == (range(9), range(9, 12))
    assert set(tried) == {(4, 5), (5, 4), (8, 9), (9, 8)}


def test_from_one_source_to_the_next_the_view_never_follows():
    names = [*(f"first_{k:08d}.png" for k in range(3)), *(f"second_{k:08d}.png" for k in range(3))]
    pieces = [0, 0, 1, 2, 2, 3]
    frames = FrameSet(
        tuple(Frame(k, Path(name), Path(), k / 25, pieces[k]) for k, name in enumerate(names)), CAMERA, 500
    )
    assert without_followed_cuts(frames, lambda *pair: 0.9).pieces == (range(3), range(3, 6))
