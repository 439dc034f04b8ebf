import numpy as np
import pytest
from scene import camera_centres, make_scene

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config
from dd_sfm.io.images import write_image
from dd_sfm.pipeline.metrics import model_figures
from dd_sfm.sfm.bundle_adjustment import bundle_adjust
from dd_sfm.sfm.geometry import similarity
from dd_sfm.sfm.point_cleaning import clean, drop_duplicates, drop_isolated
from dd_sfm.sfm.point_cloud import point_normals, to_cloud
from dd_sfm.sfm.point_colours import colour
from dd_sfm.sfm.point_selection import depths, select_points, spread_subset
from dd_sfm.sfm.triangulation import triangulate
from dd_sfm.structures import Frame, FrameSet, Model, Tracks


@pytest.fixture(scope="module")
def scene():
    return make_scene(points=800, outliers=0.2)


def test_points_are_right_in_spite_of_wrong_observations(scene):
    frames, tracks, truth = scene
    model, source = triangulate(tracks, truth.cam_from_world, frames.camera, Config())
    names = np.unique(truth.point)  # every true point has two observations or more here
    error = np.linalg.norm(model.xyz - truth.xyz[names[source]], axis=1)
    assert len(model.xyz) > 0.6 * tracks.count
    assert np.median(error) < 0.02
    assert np.percentile(error, 95) < 0.3
    assert model.error_px.max() <= Config().triangulation.max_reprojection_px
    figures = model_figures(model)
    assert figures["median_reprojection_error_px"] == pytest.approx(0.33, abs=0.1)
    assert figures["points"] == len(model.xyz)


def test_blocks_change_nothing(scene, monkeypatch):
    frames, tracks, truth = scene
    whole, _ = triangulate(tracks, truth.cam_from_world, frames.camera, Config())
    monkeypatch.setattr("dd_sfm.sfm.triangulation.CHUNK_OBSERVATIONS", 500)
    parts, _ = triangulate(tracks, truth.cam_from_world, frames.camera, Config())
    # Random hypotheses differ between blocks, so a few borderline points may too.
    assert abs(len(parts.xyz) - len(whole.xyz)) <= 0.01 * len(whole.xyz)


def test_no_tracks():
    frames, _, truth = make_scene(points=50)
    none = np.zeros(0, np.int64)
    empty = Tracks(none, none, np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros(0, bool))
    model, _ = triangulate(empty, truth.cam_from_world, frames.camera, Config())
    assert len(model.xyz) == 0
    assert len(to_cloud(clean(model)).xyz) == 0


def test_the_same_surface_point_is_kept_once(scene):
    _, _, truth = scene
    twice = Model(
        truth.camera, truth.cam_from_world, np.concatenate([truth.xyz, truth.xyz + 1e-4]),
        np.zeros((2 * len(truth.xyz), 3), np.uint8), np.zeros(2 * len(truth.xyz)),
        np.concatenate([truth.point, truth.point + len(truth.xyz)]), np.concatenate([truth.frame] * 2),
        np.concatenate([truth.xy, truth.xy + 0.1]),
    )  # fmt: skip
    seen = len(np.unique(truth.point))
    kept = drop_duplicates(twice)
    assert 0.97 * seen <= len(np.unique(kept.point)) <= seen


def test_lonely_points_go_and_thin_structures_stay(scene):
    _, _, truth = scene
    rng = np.random.default_rng(0)
    wire = np.c_[np.linspace(-0.3, 0.3, 60), np.zeros(60), np.full(60, 8.0)]
    lonely = np.c_[rng.uniform(-0.5, 0.5, (5, 2)), [20.0, 24.0, 29.0, 34.0, 40.0]]
    xyz = np.concatenate([truth.xyz, wire, lonely])
    extra = np.arange(len(truth.xyz), len(xyz))
    point = np.concatenate([truth.point, np.repeat(extra, 4)])
    frame = np.concatenate([truth.frame, np.tile([0, 1, 2, 3], len(extra))])
    model = Model(
        truth.camera, truth.cam_from_world, xyz, np.zeros((len(xyz), 3), np.uint8), np.zeros(len(xyz)), point, frame,
        np.zeros((len(point), 2)),
    )  # fmt: skip
    kept = {tuple(p) for p in drop_isolated(model).xyz}
    assert all(tuple(p) in kept for p in wire)
    assert sum(tuple(p) in kept for p in lonely) <= 1
    assert len(kept) > 0.95 * len(truth.xyz)


def test_bundle_adjustment_mends_disturbed_poses():
    frames, tracks, truth = make_scene(points=800, outliers=0, noise_px=0.2)
    rng = np.random.default_rng(1)
    moved = {
        k: p + np.column_stack([np.zeros((3, 3)), rng.normal(0, 0.004, 3)]) for k, p in truth.cam_from_world.items()
    }
    model, _ = triangulate(tracks, moved, frames.camera, Config(), scale=4.0)
    adjusted = bundle_adjust(model, frames, refine_focal=False, scale_px=1.0, threads=1)

    def centre_error(poses):
        found, true = camera_centres(poses), camera_centres(truth.cam_from_world)
        scale, rotation, shift = similarity(found, true)
        return np.linalg.norm(scale * found @ rotation.T + shift - true, axis=1).mean()

    assert centre_error(adjusted.cam_from_world) < 0.5 * centre_error(moved)
    assert adjusted.camera == frames.camera


def test_subset_covers_every_frame(scene):
    _, _, truth = scene
    part = spread_subset(select_points(truth, np.ones(len(truth.xyz), bool)), (960, 720), 40)
    assert len(part.xyz) < len(truth.xyz)
    assert set(np.unique(part.frame)) == set(truth.cam_from_world)


def test_normals_look_into_the_tube(scene):
    _, _, truth = scene
    normals = point_normals(truth)
    assert np.linalg.norm(normals, axis=1) == pytest.approx(np.ones(len(normals)))
    seen = np.unique(truth.point)
    inwards = -truth.xyz[seen, :2] / np.linalg.norm(truth.xyz[seen, :2], axis=1, keepdims=True)
    assert np.median((normals[seen, :2] * inwards).sum(1)) > 0.85


def test_depth_is_the_median_distance(scene):
    _, _, truth = scene
    centre = {k: -p[:, :3].T @ p[:, 3] for k, p in truth.cam_from_world.items()}
    point = int(truth.point[0])
    distances = [np.linalg.norm(truth.xyz[point] - centre[f]) for f in truth.frame[truth.point == point]]
    assert depths(truth)[point] == pytest.approx(sorted(distances)[len(distances) // 2])


def test_colours_of_more_points_than_a_picture_of_opencv_may_have_rows(tmp_path):
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[..., 0], picture[..., 1] = np.arange(60), np.arange(40)[:, None]
    frame = Frame(0, tmp_path / "0.png", tmp_path / "0.png.png", 0.0)
    write_image(frame.path, picture)
    camera = PinholeCamera(60, 40, 50.0, 50.0, 29.5, 19.5)
    count = 70_000
    xy = np.random.default_rng(0).integers(0, (60, 40), (count, 2)).astype(np.float64)
    points = np.column_stack([xy, np.ones(count)])
    pose = np.eye(4)[:3]
    number = np.arange(count)
    model = Model(
        camera,
        {0: pose},
        points,
        np.zeros((count, 3), np.uint8),
        np.zeros(count),
        number,
        np.zeros(count, np.int64),
        xy,
    )
    coloured = colour(model, FrameSet((frame,), camera, 40))
    assert np.array_equal(coloured.rgb[:, :2], xy.astype(np.uint8))
