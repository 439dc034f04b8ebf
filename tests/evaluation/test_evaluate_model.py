import json
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
from conftest import SHARED
from plane import CAMERA, FRAMES, plane_model, plane_poses, to_own_world, write_run, write_truth
from plyfile import PlyData, PlyElement
from scene import project
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import camera_centres
from dd_sfm.errors import InputError
from dd_sfm.evaluation.comparison.result import point_figures, quality_figures
from dd_sfm.evaluation.model.evaluate import evaluate_model
from dd_sfm.evaluation.model.pose_reference import find_model, frame_numbers
from dd_sfm.evaluation.model.surface import TrueObservations, distinct_cells, point_errors, visible_surface
from dd_sfm.io.colmap_source import rewrite_model
from dd_sfm.io.jhu import read_sequence
from dd_sfm.io.truth import read_truth
from dd_sfm.io.undistortion import Undistortion
from dd_sfm.pipeline.metrics import model_figures
from dd_sfm.sfm.geometry import Similarity, model_rays, reprojection_errors_px
from dd_sfm.structures import Model


def pose_only(poses):
    """A model without points."""
    empty = np.zeros(0, np.int64)
    return replace(
        plane_model(8.0), cam_from_world=poses, xyz=np.zeros((0, 3)), rgb=np.zeros((0, 3), np.uint8),
        error_px=np.zeros(0), point=empty, frame=empty, xy=np.zeros((0, 2)),
    )  # fmt: skip


def at_half_size(model):
    """The same, had the frames been half as large."""
    return replace(
        model, camera=replace(CAMERA, width=80, height=60, fx=50.0, fy=50.0, cx=39.5, cy=29.5),
        xy=(model.xy + 0.5) / 2 - 0.5,
    )  # fmt: skip


@pytest.fixture
def truth(tmp_path):
    return write_truth(tmp_path / "truth")


@pytest.fixture
def measured(tmp_path, truth):
    def call(model, **options):
        return evaluate_model(write_run(tmp_path / "model", model), truth, **options)

    return call


def test_the_truth_itself_has_no_error(measured):
    model = plane_model()
    figures = measured(to_own_world(model)).figures
    assert figures["unit"] == "mm"
    assert (figures["frames_registered"], figures["frames_total"], figures["frames_common"]) == (FRAMES,) * 3
    assert figures["frames_aligned"] == FRAMES
    assert figures["trajectory"]["ate_max"] < 1e-9
    assert figures["trajectory"]["rotation_max_deg"] < 1e-5
    assert all(row["translation_rms"] < 1e-9 for row in figures["relative_pose"])
    surface = figures["surface"]
    assert surface["error_p90_mm"] < 1e-6
    assert surface["per_point"]["error_p90_mm"] < 1e-6
    assert surface["aligned_by_points"]["error_p90_mm"] < 1e-6
    assert surface["aligned_by_points"]["scale_ratio"] == pytest.approx(1.0)
    # The points lie 0.5 mm apart, so none of the plane is 0.36 mm from one.
    assert surface["completeness_0.5mm"] > 0.99
    assert figures["points"]["points"] == len(model.xyz)
    assert figures["points"]["reprojection_p90_px"] < 1e-6
    assert figures["notes"] == figures["warnings"] == []


def test_points_too_deep_by_a_millimetre(measured):
    model = plane_model()
    evaluation = measured(to_own_world(replace(model, xyz=model.xyz + np.array([0, 0, 1.0]))))
    surface = evaluation.figures["surface"]
    # The observations did not move: what the pixel shows is 1 mm nearer.
    assert surface["error_median_mm"] == pytest.approx(1.0, abs=1e-6)
    assert surface["error_p90_mm"] == pytest.approx(1.0, abs=1e-6)
    assert evaluation.error[np.isfinite(evaluation.error)] == pytest.approx(1.0, abs=1e-6)
    assert surface["completeness_0.5mm"] == 0.0
    # A cloud that is shifted as a whole fits when it may move by itself: this is told apart.
    assert surface["aligned_by_points"]["error_median_mm"] < 1e-6


