import json

import cv2
import numpy as np
import pytest
from conftest import circle_mask, moving_frames, write_video

from dd_sfm.config import Config, MasksConfig, load_config
from dd_sfm.errors import InputError, OutputError
from dd_sfm.io.images import read_image, read_mask, write_mask
from dd_sfm.io.run_folder import load_frames, read_frames
from dd_sfm.io.video import iter_frames, open_source
from dd_sfm.notes import NoteCode
from dd_sfm.ops.working import mask_height
from dd_sfm.pipeline.camera_guess import field_notes, guess_camera
from dd_sfm.pipeline.frames import extract_frames
from dd_sfm.pipeline.masks import erode_mask, find_field_of_view, frame_mask
from dd_sfm.progress import silent
from dd_sfm.structures import DropReason


def extract(source, out, *overrides, calibration=None, mask=None):
    # How the camera is estimated is tested in test_camera_estimate.py.
    config = load_config(Config, None, ["camera.estimate=false", *overrides])
    return extract_frames(source, out, config, calibration=calibration, mask=mask, progress=silent)


def records(out):
    return json.loads((out / "frames.json").read_text())["frames"]


def notes(out):
    return [note.text for note in read_frames(out).notes]


def counts(out):
    """Frames in the source, those chosen, and those thinned out."""
    found = read_frames(out)
    return found.frames_in_source, len(found.records), found.count(DropReason.THINNED)


def test_all_frames_of_a_good_clip(tiny_clip, tmp_path):
    frames = extract(tiny_clip, tmp_path, calibration="150,150,80,60")
    assert [f.index for f in frames.frames] == list(range(12))
    assert frames.camera.cx == 79.5
    assert not frames.camera.is_guess
    assert (tmp_path / "frames" / "00000003.png").exists()
    assert (tmp_path / "masks" / "00000003.png.png").exists()
    assert frames.frames[10].time_s == pytest.approx(0.4)
    assert load_frames(tmp_path) == frames


def test_a_calibration_of_another_camera_is_named(tiny_clip, tmp_path):
    extract(tiny_clip, tmp_path / "right", calibration="100,100,80,60")
    assert notes(tmp_path / "right") == []
    extract(tiny_clip, tmp_path / "long", calibration="900,900,80,60")
    assert len(notes(tmp_path / "long")) == 1
    assert "900 px means a field of view of" in notes(tmp_path / "long")[0]
    extract(tiny_clip, tmp_path / "short", calibration="8,8,80,60")
    assert "8 px means a field of view of" in notes(tmp_path / "short")[0]
    extract(tiny_clip, tmp_path / "aside", calibration="100,100,140,70")
    (note,) = notes(tmp_path / "aside")
    assert note.startswith("calibration: the principal point (140, 70) lies 5")
    (stored,) = read_frames(tmp_path / "aside").notes
    assert stored.code is NoteCode.CALIBRATION_CENTRE
    extract(tiny_clip, tmp_path / "guess")
    assert notes(tmp_path / "guess") == []


def test_every_start_end_and_most(tiny_clip, tmp_path):
    frames = extract(tiny_clip, tmp_path / "a", "frames.every=2", "frames.start=1", "frames.end=10")
    assert [f.index for f in frames.frames] == [1, 3, 5, 7, 9]
    frames = extract(tiny_clip, tmp_path / "b", "frames.max_frames=4")
    assert counts(tmp_path / "b") == (12, 12, 8)
    assert [f.index for f in frames.frames] == [0, 3, 7, 11]
    assert sum(r["reason"] == "thinned to --max-frames" for r in records(tmp_path / "b")) == 8


def test_blurred_and_repeated_frames_are_dropped_with_the_reason(tmp_path):
    frames = moving_frames(14)
    frames[5] = cv2.GaussianBlur(frames[5], (0, 0), 5)
    frames[9] = frames[8]
    extract(write_video(tmp_path / "clip.avi", frames), tmp_path / "run")
    dropped = {r["index"]: r["reason"] for r in records(tmp_path / "run") if not r["kept"]}
    reasons = [r.dropped for r in read_frames(tmp_path / "run").records if not r.kept]
    assert reasons == [DropReason.BLURRED, DropReason.NO_MOTION]
    assert set(dropped) == {5, 9}
    assert dropped[5].startswith("blurred: sharpness")
    assert dropped[9].startswith("no motion")
    blurred, still = notes(tmp_path / "run")
    assert blurred.startswith("1 of 14 frames left out as blurred")
    assert still.startswith("1 of 14 frames left out as they moved by less than")
    assert not (tmp_path / "run" / "frames" / "00000005.png").exists()


