from dataclasses import replace

import numpy as np
import pycolmap
import pytest
from scene import CAMERA, camera_centres, make_scene

import dd_sfm.sfm.mapper_choice
import dd_sfm.sfm.sound_models
from dd_sfm.config import Config, load_config
from dd_sfm.errors import ReconstructionError, ShortageError
from dd_sfm.io.colmap_database import shared_keypoints, track_matches, write_database
from dd_sfm.io.colmap_model import read_poses, write_model
from dd_sfm.io.colmap_own import finish_models
from dd_sfm.io.images import write_image
from dd_sfm.progress import silent
from dd_sfm.sfm.geometry import similarity
from dd_sfm.sfm.mapper_choice import best_candidate
from dd_sfm.sfm.mappers import MAPPERS, MappedModel, MapperTask
from dd_sfm.sfm.mapping import map_database, map_poses
from dd_sfm.sfm.point_selection import select_points
from dd_sfm.sfm.scale_check import largest_scale_jump, scale_ratios
from dd_sfm.sfm.track_selection import mapper_tracks
from dd_sfm.structures import Tracks, VerifiedPairs

CONFIG = load_config(Config, None, ["runtime.threads=1"])


def tracks_of(rows):
    """Tracks from (track, frame, x, y) rows."""
    table = np.array(rows, float)
    track, frame = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
    first = np.r_[True, np.diff(track) > 0]
    return Tracks(track, frame, table[:, 2:].astype(np.float32), np.ones(len(table), np.float32), first)


def test_two_tracks_at_one_place_share_a_keypoint():
    tracks = tracks_of([(0, 0, 5, 5), (0, 1, 6, 5), (1, 0, 5, 5), (1, 2, 9, 9)])
    keypoint, places = shared_keypoints(tracks, 3)
    assert keypoint.tolist() == [0, 0, 0, 0]
    assert [len(p) for p in places] == [1, 1, 1]


def test_matches_follow_the_tracks_without_duplicates():
    tracks = tracks_of(
        [(0, 0, 5, 5), (0, 1, 6, 5), (0, 2, 7, 5), (1, 0, 5, 5), (1, 1, 6, 5), (2, 0, 1, 1), (2, 2, 3, 1)]
    )
    keypoint, _ = shared_keypoints(tracks, 3)
    matches = track_matches(tracks, keypoint)
    assert {pair: len(m) for pair, m in matches.items()} == {(0, 1): 1, (0, 2): 2, (1, 2): 1}
    assert all(m.dtype == np.uint32 for m in matches.values())


def test_a_keypoint_is_matched_once_in_a_pair():
    tracks = tracks_of([(0, 0, 5, 5), (0, 1, 6, 5), (1, 0, 5, 5), (1, 1, 20, 20)])
    keypoint, _ = shared_keypoints(tracks, 2)
    assert [len(m) for m in track_matches(tracks, keypoint).values()] == [1]


def test_database_that_colmap_reads(tmp_path):
    frames, tracks, _ = make_scene(folder=tmp_path)
    write_database(tmp_path / "database.db", frames, tracks, min_matches=20)
    database = pycolmap.Database.open(tmp_path / "database.db")
    images = database.read_all_images()
    assert [i.name for i in sorted(images, key=lambda i: i.image_id)] == [f.path.name for f in frames.frames]
    assert database.num_frames() == len(frames)
    camera = database.read_all_cameras()[0]
    assert camera.params.tolist() == [600, 600, CAMERA.cx + 0.5, CAMERA.cy + 0.5]
    rows = tracks.frame == 3
    keypoints = np.asarray(database.read_keypoints(4))[:, :2]
    assert sorted(map(tuple, np.round(keypoints - 0.5, 2))) == sorted(map(tuple, np.round(tracks.xy[rows], 2)))
    database.close()


