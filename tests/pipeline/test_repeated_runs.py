"""A finished run is repeated: nothing is done again, and nothing of it is taken for damaged."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from plane import plane_model, plane_poses

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config, load_config
from dd_sfm.features.methods import METHODS
from dd_sfm.io.colmap_model import write_model
from dd_sfm.io.run_folder import write_grid
from dd_sfm.pipeline.compare import CompareRequest, run_all
from dd_sfm.pipeline.run import run
from dd_sfm.pipeline.stage_work import RunRequest
from dd_sfm.pipeline.stages import STAGES
from dd_sfm.progress import silent
from dd_sfm.structures import FinishedModel, MapResult, MatchResult, Tracks, VerifiedPairs, WorkingGrid

FRAMES = 12
POSES = {k: pose for k, pose in plane_poses().items() if k < FRAMES}
CAMERA = PinholeCamera(160, 120, 150.0, 150.0, 80.0, 60.0)
DONE = [f"{stage}: done before" for stage in STAGES]


def known_model():
    model = plane_model(4.0)
    rows = model.frame < FRAMES
    kept, point = np.unique(model.point[rows], return_inverse=True)
    seen = {"point": point, "frame": model.frame[rows], "xy": model.xy[rows]}
    points = {name: getattr(model, name)[kept] for name in ("xyz", "rgb", "error_px")}
    return replace(model, cam_from_world=POSES, **points, **seen)


class KnownModel:
    """A method that knows its result, and leaves files of every kind in the run."""

    resumes = frozenset[str]()

    def check(self, config):
        pass

    def weights(self, config):
        return None

    def stage_inputs(self, config):
        return {stage: [] for stage in STAGES[1:]}

    def describe(self, job):
        (job.out / "descriptors").mkdir(exist_ok=True)
        write_grid(job.out, WorkingGrid(1.0, (0, 0), 160, 120, 2), 2)
        np.save(job.out / "descriptors" / "basis.npy", np.eye(3))
        self._keep(job, "describe")

    def is_described(self, job):
        return True

    def match(self, job):
        self._keep(job, "match")
        (job.out / "sift.db").write_bytes(b"matches")
        xy, score, anchor = np.zeros((4, 2), np.float32), np.ones(4, np.float32), np.arange(4) == 0
        return MatchResult(Tracks(np.zeros(4, np.int64), np.arange(4), xy, score, anchor), [(0, 1)])

    def map(self, job, tracks):
        self._keep(job, "map")
        with closing(sqlite3.connect(job.out / "database.db")) as database:
            database.execute("CREATE TABLE IF NOT EXISTS matches (id INTEGER)")
        write_model(job.out / "poses" / "0", known_model(), job.frames)
        trusted = dict.fromkeys(POSES, 0.9)
        return MapResult([POSES], [CAMERA], "global", VerifiedPairs(1, 1, 4), {}, confidence=[trusted])

    def points(self, job, tracks, found) -> Iterator[FinishedModel]:
        model = known_model()
        write_model(job.out / "sparse" / "0", model, job.frames)
        yield FinishedModel(model, np.full(len(model.xyz), 0.01))

    @staticmethod
    def _keep(job, stage):
        (job.out / stage).mkdir(exist_ok=True)
        (job.out / stage / "own.bin").write_bytes(stage.encode())


def known_methods(patch):
    """Puts the method that knows its result in the place of the others."""
    for name in ("learned", "sift"):
        patch.setitem(METHODS, name, KnownModel())


def make_request(clip, out):
    return RunRequest(clip, out, load_config(Config, None, ["runtime.device=cpu"]), "150,150,80,60")


@pytest.fixture
def request_of(tiny_clip, tmp_path, monkeypatch):
    known_methods(monkeypatch)
    return make_request(tiny_clip, tmp_path / "run")


def files_of(out):
    """Content of a run's files, but for what every call writes anew."""
    names = ("run.log", "metrics.json", "config.yaml", "stages.json", ".dd-sfm.lock")
    return {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name not in names}


def test_a_repeated_run_does_nothing_again(request_of):
    lines = []
    for last in ("match", "map", "densify"):
        run(replace(request_of, last=last), silent, lines.append)
    assert [line for line in lines if line.endswith(" ...")] == [f"{stage} ..." for stage in (*STAGES, "coverage")]
    assert not any("damaged" in line for line in lines)
    before = files_of(request_of.out)
    assert request_of.out / "frame_poses.json" in before
    for _ in range(2):
        lines.clear()
        run(request_of, silent, lines.append)
        assert lines == DONE
    assert not (request_of.out / "damaged").exists()
    assert files_of(request_of.out) == before


def spoil(path):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_what_is_damaged_or_lost_is_made_again_as_far_as_it_is_read(request_of):
    def made_again():
        lines.clear()
        run(request_of, silent, lines.append)
        return [line.removesuffix(" ...") for line in lines if line.endswith(" ...")]

    out, lines = request_of.out, list[str]()
    run(request_of, silent, lines.append)
    # What is no longer read is not looked at.
    spoil(out / "descriptors" / "basis.npy")
    for name in ("describe/own.bin", "map/own.bin"):
        (out / name).unlink()
    assert made_again() == []
    assert lines == DONE
    # The next stage is to be done, and would read what is lost.
    spoil(out / "densify.json")
    assert made_again() == ["map", "densify", "coverage"]
    assert [line for line in lines if "damaged" in line] == [
        f"{out / 'densify.json'}: damaged, not as densify has written it; put into damaged, densify is done again"
    ]
    assert (out / "damaged" / "densify.json").is_file()
    assert (out / "map" / "own.bin").is_file()
    for name, stages in (("match/own.bin", STAGES[1:]), ("describe/own.bin", STAGES[1:]), ("map/own.bin", STAGES[3:])):
        spoil(out / name)
        assert made_again() == [*stages, "coverage"], name
        assert made_again() == []


def test_a_folder_counts_by_its_frames(request_of, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    short = replace(request_of, last="frames")
    run(short, silent, lambda _: None)
    for path in (request_of.out / "frames").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    log, lines = folder / "log.txt", list[str]()

    def say(text):
        lines.append(text)
        with log.open("a") as file:
            file.write(text)

    images = replace(short, source=folder, out=tmp_path / "of images")
    for _ in range(2):
        run(images, silent, say)
    assert lines[-1] == "frames: done before"
    assert lines.count("frames ...") == 1


def test_a_repeated_comparison_does_nothing_again(request_of):
    compared, lines = CompareRequest(request_of, default_sift=False), list[str]()
    run_all(compared, silent, lines.append)
    runs = {path.name: files_of(path) for path in request_of.out.iterdir() if path.is_dir()}
    assert set(runs) == {"learned", "sift"}
    lines.clear()
    outcomes = run_all(compared, silent, lines.append)
    assert [outcome.failure for outcome in outcomes] == ["", ""]
    assert lines == ["all: frames: done before"] + [f"{name}: {line}" for name in ("sift", "learned") for line in DONE]
    for name, before in runs.items():
        assert files_of(request_of.out / name) == before
        assert not (request_of.out / name / "damaged").exists()
