"""Models that share tissue become one, those that do not stay apart."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from interrupted import write_clip
from scene import camera_centres, make_scene
from scipy.spatial import cKDTree

from dd_sfm.config import Config, load_config
from dd_sfm.errors import InputError
from dd_sfm.features import model_joining
from dd_sfm.features.learned import LearnedFeatures
from dd_sfm.features.method import Job
from dd_sfm.features.model_joining import join_models, joined_tracks, with_observations
from dd_sfm.io.run_folder import load_frames, read_matches, read_poses, write_poses
from dd_sfm.notes import Note, NoteCode
from dd_sfm.pipeline.run import run
from dd_sfm.pipeline.stage_work import RunRequest
from dd_sfm.presets import find_config
from dd_sfm.progress import silent
from dd_sfm.sfm.geometry import Similarity, similarity
from dd_sfm.sfm.model_relation import Sightings
from dd_sfm.sfm.pose_check import PLACE, PoseCheck
from dd_sfm.sfm.track_builder import PairFound
from dd_sfm.structures import MapResult, Model, Tracks, VerifiedPairs, WorkingGrid

MOVED = Similarity(0.4, np.diag([-1.0, 1.0, -1.0]), np.array([1.0, 2.0, 3.0]))
CONFIG = load_config(Config, None, ["runtime.threads=1"])


@dataclass
class TrueMatcher:
    """Finds what a made-up scene shows in both frames."""

    truth: Model

    def __post_init__(self):
        self.maps = self

    @property
    def grid(self):
        return WorkingGrid(1.0, (0, 0), 960, 720, 2)

    def pooled(self):
        return torch.ones(len(self.truth.cam_from_world), 1)

    def match(self, reference, target, xy, other=None):
        truth = self.truth
        rows, others = (np.flatnonzero(truth.frame == k) for k in (reference, target))
        distance, near = cKDTree(truth.xy[rows]).query(xy)
        both, _, there = np.intersect1d(truth.point[rows[near]], truth.point[others], return_indices=True)
        place = dict(zip(both, truth.xy[others[there]], strict=True))
        good = [k for k in range(len(xy)) if distance[k] < 1.5 and truth.point[rows[near[k]]] in place]
        found = np.array([place[truth.point[rows[near[k]]]] for k in good], np.float32).reshape(-1, 2)
        return PairFound(np.array(good, int), found, np.ones(len(good)), len(good) / max(1, len(xy)))


@pytest.fixture
def split(tmp_path, monkeypatch):
    """A job and tracks of a path whose halves have no track in common, and the truth."""
    frames, tracks, truth = make_scene(16, 300, outliers=0.02, folder=tmp_path)
    monkeypatch.setattr(model_joining, "Matcher", lambda *given: TrueMatcher(truth))
    late = tracks.frame >= 8
    number = np.unique(2 * tracks.track + late, return_inverse=True)[1]
    order = np.lexsort((tracks.frame, number))
    halves = Tracks(number[order], tracks.frame[order], tracks.xy[order], tracks.score[order], tracks.anchor[order])
    return Job(frames, tmp_path, CONFIG, torch.device("cpu"), silent), halves, truth


def mapped(truth, pieces):
    """The result of a mapper that gave each piece of the path a model, from the second on in a world of its own."""
    models = [{k: truth.cam_from_world[k] for k in piece} for piece in pieces]
    models = [models[0], *(MOVED.poses_by_frame(model) for model in models[1:])]
    return MapResult(models, [truth.camera] * len(models), "global", VerifiedPairs(1, 1, 1), {})


def test_halves_of_a_path_become_one_model(split):
    job, tracks, truth = split
    result = mapped(truth, [range(0, 8), range(8, 16)])
    split_note = Note(NoteCode.MODEL_SPLIT, "the model was split before frame 8")
    found = join_models(job, tracks, replace(result, splits={8: PLACE}, notes=[split_note]))
    (poses,) = found.models
    assert not found.splits
    assert set(found.confidence[0]) == set(range(16))
    assert min(found.confidence[0].values()) > 0.8
    centres, true = camera_centres(poses), camera_centres(truth.cam_from_world)
    scale, rotation, shift = similarity(centres, true)
    assert np.abs(scale * centres @ rotation.T + shift - true).max() < 0.02
    assert [note.code.value for note in found.notes] == ["models_joined"]
    assert (job.out / "poses" / "0" / "images.bin").is_file()
    more = joined_tracks(job.out, tracks, found)
    assert more.count == tracks.count
    assert len(more.track) > len(tracks.track)
    write_poses(job.out, found)
    assert [(s.scale, s.sigma) for s in read_poses(job.out).scales] == [(1.0, 0.0)]
    (job.out / "map" / "tracks.npz").unlink()
    with pytest.raises(InputError, match=r"map/tracks.npz: missing; .* Remove .*map.json and repeat"):
        joined_tracks(job.out, tracks, read_poses(job.out))


def test_models_that_break_at_the_seam_stay_apart(split, monkeypatch):
    job, tracks, truth = split
    broken = PoseCheck([list(range(9)), list(range(9, 16))], {}, {9: PLACE}, dict.fromkeys(range(16), 0.9), True)
    monkeypatch.setattr(model_joining, "check_poses", lambda *given: broken)
    result = replace(mapped(truth, [range(0, 8), range(8, 16)]), splits={8: PLACE})
    found = join_models(job, tracks, result)
    assert found.models == result.models
    assert found.splits == {8: PLACE}
    assert [scale.scale for scale in found.scales] == [1.0, None]
    assert joined_tracks(job.out, tracks, found) is tracks


def test_models_without_common_tissue_stay_apart_and_say_so(split, monkeypatch):
    job, tracks, truth = split
    nothing = PairFound(np.zeros(0, int), np.zeros((0, 2)), np.zeros(0), 0.0)
    monkeypatch.setattr(TrueMatcher, "match", lambda *given: nothing)
    result = mapped(truth, [range(0, 8), range(8, 16)])
    found = join_models(job, tracks, result)
    assert found.models == result.models
    assert [scale.scale for scale in found.scales] == [1.0, None]
    assert found.notes[-1].text.endswith("frames 8 to 15: unknown, as too little was found in both")
    assert joined_tracks(job.out, tracks, found) is tracks


def test_a_track_is_seen_once_in_a_frame():
    tracks = Tracks(
        np.array([0, 0, 1]), np.array([0, 2, 1]), np.zeros((3, 2), np.float32), np.ones(3, np.float32), np.ones(3, bool)
    )
    xy = np.arange(6.0).reshape(3, 2)
    more = Sightings(np.array([1, 2, 1]), np.array([0, 0, 0]), np.zeros((3, 3)), xy, np.ones(3))
    found = with_observations(tracks, more)
    assert found.track.tolist() == [0, 0, 0, 1]
    assert found.frame.tolist() == [0, 1, 2, 1]
    assert found.xy.tolist() == [[0, 0], [0, 1], [0, 0], [0, 0]]


@pytest.mark.slow
def test_pieces_of_a_video_that_were_matched_apart_are_joined_and_those_of_another_are_not(tmp_path):
    demos = Path(__file__).parents[2] / "demo_videos"
    parts = [
        (demos / "colon", range(0, 24, 3)),
        (demos / "bladder", range(0, 24, 3)),
        (demos / "colon", range(30, 54, 3)),
    ]
    write_clip(tmp_path / "clip", parts, ["red-out"], 3)
    apart = ["frames.format=jpg", "pairs.loop_candidates=0"]
    config = load_config(Config, find_config("preview"), apart)
    calibration = str(tmp_path / "clip" / "calibration.txt")
    run(RunRequest(tmp_path / "clip" / "clip.mp4", tmp_path / "run", config, calibration, last="match"))
    frames = load_frames(tmp_path / "run")
    assert [len(piece) for piece in frames.pieces] == [8, 8, 8]
    job = Job(frames, tmp_path / "run", load_config(Config, find_config("preview"), []), torch.device("cpu"), silent)
    found = LearnedFeatures().map(job, read_matches(tmp_path / "run").tracks)
    assert [sorted(model) for model in found.models] == [[*range(8), *range(16, 24)], list(range(8, 16))]
    assert found.scales[1].scale is None
    numbers = [*range(0, 24, 3), *range(30, 54, 3)]
    centres, true = camera_centres(found.models[0]), np.load(demos / "colon" / "truth.npz")["c"][numbers]
    scale, rotation, shift = similarity(centres, true)
    path = np.linalg.norm(np.diff(true, axis=0), axis=1).sum()
    error = np.linalg.norm(scale * centres @ rotation.T + shift - true, axis=1)
    assert np.sqrt(np.square(error).mean()) < 0.01 * path