BENT = (-0.2, 0.02, 0.0, 0.0)


def test_pixels_that_are_free_of_distortion_are_found_in_a_clip_with_it(tmp_path):
    truth = write_truth(tmp_path / "bent", BENT)
    surface = evaluate_model(write_run(tmp_path / "model", plane_model()), truth).figures["surface"]
    assert surface["error_p90_mm"] < 1e-6


@pytest.mark.parametrize("is_undone", [False, True])
def test_a_run_tells_whether_it_has_undone_distortion(tmp_path, is_undone):
    truth, model = write_truth(tmp_path / "bent", BENT), plane_model()
    lens = read_truth(truth).lens
    run = tmp_path / "run"
    seen = model if is_undone else replace(model, xy=Undistortion(lens.pinhole, lens).to_source(model.xy))
    write_run(run / "sparse" / "0", seen)
    records = [{"index": k, "time_s": k / 25, "kept": True, "reason": "", "source": ""} for k in range(FRAMES)]
    undone = {"model": lens.model, "params": lens.params} if is_undone else None
    content = {"width": CAMERA.width, "height": CAMERA.height, "undistorted": undone, "frames": records}
    content["camera"] = asdict(CAMERA)
    (run / "frames.json").write_text(json.dumps(content))
    assert evaluate_model(run, truth).figures["surface"]["error_p90_mm"] < 1e-6


def test_a_bent_clip_and_a_model_at_half_its_size(tmp_path):
    truth = write_truth(tmp_path / "bent", BENT)
    surface = evaluate_model(write_run(tmp_path / "model", at_half_size(plane_model())), truth).figures["surface"]
    assert surface["error_p90_mm"] < 1e-6


def test_a_clip_without_any_true_depth_gives_poses_alone(tmp_path, truth):
    with np.load(truth / "truth.npz") as content:
        kept = dict(content) | {"depth": np.zeros((0, 120, 160), np.uint16), "depth_frames": np.zeros(0, np.int64)}
    np.savez(truth / "truth.npz", **kept)
    figures = evaluate_model(write_run(tmp_path / "model", plane_model()), truth).figures
    assert figures["surface"] is None
    assert "0 observations in frames with true depth" in figures["notes"][0]


def test_tissue_that_moves_is_noted(tmp_path, truth):
    with np.load(truth / "truth.npz") as content:
        np.savez(truth / "truth.npz", **dict(content) | {"deformation": 0.5})
    assert "tissue" in evaluate_model(write_run(tmp_path / "model", plane_model()), truth).figures["notes"][0]


def test_outliers_raise_the_tail_and_not_the_median(measured):
    model = plane_model()
    xyz = model.xyz.copy()
    xyz[::5, 2] += 6.0
    surface = measured(to_own_world(replace(model, xyz=xyz))).figures["surface"]
    assert surface["error_median_mm"] < 1e-6
    assert surface["error_p90_mm"] == pytest.approx(6.0, abs=1e-6)
    assert surface["aligned_by_points"]["error_median_mm"] < 1e-6


def test_the_error_of_a_point_is_the_median_of_its_observations():
    off = np.array([1.0, 3.0, 2.0, 9.0, 4.0, 8.0, 1.0])
    observed = TrueObservations(
        np.array([0, 0, 2, 2, 2, 2, 3]), np.column_stack([off, 0 * off, 0 * off]), np.zeros((7, 3)), np.full(7, 2.0)
    )
    identity = Similarity(1.0, np.eye(3), np.zeros(3))
    assert point_errors(observed, identity, 5) == pytest.approx([2.0, np.nan, 6.0, 1.0, np.nan], nan_ok=True)
    assert point_errors(observed, identity, 4, relative=True)[[0, 2]] == pytest.approx([1.0, 3.0])


