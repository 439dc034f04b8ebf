"""A lens estimated from tracks: where the motion tells it, and where it does not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scene import CAMERA
from scipy.spatial.transform import Rotation

from dd_sfm.config import Config
from dd_sfm.io.lens import Lens
from dd_sfm.notes import NoteCode
from dd_sfm.ops.coordinates import to_colmap
from dd_sfm.sfm import focal_check, lens_estimate
from dd_sfm.sfm.eucm import field_angle_deg, lens_vector, normalise, project
from dd_sfm.sfm.lens_adjustment import LensObservations, LensState, adjust_lens, prior_slopes
from dd_sfm.sfm.lens_estimate import FieldShape, KnownLens, LensEstimate, estimate_lens, straightened
from dd_sfm.sfm.lens_priors import LENSES, lens_prior
from dd_sfm.structures import Frame, FrameSet, Tracks

CENTRE = (CAMERA.cx, CAMERA.cy)
FIELD = FieldShape(CENTRE, 480.0)
WIDE = lens_vector(430.0, 0.7, 1.0, CENTRE)
PLAIN = lens_vector(560.0, 0.0, 1.0, CENTRE)


def seen_through(lens, poses, count=400, noise_px=0.3, seed=0):
    """Tracks of points on the wall of a tube, and the poses by frame."""
    rng = np.random.default_rng(seed)
    angle, along = rng.uniform(0, 2 * np.pi, count), rng.uniform(2, 14, count)
    radius = 2.0 + 0.3 * np.sin(3 * angle) + 0.3 * np.sin(2 * along)
    xyz = np.c_[radius * np.cos(angle), radius * np.sin(angle), along]
    rows = []
    for frame, pose in poses.items():
        cam = xyz @ pose[:, :3].T + pose[:, 3]
        seen = np.flatnonzero(cam[:, 2] > 0.5)
        xy = project(lens, cam[seen])[0]
        near = np.linalg.norm(xy - CENTRE, axis=1) < FIELD.radius_px
        rows.append(np.column_stack([seen[near], np.full(near.sum(), frame), xy[near]]))
    table = np.concatenate(rows)
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    table = table[np.bincount(table[:, 0].astype(int), minlength=count)[table[:, 0].astype(int)] >= 3]
    track = np.unique(table[:, 0], return_inverse=True)[1]
    xy = (table[:, 2:] + rng.normal(0, noise_px, (len(table), 2))).astype(np.float32)
    return Tracks(track, table[:, 1].astype(int), xy, np.ones(len(track), np.float32), np.diff(track, prepend=-1) > 0)


def turning(frames=16):
    poses = {}
    for k in range(frames):
        turn = Rotation.from_rotvec([0.25 * np.sin(k / 2), 0.25 * np.cos(k / 3), 0.05 * k]).as_matrix()
        poses[k] = np.column_stack([turn, -turn @ [0.6 * np.sin(k / 3), 0.5 * np.cos(k / 2), 0.12 * k]])
    return poses


def forward(frames=16):
    return {k: np.column_stack([np.eye(3), [0.0, 0.0, -0.12 * k]]) for k in range(frames)}


def estimate(lens, poses, kind="unknown", noise_px=0.3):
    known = KnownLens.of_kind(lens_prior(kind, 75.0), FIELD)
    tracks = seen_through(lens, poses, noise_px=noise_px)
    return known, estimate_lens(tracks, poses, CAMERA, FIELD, known, Config(), 0.7)


@pytest.mark.parametrize(("true", "kind"), [(WIDE, "wide-rigid"), (PLAIN, "unknown")])
def test_a_path_that_turns_tells_focal_length_and_distortion(true, kind):
    _, found = estimate(true, turning(), kind)
    assert found.is_told
    off = np.log(found.focal_px / np.exp(true[0]))
    assert abs(off) < 2 * found.focal_sigma
    assert found.focal_sigma < 0.06
    assert found.lens[1] == pytest.approx(true[1], abs=0.1)


def test_a_path_straight_ahead_does_not_tell_and_what_was_known_is_kept():
    known, found = estimate(PLAIN, forward())
    assert not found.is_told
    assert found.lens == pytest.approx(known.lens)
    assert abs(np.log(found.focal_px / 560)) < 2 * found.focal_sigma


def test_straight_ahead_a_wide_lens_is_as_sure_as_the_shape_of_lenses():
    # With all depths c times as long, focal length c f and c^2 beta the pictures are the same.
    longer = lens_vector(430.0 * 1.3, 0.7, 1.3**2, CENTRE)
    cam = np.random.default_rng(0).uniform([-2, -2, 0.5], [2, 2, 4], (50, 3))
    assert project(longer, cam * [1, 1, 1.3])[0] == pytest.approx(project(WIDE, cam)[0])
    _, found = estimate(WIDE, forward(), "wide-rigid")
    assert abs(np.log(found.focal_px / 430)) < 2 * found.focal_sigma
    assert found.focal_sigma > 0.12 or not found.is_told


def test_too_few_points_tell_nothing():
    known = KnownLens.of_kind(lens_prior("unknown", 75.0), FIELD)
    tracks = seen_through(WIDE, turning(), count=60)
    assert not estimate_lens(tracks, turning(), CAMERA, FIELD, known, Config(), 0.7).is_told


def test_a_lens_that_cannot_show_the_whole_field_is_not_taken(monkeypatch):
    blind = lens_vector(150.0, 0.9, 1.0, CENTRE)
    assert np.isnan(field_angle_deg(blind, FIELD.radius_px))

    def adjusted(*given, **named):
        found = adjust_lens(*given, **named)
        return replace(found, state=replace(found.state, lens=blind))

    monkeypatch.setattr(lens_estimate, "adjust_lens", adjusted)
    known, found = estimate(WIDE, turning(), "colonoscope")
    assert not found.is_told
    assert found.lens == pytest.approx(known.lens)


def test_the_lens_is_colmaps():
    xyz = np.random.default_rng(0).uniform([-3, -3, 0.5], [3, 3, 2], (50, 3))
    params = (430.0, 430.0, *map(float, to_colmap(np.array(CENTRE))), 0.7, 1.1)
    lens = lens_vector(430.0, 0.7, 1.1, CENTRE)
    xy, by_point, by_lens = project(lens, xyz)
    assert xy == pytest.approx(Lens("EUCM", params, *CAMERA.size).project(xyz)[0])
    assert normalise(lens, xy) == pytest.approx(xyz[:, :2] / xyz[:, 2:])
    for column, step in enumerate(1e-6 * np.eye(3)):
        slope = (project(lens, xyz + step)[0] - project(lens, xyz - step)[0]) / 2e-6
        assert by_point[:, :, column] == pytest.approx(slope, rel=1e-4, abs=1e-3)
    slopes = prior_slopes(lambda changed: project(changed, xyz)[0].ravel(), lens)
    assert by_lens.reshape(-1, 5) == pytest.approx(slopes, rel=1e-3, abs=1e-2)


def test_straightened_tracks_are_those_of_a_pinhole():
    poses = turning(4)
    tracks = seen_through(WIDE, poses, noise_px=0.0)
    straight, camera = straightened(WIDE, tracks, CAMERA)
    same, _ = straightened(lens_vector(430.0, 0.0, 1.0, CENTRE), straight, CAMERA)
    assert same.xy == pytest.approx(straight.xy, abs=1e-3)
    assert camera.fx == pytest.approx(430)
    assert np.linalg.norm(straight.xy - CENTRE, axis=1).max() > FIELD.radius_px


@pytest.mark.parametrize("kind", ["unknown", *LENSES])
def test_the_expected_lens_of_a_kind_has_its_angle(kind):
    prior = lens_prior(kind, 75.0)
    lens = prior.lens(CENTRE, FIELD.radius_px)
    assert field_angle_deg(lens, FIELD.radius_px) == pytest.approx(prior.angle_deg, abs=0.01)
    assert prior.residuals(CENTRE, FIELD.radius_px)(lens) == pytest.approx(np.zeros(6), abs=1e-3)
    assert 0.05 < prior.focal_sigma(FIELD.radius_px) < 0.8


def test_a_point_behind_its_cameras_does_not_end_the_adjustment():
    poses, rng = np.stack(list(turning(6).values())), np.random.default_rng(0)
    xyz = np.column_stack([rng.uniform(-2, 2, (120, 2)), rng.uniform(4, 9, 120)])
    point, frame = np.repeat(np.arange(120), 6), np.tile(np.arange(6), 120)
    cam = np.einsum("nij,nj->ni", poses[frame, :, :3], xyz[point]) + poses[frame, :, 3]
    seen = LensObservations(point, frame, project(PLAIN, cam)[0])
    xyz[7, 2] = -6
    known = KnownLens.of_kind(lens_prior("unknown", 75.0), FIELD)
    found = adjust_lens(LensState(PLAIN, poses, xyz), seen, known.prior, noise_px=1.0, loss_px=1.5)
    assert np.isfinite(found.state.lens).all()
    assert np.median(found.errors_px) < 0.5


def test_the_field_is_as_wide_as_tracks_reach():
    tracks = seen_through(PLAIN, turning())
    wide = replace(tracks, xy=((tracks.xy - CENTRE) * [1.0, 0.4] + CENTRE + [20.0, 0.0]).astype(np.float32))
    field = FieldShape.of_tracks(wide)
    assert field.radius_px == pytest.approx(FIELD.radius_px, rel=0.03)
    assert field.centre == pytest.approx((CENTRE[0] + 20, CENTRE[1]), abs=15)


def test_a_calibration_is_doubted_by_the_whole_field(monkeypatch):
    """A flat field of view, of which only half the height would be looked at by its height."""
    tracks, poses, seen = seen_through(PLAIN, turning(24)), turning(24), []
    names = [Path(f"{k}.png") for k in poses]
    frames = FrameSet(tuple(Frame(k, n, n, k / 25) for k, n in enumerate(names)), CAMERA, 300)

    def given(tracks, poses, camera, field, known, config, scale):
        seen.append(field)
        return LensEstimate(lens_vector(CAMERA.fx / 2, 0.0, 1.0, CENTRE), 0.02, is_told=True)

    monkeypatch.setattr(focal_check, "estimate_lens", given)
    notes = focal_check.focal_notes(tracks, poses, frames, Config())
    assert seen == [FieldShape.of_tracks(tracks)]
    assert [note.code for note in notes] == [NoteCode.CALIBRATION_FOCAL_LENGTH]
