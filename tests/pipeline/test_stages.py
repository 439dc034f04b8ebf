import json

import pytest

from dd_sfm.errors import OutputError
from dd_sfm.pipeline.stages import MADE_BY, STAGES, StageRecord, file_identity, fingerprint


def fill(out, stage):
    for name in MADE_BY[stage]:
        path = out / name
        if "." in name:
            path.write_text("x")
        else:
            path.mkdir(exist_ok=True)
            (path / "file").write_text("x")


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


def test_a_changed_stage_takes_the_later_ones_with_it(tmp_path):
    record = StageRecord.open(tmp_path, overwrite=False)
    run_all(record)
    record.begin("match", "b")
    assert (tmp_path / "frames" / "file").exists()
    assert (tmp_path / "descriptors" / "file").exists()
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
    assert (tmp_path / "frames" / "file").exists()


def test_overwrite_removes_only_what_dd_sfm_made(tmp_path):
    run_all(StageRecord.open(tmp_path, overwrite=False))
    (tmp_path / "my_notes.txt").write_text("keep me")
    StageRecord.open(tmp_path, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["my_notes.txt", "stages.json"]


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
    assert len(file_identity(tmp_path)) == 1


def test_a_run_of_another_source_is_not_replaced_unasked(tmp_path):
    out = tmp_path / "run"
    StageRecord.open(out, overwrite=False).claim(tmp_path / "a.mp4")
    StageRecord.open(out, overwrite=False).claim(tmp_path / "a.mp4")
    with pytest.raises(OutputError, match=r"holds a run of .*a\.mp4; expected a new folder, or --overwrite"):
        StageRecord.open(out, overwrite=False).claim(tmp_path / "b.mp4")
    StageRecord.open(out, overwrite=True).claim(tmp_path / "b.mp4")
