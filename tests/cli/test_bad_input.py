"""Every bad input gives one clear line and exit code 1 or 2, and touches nothing of the user's."""

import errno
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import circle_mask, moving_frames, write_video
from safetensors.torch import save_file

from dd_sfm.cli.app import usage_text
from dd_sfm.features.networks import build_network


@pytest.fixture
def refused(dd_sfm, tmp_path):
    """Runs reconstruct, and checks that it fails with one line that holds a text."""

    def call(*arguments, says, code=1, out=tmp_path / "run"):
        ran = dd_sfm("reconstruct", "--device", "cpu", *arguments, "-o", out, "--quiet")
        lines = [line for line in ran.err.splitlines() if line.strip()]
        assert ran.code == code, ran.err
        assert len(lines) == 1, ran.err
        assert lines[0].startswith("dd-sfm: ")
        assert "Traceback" not in ran.err
        assert says in lines[0], lines[0]
        return lines[0]

    return call


def test_missing_file(refused, tmp_path):
    refused(tmp_path / "none.mp4", says="not found; expected a video file")
    assert not (tmp_path / "run").exists()


def test_not_a_video(refused, tmp_path):
    path = tmp_path / "letter.mp4"
    path.write_text("Dear reader")
    refused(path, says="no frame can be decoded")
    assert path.read_text() == "Dear reader"


def test_empty_file(refused, tmp_path):
    path = tmp_path / "empty.mp4"
    path.touch()
    refused(path, says="the file is empty")


def test_truncated_video(refused, tmp_path, tiny_clip):
    path = tmp_path / "cut.avi"
    path.write_bytes(tiny_clip.read_bytes()[:9000])
    refused(path, says=str(path))


