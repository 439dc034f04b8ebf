import numpy as np
import pytest
from scene import camera_centres as scene_centres
from scene import make_scene
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import camera_centres
from dd_sfm.errors import InputError
from dd_sfm.evaluation.model.alignment import (
    MAX_TURNING_MISFIT,
    SUSPECT_CAMERA_MISFIT,
    align_cameras,
    align_points,
    camera_misfit,
    cameras_agree,
    turning_misfit,
)
from dd_sfm.evaluation.model.trajectory import Trajectory, path_length, relative_poses, trajectory_figures
from dd_sfm.io.tum import tum_text
from dd_sfm.sfm.geometry import Similarity

MOVE = Similarity(2.5, Rotation.from_rotvec([0.3, -1.1, 0.6]).as_matrix(), np.array([4.0, -7.0, 1.0]))


def scene_poses(frames=20):
    poses = make_scene(frames=frames, points=10)[2].cam_from_world
    return np.stack([poses[k] for k in range(frames)])


def straight_poses(frames=10):
    """Cameras on a line that look along it, each rolled a little further."""
    rotations = Rotation.from_rotvec([[0, 0, 0.1 * k] for k in range(frames)]).as_matrix()
    centres = np.array([[0.0, 0.0, 0.5 * k] for k in range(frames)])
    return np.concatenate([rotations, -(rotations @ centres[..., None])], 2)


def check_same(found, wanted, tolerance=1e-9):
    assert found.scale == pytest.approx(wanted.scale, abs=tolerance)
    assert found.rotation == pytest.approx(wanted.rotation, abs=tolerance)
    assert found.shift == pytest.approx(wanted.shift, abs=tolerance)


def test_centres():
    poses = make_scene(frames=5, points=10)[2].cam_from_world
    assert camera_centres(np.stack([poses[k] for k in range(5)])) == pytest.approx(scene_centres(poses))


@pytest.mark.parametrize("poses", [scene_poses(), straight_poses()], ids=["curved", "straight"])
def test_a_known_similarity_is_found(poses):
    found = align_cameras(poses, MOVE.poses(poses))
    check_same(found.similarity, MOVE)
    assert found.used.all()


def test_moved_cameras_see_moved_points_at_the_same_pixels():
    _, _, truth = make_scene(frames=4, points=30)
    poses = np.stack([truth.cam_from_world[k] for k in range(4)])
    before = truth.xyz @ poses[2, :, :3].T + poses[2, :, 3]
    after = MOVE.points(truth.xyz) @ MOVE.poses(poses)[2, :, :3].T + MOVE.poses(poses)[2, :, 3]
    assert after == pytest.approx(MOVE.scale * before)


def test_grossly_wrong_cameras_do_not_bend_the_alignment():
    reference = scene_poses()
    model = reference.copy()
    model[[3, 11, 12], :, 3] += [9.0, -5.0, 4.0]
    model[17, :, :3] = Rotation.from_rotvec([0, 2.0, 0]).as_matrix() @ model[17, :, :3]
    found = align_cameras(model, MOVE.poses(reference))
    assert np.flatnonzero(~found.used).tolist() == [3, 11, 12, 17]
    check_same(found.similarity, MOVE)


def test_noise_excludes_no_camera():
    reference = scene_poses()
    model = reference.copy()
    model[:, :, 3] += np.random.default_rng(0).normal(0, 0.02, (20, 3))
    assert align_cameras(model, reference).used.all()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_cameras(count):
    with pytest.raises(InputError, match=f"{count} common cameras; expected at least 3"):
        align_cameras(scene_poses()[:count], scene_poses()[:count])


def test_cameras_at_one_place():
    poses = scene_poses()
    still = poses.copy()
    still[:, :, 3] = 0
    with pytest.raises(InputError, match="all cameras of the model are at one place"):
        align_cameras(still, poses)
    with pytest.raises(InputError, match="all cameras of the reference are at one place"):
        align_cameras(poses, still)


def test_points_are_aligned_in_spite_of_outliers():
    rng = np.random.default_rng(1)
    source = rng.normal(size=(500, 3))
    target = MOVE.points(source)
    target[:100] += rng.uniform(5, 20, (100, 3))
    found, error = align_points(source, target)
    check_same(found, MOVE, 1e-6)
    assert error[:100].min() > 5
    assert error[100:].max() < 1e-5


def test_errors_of_a_known_offset():
    reference = straight_poses()
    estimate = reference.copy()
    # A shift of the camera by d along world x is a change of t by -R d.
    estimate[4, :, 3] -= reference[4, :, :3] @ [0.3, 0, 0]
    turn = Rotation.from_rotvec([0, np.radians(2), 0]).as_matrix()
    estimate[7] = turn @ estimate[7]
    figures = trajectory_figures(Trajectory(np.arange(10), estimate, reference, 4.5))
    assert figures["ate_max"] == pytest.approx(0.3)
    assert figures["ate_median"] == pytest.approx(0.0, abs=1e-12)
    assert figures["ate_rms"] == pytest.approx(0.3 / np.sqrt(10))
    assert figures["ate_max_pct_path"] == pytest.approx(100 * 0.3 / 4.5)
    assert figures["rotation_max_deg"] == pytest.approx(2.0)
    assert figures["rotation_median_deg"] == pytest.approx(0.0, abs=1e-9)


def test_relative_poses_see_a_jump_only_across_it():
    reference = straight_poses()
    jump = Similarity(1.0, np.eye(3), np.array([0.2, 0.0, 0.0]))
    estimate = np.concatenate([reference[:5], jump.poses(reference[5:])])
    rows = relative_poses(Trajectory(np.arange(10), estimate, reference, 4.5), (1, 4, 12))
    assert [(r.gap, r.pairs) for r in rows] == [(1, 9), (4, 6)]
    assert rows[0].translation_median == pytest.approx(0.0, abs=1e-12)
    assert rows[0].translation_rms == pytest.approx(0.2 / 3)
    assert rows[1].translation_rms == pytest.approx(0.2 * np.sqrt(4 / 6))
    assert rows[1].rotation_rms_deg == pytest.approx(0.0, abs=1e-6)