@pytest.mark.parametrize("mapper", ["global", "incremental", "relaxed"])
def test_poses_are_recovered_by_every_mapper(tmp_path, mapper):
    frames, tracks, truth = make_scene(folder=tmp_path)
    config = load_config(Config, None, ["runtime.threads=1", f"map.mappers=[{mapper}]"])
    result = map_poses(frames, tracks, tmp_path, config, silent)
    assert result.mapper == mapper
    assert len(result.models[0]) == len(frames)
    found, true = camera_centres(result.models[0]), camera_centres(truth.cam_from_world)
    scale, rotation, shift = similarity(found, true)
    error = np.linalg.norm(scale * found @ rotation.T + shift - true, axis=1)
    path = np.linalg.norm(np.diff(true, axis=0), axis=1).sum()
    assert np.sqrt(np.mean(error**2)) < 0.01 * path
    for k, pose in result.models[0].items():
        turn = pose[:, :3] @ rotation.T @ truth.cam_from_world[k][:, :3].T
        assert np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))) < 0.2
    assert (tmp_path / "poses" / "0" / "images.bin").exists()
    assert [p.name for p in (tmp_path / "poses").iterdir()] == ["0"]


@pytest.mark.parametrize(("times", "count", "is_told"), [(1.0, 24, False), (2.0, 24, True), (2.0, 14, False)])
def test_a_focal_length_that_the_matches_contradict_is_named(tmp_path, times, count, is_told):
    frames, tracks, _ = make_scene(count, folder=tmp_path)
    camera = replace(frames.camera, fx=times * frames.camera.fx, fy=times * frames.camera.fy)
    result = map_poses(replace(frames, camera=camera), tracks, tmp_path, CONFIG, silent)
    told = [note.text for note in result.notes if "the matches would have" in note.text]
    assert len(told) == is_told


def test_only_mapping_of_own_tracks_leaves_out_what_points_need(tmp_path, monkeypatch):
    frames, tracks, _ = make_scene(3, folder=tmp_path)
    asked = []

    def nothing(task):
        asked.append(task.poses_only)
        return {}

    monkeypatch.setitem(MAPPERS, "global", nothing)
    config = load_config(Config, None, ["map.mappers=[global]"])
    with pytest.raises(ReconstructionError):
        map_poses(frames, tracks, tmp_path, config, silent)
    with pytest.raises(ReconstructionError):
        map_database(frames, tracks, tmp_path, config, silent, VerifiedPairs(1, 1, 1))
    assert asked == [True, False]


def test_a_fallback_to_another_mapper_is_named(tmp_path, monkeypatch):
    frames, tracks, _ = make_scene(folder=tmp_path)
    monkeypatch.setitem(MAPPERS, "global", lambda *args, **options: {})
    result = map_poses(frames, tracks, tmp_path, CONFIG, silent)
    assert result.mapper == "incremental"
    assert any(note.text.startswith("the global mapper's result did not hold up") for note in result.notes)


def test_two_runs_agree(tmp_path):
    frames, tracks, _ = make_scene(folder=tmp_path)
    results = []
    for k in range(2):
        out = tmp_path / str(k)
        out.mkdir()
        results.append(map_poses(frames, tracks, out, CONFIG, silent))
    first, second = results
    assert first.models[0].keys() == second.models[0].keys()
    assert first.pairs == second.pairs
    assert camera_centres(first.models[0]) == pytest.approx(camera_centres(second.models[0]), abs=1e-6)


def test_frames_without_matches_are_said(tmp_path):
    frames, tracks, _ = make_scene(folder=tmp_path)
    keep = (tracks.frame != 13) | (tracks.track % 25 == 0)
    cut = Tracks(tracks.track[keep], tracks.frame[keep], tracks.xy[keep], tracks.score[keep], tracks.anchor[keep])
    result = map_poses(frames, cut, tmp_path, CONFIG, silent)
    assert 13 not in result.models[0]
    assert any("1 of 14 frames could not be registered in the model: " in note.text for note in result.notes)


@pytest.mark.slow
def test_nothing_to_map_is_one_clear_line(tmp_path):
    frames, tracks, _ = make_scene(folder=tmp_path)
    rng = np.random.default_rng(0)
    noise = Tracks(
        tracks.track, tracks.frame, rng.uniform(0, 700, tracks.xy.shape).astype(np.float32), tracks.score, tracks.anchor
    )
    with pytest.raises(ReconstructionError, match="no model from 14 frames"):
        map_poses(frames, noise, tmp_path, CONFIG, silent)