def test_half_of_the_surface_is_missing(measured):
    model = plane_model()
    there = model.xyz[:, 1] < 0
    keep = there[model.point]
    _, point = np.unique(model.point[keep], return_inverse=True)
    half = replace(
        model, xyz=model.xyz[there], rgb=model.rgb[there], error_px=model.error_px[there], point=point,
        frame=model.frame[keep], xy=model.xy[keep],
    )  # fmt: skip
    surface = measured(to_own_world(half)).figures["surface"]
    assert 0.35 < surface["completeness_0.5mm"] < 0.65
    assert surface["error_p90_mm"] < 1e-6


def test_the_best_points_are_those_of_least_error(measured):
    model = plane_model()
    xyz = model.xyz.copy()
    # error_px rises with the number of the point: the last thousand are the worst, and are wrong.
    xyz[-1000:, 2] += 3.0
    rows = measured(to_own_world(replace(model, xyz=xyz)), best=(200, 10**6)).figures["surface"]["best"]
    assert [r["points"] for r in rows] == [200, len(xyz)]
    assert rows[0]["error_p90_mm"] < 1e-6
    assert rows[1]["error_p90_mm"] == pytest.approx(3.0, abs=1e-6)
    assert rows[0]["completeness_0.5mm"] < rows[1]["completeness_0.5mm"]


def run_with_uncertainty(folder, model, uncertainty):
    """A run folder whose points.ply says how sure each point is."""
    own = to_own_world(model)
    write_run(folder / "sparse" / "0", own)
    records = [{"index": k, "time_s": k / 25, "kept": True, "source": ""} for k in range(FRAMES)]
    (folder / "frames.json").write_text(json.dumps({"frames": records}))
    vertex = np.zeros(len(model.xyz), [("x", "f4"), ("y", "f4"), ("z", "f4"), ("uncertainty", "f4")])
    vertex["uncertainty"] = uncertainty
    vertex["x"], vertex["y"], vertex["z"] = own.xyz.T
    PlyData([PlyElement.describe(vertex, "vertex")]).write(folder / "points.ply")
    return folder


def test_uncertainty_in_the_cloud_orders_the_points(tmp_path, truth):
    model = plane_model()
    xyz = model.xyz.copy()
    xyz[:1000, 2] += 3.0
    run = run_with_uncertainty(tmp_path / "run", replace(model, xyz=xyz), -np.arange(len(xyz)))
    for asked in (run, run / "sparse" / "0"):
        surface = evaluate_model(asked, truth, best=(200,)).figures["surface"]
        assert surface["best_by"] == "uncertainty"
        assert surface["best"][0]["error_p90_mm"] < 1e-6


def test_uncertainty_is_held_against_the_true_errors(tmp_path, truth):
    model = plane_model()
    rng = np.random.default_rng(0)
    # Half of the points are less wrong than expected, half more: 0.05 to 1.7 mm, seen from some 21 mm.
    expected = rng.permutation(np.geomspace(0.0025, 0.08, len(model.xyz)))
    xyz = model.xyz + np.outer(21 * expected * rng.uniform(0.5, 1.5, len(expected)), [0, 0, 1.0])
    run = run_with_uncertainty(tmp_path / "run", replace(model, xyz=xyz), expected)
    figures = evaluate_model(run, truth).figures
    found = figures["calibration"]
    assert found["points"] == figures["surface"]["per_point"]["points"]
    assert found["rank_correlation"] > 0.8
    assert found["growth_when_doubled"] == pytest.approx(2.0, abs=0.1)
    wanted = 0.0025 * 32 ** np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    assert [row["predicted_median"] for row in found["bins"]] == pytest.approx(wanted, rel=0.1)
    assert [row["actual_over_predicted"] for row in found["bins"]] == pytest.approx([1.0] * 5, abs=0.2)


def test_no_calibration_without_uncertainty(measured):
    assert measured(to_own_world(plane_model())).figures["calibration"] is None