def test_gaps_count_frames_not_cameras():
    poses = straight_poses(4)
    rows = relative_poses(Trajectory(np.array([0, 4, 8, 12]), poses, poses, 1.5), (1, 4, 12))
    assert [(r.gap, r.pairs) for r in rows] == [(4, 3), (12, 1)]


def test_path_length_goes_by_frame_number():
    poses = straight_poses(4)
    assert path_length({3: poses[3], 0: poses[0], 1: poses[1], 2: poses[2]}) == pytest.approx(1.5)


def test_path_length_of_a_part():
    path = dict(enumerate(straight_poses(6)))
    assert path_length(path, 1, 3) == pytest.approx(1.0)
    assert path_length(path, first=3) == pytest.approx(1.0)
    assert path_length(path, last=2) == pytest.approx(1.0)


def test_tum_lines_hold_time_centre_and_world_from_cam():
    lines = tum_text([0, 2], straight_poses(3)[[0, 2]], {0: 0.0, 2: 0.08}).splitlines()
    first, values = ([float(v) for v in line.split()] for line in lines)
    assert first == pytest.approx([0, 0, 0, 0, 0, 0, 0, 1])
    assert values[:4] == pytest.approx([0.08, 0, 0, 1.0])
    assert values[4:] == pytest.approx([0, 0, -np.sin(0.1), np.cos(0.1)])


def rocking_poses(seed, frames=60, rock=0.15):
    """A scope that goes nearly straight ahead down a tube and looks about, as another one does elsewhere."""
    rng = np.random.default_rng(seed)
    time = np.linspace(0, 1, frames)[:, None]
    turns = sum(rng.normal(0, rock, 3) * np.sin(2 * np.pi * (n * time + rng.uniform(0, 1, 3))) for n in (1, 2, 3))
    rotations = Rotation.from_rotvec(turns).as_matrix()
    centres = np.concatenate([0.03 * turns[:, :2] / rock, time], 1)
    return np.concatenate([rotations, -(rotations @ centres[..., None])], 2)


def aligned(poses, reference):
    return align_cameras(poses, reference).similarity.poses(poses)


@pytest.mark.parametrize("seed", range(5))
def test_another_tube_is_told_by_its_turns_where_its_path_is_the_same(seed):
    reference, other = rocking_poses(seed), rocking_poses(seed + 100)
    moved = aligned(other, reference)
    assert camera_misfit(moved, reference) < 0.5
    assert turning_misfit(moved, reference) > MAX_TURNING_MISFIT
    assert not cameras_agree(moved, reference)


@pytest.mark.parametrize("seed", range(5))
def test_a_poor_model_of_the_same_tube_is_not_called_another(seed):
    reference, rng = rocking_poses(seed), np.random.default_rng(seed)
    # Drifts by 20 degrees over the path, shakes by 2, and lost a tenth of its cameras.
    drift = Rotation.from_rotvec(np.linspace(0, 1, 60)[:, None] * [0.0, 0.35, 0.0])
    shake = Rotation.from_rotvec(rng.normal(0, 0.02, (60, 3)))
    poor = (shake * drift).as_matrix() @ reference
    poor[[7, 20, 21, 33, 50, 51], :, :3] = Rotation.random(6, rng=3).as_matrix()
    moved = aligned(poor, reference)
    assert turning_misfit(moved, reference) < MAX_TURNING_MISFIT
    assert cameras_agree(reference, reference)
    assert camera_misfit(reference, reference) < SUSPECT_CAMERA_MISFIT


def shaken(poses, degrees, rng):
    """Cameras at the same places that look aside a little."""
    turns = Rotation.from_rotvec(np.radians(rng.normal(0, degrees, (len(poses), 3)))).as_matrix()
    return np.concatenate([turns @ poses[:, :, :3], turns @ poses[:, :, 3:]], 2)


@pytest.mark.parametrize("frames", [15, 60])
@pytest.mark.parametrize("rock", [0.003, 0.006, 0.01, 0.02])
def test_small_turns_with_noise_are_no_other_video(rock, frames):
    """These turn by 0.6 to 4 degrees."""
    for seed in range(20):
        reference, rng = rocking_poses(seed, frames, rock), np.random.default_rng(seed)
        for noise in (0.2, 0.4):
            assert cameras_agree(aligned(shaken(reference, noise, rng), reference), reference)


def test_noise_in_the_reference_is_allowed_for_too():
    found = 0
    for seed in range(20):
        path, rng = rocking_poses(seed, 60, 0.008), np.random.default_rng(seed)
        reference = shaken(path, 0.4, rng)
        found += cameras_agree(aligned(shaken(path, 0.4, rng), reference), reference)
    assert found >= 19


@pytest.mark.parametrize("rock", [0.04, 0.15])
def test_another_video_that_turns_is_refused_with_noise_too(rock):
    refused = 0
    for seed in range(20):
        reference, rng = rocking_poses(seed, rock=rock), np.random.default_rng(seed)
        refused += not cameras_agree(
            aligned(shaken(rocking_poses(seed + 100, rock=rock), 0.4, rng), reference), reference
        )
    assert refused >= 19


def test_turns_do_not_tell_where_there_are_none():
    reference = rocking_poses(0, rock=1e-4)
    assert turning_misfit(rocking_poses(1), reference) is None
    assert turning_misfit(reference[:1], reference[:1]) is None
