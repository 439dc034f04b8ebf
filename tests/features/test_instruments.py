from dataclasses import replace

import numpy as np
import plane_sequence
import pytest
import torch
from instrument import draw, place_at
from plane import CAMERA

from dd_sfm.config import Config
from dd_sfm.errors import ReconstructionError
from dd_sfm.features import dense_tracks
from dd_sfm.features.instruments import mask_instruments, tracks_without_instruments
from dd_sfm.features.method import Job
from dd_sfm.io.edited_masks import mask_hash, record_masks
from dd_sfm.io.images import read_mask, write_image, write_mask
from dd_sfm.io.instrument_masks import final_mask, without_instruments
from dd_sfm.notes import NoteCode
from dd_sfm.progress import silent
from dd_sfm.sfm.moving_tracks import judge_tracks
from dd_sfm.structures import MapResult, Tracks, VerifiedPairs

COUNT = 14


def make_clip(folder, motion, tint=(1, 1, 1)):
    """Frames with an instrument, or without one where ``motion`` is None, their tracks, and what it covers."""
    (folder / "frames").mkdir()
    (folder / "masks").mkdir()
    frames, size = plane_sequence.frame_set(folder, COUNT), (160, 120)
    covered = []
    for k, image in enumerate(plane_sequence.images(COUNT)):
        # Tissue is red, metal is not.
        pink = (image.mean(2, keepdims=True) * [0.9, 0.45, 0.4] + [25, 20, 20]).astype(np.uint8)
        drawn, area = draw(pink, place_at(k, COUNT, motion, size, 30)) if motion else (pink, np.zeros((120, 160), bool))
        drawn = np.where(area[..., None], np.clip(drawn * np.array(tint), 0, 255), drawn).astype(np.uint8)
        write_image(frames.frames[k].path, drawn)
        write_mask(frames.frames[k].mask_path, plane_sequence.MASK)
        covered.append(area)
    record_masks(folder, {f.mask_path.name: mask_hash(f.mask_path) for f in frames.frames}, {})
    model = plane_sequence.model(COUNT)
    place = np.round(model.xy).astype(int)
    seen = np.array([not covered[f][y, x] for f, (x, y) in zip(model.frame, place, strict=True)])
    rows = [np.column_stack([model.point, model.frame, model.xy])[seen]]
    if motion:
        rows.append(instrument_tracks(motion, size, covered, model.point.max() + 1))
    table = np.concatenate(rows)
    _, track = np.unique(table[:, 0], return_inverse=True)
    ones = np.ones(len(table), np.float32)
    tracks = Tracks(track, table[:, 1].astype(int), table[:, 2:].astype(np.float32), ones, ones > 0)
    return frames, tracks, covered


def instrument_tracks(motion, size, covered, first):
    """Points of the shaft in every frame that shows them."""
    along, across = np.meshgrid(np.arange(30, 90, 6.0), np.arange(-12, 13, 4.0))
    rows = []
    for number, (u, v) in enumerate(zip(along.ravel(), across.ravel(), strict=True)):
        for k in range(COUNT):
            place = place_at(k, COUNT, motion, size, 30)
            cosine, sine = np.cos(np.radians(place.angle_deg)), np.sin(np.radians(place.angle_deg))
            x, y = place.tip[0] + cosine * u - sine * v, place.tip[1] + sine * u + cosine * v
            if 5 < x < 154 and 5 < y < 114 and covered[k][round(y), round(x)]:
                rows.append([first + number, k, x, y])
    return np.array(rows)


def mask(folder, frames, tracks, **settings):
    config = replace(Config(), **settings)
    judged = judge_tracks(tracks, plane_sequence.poses(COUNT), CAMERA, config, 0.5)
    return mask_instruments(frames, judged, folder, config)


@pytest.mark.parametrize(
    ("motion", "tint"),
    [("rest", (1, 1, 1)), ("mixed", (1, 1, 1)), ("mixed", (0.25, 0.25, 0.27)), ("mixed", (1.1, 0.95, 0.3))],
    ids=["rests", "swings", "black", "yellow"],
)
def test_an_instrument_is_masked_where_it_is(tmp_path, motion, tint):
    frames, tracks, covered = make_clip(tmp_path, motion, tint)
    share, notes = mask(tmp_path, frames, tracks)
    assert [note.code for note in notes] == [NoteCode.INSTRUMENTS_MASKED]
    left = [read_mask(f.mask_path) for f in without_instruments(frames).frames]
    overlaps = []
    for area, usable in zip(covered, left, strict=True):
        found, true = plane_sequence.MASK & ~usable, plane_sequence.MASK & area
        overlaps.append((found & true).sum() / (found | true).sum())
    assert min(overlaps) > 0.5
    assert np.mean(overlaps) > 0.65
    true_share = np.mean([(plane_sequence.MASK & area).sum() / plane_sequence.MASK.sum() for area in covered])
    assert share == pytest.approx(true_share, rel=0.35)


