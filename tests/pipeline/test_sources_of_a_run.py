"""Runs of several sources: how their frames are named, recorded and numbered."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import moving_frames, texture, write_video

from dd_sfm import api
from dd_sfm.errors import InputError, OutputError
from dd_sfm.evaluation.model.pose_reference import EvaluatedRun, PoseReference, common_frames, frame_numbers
from dd_sfm.io.run_folder import load_frames, read_frame_records
from dd_sfm.io.tum import running_times
from dd_sfm.notes import NoteCode
from dd_sfm.sfm.piece_notes import model_text, piece_notes

CALIBRATION = "150,150,80,60"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """A video of eight frames and a folder of six."""
    frames = moving_frames(14)
    (tmp_path / "b part").mkdir()
    for k, frame in enumerate(frames[8:]):
        cv2.imwrite(str(tmp_path / "b part" / f"img{k}.png"), frame[..., ::-1])
    return [write_video(tmp_path / "a.avi", frames[:8]), tmp_path / "b part"]


def test_frames_are_named_by_source(two, tmp_path, dd_sfm):
    out = tmp_path / "run"
    ran = dd_sfm("extract", *two, "-o", out, "--calibration", CALIBRATION, "--every", 2, "--quiet")
    assert ran.code == 0, ran.err
    names = [f"a_{k:08d}" for k in (0, 2, 4, 6)] + [f"b_part_{k:08d}" for k in (0, 2, 4)]
    assert sorted(path.stem for path in (out / "frames").iterdir()) == names
    assert sorted(path.name for path in (out / "masks").iterdir()) == [f"{name}.png.png" for name in names]
    content = json.loads((out / "frames.json").read_text())
    assert content["sources"] == ["a.avi", "b part"]
    assert [record["index"] for record in content["frames"]] == [0, 2, 4, 6, 8, 10, 12]
    assert [record["source"] for record in content["frames"][3:5]] == ["a.avi", "b part/img0.png"]
    assert [record["piece"] for record in content["frames"]] == [0] * 4 + [1] * 3
    assert [record["time_s"] for record in content["frames"]] == [0.0, 0.08, 0.16, 0.24, None, None, None]
    frames = load_frames(out)
    assert [frame.path.stem for frame in frames.frames] == names
    assert frames.pieces == (range(4), range(4, 7))
    assert frames.frames[4].label == "b_part_00000000"
    assert frame_numbers(out, [f"{name}.png" for name in names], out)["b_part_00000004.png"] == 12


def test_one_source_in_a_list_is_one_source(tiny_clip, tmp_path):
    for name, source in (("plain", tiny_clip), ("list", [tiny_clip])):
        api.run_stages(source, tmp_path / name, last="frames", calibration=CALIBRATION)
    plain, listed = ((tmp_path / name / "frames.json").read_text() for name in ("plain", "list"))
    assert plain == listed
    assert "00000000.png" in {path.name for path in (tmp_path / "list" / "frames").iterdir()}
    stages = [json.loads((tmp_path / name / "stages.json").read_text())["stages"] for name in ("plain", "list")]
    assert stages[0]["frames"]["fingerprint"] == stages[1]["frames"]["fingerprint"]


def test_a_run_is_of_its_sources(two, tmp_path):
    api.run_stages(two, tmp_path / "run", last="frames", calibration=CALIBRATION)
    said: list[str] = []
    api.run_stages(two, tmp_path / "run", last="frames", calibration=CALIBRATION, on_stage=said.append)
    assert said[0] == "frames: done before"
    with pytest.raises(OutputError, match=r"holds a run of .*a\.avi and .*b part"):
        api.run_stages(two[0], tmp_path / "run", last="frames", calibration=CALIBRATION)
    api.run_stages(two[0], tmp_path / "run", last="frames", calibration=CALIBRATION, overwrite=True)
    assert all(path.stem.isdigit() for path in (tmp_path / "run" / "frames").iterdir())


def test_max_frames_holds_over_all_and_masks_go_by_name(two, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    half = np.full((120, 160), 255, np.uint8)
    half[:, :80] = 0
    cv2.imwrite(str(masks / "a_00000000.png"), half)
    cv2.imwrite(str(masks / "img5.png"), half)
    config = api.configure("standard", {"frames.max_frames": 5})
    api.run_stages(two, tmp_path / "run", config, last="frames", calibration=CALIBRATION, mask=masks)
    frames = load_frames(tmp_path / "run").frames
    assert len(frames) == 5
    assert (frames[0].label, frames[-1].label) == ("a_00000000", "b_part_00000005")
    left = [cv2.imread(str(frame.mask_path), 0)[:, :78].max() for frame in frames]
    assert left == [0, 255, 255, 255, 0]


def test_sources_without_frames_or_of_another_size_are_named(two, tmp_path):
    with pytest.raises(InputError, match=r"b part: has 6 frames.*--start 7 is past the last one"):
        api.run_stages(
            two,
            tmp_path / "run",
            api.configure("standard", {"frames.start": 7}),
            last="frames",
            calibration=CALIBRATION,
        )
    (tmp_path / "small").mkdir()
    for k in range(3):
        cv2.imwrite(str(tmp_path / "small" / f"{k}.png"), texture(100, 100))
    with pytest.raises(InputError, match=r"small: 100x100 pixels; expected 160x120, as .*a\.avi"):
        api.run_stages([two[0], tmp_path / "small"], tmp_path / "run", last="frames")
    with pytest.raises(InputError, match="not found"):
        api.run_stages([two[0], tmp_path / "none.mp4"], tmp_path / "run", last="frames")
    assert not (tmp_path / "run").exists()


def test_a_source_without_a_usable_frame_is_told(two, tmp_path):
    black = write_video(tmp_path / "black.avi", [np.zeros((120, 160, 3), np.uint8)] * 5)
    api.run_stages([*two, black], tmp_path / "run", last="frames", calibration=CALIBRATION)
    notes = json.loads((tmp_path / "run" / "frames.json").read_text())["notes"]
    assert "none of the 5 frames of black.avi is used (blank)" in " ".join(note["text"] for note in notes)
    assert all(record.kept == (record.source != "black.avi") for record in read_frame_records(tmp_path / "run"))


def test_notes_say_which_pieces_joined(two, tmp_path):
    api.run_stages(two, tmp_path / "run", last="frames", calibration=CALIBRATION)
    frames, pose = load_frames(tmp_path / "run"), np.eye(3, 4)
    whole = dict.fromkeys(range(14), pose)
    (joined,) = piece_notes([whole], frames)
    names = "frames a_00000000 to a_00000007, frames b_part_00000000 to b_part_00000005"
    assert (joined.code, joined.text) == (NoteCode.PIECES_JOINED, f"one model joins {names}")
    (apart,) = piece_notes([dict.fromkeys(range(8), pose), dict.fromkeys(range(8, 14), pose)], frames)
    assert (apart.code, names.replace(", ", " | ") in apart.text) == (NoteCode.PIECES_APART, True)
    codes = [note.code for note in piece_notes([dict.fromkeys(range(8), pose)], frames)]
    assert codes == [NoteCode.PIECES_APART] * 2
    assert model_text(dict.fromkeys(range(8), pose), frames) == "8 (8 of frames a_00000000 to a_00000007)"


def test_times_of_further_sources_follow():
    assert running_times({}, {}) == {}
    one = {0: 0.0, 1: 0.04, 2: 0.08}
    assert running_times(one, dict.fromkeys(one, "")) == one
    sources = {0: "a", 1: "a", 5: "b", 6: "b", 9: "c"}
    found = running_times({0: 0.0, 1: 0.04, 5: 0.0, 6: 0.1, 9: 0.0}, sources)
    assert list(found.values()) == pytest.approx([0.0, 0.04, 0.08, 0.18, 0.28])
    # Also where the next source begins later in its own time than the one before ends, and after a single frame.
    found = running_times({0: 1.0, 1: 1.04, 5: 7.0, 6: 7.1, 9: 30.0}, sources)
    assert list(found.values()) == pytest.approx([1.0, 1.04, 1.08, 1.18, 1.28])
    found = running_times({0: 2.0, 5: 9.0, 6: 9.5}, {0: "a", 5: "b", 6: "b"})
    assert list(found.values()) == pytest.approx([2.0, 2.5, 3.0])


def test_several_sources_are_compared_with_the_same_ones_alone(tmp_path):
    run = EvaluatedRun(tmp_path, tmp_path, None, {}, {}, 0, tmp_path, None, ("a.avi", "b.avi"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"a run of 2 sources \(a\.avi, b\.avi\).*Evaluate a run of each source"):
        common_frames(run, PoseReference(tmp_path, "rendered", "mm", {}, ()))


@pytest.mark.slow
def test_two_overlapping_recordings_become_one_model(tmp_path):
    frames = api.read_frames(ROOT / "demo_videos/sinus/clip.mp4", range(60))
    first, second = write_video(tmp_path / "a.avi", frames[:36]), write_video(tmp_path / "b.avi", frames[24:])
    run = api.reconstruct(
        [first, second],
        tmp_path / "run",
        api.configure("preview", {"frames.every": 3, "pairs.reference_every": 2}),
        calibration=str(ROOT / "demo_videos/sinus/calibration.txt"),
    )
    assert run.metrics["models"] == [24]
    assert run.metrics["model_pieces"] == [
        [{"piece": 0, "source": "a.avi", "frames": 12}, {"piece": 1, "source": "b.avi", "frames": 12}]
    ]
    assert {image.name[:2] for image in run.to_pycolmap().images.values()} == {"a_", "b_"}
    assert "pieces_joined" in run.metrics["degradation_codes"]
    # Frame 24 of the clip is frame 24 of the first and frame 0 of the second recording.
    centre = {number: -pose[:, :3].T @ pose[:, 3] for number, pose in run.poses.items()}
    path = np.linalg.norm(centre[33] - centre[0])
    assert np.linalg.norm(centre[24] - centre[36]) < 0.02 * path