def test_a_model_at_half_size_has_the_same_errors(measured):
    surface = measured(to_own_world(at_half_size(plane_model()))).figures["surface"]
    assert surface["error_p90_mm"] < 1e-6


def test_a_model_without_points_is_measured_by_its_poses(measured):
    evaluation = measured(to_own_world(pose_only(plane_poses())))
    assert evaluation.figures["points"]["points"] == 0
    assert evaluation.figures["surface"] is None
    assert "0 observations in frames with true depth" in evaluation.figures["notes"][0]


def test_a_wrong_camera_is_noted(measured):
    poses = plane_poses()
    poses[7][:, 3] += 30.0
    figures = measured(to_own_world(pose_only(poses))).figures
    assert figures["frames_aligned"] == FRAMES - 1
    assert figures["trajectory"]["ate_median"] < 1e-9
    assert figures["trajectory"]["ate_max"] == pytest.approx(30 * np.sqrt(3))
    assert "1 cameras are far off" in figures["notes"][0]


def other_path():
    """As many cameras in front of the same plane, on another curve."""
    poses = plane_poses()
    for k in poses:
        centre = np.array([2.0 * np.cos(k), 2.0 * np.sin(1.7 * k), 0.3 * k])
        poses[k][:, 3] = -poses[k][:, :3] @ centre
    return poses


def test_a_reference_of_another_video_is_doubted(measured, truth):
    """The same frame numbers, another path: figures come out, and are not to be trusted."""
    figures = measured(to_own_world(pose_only(other_path()))).figures
    assert figures["camera_misfit"] > 0.5
    [warning] = figures["warnings"]
    assert "the cameras are still off by" in warning
    assert f"Does {truth} show the same video? If it does, this model failed" in warning


def test_the_same_path_with_other_turns_is_doubted(measured):
    poses = plane_poses()
    for k, pose in poses.items():
        turn = Rotation.from_rotvec([0.1 * np.sin(2.0 * k), 0.1 * np.cos(1.3 * k), 0.0]).as_matrix()
        centre = -pose[:, :3].T @ pose[:, 3]
        poses[k] = np.column_stack([turn @ pose[:, :3], -turn @ pose[:, :3] @ centre])
    figures = measured(to_own_world(pose_only(poses))).figures
    assert figures["camera_misfit"] < 0.2
    [warning] = figures["warnings"]
    assert warning.startswith("the cameras rotate in another way than the reference's: the errors of their rotations ")
    assert "show the same video? If it does, this model failed" in warning


def test_points_nowhere_near_the_surface_are_doubted(measured):
    model = plane_model()
    xyz = model.xyz + np.random.default_rng(0).normal(0, 6, model.xyz.shape)
    figures = measured(to_own_world(replace(model, xyz=xyz))).figures
    assert figures["camera_misfit"] < 1e-9
    [warning] = figures["warnings"]
    assert warning.startswith("after alignment half of the points are still off by more than")


def test_wrong_cameras_and_outliers_are_no_other_video(measured):
    model = plane_model()
    xyz, poses = model.xyz.copy(), dict(model.cam_from_world)
    xyz[::5, 2] += 6.0
    poses[7] = poses[7] + np.column_stack([np.zeros((3, 3)), np.full(3, 30.0)])
    assert measured(to_own_world(replace(model, xyz=xyz, cam_from_world=poses))).figures["warnings"] == []


def test_a_model_as_reference(tmp_path):
    reference = write_run(tmp_path / "reference", plane_model())
    run = write_run(tmp_path / "model", to_own_world(plane_model()))
    figures = evaluate_model(run, reference).figures
    assert (figures["reference_kind"], figures["unit"], figures["surface"]) == ("colmap", "scene units", None)
    assert figures["trajectory"]["ate_max"] < 1e-9