def test_tissue_alone_is_not_masked(tmp_path):
    frames, tracks, _ = make_clip(tmp_path, None)
    # Some tracks are wrong, as they always are, and all of those in a corner.
    wrong = tracks.track % 9 == 0
    wrong |= (tracks.xy < 40).all(1)
    noise = np.random.default_rng(0).uniform(-9, 9, tracks.xy.shape) * wrong[:, None]
    share, notes = mask(tmp_path, frames, replace(tracks, xy=(tracks.xy + noise).astype(np.float32)))
    assert (share, notes) == (0.0, [])
    assert not (tmp_path / "instruments").exists()
    assert tracks_without_instruments(without_instruments(frames), tracks) is tracks


def test_masks_that_the_user_has_edited_are_final(tmp_path):
    frames, tracks, _ = make_clip(tmp_path, "rest")
    edited = frames.frames[4].mask_path
    write_mask(edited, plane_sequence.MASK & (np.arange(160) < 150))
    mask(tmp_path, frames, tracks)
    assert final_mask(edited) == edited
    assert final_mask(frames.frames[5].mask_path).parent.name == "instruments"


def test_tracks_lose_what_lies_on_instruments(tmp_path):
    frames, tracks, covered = make_clip(tmp_path, "mixed")
    mask(tmp_path, frames, tracks)
    left = tracks_without_instruments(without_instruments(frames), tracks)

    def on_instrument(some):
        x, y = np.round(some.xy).astype(int).T
        return sum(covered[f][b, a] for f, a, b in zip(some.frame, x, y, strict=True))

    assert on_instrument(left) < 0.1 * on_instrument(tracks)
    assert len(left.track) > 0.8 * (len(tracks.track) - on_instrument(tracks))


class Mapper:
    """Stands in for the mappers: gives one result after the other."""

    def __init__(self, *poses):
        self.results, self.tracks = list(poses), []

    def __call__(self, frames, tracks, out, config, progress):
        self.tracks.append(tracks)
        found = self.results.pop(0)
        if found is None:
            raise ReconstructionError("no mapper registers three frames")
        # As many models as calls there were, to be known by.
        for number in range(len(self.tracks)):
            (out / "poses" / str(number)).mkdir(parents=True, exist_ok=True)
            (out / "poses" / str(number) / "images.bin").write_text(f"call {len(self.tracks)}")
        (out / "database.db").write_text(f"call {len(self.tracks)}")
        return MapResult([found], [CAMERA], "global", VerifiedPairs(9, 9, 99), {})


IDENTITY = {k: np.eye(4)[:3] for k in range(COUNT)}
TRUE = plane_sequence.poses(COUNT)


def written(folder):
    assert not (folder / "map").exists()
    return {
        p.relative_to(folder).as_posix(): p.read_text() for p in (*folder.glob("poses/*/*"), folder / "database.db")
    }


def run_mapping(folder, monkeypatch, motion, mapper):
    frames, tracks, _ = make_clip(folder, motion)
    monkeypatch.setattr(dense_tracks, "map_poses", mapper)
    job = Job(frames, folder, Config(), torch.device("cpu"), silent)
    return dense_tracks.map_tracks(job, tracks), tracks


def test_poses_of_an_instrument_give_way_to_those_of_the_tissue(tmp_path, monkeypatch):
    # An instrument at rest in the picture is a scene that no camera moves in.
    mapper = Mapper(IDENTITY, TRUE)
    found, tracks = run_mapping(tmp_path, monkeypatch, "rest", mapper)
    assert found.models == [TRUE]
    assert [note.code for note in found.notes] == [NoteCode.INSTRUMENTS_MASKED]
    assert found.instruments > 0.05
    assert mapper.tracks[1].count < tracks.count
    names = ("poses/0/images.bin", "poses/1/images.bin", "database.db")
    assert written(tmp_path) == dict.fromkeys(names, "call 2")


@pytest.mark.parametrize("second", [IDENTITY, None])
def test_poses_stay_where_others_explain_no_more(tmp_path, monkeypatch, second):
    mapper = Mapper(IDENTITY, second)
    found, _ = run_mapping(tmp_path, monkeypatch, "rest", mapper)
    assert len(mapper.tracks) == 2
    assert written(tmp_path) == dict.fromkeys(("poses/0/images.bin", "database.db"), "call 1")
    assert (found.models, found.notes, found.instruments) == ([IDENTITY], [], 0.0)


def test_poses_are_found_again_without_the_tracks_on_an_instrument(tmp_path, monkeypatch):
    again = {k: pose.copy() for k, pose in TRUE.items()}
    mapper = Mapper(TRUE, again)
    found, tracks = run_mapping(tmp_path, monkeypatch, "mixed", mapper)
    assert found.models[0] is again
    assert len(mapper.tracks[1].track) < len(tracks.track)


def test_clips_without_an_instrument_are_mapped_once(tmp_path, monkeypatch):
    mapper = Mapper(TRUE)
    found, tracks = run_mapping(tmp_path, monkeypatch, None, mapper)
    assert mapper.tracks[0] is tracks
    assert (found.models, found.notes, found.instruments) == ([TRUE], [], 0.0)


def test_masks_of_an_earlier_call_are_removed(tmp_path):
    frames, tracks, _ = make_clip(tmp_path, "rest")
    mask(tmp_path, frames, tracks)
    assert list((tmp_path / "instruments").glob("*.png"))
    mask(tmp_path, frames, tracks.where(tracks.frame < 3))
    assert not list((tmp_path / "instruments").glob("*.png"))