def test_a_jump_in_scale_is_seen_and_a_sound_model_is_not_blamed():
    _, tracks, truth = make_scene(frames=24, points=1500, outliers=0.05)
    sound = scale_ratios(tracks, truth.cam_from_world, CAMERA, every=1)
    assert largest_scale_jump(sound)[1] < 1.25
    jumped = dict(truth.cam_from_world)
    pivot = camera_centres(jumped)[12]
    for k in range(12, 24):
        rotation = jumped[k][:, :3]
        centre = pivot + 2.5 * (-rotation.T @ jumped[k][:, 3] - pivot)
        jumped[k] = np.column_stack([rotation, -rotation @ centre])
    frame, factor = largest_scale_jump(scale_ratios(tracks, jumped, CAMERA, every=1))
    # Triangulation on each side reaches a window across the jump.
    assert 6 <= frame <= 18
    assert 1.8 < factor < 3.2


def test_mapper_gets_few_tracks_well_spread():
    _, tracks, _ = make_scene(points=3000, outliers=0)
    few = tracks.where(mapper_tracks(tracks, 150, (960, 720))[tracks.track])
    per_frame = np.bincount(few.frame)
    assert few.count < 0.3 * tracks.count
    assert per_frame.max() < 400
    assert np.bincount(few.track).min() >= 3
    cells = np.floor(few.xy[few.frame == 5] / [240, 180]).astype(int)
    assert len(np.unique(cells, axis=0)) >= 10


def test_a_frame_registered_in_a_second_try_is_not_missing(tmp_path, monkeypatch):
    frames, tracks, _ = make_scene(folder=tmp_path)

    read = dd_sfm.sfm.mapper_choice.read_models

    def without_last(found, frames):
        models = read(found, frames)
        return [replace(m, poses={k: pose for k, pose in m.poses.items() if k != 13}) for m in models]

    monkeypatch.setattr("dd_sfm.sfm.mapper_choice.read_models", without_last)
    result = map_poses(frames, tracks, tmp_path, CONFIG, silent)
    assert len(result.models[0]) == 14
    (note,) = result.notes
    assert note.text == "1 frame was registered only in a second try against the finished model"


@pytest.mark.parametrize(
    ("verified", "says"),
    [(3, "no pair of them has the parallax .* a higher --every"), (1, "at least 3 frames with common points needed")],
)
def test_why_there_is_no_model(tmp_path, monkeypatch, verified, says):
    frames, tracks, _ = make_scene(frames=3, folder=tmp_path)
    empty = dd_sfm.sfm.mapper_choice.Candidate("global", [], None, 1.0)
    monkeypatch.setattr(dd_sfm.sfm.mapper_choice, "_try_mapper", lambda *given, **options: empty)
    monkeypatch.setattr("dd_sfm.sfm.mapper_choice.largest_linked", lambda *given: 3)
    pairs = VerifiedPairs(3, verified, 2578)
    with pytest.raises(
        ReconstructionError, match=rf"3 frames \({verified} of 3 pairs verified, 2578 matches\); {says}"
    ):
        dd_sfm.sfm.mapper_choice.try_mappers(frames, tracks, tmp_path, CONFIG, silent, pairs)


def candidate(mapper, frames, jump):
    poses = {k: np.eye(3, 4) for k in range(frames)}
    return dd_sfm.sfm.mapper_choice.Candidate(mapper, [MappedModel(poses, CAMERA, 0)], None, jump)


def test_which_jump_of_scale_counts_is_a_setting():
    larger, smaller = candidate("global", 10, 2.5), candidate("incremental", 8, 1.1)
    assert best_candidate([larger, smaller], max_scale_jump=2.0) is smaller
    assert best_candidate([larger, smaller], max_scale_jump=3.0) is larger
    assert best_candidate([candidate("global", 10, 1.5), smaller], max_scale_jump=1.2) is smaller


def test_of_results_without_a_frame_that_holds_the_larger_one_is_taken():
    nothing = dd_sfm.sfm.sound_models.SoundModels([])
    empty = replace(candidate("global", 0, 1.0), models=[], sound=nothing)
    doubtful = replace(candidate("incremental", 20, 1.0), sound=nothing)
    assert best_candidate([empty, doubtful], max_scale_jump=2.0) is doubtful
    assert best_candidate([doubtful, candidate("relaxed", 4, 1.0)], max_scale_jump=2.0).mapper == "relaxed"