def test_every_other_frame(measured):
    model = to_own_world(pose_only({k: p for k, p in plane_poses().items() if k % 2 == 0}))
    figures = measured(model).figures
    assert (figures["frames_registered"], figures["frames_total"]) == (FRAMES // 2, FRAMES)
    assert [row["gap"] for row in figures["relative_pose"]] == [4, 12]


def path_of(first, last):
    centres = camera_centres(np.stack([plane_poses()[k] for k in range(first, last + 1)]))
    return np.linalg.norm(np.diff(centres, axis=0), axis=1).sum()


def test_errors_relate_to_the_path_of_the_frames_that_the_model_has(measured):
    figures = measured(to_own_world(pose_only({k: plane_poses()[k] for k in range(4, 10)}))).figures
    assert figures["trajectory"]["path_length"] == pytest.approx(path_of(4, 9))


def test_frames_of_a_run_without_a_pose_belong_to_its_path(tmp_path, truth):
    run = tmp_path / "run"
    write_run(run / "sparse" / "0", to_own_world(pose_only({k: plane_poses()[k] for k in range(4, 10)})))
    records = [{"index": k, "time_s": k / 25, "kept": True} for k in range(2, 13)]
    (run / "frames.json").write_text(json.dumps({"frames": records}))
    figures = evaluate_model(run, truth).figures
    assert figures["trajectory"]["path_length"] == pytest.approx(path_of(2, 12))


def test_cells_count_copies_once():
    model = plane_model(2.0)
    twice = replace(
        model, xyz=np.concatenate([model.xyz, model.xyz]), rgb=np.concatenate([model.rgb, model.rgb]),
        error_px=np.concatenate([model.error_px, model.error_px]),
    )  # fmt: skip
    assert distinct_cells(model) == distinct_cells(twice) == len(model.xyz)


def in_own_reference(model, shift_px):
    """Every observation off by ``shift_px``, but for the first of each point, which the point was made of."""
    first = np.r_[True, np.diff(model.point) > 0]
    return replace(model, xy=np.where(first[:, None], model.xy, model.xy + np.array(shift_px)))


def test_errors_that_are_zero_by_construction_are_told_nowhere(measured):
    model = in_own_reference(plane_model(4.0), (3.0, 4.0))
    points = measured(to_own_world(model)).figures["points"]
    assert points["reprojection_median_px"] == pytest.approx(5.0)
    assert points["reprojection_p90_px"] == pytest.approx(5.0)
    assert points["observations"] == len(model.point)
    # The three places that tell it tell the same.
    everything = quality_figures(point_figures(model, model.error_px), np.ones(len(model.xyz), bool), model)
    assert everything["reprojection_median_px"] == pytest.approx(points["reprojection_median_px"])
    assert model_figures(model)["median_reprojection_error_px"] == pytest.approx(points["reprojection_median_px"])


def test_no_common_frame(tmp_path, truth):
    run = write_run(tmp_path / "model", pose_only(plane_poses()), first=500)
    with pytest.raises(InputError, match=r"no frame in common with .*truth \(frames 500 to 515 against 0 to 15\)"):
        evaluate_model(run, truth)


def test_two_common_frames(tmp_path, truth):
    run = write_run(tmp_path / "model", pose_only(plane_poses()), first=14)
    with pytest.raises(InputError, match="2 frames in common .* expected at least 3"):
        evaluate_model(run, truth)


def test_a_run_without_a_model(tmp_path, truth):
    with pytest.raises(InputError, match="not found; expected a run folder"):
        evaluate_model(tmp_path / "none", truth)
    (tmp_path / "run").mkdir()
    with pytest.raises(InputError, match=r"no model found; expected a run folder with sparse/0"):
        evaluate_model(tmp_path / "run", truth)
    (tmp_path / "run" / "images.txt").touch()
    with pytest.raises(InputError, match=r"cameras\.txt: missing"):
        evaluate_model(tmp_path / "run", truth)


def test_a_model_as_text_is_measured_like_a_binary_one(tmp_path, truth):
    run = write_run(tmp_path / "model", plane_model(4.0))
    folder = next(path.parent for path in run.rglob("images.bin"))
    text = tmp_path / "text"
    text.mkdir()
    rewrite_model(folder, text, text=True)
    (tmp_path / "mapped").mkdir()
    folder = folder.rename(tmp_path / "mapped" / "0")
    # COLMAP's mapper numbers models below the folder that it is given.
    assert find_model(tmp_path / "mapped") == folder
    binary, same = evaluate_model(folder, truth), evaluate_model(text, truth)
    assert same.figures["frames_common"] == binary.figures["frames_common"]
    assert same.figures["trajectory"]["ate_rms"] == pytest.approx(binary.figures["trajectory"]["ate_rms"], abs=1e-9)
    as_reference = evaluate_model(folder, text)
    assert as_reference.figures["reference_kind"] == "colmap"
    assert as_reference.figures["trajectory"]["ate_rms"] == pytest.approx(0, abs=1e-9)


def test_a_reference_of_no_kind(tmp_path):
    run = write_run(tmp_path / "model", plane_model(4.0))
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match=r"--reference .*other: neither truth\.npz"):
        evaluate_model(run, tmp_path / "other")


