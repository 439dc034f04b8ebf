from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import circle_mask, texture

from dd_sfm.errors import InputError
from dd_sfm.evaluation.matching.accuracy import DescriptorMatcher, evenly_chosen, network_matcher, pck_table, table_text
from dd_sfm.evaluation.matching.baselines import dense_sift_descriptor, flow_matcher, sift_matcher
from dd_sfm.evaluation.matching.reference import View, open_reference
from dd_sfm.features.networks import build_network
from dd_sfm.ops.pixels import inside_mask
from dd_sfm.ops.working import field_grid, working_mask

SHIFT = np.array([3.0, -2.0])


class Shifted:
    """A texture that moves by SHIFT from frame to frame, seen through a round field of view at half size."""

    name = "shifted"

    def __init__(self):
        mask = circle_mask(240, 320, 104)
        self.grid = field_grid(mask, 104, where="mask")
        self.mask = working_mask(mask, self.grid)
        self.picture = texture(400, 480)

    def first_frames(self, gap):
        return [i for i in range(10) if i + gap < 10]

    def correspondences(self, source, target, rng):
        xy = np.argwhere(circle_mask(240, 320, 60))[:, ::-1].astype(float)
        xy = xy[rng.integers(len(xy), size=50)]
        return xy, xy + SHIFT * (target - source)

    def view(self, frame):
        move = np.float32([[1, 0, SHIFT[0] * frame - 60], [0, 1, SHIFT[1] * frame - 60]])
        image = cv2.warpAffine(self.picture, move, (320, 240))
        x, y = self.grid.origin
        half = cv2.resize(image, None, fx=self.grid.scale, fy=self.grid.scale, interpolation=cv2.INTER_AREA)
        return View(frame, half[y : y + self.grid.height, x : x + self.grid.width], self.mask)