def test_folder_without_images(refused, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    (folder / "notes.txt").write_text("none here")
    refused(folder, says="no image found")


def test_images_of_mixed_sizes(refused, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for k, frame in enumerate(moving_frames(4)):
        cv2.imwrite(str(folder / f"{k}.png"), frame if k != 2 else frame[:100])
    refused(folder, says="2.png: 160x100 pixels; expected 160x120 as in 0.png")


def test_two_frames(refused, tmp_path):
    refused(write_video(tmp_path / "two.avi", moving_frames(2)), says="expected at least 3")


def test_a_start_past_the_end(refused, tiny_clip):
    refused(tiny_clip, "--start", 80, says="has 12 frames, 0 to 11; --start 80 is past the last one. Choose a smaller")
    refused(
        tiny_clip, "--start", "0.4s", "--end", "0.2s",
        says="has 12 frames, 0 to 11, in 0.44 s; --end 0.2s is not after --start 0.4s, and no frame is between them",
    )  # fmt: skip
    refused(
        tiny_clip, "--start", 4, "--end", 8, "--every", 3,
        says="has 12 frames, 0 to 11; --start 4 --end 8 --every 3 leaves 2 of them; expected at least 3",
    )  # fmt: skip


def test_a_part_of_the_picture_that_is_none(refused, tiny_clip):
    for text in ("1,2,3", "0,0,80,-5", "0,0,0,80", "0,0,80.5,60", "left"):
        refused(tiny_clip, "--crop", text, says="--crop", code=2)
    refused(tiny_clip, "--crop", "100,0,100,120", says="reaches to 200,120 in pictures of 160x120 pixels")
    refused(tiny_clip, "--stereo", "both", says="--stereo both: expected one of left, right, top, bottom", code=2)


def test_a_folder_that_holds_a_mask_beside_the_clip(refused, tmp_path, tiny_clip):
    folder = tmp_path / "clip"
    folder.mkdir()
    cv2.imwrite(str(folder / "mask.png"), circle_mask().astype(np.uint8) * 255)
    line = refused(folder, says="a folder with 1 image (mask.png); expected a video file or a folder of at least 3")
    assert "Did you mean" not in line
    tiny_clip.rename(folder / "clip.avi")
    refused(folder, says=f"at least 3 frames. Did you mean {folder / 'clip.avi'}?")
    (folder / "mask.png").unlink()
    refused(
        folder,
        says="no image found; expected a video file, or a folder of images (PNG, JPEG, TIFF, BMP, WebP, GIF and "
        f"others) or DICOM files; docs/reconstruct.md names all. Did you mean {folder / 'clip.avi'}?",
    )


def test_all_black_video(refused, tmp_path):
    black = [np.zeros((120, 160, 3), np.uint8)] * 8
    refused(write_video(tmp_path / "black.avi", black), says="all frames are black")


def test_static_video(refused, tmp_path):
    still = [moving_frames(1)[0]] * 8
    refused(write_video(tmp_path / "still.avi", still), says="1 usable frames of 8 (0 too blurred, 7 without motion)")


def test_mask_of_the_wrong_size(refused, tmp_path, tiny_clip):
    mask = tmp_path / "mask.png"
    cv2.imwrite(str(mask), circle_mask(60, 80, 25).astype(np.uint8) * 255)
    refused(tiny_clip, "--mask", mask, says="80x60 pixels; expected 160x120")


def test_mask_that_is_missing(refused, tmp_path, tiny_clip):
    refused(tiny_clip, "--mask", tmp_path / "none.png", says="not found; expected an image")


def test_calibration_that_does_not_parse(refused, tiny_clip):
    refused(tiny_clip, "--calibration", "about 300", says="neither numbers nor a readable file")


def test_calibration_that_does_not_fit(refused, tiny_clip):
    refused(tiny_clip, "--calibration", "300,300,900,60", says="do not fit 160x120 frames")


def test_unknown_weights(refused, tiny_clip):
    refused(tiny_clip, "--weights", "compakt", says="did you mean 'compact'?")


def test_corrupt_checkpoint(refused, tmp_path, tiny_clip):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"\x10\0\0\0\0\0\0\0nonsense")
    refused(tiny_clip, "--weights", path, says="not a readable safetensors file")


def test_checkpoint_of_another_architecture(refused, tmp_path, tiny_clip):
    path = tmp_path / "weights.safetensors"
    save_file(build_network("fc_densenet").state_dict(), path, {"architecture": "compact", "options": "{}"})
    refused(tiny_clip, "--weights", path, says="not weights of this compact")
    save_file({"a": torch.zeros(1)}, path, {"architecture": "resnet"})
    refused(tiny_clip, "--weights", path, says="architecture 'resnet'; expected one of compact, fc_densenet")


def test_unknown_key(refused, tmp_path, tiny_clip):
    refused(tiny_clip, "--set", "match.min_similarty=1", says="did you mean 'match.min_similarity'?", code=2)
    config = tmp_path / "mine.yaml"
    config.write_text("match: {min_similarty: 1}")
    refused(tiny_clip, "--config", config, says=f"{config}: unknown key 'match.min_similarty'", code=2)


def test_a_wrong_value_is_told_by_the_option_that_was_typed(refused, tiny_clip):
    line = refused(tiny_clip, "--features", "orb", says="--features orb: expected one of learned, sift", code=2)
    assert "--set" not in line
    refused(tiny_clip, "--device", "gpu", says="--device gpu: expected one of auto, cpu, cuda", code=2)


def test_weights_named_by_a_number(refused, tmp_path, tiny_clip, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(tiny_clip, "--weights", "2024", says="--weights 2024: not found")
    (tmp_path / "2024").mkdir()
    (tmp_path / "2024" / "weights.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0nonsense")
    refused(tiny_clip, "--weights", "2024", says="2024/weights.safetensors: not a readable safetensors file")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_that_is_not_there(dd_sfm, tmp_path, tiny_clip):
    ran = dd_sfm("reconstruct", tiny_clip, "-o", tmp_path / "run", "--device", "cuda")
    assert ran.code == 1
    assert ran.err.strip() == (
        "dd-sfm: --device cuda: no CUDA device found by torch; expected one. Use --device auto or cpu"
    )
    assert not (tmp_path / "run").exists()


def test_output_with_other_content(refused, tmp_path, tiny_clip):
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter.txt").write_text("precious")
    refused(tiny_clip, says="holds files that are not of a dd-sfm run", out=out)
    refused(tiny_clip, "--overwrite", says="holds files that are not of a dd-sfm run", out=out)
    assert [p.name for p in out.iterdir()] == ["chapter.txt"]


def test_output_that_cannot_be_written(refused, tmp_path, tiny_clip):
    file = tmp_path / "file"
    file.write_text("not a folder")
    refused(tiny_clip, says="cannot be written", out=file / "run")
    refused(tiny_clip, says="is a file; expected a folder", out=file)
    assert file.read_text() == "not a folder"


def test_full_disk_while_writing_frames(refused, monkeypatch, tmp_path, tiny_clip):
    real = Path.open

    def full(path, mode="r", *arguments, **named):
        if path.suffix == ".partial" and "frames" in path.parts and "00000005" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, mode, *arguments, **named)

    monkeypatch.setattr(Path, "open", full)
    refused(tiny_clip, says="the disk is full; free some space")
    record = json.loads((tmp_path / "run" / "stages.json").read_text())
    assert record["stages"]["frames"]["done"] is False
    assert not list((tmp_path / "run" / "frames").glob("*.partial"))


def test_broken_record_of_a_run(refused, tmp_path, tiny_clip):
    out = tmp_path / "run"
    out.mkdir()
    (out / "stages.json").write_text("{broken")
    refused(tiny_clip, says="stages.json: damaged", out=out)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("reconstruct",), "missing argument 'VIDEO'. See "),
        (("reconstruct", "a.mp4"), "missing option '--output' / '-o'. See "),
        (("reconstruct", "a.mp4", "-o", "run", "--evry", 2), "no such option: --evry"),
        (("calibrate", "a.mp4", "-o", "a.yaml", "--every", "two"), "invalid value for '--every'"),
        (("compare", "a.mp4", "-o"), "requires an argument. See dd-sfm --help"),
        (("evaluate", "modell", "run"), "no such command 'modell'"),
        (("evaluate", "mo\ndell", "run"), "no such command 'mo"),
        (("reconstruct", "a.mp4", "-o", "run", "--ev\n\nry", 2), "no such option: --ev"),
        (("calibrate", "a.mp4", "-o", "a.yaml", "--every", "t\nwo"), "invalid value for '--every'"),
    ],
)
def test_usage(dd_sfm, arguments, says):
    ran = dd_sfm(*arguments)
    assert ran.code == 2
    assert len(ran.err.splitlines()) == 1
    assert ran.err.startswith("dd-sfm: ")
    assert says in ran.err
    assert ran.err.rstrip().endswith(" --help")


def test_usage_of_several_lines_and_of_none():
    for said, text in (("Missing option. Choose from:\n\ta,\n\tb", "missing option. Choose from: a, b."), ("", "")):
        error = type("UsageError", (Exception,), {"format_message": lambda _, said=said: said})()
        found = usage_text(error)
        assert found.startswith(text)
        assert found.endswith(". See dd-sfm --help")


def test_a_command_that_needs_another_word_shows_its_help(dd_sfm):
    for arguments in ((), ("evaluate",)):
        ran = dd_sfm(*arguments)
        assert ran.code == 2
        assert "Commands:" in ran.err + ran.out
