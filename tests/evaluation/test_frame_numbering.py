"""Which frame is which between reconstructions that number them in their own ways."""

import numpy as np
import pytest
from comparing import thinned
from plane import FRAMES, plane_model, plane_poses, to_own_world, write_run, write_truth

from dd_sfm.errors import InputError
from dd_sfm.evaluation.model.evaluate import evaluate_model
from dd_sfm.evaluation.model.frame_numbering import MIN_FRAMES_TO_FIT, NumberedPoses, Numbering, match_frame_numbers
from dd_sfm.sfm.geometry import Similarity

TURNED = Similarity(0.3, np.array([[0, -1.0, 0], [1, 0, 0], [0, 0, 1]]), np.array([4.0, -2.0, 1.0]))

NOTE = f"frames were found in the reference by the {Numbering.REFERENCE_FROM_ONE.value}: 0 is the reference's 1"


def curve(count=40, shake=0.0, bend=6.0):
    """Poses along a bent path, a unit of length a frame, with some shake."""
    k = np.arange(count)
    centres = np.stack([k, bend * np.sin(k / 4), 0 * k], 1) + np.random.default_rng(0).normal(0, shake, (count, 3))
    return np.concatenate([np.tile(np.eye(3), (count, 1, 1)), -centres[:, :, None]], 2)


def numbered(poses, numbers=None, kind="colmap", **more):
    numbers = range(len(poses)) if numbers is None else numbers
    return NumberedPoses(kind, dict(zip(numbers, poses, strict=True)), tuple(numbers), **more)


def own(shake=0.05, **options):
    """The same path as a mapper finds it: in a world of its own, and not exact."""
    return TURNED.poses(curve(shake=shake, **options))


def test_a_reference_counted_from_one():
    for kind in ("run", "colmap"):
        found = match_frame_numbers(numbered(own(), kind=kind), numbered(curve(), range(1, 41)))
        assert found.numbering == Numbering.REFERENCE_FROM_ONE
        assert (found.run, found.reference) == (tuple(range(40)), tuple(range(1, 41)))
        assert found.notes == [NOTE]


def test_a_model_counted_from_one():
    for kind in ("run", "colmap", "rendered"):
        found = match_frame_numbers(numbered(own(), range(1, 41)), numbered(curve(), kind=kind))
        assert found.numbering == Numbering.RUN_FROM_ONE
        assert (found.run[0], found.reference[0]) == (1, 0)


def test_a_run_of_some_frames_only():
    every = range(0, 40, 4)
    found = match_frame_numbers(numbered(own()[::4], every, kind="run"), numbered(curve(), range(1, 41)))
    assert found.numbering == Numbering.REFERENCE_FROM_ONE
    assert found.reference == tuple(range(1, 41, 4))
    # Of the images that were taken out for the reference there are as few.
    for start in (0, 1):
        found = match_frame_numbers(
            numbered(own()[::4], every, kind="run"), numbered(curve()[::4], range(start, start + 10))
        )
        assert (found.numbering, found.run, found.reference[0]) == (Numbering.FRAME_ORDER, tuple(every), start)


def test_a_cut_of_a_longer_video():
    found = match_frame_numbers(numbered(own(), kind="run"), numbered(curve(), range(500, 540)))
    assert (found.numbering, found.reference[0]) == (Numbering.FRAME_ORDER, 500)
    astray = np.random.default_rng(1).permutation(40)
    assert match_frame_numbers(numbered(own()[astray], kind="run"), numbered(curve(), range(500, 540))).run == ()


@pytest.mark.parametrize("shake", [0.0, 1e-9, 0.05, 0.5, 3.0])
@pytest.mark.parametrize("bend", [6.0, 0.0])
@pytest.mark.parametrize("kind", ["run", "colmap"])
def test_the_same_numbers_stay(shake, bend, kind):
    """On a straight slow path an offset fits as well but for noise, of which there may be none."""
    for count in (3, 5, MIN_FRAMES_TO_FIT, 40):
        ours = numbered(own(shake, bend=bend)[:count], kind=kind)
        found = match_frame_numbers(ours, numbered(curve(bend=bend)[:count]))
        assert (found.numbering, len(found.run), found.notes) == (Numbering.SAME_NUMBERS, count, [])
        gaps = [k for k in range(count) if k % 5]
        sparse = match_frame_numbers(ours, numbered(curve(bend=bend)[gaps], gaps))
        assert sparse.numbering == Numbering.SAME_NUMBERS


def test_runs_have_the_numbers_of_their_source():
    assert match_frame_numbers(numbered(own(), kind="run"), numbered(curve(), range(500, 540), kind="run")).run == ()
    found = match_frame_numbers(numbered(own(), kind="run"), numbered(curve(), range(1, 41), kind="run"))
    assert found.numbering == Numbering.SAME_NUMBERS


def test_few_frames_prove_nothing():
    few = MIN_FRAMES_TO_FIT - 1
    assert match_frame_numbers(numbered(own()[:few]), numbered(curve()[:few], range(500, 500 + few))).run == ()


def test_names_of_source_images_come_first():
    ours = numbered(own(), kind="run", source_number={k: k + 1 for k in range(40)})
    assert match_frame_numbers(ours, numbered(curve(), range(1, 41))).numbering == Numbering.IMAGE_NAMES


def test_cameras_at_one_place_have_their_numbers():
    still = np.tile(np.eye(3, 4), (12, 1, 1))
    assert match_frame_numbers(numbered(still), numbered(curve(12), range(1, 13))).numbering == Numbering.SAME_NUMBERS


def test_a_reference_of_images_from_ffmpeg_is_noted(tmp_path):
    model = plane_model(4.0)
    run = write_run(tmp_path / "run", to_own_world(model))
    figures = evaluate_model(run, write_run(tmp_path / "other", model, first=1, pattern="frame_{:04d}.png")).figures
    assert figures["frame_numbering"] == Numbering.REFERENCE_FROM_ONE.value
    assert figures["frames_common"] == FRAMES
    assert figures["trajectory"]["ate_max"] < 1e-6
    assert figures["notes"] == [NOTE]
    assert evaluate_model(run, write_run(tmp_path / "same", model)).figures["notes"] == []


def test_a_model_of_images_from_ffmpeg_in_a_rendered_clip(tmp_path):
    truth = write_truth(tmp_path / "truth")
    figures = evaluate_model(write_run(tmp_path / "run", to_own_world(plane_model()), first=1), truth).figures
    assert figures["frame_numbering"] == Numbering.RUN_FROM_ONE.value
    # The depth of the frame, not of the one after it, is what its points are measured with.
    assert figures["surface"]["error_p90_mm"] < 1e-6
    assert len(plane_poses()) == figures["frames_common"]


def test_fewer_than_three_frames_are_none(tmp_path):
    model = plane_model(4.0)
    run, other = write_run(tmp_path / "run", model), write_run(tmp_path / "other", model, first=14)
    assert evaluate_model(run, other).figures["frame_numbering"] == Numbering.FRAME_ORDER.value
    model = thinned(model, 1, frames=range(FRAMES - 2))
    with pytest.raises(InputError, match="2 frames in common"):
        evaluate_model(run, write_run(tmp_path / "fewer", model, first=14))
