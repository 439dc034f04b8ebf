import json
import re

import numpy as np
import pytest
from comparing import coloured, entry, thinned, usual_runs, write_comparison_run
from plane import DEPTH_MM, FRAMES, plane_model, to_own_world, write_run, write_truth
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from dd_sfm.errors import InputError
from dd_sfm.evaluation.comparison.compare import compare_runs
from dd_sfm.evaluation.comparison.table import table_rows
from dd_sfm.io.atomic import json_content


def runs_of(folder, learned, sift):
    return [
        entry(write_comparison_run(folder / "learned", learned, features="learned")),
        entry(write_comparison_run(folder / "sift", sift, features="sift")),
    ]


def test_a_model_in_a_world_of_its_own_comes_to_lie_on_the_other(tmp_path):
    full = plane_model()
    comparison = compare_runs(runs_of(tmp_path, full, to_own_world(thinned(full, 7))))
    moved = comparison.column("sift").model
    assert len(moved.xyz) > 100
    assert cKDTree(full.xyz).query(moved.xyz)[0].max() < 1e-6
    for frame, pose in moved.cam_from_world.items():
        assert np.allclose(pose, full.cam_from_world[frame], atol=1e-6)
    alignment = comparison.figures["runs"]["sift"]["alignment"]
    assert alignment["images_common"] == alignment["images_used"] == 16
    assert alignment["camera_distance_rms_pct_path"] < 1e-4
    assert comparison.column("sift").points.error_px.max() < 1e-6


def test_a_camera_gone_astray_does_not_turn_the_cloud(tmp_path):
    full = plane_model()
    sift = thinned(full, 7)
    sift.cam_from_world[5] = sift.cam_from_world[5] + np.array([[0, 0, 0, 30.0]] * 3)
    comparison = compare_runs(runs_of(tmp_path, full, to_own_world(sift)))
    assert comparison.figures["runs"]["sift"]["alignment"]["images_used"] == 15
    assert np.allclose(comparison.column("sift").model.xyz[:, 2], DEPTH_MM, atol=1e-6)


def test_the_best_points_at_equal_number(tmp_path):
    comparison = compare_runs(usual_runs(tmp_path))
    ours, theirs = (comparison.figures["runs"][name] for name in ("learned", "sift"))
    number = comparison.figures["points_at_equal_number"]
    assert number == theirs["points"] == theirs["best"]["points"] == ours["best"]["points"] < ours["points"]
    # All of SIFT's points are its best; of the learned ones those with long tracks and small errors.
    assert theirs["best"]["reprojection_median_px"] == theirs["reprojection_median_px"]
    assert ours["best"]["reprojection_median_px"] < ours["reprojection_median_px"]
    assert ours["best"]["track_length_mean"] > ours["track_length_mean"]
    # Rayleigh: the median of the length of a 2D normal error is 1.177 sigma.
    assert ours["reprojection_median_px"] == pytest.approx(1.177 * 0.2, rel=0.03)
    assert theirs["reprojection_median_px"] == pytest.approx(1.177 * 0.6, rel=0.05)


def test_true_errors_against_a_rendered_clip(tmp_path):
    truth = write_truth(tmp_path / "truth")
    comparison = compare_runs(usual_runs(tmp_path), truth)
    assert comparison.unit == "mm"
    runs = comparison.figures["runs"]
    # The points themselves are exact; the noise moves the observations, at 20 mm / 100 px.
    assert runs["learned"]["best"]["true_error_median_mm"] < runs["sift"]["true_error_median_mm"]
    assert runs["sift"]["true_error_median_mm"] == pytest.approx(0.6 * DEPTH_MM / 100, rel=0.5)
    assert runs["learned"]["truth"]["trajectory"]["ate_rms"] < 1e-6
    assert len(comparison.reference_path) == 16
    rows = table_rows(comparison)
    labels = {row.label for row in rows}
    equal = [
        row
        for row in rows
        if row.group.startswith(f"At equal number: the {comparison.figures['points_at_equal_number']} points of each")
    ]
    known = [runs[name]["best"]["points_with_truth"] for name in ("learned", "sift")]
    assert next(row.cells for row in equal if "known true error" in row.label) == tuple(map(str, known))
    assert {
        "true error of a point, median [mm]",
        "surface with a point within 1 mm",
        "camera position error, rms [mm]",
    } <= labels


