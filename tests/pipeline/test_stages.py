import json

import numpy as np
import pytest

from dd_sfm.errors import OutputError
from dd_sfm.evaluation.model.evaluate import MADE_BY as EVALUATED_BY
from dd_sfm.io.clouds import MESH_COMMENT, write_mesh
from dd_sfm.io.run_layout import EVALUATION, is_own, remove_own
from dd_sfm.pipeline import stages as stage_record
from dd_sfm.pipeline.stages import KEY_FILES, STAGES, StageRecord, file_identity, fingerprint

WRITTEN = {
    "frames": ("frames/00000007.png", "masks/00000007.png.png", "frames.json", "field_of_view.png"),
    "describe": ("descriptors/grid.json", "descriptors/00000007.npy", "descriptors/00000008.partial"),
    "match": ("matches/00000007.npz", "tracks.npz", "sift.db", "sift.partial.db", "sift.partial.db-wal"),
    "map": (
        "map.json",
        "database.db",
        "database.db-shm",
        "database.db-wal",
        "poses/0/images.bin",
        "poses/.global/1/images.bin",
    ),
    "densify": ("sparse/0/points3D.bin", "sparse/12/cameras.bin", "points.ply", "densify.json", "metrics.json"),
}


def put(out, *names):
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("x")


def names(out):
    return sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if not p.is_dir() or p.is_symlink())


def fill(out, stage):
    put(out, *WRITTEN[stage])


def run_all(record, mark="a"):
    for stage in STAGES:
        record.begin(stage, mark)
        fill(record.out, stage)
        record.finish(stage, 1.5)


def test_finished_stages_are_known_to_the_next_call(tmp_path):
    run_all(StageRecord.open(tmp_path, overwrite=False))
    again = StageRecord.open(tmp_path, overwrite=False)
    assert all(again.is_done(stage, "a") for stage in STAGES)
    assert not again.is_done("map", "b")
    assert again.seconds("map") == 1.5


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "describe"])
def test_a_stage_whose_key_file_was_deleted_is_not_done(tmp_path, stage):
    record = StageRecord.open(tmp_path, overwrite=False)
    run_all(record)
    (tmp_path / KEY_FILES[stage]).unlink()
    assert [other for other in STAGES if not record.is_done(other, "a")] == [stage]


def test_a_changed_stage_takes_the_later_ones_with_it(tmp_path):
    record = StageRecord.open(tmp_path, overwrite=False)
    run_all(record)
    record.begin("match", "b")
    assert (tmp_path / "frames" / "00000007.png").exists()
    assert (tmp_path / "descriptors" / "00000007.npy").exists()
    assert not (tmp_path / "tracks.npz").exists()
    assert not (tmp_path / "points.ply").exists()
    assert not record.is_done("densify", "a")


def test_a_broken_off_stage_goes_on_with_what_it_has(tmp_path):
    record = StageRecord.open(tmp_path, overwrite=False)
    record.begin("frames", "a")
    fill(tmp_path, "frames")
    again = StageRecord.open(tmp_path, overwrite=False)
    assert not again.is_done("frames", "a")
    again.begin("frames", "a")
    assert (tmp_path / "frames" / "00000007.png").exists()


def test_the_time_of_a_broken_off_stage_counts(tmp_path):
    record = StageRecord.open(tmp_path, overwrite=False)
    record.begin("match", "a")
    record.break_off("match", 4)
    again = StageRecord.open(tmp_path, overwrite=False)
    assert not again.is_done("match", "a")
    again.begin("match", "a")
    again.finish("match", 2)
    assert again.seconds("match") == 6


def test_overwrite_removes_only_what_dd_sfm_made(tmp_path):
    run_all(StageRecord.open(tmp_path, overwrite=False))
    mine = (
        "my_notes.txt", "clip.mp4", "frames/best/00000007.png", "frames/mine.png", "masks/00000007.png", "mesh.ply",
        "sparse/0/project.ini", "sparse/0_before/images.bin", "poses/mine/images.bin", "evaluation.json",
        "evaluation/cloud.png", "database.db.backup", "points_cut.ply", "matches/00000007.npz.old",
    )  # fmt: skip
    put(tmp_path, *mine)
    StageRecord.open(tmp_path, overwrite=True)
    assert names(tmp_path) == sorted([*mine, "stages.json"])


