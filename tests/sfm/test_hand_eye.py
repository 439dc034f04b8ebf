"""A reconstruction on a measured path: similarity, hand-eye transform and time offset."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import inverse_pose
from dd_sfm.config import PosesConfig
from dd_sfm.errors import InputError
from dd_sfm.io.camera_paths import CameraPath
from dd_sfm.io.known_poses import KnownFrame, KnownPoses
from dd_sfm.sfm.hand_eye import compose, fit_path
from dd_sfm.sfm.known_poses import GivenPath
from dd_sfm.sfm.path_alignment import _straight, align_models, alignment_notes, known_of
from dd_sfm.sfm.path_matching import FrameKeys, Reading
from dd_sfm.sfm.path_pair import PathPair
from dd_sfm.structures import Frame, FrameSet

FRAMES, FPS, SCALE = 60, 25.0, 0.4
TIMES = np.arange(FRAMES) / FPS
SENSOR = np.column_stack([Rotation.from_rotvec(np.radians([6.0, 6.4, -4.8])).as_matrix(), [18.0, -14.4, 19.2]])


def true_path(times):
    """A camera that moves and looks around as a hand leads it, in mm."""
    places = np.stack([8 * np.sin(1.1 * times), 6 * np.cos(1.7 * times), 5 * times + np.sin(3 * times)], 1)
    turns = np.stack([0.2 * np.sin(2 * times), 0.25 * np.cos(1.3 * times), 0.3 * np.sin(0.9 * times)], 1)
    return np.concatenate([Rotation.from_rotvec(turns).as_matrix(), places[:, :, None]], -1)


def disturbed(poses, mm, deg, seed=0):
    rng = np.random.default_rng(seed)
    turned = Rotation.from_rotvec(np.radians(deg) * rng.normal(size=(len(poses), 3))).as_matrix()
    moved = poses[:, :, 3] + mm * rng.normal(size=(len(poses), 3))
    return np.concatenate([turned @ poses[:, :, :3], moved[:, :, None]], -1)


def model_poses():
    """The same camera by a reconstruction: in a world and unit of its own."""
    turned = Rotation.from_rotvec([0.5, -1.0, 0.3]).as_matrix()
    poses = disturbed(true_path(TIMES), 0.02, 0.02, seed=1)
    places = SCALE * poses[:, :, 3] @ turned.T + [1.0, 2.0, -3.0]
    return np.concatenate([turned @ poses[:, :, :3], places[:, :, None]], -1)


def measured(mm=0.1, deg=0.1, *, sensor=None, offset=0.0, rate=40.0):
    times = np.arange(0, TIMES[-1], 1 / rate)
    poses = true_path(times)
    if sensor is not None:
        poses = compose(poses, inverse_pose(sensor))
    return CameraPath(Path("path.tum"), times + offset, disturbed(poses, mm, deg), "times")


def fitted(path, sigma=0.1, **more):
    pair = PathPair(model_poses(), path, Reading("by seconds", TIMES, is_exact=False))
    return fit_path(pair, sigma, sigma, sensor=None, within=0.5, **more)


def test_a_sensor_that_is_the_camera_is_found_to_be():
    found = fitted(measured())
    assert not found.has_sensor
    assert not found.has_offset
    assert 1 / found.scale == pytest.approx(SCALE, rel=3e-3)
    assert abs(1 / found.scale / SCALE - 1) < 3 * found.scale_sigma < 0.02


def test_a_sensor_centimetres_from_the_lens_is_found():
    found = fitted(measured(sensor=SENSOR))
    assert found.has_sensor
    assert not found.has_offset
    assert np.linalg.norm(found.sensor_from_cam[:, 3] - SENSOR[:, 3]) < max(0.6, 3 * found.sensor_sigma_mm)
    turned = Rotation.from_matrix(found.sensor_from_cam[:, :3].T @ SENSOR[:, :3]).magnitude()
    assert np.degrees(turned) < 0.3
    assert 1 / found.scale == pytest.approx(SCALE, rel=0.01)


def test_a_clock_that_is_ahead_is_found_also_with_a_sensor():
    alone, both = fitted(measured(offset=0.13)), fitted(measured(sensor=SENSOR, offset=-0.2))
    assert (alone.has_sensor, alone.has_offset) == (False, True)
    assert alone.offset_s == pytest.approx(0.13, abs=0.006)
    assert both.has_sensor
    assert both.offset_s == pytest.approx(-0.2, abs=0.02)


def test_bounds_hold():
    assert abs(fitted(measured(offset=0.8)).offset_s) <= 0.5


def test_a_clock_is_found_in_a_wide_range():
    """Steps of the search stay shorter than motions, and an end of the path that fits a few frames does not win."""
    times = np.arange(-3.0, 7.0, 0.05)
    path = CameraPath(Path("path.tum"), times + 2.61, disturbed(true_path(times), 0.1, 0.1), "times")
    pair = PathPair(model_poses(), path, Reading("by seconds", TIMES, is_exact=False))
    found = fit_path(pair, 0.1, 0.1, sensor=np.eye(3, 4), offset=0.0, within=5.0)
    assert found.offset_s == pytest.approx(2.61, abs=0.02)


def given(path):
    return GivenPath(path, "mm")


def keys():
    return FrameKeys(np.arange(FRAMES, dtype=float), TIMES)


def as_model():
    return dict(enumerate(inverse_pose(model_poses())))


def test_measured_poses_that_are_far_off_are_not_believed():
    path = measured(rate=FPS)
    path.world_from_sensor[[20, 33], :, 3] += 6.0
    alignment = align_models([as_model()], keys(), given(path), PosesConfig("path.tum", (0.1, 0.1)))
    names = [f"{k:08d}" for k in range(FRAMES)]
    known = known_of(alignment, [as_model()], names, are_exact=False)
    assert [name for name, frame in known.frames.items() if not frame.is_used] == ["00000020", "00000033"]
    assert known.figures["frames_off"] == 2
    assert known.figures["residual_rms_mm"] < 0.4
    assert known.metric.unit == "mm"


def test_poses_that_are_kept_are_named_but_stay_without_errors():
    path = measured(1.2, 0.1, rate=FPS)
    path.world_from_sensor[[20], :, 3] += 30.0
    alignment = align_models([as_model()], keys(), given(path), PosesConfig("path.tum", hand_eye="none", within_s=0.0))
    image = Path("no.png")
    frames = FrameSet(tuple(Frame(k, Path(f"{k:08d}.png"), image, k / FPS) for k in range(FRAMES)), None, 0)
    known = known_of(alignment, [as_model()], [f"{k:08d}" for k in range(FRAMES)], are_exact=True)
    assert (known.sigma_mm, known.figures["frames_off"]) == (0.0, 1)
    assert all(frame.is_used for frame in known.frames.values())
    _, note = alignment_notes(alignment, known, frames)
    assert note.text.startswith("1 measured poses lie much further than usual")
    assert "were kept, as no --poses-sigma was given: those of frames 20" in note.text


def test_poses_that_are_less_exact_than_stated_count_for_less():
    alignment = align_models([as_model()], keys(), given(measured(1.0, 0.1)), PosesConfig("path.tum", (0.1, 0.1)))
    known = known_of(alignment, [as_model()], [str(k) for k in range(FRAMES)], are_exact=False)
    assert 0.6 < known.sigma_mm < 1.2
    assert known.sigma_deg < 0.2


def test_the_path_of_another_clip_is_refused():
    other = measured()
    turned = Rotation.from_rotvec(
        np.random.default_rng(3).normal(size=(len(other.stamps), 3)).cumsum(0) / 8
    ).as_matrix()
    places = np.random.default_rng(4).normal(size=(len(other.stamps), 3)).cumsum(0)
    path = CameraPath(other.path, other.stamps, np.concatenate([turned, places[:, :, None]], -1), "times")
    with pytest.raises(InputError, match="expected the path of this video"):
        align_models([as_model()], keys(), given(path), PosesConfig("path.tum", (0.5, 0.5)))


def test_times_that_do_not_meet_the_video_are_told():
    late = CameraPath(Path("path.tum"), TIMES + 1e9 + 0.5, true_path(TIMES), "times")
    with pytest.raises(InputError, match="--poses-offset"):
        align_models([as_model()], keys(), given(late), PosesConfig("path.tum", (0.5, 0.5)))


def test_numbers_of_frames_are_not_taken_for_seconds():
    """A few of them lie within the video's seconds, and fit anything."""
    path = CameraPath(Path("path.tum"), np.arange(FRAMES, dtype=float), disturbed(true_path(TIMES), 0.5, 0.5), "either")
    alignment = align_models(
        [as_model()],
        FrameKeys(np.arange(FRAMES, dtype=float), 5 * TIMES),
        given(path),
        PosesConfig("path.tum", (0.5, 0.5)),
    )
    assert alignment.way.by == "by numbers of frames"
    assert 1 / alignment.first.scale == pytest.approx(SCALE, rel=0.05)