def test_names_that_give_no_frame_number(tmp_path):
    assert frame_numbers(tmp_path, ["a/00000012.png", "clip2_frame013.jpg"]) == {
        "a/00000012.png": 12,
        "clip2_frame013.jpg": 13,
    }
    with pytest.raises(InputError, match="image 'first.png' has no number"):
        frame_numbers(tmp_path, ["first.png"])
    with pytest.raises(InputError, match="several images have frame number 1 "):
        frame_numbers(tmp_path, ["left1.png", "right1.png"])


def test_numbers_of_a_real_sequence_and_of_a_run_on_its_video(tmp_path, shared_data):
    folder = shared_data / "jhu_format" / "1" / "sinus_b"
    sequence = read_sequence(folder)
    first = sequence.frames[0]
    poses = {f - first: pose for f, pose in sequence.cam_from_world.items()}
    for name, start, numbering in (("counted", 0, "order of the frames"), ("named", first, "frame numbers")):
        run = write_run(tmp_path / name, to_own_world(pose_only(poses)), first=start)
        figures = evaluate_model(run, folder).figures
        assert figures["frame_numbering"] == numbering
        assert figures["frames_common"] == len(poses)
        assert figures["trajectory"]["ate_max"] < 1e-6


def both_figures(run, folder):
    """The measuring tool's figures of a model, and this package's under the same names."""
    tool = SHARED / "tools" / "score_model.py"
    if not tool.is_file():
        pytest.skip("needs ../shared/tools/score_model.py")
    done = subprocess.run([sys.executable, tool, run, folder], capture_output=True, text=True, check=True)
    figures = evaluate_model(run, folder).figures
    surface, path, points = figures["surface"], figures["trajectory"], figures["points"]
    ours = {
        "registered": figures["frames_registered"],
        "frames_total": figures["frames_total"],
        "points": points["points"],
        "points_in_distinct_cells": points["points_in_distinct_cells"],
        "reproj_median_px": points["reprojection_median_px"],
        "reproj_p90_px": points["reprojection_p90_px"],
        "rot_median_deg": path["rotation_median_deg"],
    }
    if surface is None:
        ours |= {"ate_pct_path": path["ate_rms_pct_path"], "ate_max_pct_path": path["ate_max_pct_path"]}
    else:
        ours |= {
            "point_error_median_mm": surface["error_median_mm"],
            "point_error_p90_mm": surface["error_p90_mm"],
            "point_error_median_rel": surface["error_median_rel"],
            "point_error_median_mm_selfaligned": surface["aligned_by_points"]["error_median_mm"],
            "completeness_0.5mm": surface["completeness_0.5mm"],
            "completeness_1mm": surface["completeness_1mm"],
            "path_mm": path["path_length"],
            "ate_rms_mm": path["ate_rms"],
            "ate_max_mm": path["ate_max"],
            "rot_max_deg": path["rotation_max_deg"],
        }
    return json.loads(done.stdout), ours