def test_overwrite_leaves_no_empty_folder(tmp_path):
    run_all(StageRecord.open(tmp_path, overwrite=False))
    StageRecord.open(tmp_path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["stages.json"]


@pytest.mark.parametrize("overwrite", [True, False])
def test_killed_while_old_stages_are_removed(tmp_path, monkeypatch, overwrite):
    run_all(StageRecord.open(tmp_path, overwrite=False))

    def killed(out, stage):
        if stage == STAGES[-1]:
            raise KeyboardInterrupt
        remove_own(out, stage)

    monkeypatch.setattr(stage_record, "remove_own", killed)
    with pytest.raises(KeyboardInterrupt):
        StageRecord.open(tmp_path, overwrite=overwrite).begin("frames", "b")
    again = StageRecord.open(tmp_path, overwrite=False)
    assert not any(again.is_done(stage, "a") for stage in STAGES)
    assert again.source == ""


def test_a_folder_that_is_a_link_loses_the_link_only(tmp_path):
    elsewhere = tmp_path / "big_disk"
    put(elsewhere, "00000007.png")
    out = tmp_path / "run"
    record = StageRecord.open(out, overwrite=False)
    (out / "frames").symlink_to(elsewhere)
    record.clear_from("frames")
    assert names(tmp_path) == ["big_disk/00000007.png", "run/stages.json"]
    assert not (out / "frames").is_symlink()


def test_what_was_made_of_an_older_model_goes_with_it(tmp_path):
    record = StageRecord.open(tmp_path, overwrite=False)
    run_all(record)
    corners = np.eye(3)
    write_mesh(tmp_path / "mesh.ply", corners, np.array([[0, 1, 2]]), corners, comments=[MESH_COMMENT])
    (tmp_path / "evaluation.json").write_text(json.dumps({"made_by": EVALUATED_BY}))
    put(tmp_path, *(f"evaluation/{name}" for name in EVALUATION), "evaluation/mine.png")
    record.begin("map", "a")
    assert not (tmp_path / "mesh.ply").exists()
    assert not (tmp_path / "evaluation.json").exists()
    assert [p.name for p in (tmp_path / "evaluation").iterdir()] == ["mine.png"]
    assert (tmp_path / "tracks.npz").exists()


def test_a_mesh_that_another_program_saved_stays(tmp_path):
    corners = np.eye(3)
    write_mesh(tmp_path / "mesh.ply", corners, np.array([[0, 1, 2]]), corners)
    record = StageRecord.open(tmp_path / "run", overwrite=False)
    (tmp_path / "mesh.ply").rename(tmp_path / "run" / "mesh.ply")
    (tmp_path / "run" / "evaluation.json").write_text("[]")
    record.clear_from("frames")
    assert names(tmp_path / "run") == ["evaluation.json", "mesh.ply", "stages.json"]


def test_what_a_run_writes_is_known_as_its_own(tmp_path):
    for stage in STAGES:
        for name in WRITTEN[stage]:
            assert is_own(tmp_path, tmp_path / name)
    for name in ("frames", "masks", "sparse"):
        assert is_own(tmp_path, tmp_path / name)
    for path in (tmp_path, tmp_path / "clip.mp4", tmp_path.parent / "frames", tmp_path / "mine" / "frames.json"):
        assert not is_own(tmp_path, path)


def test_folder_of_somebody_else(tmp_path):
    (tmp_path / "holiday.jpg").write_text("sun")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="not of a dd-sfm run"):
            StageRecord.open(tmp_path, overwrite=overwrite)
    assert [p.name for p in tmp_path.iterdir()] == ["holiday.jpg"]


def test_damaged_record(tmp_path):
    (tmp_path / "stages.json").write_text(json.dumps({"stages": {"frames": 3}}))
    with pytest.raises(OutputError, match="damaged"):
        StageRecord.open(tmp_path, overwrite=False)


def test_fingerprints():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_identity_of_an_input_changes_with_it(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_text("one")
    before = file_identity(path)
    assert file_identity(path) == before
    path.write_text("two!")
    assert file_identity(path) != before
    # Of a folder only what is taken for a frame.
    (tmp_path / "00.png").write_text("image")
    assert file_identity(tmp_path) == file_identity(tmp_path / "00.png")


def test_a_run_of_another_source_is_not_replaced_unasked(tmp_path):
    out = tmp_path / "run"
    StageRecord.open(out, overwrite=False).claim(tmp_path / "a.mp4")
    StageRecord.open(out, overwrite=False).claim(tmp_path / "a.mp4")
    with pytest.raises(OutputError, match=r"holds a run of .*a\.mp4; expected a new folder, or --overwrite"):
        StageRecord.open(out, overwrite=False).claim(tmp_path / "b.mp4")
    StageRecord.open(out, overwrite=True).claim(tmp_path / "b.mp4")