def test_the_table_ticks_the_better_side(tmp_path):
    rows = {row.label: row for row in table_rows(compare_runs(usual_runs(tmp_path)))}
    assert rows["points"].better == 0
    assert rows["registered, of 16 used"].better is None
    assert rows["memory at most"].cells == ("0.51 GB", "0.51 GB")
    assert "true error of a point, median [mm]" not in rows


def test_models_that_share_no_image_are_shown_apart_with_a_note(tmp_path):
    full = plane_model()
    comparison = compare_runs(
        runs_of(tmp_path, thinned(full, 2, frames=range(8)), thinned(full, 2, frames=range(8, 16)))
    )
    assert comparison.column("sift").aligned is False
    assert comparison.figures["notes"] == [
        "sift and learned share no registered image; at least 3 along a path are needed to align them, so each is "
        "shown in its own coordinates"
    ]
    assert comparison.figures["runs"]["sift"]["alignment"] is None


def test_a_run_without_a_model_is_a_column_that_says_so(tmp_path):
    learned, sift = usual_runs(tmp_path)
    lost = write_comparison_run(tmp_path / "none" / "sift_default", None, features="sift")
    comparison = compare_runs([learned, sift, entry(lost, "no model from 16 frames")])
    assert [c.name for c in comparison.with_model] == ["learned", "sift"]
    assert comparison.figures["runs"]["sift_default"]["failure"] == "no model from 16 frames"
    assert all(len(row.cells) == 3 for row in table_rows(comparison))


@pytest.mark.parametrize("lost", ["learned", "sift"])
def test_either_side_may_find_no_model(tmp_path, lost):
    entries = [entry(e.folder, "no model" if e.name == lost else "") for e in usual_runs(tmp_path)]
    comparison = compare_runs(entries)
    assert comparison.figures["points_at_equal_number"] is None
    winner = "The learned descriptor" if lost == "learned" else "SIFT"
    assert comparison.figures["verdict"].startswith(f"{winner} found no model; ")
    assert "registers 16 frames" in comparison.figures["verdict"]


def test_an_empty_cloud(tmp_path):
    full = plane_model()
    empty = thinned(full, len(full.xyz) + 1)
    none = np.zeros(0, np.int64)
    empty = type(empty)(
        empty.camera, empty.cam_from_world, np.zeros((0, 3)), np.zeros((0, 3), np.uint8), np.zeros(0), none, none,
        np.zeros((0, 2)),
    )  # fmt: skip
    with pytest.raises(InputError, match=r"sift/sparse/0: the model of sift has no points; expected a cloud"):
        compare_runs(runs_of(tmp_path, full, empty))


def test_no_model_where_one_should_be(tmp_path):
    learned, sift = usual_runs(tmp_path)
    (sift.folder / "sparse" / "0" / "images.bin").unlink()
    with pytest.raises(InputError, match=r"sift: no model found; expected a run folder with sparse/0"):
        compare_runs([learned, sift])


def check_unmeasured(comparison, warning):
    """Everything is there but for what the reference would have told."""
    figures = comparison.figures
    (found,) = figures["warnings"]
    assert re.search(warning, found), found
    assert (comparison.unit, len(comparison.reference_path), comparison.ground_truth) == ("scene units", 0, None)
    assert all(run["truth"] is None and run["points"] for run in figures["runs"].values())
    assert figures["runs"]["sift"]["alignment"]["images_common"] == FRAMES
    assert figures["verdict"].startswith("The learned descriptor wins")


def test_a_reference_of_other_frames(tmp_path):
    entries = usual_runs(tmp_path)
    other = write_run(tmp_path / "other", thinned(plane_model(4.0), 1, frames=range(10)), first=500)
    check_unmeasured(compare_runs(entries, other), "no run could be measured against it: .* no frame in common with")