@pytest.mark.slow
@pytest.mark.parametrize("noise_mm", [0.0, 0.3])
@pytest.mark.parametrize("organ", ["sinus", "colon"])
def test_agreement_with_the_measuring_tool(tmp_path, shared_data, organ, noise_mm):
    folder = shared_data / "synthetic" / organ
    run = write_run(tmp_path / "model", to_own_world(noisy_model(folder, noise_mm)))
    wanted, ours = both_figures(run, folder)
    for name, value in ours.items():
        # The tool rounds to three or four digits behind the point.
        assert value == pytest.approx(wanted[name], rel=0.02, abs=6e-4), name


@pytest.mark.slow
def test_the_measuring_tool_counts_errors_that_are_zero_by_construction(tmp_path, shared_data):
    """The one figure in which the two differ, and by what: the tool's is that of all observations."""
    folder = shared_data / "synthetic" / "sinus"
    exact, rng = noisy_model(folder, 0.0), np.random.default_rng(4)
    noisy = in_own_reference(exact, rng.normal(0, 1.0, exact.xy.shape))
    wanted, ours = both_figures(write_run(tmp_path / "model", to_own_world(noisy)), folder)
    every = reprojection_errors_px(model_rays(noisy), noisy.xyz)
    assert wanted["reproj_median_px"] == pytest.approx(np.median(every), abs=1e-3)
    assert ours["reproj_median_px"] == pytest.approx(np.median(every[every > 1e-3]), rel=1e-3)
    assert ours["reproj_median_px"] > wanted["reproj_median_px"]
    for name in ("point_error_median_mm", "completeness_0.5mm", "completeness_1mm", "ate_rms_mm"):
        assert ours[name] == pytest.approx(wanted[name], rel=0.02, abs=6e-4), name


@pytest.mark.slow
def test_agreement_with_the_measuring_tool_on_a_real_sequence(tmp_path, shared_data):
    folder = shared_data / "jhu_format" / "1" / "sinus_b"
    sequence, rng = read_sequence(folder), np.random.default_rng(0)
    first = sequence.frames[0]
    poses = {f - first: p + rng.normal(0, 0.003, (3, 4)) * [0, 0, 0, 1] for f, p in sequence.cam_from_world.items()}
    # The points are those of the plane: their figures do not depend on the reference.
    model = replace(plane_model(4.0), cam_from_world=poses)
    wanted, ours = both_figures(write_run(tmp_path / "model", to_own_world(model)), folder)
    assert ours["ate_pct_path"] > 0.3
    for name, value in ours.items():
        assert value == pytest.approx(wanted[name], rel=0.02, abs=6e-4), name


def noisy_model(folder, noise_mm):
    """Points of a rendered clip's surface, poses and points with noise."""
    truth, rng = read_truth(folder), np.random.default_rng(3)
    camera = truth.lens.pinhole
    xyz = visible_surface(truth, 16).xyz[::7]
    point, frame, xy = project(xyz, dict(enumerate(truth.cam_from_world)), camera)
    kept, point = np.unique(point, return_inverse=True)
    poses = {}
    for k, pose in enumerate(truth.cam_from_world):
        turn = Rotation.from_rotvec(rng.normal(0, 0.01 * noise_mm, 3)).as_matrix()
        poses[k] = turn @ pose + np.column_stack([np.zeros((3, 3)), rng.normal(0, 0.1 * noise_mm, 3)])
    xyz = xyz[kept] + rng.normal(0, noise_mm, (len(kept), 3))
    xyz[::20] += 4 * noise_mm
    rgb = np.zeros((len(xyz), 3), np.uint8)
    return Model(camera, poses, xyz, rgb, np.ones(len(xyz)), point, frame, xy)