def test_frames_chosen_as_they_come_are_those_chosen_with_all_known(tmp_path):
    frames = moving_frames(24)
    for k in (0, 6, 7, 23):
        frames[k] = cv2.GaussianBlur(frames[k], (0, 0), 5)
    frames[15] = frames[14]
    clip = write_video(tmp_path / "clip.avi", frames)
    extract(clip, tmp_path / "once")
    # There may be too many frames, so that the sharpness of all is measured first; in the end there are not.
    extract(clip, tmp_path / "twice", "frames.max_frames=23")
    assert records(tmp_path / "once") == records(tmp_path / "twice")
    assert [r["index"] for r in records(tmp_path / "once") if not r["kept"]] == [0, 6, 7, 15, 23]
    files = [sorted(p.name for p in (tmp_path / run / "frames").iterdir()) for run in ("once", "twice")]
    assert files[0] == files[1] == [f"{k:08d}.png" for k in range(24) if k not in (0, 6, 7, 15, 23)]


def test_a_frame_that_cannot_be_written_ends_the_work(tiny_clip, tmp_path, monkeypatch):
    def refuse(path, image):
        raise OutputError(f"{path}: the disk is full")

    monkeypatch.setattr("dd_sfm.pipeline.frame_writer.write_image", refuse)
    with pytest.raises(OutputError, match="00000000.png: the disk is full"):
        extract(tiny_clip, tmp_path)
    assert not (tmp_path / "frames.json").exists()


def test_a_long_blurred_stretch_is_not_lost(tmp_path):
    frames = moving_frames(30)
    for k in range(10, 18):
        frames[k] = cv2.GaussianBlur(frames[k], (0, 0), 5)
    extract(write_video(tmp_path / "clip.avi", frames), tmp_path / "run")
    kept = [r["index"] for r in records(tmp_path / "run") if r["kept"]]
    assert max(np.diff(kept)) <= 4