def test_a_reference_of_another_video(tmp_path):
    entries = usual_runs(tmp_path)
    rng = np.random.default_rng(0)
    model = plane_model(4.0)
    for frame, pose in model.cam_from_world.items():
        model.cam_from_world[frame] = np.column_stack([pose[:, :3], rng.uniform(-9, 9, 3)])
    comparison = compare_runs(entries, write_run(tmp_path / "other", model))
    check_unmeasured(comparison, "other: its cameras match those of no run; .* a reference of the same video")
    assert any(note.startswith("sift: its cameras do not match those of") for note in comparison.figures["notes"])


def test_a_reference_of_the_same_path_that_looks_elsewhere(tmp_path):
    entries = usual_runs(tmp_path)
    model = plane_model(4.0)
    for frame, pose in model.cam_from_world.items():
        turn = Rotation.from_rotvec([0.1 * np.sin(2.0 * frame), 0.1 * np.cos(1.3 * frame), 0.0]).as_matrix()
        model.cam_from_world[frame] = turn @ pose
    other = write_run(tmp_path / "other", model)
    check_unmeasured(
        compare_runs(entries, other), "other: its cameras match those of no run; .* a reference of the same video"
    )


def test_a_reference_that_counts_from_one_is_noted(tmp_path):
    entries = usual_runs(tmp_path)
    other = write_run(tmp_path / "other", plane_model(4.0), first=1)
    figures = compare_runs(entries, other).figures
    assert figures["warnings"] == []
    note = "learned, sift: frames were found in the reference by the frame numbers, those of the reference counted "
    assert figures["notes"] == [note + "from one"]


def test_frames_thinned_out_are_not_dropped(tmp_path):
    entries = usual_runs(tmp_path)
    for one in entries:
        path = one.folder / "frames.json"
        content = json.loads(path.read_text())
        content["frames"].append({"index": 99, "time_s": 4.0, "kept": False, "reason": "thinned to --max-frames"})
        path.write_text(json.dumps(content))
    comparison = compare_runs(entries)
    assert list(comparison.dropped) == [FRAMES]
    assert comparison.figures["frames_dropped"] == 1


def test_figures_are_json_without_nan(tmp_path):
    figures = json_content(compare_runs(usual_runs(tmp_path)).figures | {"odd": float("nan"), "n": np.int64(3)})
    assert json.loads(json.dumps(figures, allow_nan=False))["odd"] is None
    assert figures["n"] == 3
    odd = json_content({"path": "data/NaNo", "far": [np.inf, np.float32(2)], "run": ("a", None, True)})
    assert odd == {"path": "data/NaNo", "far": [None, 2.0], "run": ["a", None, True]}


def test_damaged_metrics(tmp_path):
    entries = usual_runs(tmp_path)
    (entries[1].folder / "metrics.json").write_text("{")
    with pytest.raises(InputError, match=r"sift/metrics.json: damaged .* --overwrite"):
        compare_runs(entries)
    (entries[0].folder / "frames.json").unlink()
    with pytest.raises(InputError):
        compare_runs(entries)


def test_colours_survive(tmp_path):
    full = coloured(plane_model())
    model = compare_runs(runs_of(tmp_path, thinned(full, 1), thinned(full, 5))).column("learned").model
    assert (model.rgb == full.rgb[cKDTree(full.xyz).query(model.xyz)[1]]).all()


def test_a_run_that_cannot_be_measured_does_not_give_the_common_frame(tmp_path):
    full = coloured(plane_model())
    broken, whole = to_own_world(thinned(full, 1, 0.2, range(2))), to_own_world(thinned(full, 10))
    comparison = compare_runs(runs_of(tmp_path, broken, whole), write_truth(tmp_path / "truth"))
    learned, sift = comparison.columns
    assert comparison.unit == "mm"
    assert not learned.aligned
    assert learned.figures["truth"] is None
    for frame, pose in sift.model.cam_from_world.items():
        assert pose == pytest.approx(full.cam_from_world[frame], abs=1e-3)
    assert len(comparison.reference_path)