def test_cameras_do_not_shrink_to_one_place():
    """A sensor far from the lens that turns explains any short path of one that stays where it is."""
    model = {k: np.column_stack([pose[:, :3], 1e-3 * pose[:, 3]]) for k, pose in as_model().items()}
    model = {k: np.column_stack([pose[:, :3], np.roll(pose[:, 3], 1)]) for k, pose in model.items()}
    path = measured(rate=FPS)
    path.world_from_sensor[:, :, 3] *= 0.02
    with pytest.raises(InputError, match="leave the scale open|expected the path of this video"):
        align_models([model], keys(), given(path), PosesConfig("path.tum", (0.5, 0.5)))


@pytest.mark.parametrize(("across", "is_told"), [(0.02, True), (0.5, False)])
def test_a_straight_path_fits_those_of_other_clips_and_is_told(across, is_told):
    places = np.stack([np.linspace(0, 40, 30), 40 * across * np.sin(np.linspace(0, 6, 30)), np.zeros(30)], 1)
    poses = inverse_pose(np.concatenate([np.tile(np.eye(3), (30, 1, 1)), places[:, :, None]], 2))
    frames = {str(k): KnownFrame(pose) for k, pose in enumerate(poses)}
    notes = _straight(KnownPoses("path.tum", False, "mm", 0.1, 0.1, {}, frames))
    assert bool(notes) == is_told
    assert all("nearly straight and turns by" in note.text for note in notes)