def patches_of(view):
    """The image around every cell: descriptors enough for a small motion."""
    grey = torch.from_numpy(view.image.copy()).float().mean(-1)[None, None]
    patches = torch.nn.functional.unfold(grey, 9, padding=4).reshape(81, *grey.shape[-2:])
    patches = patches - patches.mean(0)
    height, width = (s // 2 * 2 for s in patches.shape[-2:])
    cells = torch.nn.functional.avg_pool2d(patches[None, :, :height, :width], 2)[0]
    return torch.nn.functional.normalize(cells, dim=0)


def test_the_true_shift_has_no_error_and_a_wrong_one_its_length():
    reference = Shifted()
    scale = reference.grid.scale

    def off_by_three(source, target, xy):
        return xy + SHIFT * scale * (target.frame - source.frame) + [3.0 * scale, 0.0]

    rows = pck_table(off_by_three, reference, gaps=(1, 4), thresholds_px=(2.9, 3.1), pairs_per_gap=3)
    assert [(r.gap, r.pairs, r.points) for r in rows] == [(1, 3, 150), (4, 3, 150)]
    assert all(r.pck == (0.0, 1.0) for r in rows)
    assert rows[0].median_error_px == pytest.approx(3.0, abs=1e-6)


def test_lost_points_count_as_wrong():
    rows = pck_table(lambda source, target, xy: np.full_like(xy, np.nan), Shifted(), gaps=(1,), thresholds_px=(1e9,))
    assert rows[0].pck == (0.0,)


@pytest.mark.parametrize("matcher", [sift_matcher(patch_px=12.0), flow_matcher], ids=["sift", "flow"])
def test_baselines_find_a_shifted_texture(matcher):
    (row,) = pck_table(matcher, Shifted(), gaps=(2,), thresholds_px=(1.0, 2.0), pairs_per_gap=2)
    assert row.pck[1] > 0.95


def test_descriptors_of_the_picture_itself_give_the_shift_to_a_fraction_of_a_cell():
    # A cell is 4 source pixels wide and the shift is one and a half cells.
    (row,) = pck_table(DescriptorMatcher(patches_of, 2), Shifted(), gaps=(2,), thresholds_px=(1.0,), pairs_per_gap=2)
    assert row.median_error_px < 0.8


def test_every_frame_is_described_once():
    described = []

    def describe(view):
        described.append(view.frame)
        return torch.nn.functional.normalize(torch.rand(4, *(s // 2 for s in view.mask.shape)), dim=0)

    matcher = DescriptorMatcher(describe, 2)
    pck_table(matcher, Shifted(), gaps=(1, 2), pairs_per_gap=10)
    assert sorted(described) == list(range(10))


def test_pairs_and_points_depend_on_the_arguments_alone():
    network = build_network("compact", dim=16)
    first, second = (
        pck_table(network_matcher(network, torch.device("cpu")), Shifted(), gaps=(3, 1), pairs_per_gap=2)
        for _ in range(2)
    )
    assert first == second


def test_no_pair_at_the_gaps():
    with pytest.raises(InputError, match="no pair with common points at gaps 50"):
        pck_table(flow_matcher, Shifted(), gaps=(50,))


def test_spread_takes_the_middles():
    assert evenly_chosen(range(10), 2) == [2, 7]
    assert evenly_chosen([4, 5], 8) == [4, 5]


def test_sift_is_unit_norm_inside_the_mask_and_zero_outside():
    view = Shifted().view(0)
    norm = dense_sift_descriptor(view).norm(dim=0)
    inside = torch.from_numpy(view.mask[1::2, 1::2][: norm.shape[0], : norm.shape[1]])
    assert torch.allclose(norm[inside], torch.ones(1), atol=1e-4)
    assert float(norm[~inside].max()) == 0.0


def test_inside_mask_by_hand():
    mask = np.array([[True, False], [True, True]])
    xy = np.array([[0.4, 0.4], [1.0, 0.0], [1.2, 1.4], [-0.6, 0.0], [np.nan, 0.0], [2.0, 1.0]])
    assert inside_mask(mask, xy).tolist() == [True, False, True, False, False, False]


def test_an_empty_mask():
    with pytest.raises(InputError, match="no usable pixel"):
        field_grid(np.zeros((20, 20), bool), 10, where="mask")


def test_a_folder_of_neither_kind(tmp_path):
    with pytest.raises(InputError, match=r"found neither motion\.yaml .* nor truth\.npz"):
        open_reference(str(tmp_path), 500)


def test_table_text():
    rows = pck_table(flow_matcher, Shifted(), gaps=(1,), thresholds_px=(2.0,), pairs_per_gap=1)
    lines = table_text(rows).splitlines()
    assert lines[0] == "| sequence | gap | pairs | points | 2 px | median px |"
    assert lines[2].startswith("| shifted | 1 | 1 | 50 | ")
    assert table_text([]) == ""


def test_rendered_demo_clip_is_found_by_flow_at_small_gaps():
    folder = Path(__file__).parents[2] / "demo_videos" / "sinus"
    if not (folder / "truth.npz").is_file():
        pytest.skip("the demo clip has no truth.npz")
    (row,) = pck_table(flow_matcher, open_reference(str(folder), 250), gaps=(1,), thresholds_px=(4.0,), pairs_per_gap=3)
    assert row.pck[0] > 0.9


def test_a_range_of_a_real_sequence(shared_data):
    reference = open_reference(f"{shared_data / 'jhu_format' / '1' / 'sinus_a'}:110-189", 250)
    assert len(reference.frames) == 80
    starts = reference.first_frames(12)
    assert min(starts) >= reference.sequence.frames[110]
    assert max(starts) + 12 <= reference.sequence.frames[189]
    (row,) = pck_table(flow_matcher, reference, gaps=(1,), thresholds_px=(8.0,), pairs_per_gap=2)
    assert row.pck[0] > 0.9


def test_a_range_of_a_rendered_clip():
    demo = Path(__file__).parents[2] / "demo_videos" / "sinus"
    # Every 15th frame has depth.
    assert open_reference(f"{demo}:10-46", 250).first_frames(1) == [15, 30, 45]
    assert open_reference(f"{demo}:10-46", 250).first_frames(16) == [15, 30]
    for span in ("40-80", "30-20"):
        with pytest.raises(InputError, match=rf"sinus:{span}: expected FIRST-LAST within its frames, 0-74"):
            open_reference(f"{demo}:{span}", 250)