def test_folder_of_images_in_natural_order(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for k, frame in enumerate(moving_frames(11)):
        cv2.imwrite(str(folder / f"frame{k}.png"), np.ascontiguousarray(frame[..., ::-1]))
    frames = extract(folder, tmp_path / "run")
    assert len(frames) == 11
    assert [r["source"] for r in records(tmp_path / "run")][-2:] == ["frame9.png", "frame10.png"]
    assert (read_image(frames.frames[10].path) == moving_frames(11)[10]).all()


def test_images_that_cannot_be_used_are_left_out_with_the_reason(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for k, frame in enumerate(moving_frames(24)):
        cv2.imwrite(str(folder / f"frame{k}.png"), np.ascontiguousarray(frame[..., ::-1][: 100 if k == 9 else 120]))
    (folder / "frame4.png").write_bytes((folder / "frame4.png").read_bytes()[:3000])
    (folder / "frame23.png").write_bytes(b"")
    frames = extract(folder, tmp_path / "run")
    assert [f.index for f in frames.frames] == [k for k in range(24) if k not in (4, 9, 23)]
    dropped = {r.index: (r.dropped, r.source, r.detail) for r in read_frames(tmp_path / "run").records if not r.kept}
    assert dropped == {
        4: (DropReason.UNDECODABLE, "frame4.png", "cannot be decoded (the file is cut short)"),
        9: (DropReason.OTHER_SIZE, "frame9.png", "160x100 pixels; the others have 160x120"),
        23: (DropReason.UNDECODABLE, "frame23.png", "the file is empty"),
    }
    assert notes(tmp_path / "run") == [
        "2 of 24 frames left out as they cannot be decoded; frames.json says which",
        "1 of 24 frames left out as they have another size than the others; frames.json says which",
    ]
    frames = extract(folder, tmp_path / "few", "frames.max_frames=10")
    assert [r["index"] for r in records(tmp_path / "few") if r["dropped"] == "undecodable"] == [4, 23]


def test_video_cut_short_is_used_and_said(tmp_path):
    whole = write_video(tmp_path / "whole.avi", moving_frames(20)).read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole[: int(len(whole) * 0.6)])
    frames = extract(cut, tmp_path / "run")
    assert 5 <= len(frames) < 20


def test_distortion_is_undone_in_frames_and_masks(tiny_clip, tmp_path):
    path = tmp_path / "cameras.txt"
    path.write_text("1 OPENCV 160 120 150 150 80 60 -0.25 0 0 0\n")
    plain = extract(tiny_clip, tmp_path / "plain", calibration="150,150,80,60")
    straight = extract(tiny_clip, tmp_path / "straight", calibration=str(path))
    # Undoing barrel distortion moves the rim outwards.
    areas = [read_mask(f.frames[3].mask_path).sum() for f in (plain, straight)]
    assert areas[1] > 1.03 * areas[0]
    assert straight.camera.fx == 150


def test_a_wide_lens_gets_larger_frames_that_keep_its_field(tiny_clip, tmp_path):
    path = tmp_path / "cameras.txt"
    # The half diagonal of 100 px at 65 degrees, then at 85.
    path.write_text("1 OPENCV_FISHEYE 160 120 88.1 88.1 80 60 0 0 0 0\n")
    write_mask(tmp_path / "mask.png", np.ones((120, 160), bool))
    frames = extract(tiny_clip, tmp_path / "wide", calibration=str(path), mask=tmp_path / "mask.png")
    width, height = frames.camera.size
    assert width > 200
    assert width * height <= 2.1 * 160 * 120
    shapes = {read_mask(p).shape for f in frames.frames for p in (f.mask_path, tmp_path / "wide" / "field_of_view.png")}
    assert shapes == {(height, width)}
    assert read_image(frames.frames[0].path).shape[:2] == (height, width)
    found = read_frames(tmp_path / "wide")
    assert (found.width, found.height) == (160, 120)
    assert 0.95 <= found.field_kept <= 1
    assert NoteCode.FIELD_NOT_KEPT not in {note.code for note in found.notes}
    path.write_text("1 OPENCV_FISHEYE 160 120 67.4 67.4 80 60 0 0 0 0\n")
    extract(tiny_clip, tmp_path / "wider", calibration=str(path), mask=tmp_path / "mask.png")
    found = read_frames(tmp_path / "wider")
    assert 0.6 < found.field_kept < 0.95
    assert NoteCode.FIELD_NOT_KEPT in {note.code for note in found.notes}


def test_the_field_ends_where_a_lens_turns_back(tiny_clip, tmp_path):
    path = tmp_path / "cameras.txt"
    path.write_text("1 SIMPLE_RADIAL 160 120 100 80 60 -0.35\n")
    write_mask(tmp_path / "mask.png", np.ones((120, 160), bool))
    frames = extract(tiny_clip, tmp_path / "run", "masks.erode_px=0", calibration=str(path), mask=tmp_path / "mask.png")
    # The widest circle that rays reach: 2/3 / sqrt(1.05) focal lengths, 15 % less than the picture's corners.
    turn = frames.camera.fx / np.sqrt(1.05)
    rows, columns = np.nonzero(read_mask(tmp_path / "run" / "field_of_view.png"))
    away = np.hypot(columns - frames.camera.cx, rows - frames.camera.cy)
    assert turn - 3 < away.max() < turn + 1
    assert NoteCode.LENS_ENDS_EARLY in {note.code for note in read_frames(tmp_path / "run").notes}


def test_what_undistortion_loses_is_said_without_a_calibration_too(tiny_clip, tmp_path):
    write_mask(tmp_path / "mask.png", np.ones((120, 160), bool))
    extract(tiny_clip, tmp_path / "run", "camera.lens=colonoscope", mask=tmp_path / "mask.png")
    found = read_frames(tmp_path / "run")
    assert found.field_kept < 0.95
    assert NoteCode.FIELD_NOT_KEPT in {note.code for note in found.notes}
    (early,) = field_notes(1.0, 0.8, calibrated=False)
    assert "the estimated lens ends before the rim: 20 %" in early.text
    assert "--calibration" in early.text


def test_guessed_camera_spans_the_field_of_view():
    camera = guess_camera(circle_mask(480, 640, 200), 90.0)
    assert camera.is_guess
    assert camera.fx == pytest.approx(200, abs=1)
    assert (camera.cx, camera.cy) == pytest.approx((320, 240), abs=1)


def scenes(mask, count=10):
    """Changing pictures behind a mask, with noise in the dark surround."""
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(count):
        picture = cv2.resize(rng.integers(60, 220, (12, 16, 3)).astype(np.uint8), mask.shape[::-1])
        frames.append(np.where(mask[..., None], picture, rng.integers(0, 6, (*mask.shape, 3))).astype(np.uint8))
    return frames


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


def clipped_circle():
    mask = circle_mask(240, 320, 140)
    mask[:10] = mask[-10:] = False
    return mask


@pytest.mark.parametrize(
    "mask",
    [circle_mask(240, 320, 100), clipped_circle(), np.pad(np.ones((200, 260), bool), ((20, 20), (30, 30))),
     np.ones((240, 320), bool)],
    ids=["circle", "clipped circle", "rectangle", "whole frame"],
)  # fmt: skip
def test_field_of_view_is_found(mask):
    assert overlap(find_field_of_view(scenes(mask), "clip"), mask) > 0.95


def test_text_beside_and_over_the_picture_is_left_out():
    mask = circle_mask(240, 320, 100)
    frames = scenes(mask, 16)
    for frame in frames:
        cv2.putText(frame, "PATIENT 7", (2, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)
        cv2.putText(frame, "REC", (140, 120), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0, 255, 0), 2)
    found = find_field_of_view(frames, "clip")
    assert not found[:30, :110].any()
    assert found[105:120, 140:175].mean() < 0.5
    assert overlap(found, mask) > 0.9


def test_field_of_view_of_the_measuring_clips(shared_data):
    for name in ("sinus", "colon"):
        mask = read_mask(shared_data / "synthetic" / name / "mask.png")
        clip = open_source(shared_data / "synthetic" / name / "clip.mp4")
        frames = [image for _, image in iter_frames(clip, range(0, 40, 4))]
        assert overlap(find_field_of_view(frames, name), mask) > 0.9


def test_erosion_counts_the_border_of_the_frame():
    whole = np.ones((1000, 1200), bool)
    eroded = erode_mask(whole, MasksConfig(erode_px=10))
    assert not eroded[:10].any()
    assert eroded[11:-11, 11:-11].all()
    assert mask_height(eroded) == 980


def test_highlights_are_masked_with_a_margin():
    image = np.full((1000, 1000, 3), 120, np.uint8)
    image[500, 500] = 255
    image[700, 700] = (255, 120, 120)
    usable = frame_mask(image, np.ones((1000, 1000), bool), MasksConfig(highlight_level=245, highlight_grow_px=6))
    assert not usable[495, 500]
    assert usable[490, 500]
    assert usable[700, 700]


def test_users_mask_is_thresholded(tiny_clip, tmp_path):
    grey = (circle_mask() * 250).astype(np.uint8)
    grey[60, 60] = 90
    cv2.imwrite(str(tmp_path / "mask.png"), grey)
    frames = extract(tiny_clip, tmp_path / "run", "masks.erode_px=0", mask=tmp_path / "mask.png")
    assert not read_mask(frames.frames[0].mask_path)[60, 60]
    write_mask(tmp_path / "empty.png", np.zeros((120, 160), bool))
    with pytest.raises(InputError, match="no pixel of 128 or more"):
        extract(tiny_clip, tmp_path / "other", mask=tmp_path / "empty.png")


def test_how_many_frames_the_source_has_is_kept_apart_from_how_many_are_chosen(tiny_clip, tmp_path):
    extract(tiny_clip, tmp_path / "a", "frames.every=3")
    assert counts(tmp_path / "a") == (12, 4, 0)
    extract(tiny_clip, tmp_path / "b", "frames.start=2", "frames.end=9")
    assert counts(tmp_path / "b") == (12, 7, 0)
    content = json.loads((tmp_path / "a" / "frames.json").read_text())
    del content["frames_in_source"]
    (tmp_path / "a" / "frames.json").write_text(json.dumps(content))
    assert counts(tmp_path / "a") == (4, 4, 0)


def test_of_a_video_cut_short_only_what_is_there_is_counted(tmp_path):
    whole = write_video(tmp_path / "whole.avi", moving_frames(20)).read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: int(len(whole) * 0.6)])
    extract(tmp_path / "cut.avi", tmp_path / "run")
    total, chosen, _ = counts(tmp_path / "run")
    assert total == chosen == len(records(tmp_path / "run")) < 20