def test_a_stop_while_poses_are_checked_leaves_the_model(tmp_path, monkeypatch):
    frames, tracks, _ = make_scene(8, folder=tmp_path)

    def stopped(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(dd_sfm.sfm.sound_models.ModelChecker, "sound", stopped)
    with pytest.raises(KeyboardInterrupt):
        map_poses(frames, tracks, tmp_path, CONFIG, silent)
    assert registered(tmp_path / "poses" / "0", frames) == set(range(8))


def registered(folder, frames):
    """Positions of the frames that a model on disk has poses of."""
    position = {f.path.name: k for k, f in enumerate(frames.frames)}
    return {position[name] for name in read_poses(folder)}


def parts_of(tracks, *starts):
    """Tracks cut into pieces that share no frame and begin at these positions."""
    piece = np.searchsorted(starts, tracks.frame, side="right")
    _, track = np.unique(tracks.track * 100 + piece, return_inverse=True)
    order = np.lexsort((tracks.frame, track))
    arrays = (track, tracks.frame, tracks.xy, tracks.score, tracks.anchor)
    return Tracks(*(array[order] for array in arrays))


def test_models_on_disk_are_in_the_order_of_the_result(tmp_path):
    frames, tracks, _ = make_scene(24, folder=tmp_path)
    config = load_config(Config, None, ["runtime.threads=1", "map.mappers=[relaxed]"])
    result = map_poses(frames, parts_of(tracks, 0, 7, 16), tmp_path, config, silent)
    assert [len(poses) for poses in result.models] == [9, 8, 7]
    for number, poses in enumerate(result.models):
        assert registered(tmp_path / "poses" / str(number), frames) == set(poses)


def test_equally_large_models_are_in_the_order_of_the_video(tmp_path, monkeypatch):
    frames, tracks, truth = make_scene(12, folder=tmp_path)

    def found(name, task):
        folder = task.folder
        # Written by COLMAP in an order of its own: the last frames first, a model too small for us in between.
        for number, kept in enumerate((range(8, 12), range(5, 7), range(4), range(4, 12))):
            rows = np.isin(truth.frame, kept)
            poses = {k: truth.cam_from_world[k] for k in kept}
            part = replace(truth, cam_from_world=poses)
            part = replace(part, point=truth.point[rows], frame=truth.frame[rows], xy=truth.xy[rows])
            seen = np.bincount(part.point, minlength=len(truth.xyz)) > 0
            write_model(folder / str(number), select_points(part, seen), frames)
        return {k: pycolmap.Reconstruction(str(folder / str(k))) for k in range(4)}

    monkeypatch.setattr("dd_sfm.sfm.mapper_choice.run_mapper", found)
    pairs = VerifiedPairs(1, 1, 1)
    monkeypatch.setattr("dd_sfm.sfm.mapper_choice.largest_linked", lambda *given: 12)
    result = map_database(frames, tracks, tmp_path, CONFIG, silent, pairs)
    assert [sorted(poses) for poses in result.models] == [[*range(4, 12)], [*range(4)], [*range(8, 12)]]
    on_disk = [registered(tmp_path / "poses" / str(k), frames) for k in range(4)]
    assert on_disk == [*map(set, result.models), {5, 6}]
    for frame in frames.frames:
        write_image(frame.path, np.full((CAMERA.height, CAMERA.width, 3), 90, np.uint8))
    # COLMAP's own points, as SIFT's run has them, follow the same order.
    finish_models(tmp_path / "poses", tmp_path / "sparse", frames.frames[0].path.parent, min_points=10)
    assert [registered(tmp_path / "sparse" / str(k), frames) for k in range(3)] == on_disk[:3]


def test_a_further_mapper_ends_in_time_with_what_it_found(tmp_path, monkeypatch):
    frames, tracks, _ = make_scene(24, folder=tmp_path)
    limits = {}
    run = dd_sfm.sfm.mapper_choice.run_mapper

    def noted(name, task):
        limits[name] = task.most_s
        return {} if name == "global" else run(name, task)

    monkeypatch.setattr(dd_sfm.sfm.mapper_choice, "run_mapper", noted)
    result = map_poses(frames, tracks, tmp_path, CONFIG, silent)
    assert limits == {"global": None, "incremental": dd_sfm.sfm.mapper_choice.LEAST_LIMIT_S}
    assert result.mapper == "incremental"
    assert len(result.models[0]) == 24


def test_a_deterministic_run_repeats_and_ends_no_mapper_by_the_clock(tmp_path):
    frames, tracks, _ = make_scene(8, folder=tmp_path)
    config = load_config(Config, None, ["runtime.deterministic=true", "runtime.threads=4", "map.mappers=[global]"])
    first, second = (map_poses(frames, tracks, tmp_path, config, silent).models[0] for _ in range(2))
    assert len(first) == 8
    assert all(np.array_equal(first[frame], second[frame]) for frame in first)
    assert dd_sfm.sfm.mapper_choice._time_limit({"global": 3.0}, config) is None


def test_no_further_mapper_is_tried_where_pairs_link_no_more_frames(tmp_path):
    frames, tracks, _ = make_scene(24, folder=tmp_path)
    apart = parts_of(tracks, 0, 20)
    result = map_poses(frames, apart, tmp_path, CONFIG, silent)
    assert result.mapper == "global"
    assert len(result.models[0]) == 20
    assert set(result.seconds) == {"verify", "global", "check"}


def test_a_stopped_mapper_leaves_its_model_and_the_best_one_stays(tmp_path, monkeypatch):
    frames, tracks, _ = make_scene(24, folder=tmp_path)
    config = load_config(Config, None, ["runtime.threads=1", "map.mappers=[incremental]"])

    def interrupted(items, *, total, label):
        assert (total, label) == (24, "map, incremental mapper")
        for count, item in enumerate(items):
            if count == 15:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        map_poses(frames, tracks, tmp_path, config, interrupted)
    assert 10 <= len(registered(tmp_path / "poses" / "0", frames)) <= 24


def test_a_mapper_stopped_in_a_second_model_keeps_the_first(tmp_path):
    frames, tracks, _ = make_scene(24, folder=tmp_path)
    config = load_config(Config, None, ["runtime.threads=1", "map.mappers=[incremental]"])

    def interrupted(items, *, total, label):
        for count, item in enumerate(items):
            if count == 17:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        map_poses(frames, parts_of(tracks, 0, 14), tmp_path, config, interrupted)
    assert registered(tmp_path / "poses" / "0", frames) == set(range(14))


def test_an_error_of_the_caller_ends_the_mapper_and_is_not_taken_for_its_own(tmp_path):
    frames, tracks, _ = make_scene(12, folder=tmp_path)
    config = load_config(Config, None, ["runtime.threads=1", "map.mappers=[incremental]"])

    def broken(items, *, total, label):
        next(iter(items))
        raise ValueError("window closed")
        yield

    with pytest.raises(ValueError, match="window closed"):
        map_poses(frames, tracks, tmp_path, config, broken)


def test_a_mapper_that_was_ended_is_named(tmp_path, monkeypatch):
    frames, tracks, _ = make_scene(14, folder=tmp_path)
    run = dd_sfm.sfm.mapper_choice.run_mapper
    monkeypatch.setattr(dd_sfm.sfm.mapper_choice, "LEAST_LIMIT_S", 0.0)
    monkeypatch.setattr(dd_sfm.sfm.mapper_choice, "LIMIT_TIMES", 0.0)
    monkeypatch.setattr(
        dd_sfm.sfm.mapper_choice, "run_mapper", lambda name, task: {} if name == "global" else run(name, task)
    )
    result = map_poses(frames, tracks, tmp_path, CONFIG, silent)
    ended = next(note.text for note in result.notes if note.code == "mapper_ended")
    assert ended.startswith("the incremental mapper was ended after 0 s")


@pytest.mark.parametrize("mapper", ["global", "incremental"])
def test_a_mapper_without_room_on_the_disk_has_not_given_up(tmp_path, monkeypatch, mapper):
    def fail(*arguments, **options):
        raise RuntimeError("No registered database factory succeeded.")

    monkeypatch.setattr(f"dd_sfm.sfm.mappers.pycolmap.{mapper}_mapping", fail)
    task = MapperTask(tmp_path / "database.db", tmp_path, tmp_path, Config(), refine_focal=False)
    assert MAPPERS[mapper](task) == {}
    monkeypatch.setattr("dd_sfm.io.shortage.shutil.disk_usage", lambda path: type("Usage", (), {"free": 4096})())
    with pytest.raises(ShortageError, match="the disk is full, 4 kB free"):
        MAPPERS[mapper](task)
