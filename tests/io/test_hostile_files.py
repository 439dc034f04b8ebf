"""Files that claim what they do not hold, never end, or lead elsewhere: refused by one line, and nothing is touched."""

import json
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from dicoms import write_dicom
from plane import CAMERA, FRAMES, plane_model

from dd_sfm.cli.app import explain
from dd_sfm.config import Config, load_config
from dd_sfm.documents import MOST_YAML_CHARACTERS, file_name, finite, parse_json, parse_yaml, read_json, whole
from dd_sfm.errors import MOST_CHARACTERS, ConfigError, DDSfMError, InputError, OutputError, WeightsError, one_line
from dd_sfm.evaluation.model.pose_reference import frame_numbers
from dd_sfm.features.networks import build_network
from dd_sfm.features.weights import load_weights, save_weights
from dd_sfm.io.arrays import read_arrays
from dd_sfm.io.atomic import write_text
from dd_sfm.io.calibration.read import read_calibration
from dd_sfm.io.clouds import face_count, read_cloud
from dd_sfm.io.colmap_matches import check_matrices
from dd_sfm.io.colmap_model import write_model
from dd_sfm.io.colmap_source import read_any_model, read_reconstruction
from dd_sfm.io.dicom_header import read_dicom_header
from dd_sfm.io.edited_masks import edited_masks, put_aside
from dd_sfm.io.image_files import read_header, read_levels
from dd_sfm.io.images import natural_key, read_image
from dd_sfm.io.lock import locked
from dd_sfm.io.run_folder import read_frame_records, read_frames, read_poses
from dd_sfm.io.run_layout import remove_own
from dd_sfm.io.scene import last_number
from dd_sfm.pipeline.run_log import logging_to
from dd_sfm.sfm.track_builder import PairFound, ReferenceMatches
from dd_sfm.structures import Frame, FrameSet

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text", [BOMB, "a: &a [*a]", "[" * 5000, "a: 2001-99-99", "a: !!int ''", "a: !!python/object:x"]
)
def test_yaml_that_stands_for_too_much(text, tmp_path):
    with pytest.raises(yaml.YAMLError):
        parse_yaml(text)
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match="not YAML"):
        load_config(Config, tmp_path / "config.yaml")


def test_yaml_within_bounds():
    assert parse_yaml("a: &a [1, 2]\nb: *a\nc: {<<: {d: 3}}") == {"a": [1, 2], "b": [1, 2], "c": {"d": 3}}
    assert parse_yaml("") is None
    with pytest.raises(yaml.YAMLError, match="million characters"):
        parse_yaml(" " * (MOST_YAML_CHARACTERS + 1))


def test_a_long_value_is_not_shown_whole(tmp_path):
    (tmp_path / "config.yaml").write_text(f"match: {['x' * 50] * 1000}")
    with pytest.raises(ConfigError) as caught:
        load_config(Config, tmp_path / "config.yaml")
    assert len(str(caught.value)) < 500


def test_json_that_is_nested_too_deeply():
    with pytest.raises(ValueError, match="deeply"):
        parse_json("[" * 100_000)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", True, None, [1], 10**400])
def test_what_is_no_number(value):
    with pytest.raises(ValueError, match="number"):
        finite(value)
    with pytest.raises(ValueError, match="number"):
        whole(value)


@pytest.mark.parametrize("name", ["../a", "/a", "", ".", "..", "a\nb", "a\0", "x" * 300, "a\\b", "\x1b[0m"])
def test_what_is_no_name_of_a_file(name):
    with pytest.raises(ValueError, match="no name"):
        file_name(name)


def test_messages_hold_no_control_characters():
    text, code = explain(InputError("\x1b]0;title\x07 a\nb \udce4 " + "x" * 10_000))
    assert text.isprintable()
    assert text.startswith(r"\x1b]0;title\x07 a b \udce4")
    assert len(text) < MOST_CHARACTERS + 50
    assert code == 1
    assert one_line("ä € 中") == "ä € 中"


def test_pipes_devices_and_folders_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    (tmp_path / "folder.json").mkdir()
    for name in ("pipe", "zero", "folder"):
        with pytest.raises(OSError, match="pipe or a device|folder"):
            read_json(tmp_path / f"{name}.json")
    with pytest.raises(InputError, match="pipe"):
        read_calibration(str(tmp_path / "pipe.json"), width=160, height=120)
    with pytest.raises(InputError, match="device"):
        read_image(tmp_path / "zero.json")


def test_an_archive_that_unpacks_to_far_more(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(100_000_000, np.uint8))
    with pytest.raises(ValueError, match="times its size"):
        read_arrays(tmp_path / "a.npz")


def test_a_picture_that_claims_to_be_huge(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.zeros((20, 30, 3), np.uint8))
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 30_000, 30_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    path.write_bytes(data)
    for read in (read_image, read_levels, read_header):
        with pytest.raises(InputError, match="states|decoded"):
            read(path)


@pytest.mark.parametrize("count", [b"-1", b"1000000000000", b"nan"])
def test_a_cloud_that_claims_more_points_than_it_holds(tmp_path, count):
    path = tmp_path / "a.ply"
    head = b"ply\nformat binary_little_endian 1.0\nelement vertex " + count + b"\n"
    path.write_bytes(head + b"".join(b"property float %c\n" % axis for axis in b"xyz") + b"end_header\n" + bytes(36))
    with pytest.raises(InputError, match="not a PLY"):
        read_cloud(path)


def test_a_database_whose_matrices_are_of_another_size(tmp_path):
    import sqlite3

    with sqlite3.connect(tmp_path / "a.db") as database:
        for table in ("keypoints", "descriptors", "matches", "two_view_geometries"):
            database.execute(f"CREATE TABLE {table} (rows, cols, data)")
        database.execute("INSERT INTO keypoints VALUES (1, 4294967295, x'00000000')")
    with pytest.raises(InputError, match="1 rows of keypoints"):
        check_matrices(tmp_path / "a.db")


def test_models_that_claim_more_than_they_hold_or_no_camera(tmp_path):
    model = plane_model(6.0)
    frames = FrameSet(tuple(Frame(k, Path(f"{k}.png"), Path(), 0.0) for k in range(FRAMES)), CAMERA, 120)
    for name, place, value in (
        ("points3D.bin", 0, 2**63), ("points3D.bin", 8 + 43, 2**40), ("images.bin", 0, 2**40),
        ("cameras.bin", 16, 2**63), ("cameras.bin", 32, 0x7FF8 << 48), ("images.bin", 12, 0x7FF8 << 48),
    ):  # fmt: skip
        write_model(tmp_path, model, frames)
        data = bytearray((tmp_path / name).read_bytes())
        data[place : place + 8] = struct.pack("<Q", value)
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError):
            read_any_model(tmp_path)
    write_model(tmp_path, model, frames)
    os.mkfifo(tmp_path / "rigs.bin")
    with pytest.raises(InputError, match="rigs"):
        read_reconstruction(tmp_path)


def test_a_calibration_of_a_lens_that_shows_nothing(tmp_path):
    path = tmp_path / "a.txt"
    for k1 in ("1e308", "nan", "-1e6"):
        path.write_text(f"1 OPENCV 160 120 100 100 80 60 {k1} 0 0 0\n")
        with pytest.raises(InputError, match="real lens|finite|number"):
            read_calibration(str(path), width=160, height=120)


def test_a_dicom_file_of_more_frames_than_bytes(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", [np.zeros((20, 30, 3), np.uint8)], NumberOfFrames="2147483647")
    with pytest.raises(InputError, match="damaged"):
        read_dicom_header(path)


def test_weights_whose_options_ask_for_more_than_they_hold(tmp_path):
    path = tmp_path / "a.safetensors"
    for options in ({"dim": 2_000_000_000}, {"dim": -1}, [1], {"dim": 1e300}):
        save_weights(path, build_network("compact", dim=8), "compact", options)
        with pytest.raises(WeightsError):
            load_weights(str(path), torch.device("cpu"))


# Runs


def frames_json(run, **changes):
    content = {
        "width": 160, "height": 120, "field_of_view_px": 100, "fps": 25.0, "format": "png",
        "camera": {"width": 160, "height": 120, "fx": 100.0, "fy": 100.0, "cx": 80.0, "cy": 60.0},
        "frames": [{"index": 0, "time_s": 0.0, "kept": True, "name": "a_00000000"}],
    }  # fmt: skip
    (run / "frames.json").write_text(json.dumps(content | changes))


def test_a_run_that_is_right(tmp_path):
    frames_json(tmp_path)
    assert read_frames(tmp_path).kept[0].name == "a_00000000"


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 1e999}, {"height": -1}, {"format": "/../../x"}, {"fps": "x"}, {"camera": {}}, {"sources": [1]},
        {"camera": {"width": 160, "height": 120, "fx": float("nan"), "fy": 1.0, "cx": 0.0, "cy": 0.0}},
        {"frames": [{"index": 0, "time_s": 0.0, "kept": True, "name": "../../secret"}]},
        {"frames": [{"index": 10**30, "time_s": 0.0, "kept": True}]}, {"frames": [[]]}, {"frames": {"a": 1}},
        {"undistorted": {"model": "OPENCV", "params": ["x"] * 8}}, {"undistorted": {"model": "NONE", "params": []}},
    ],
)  # fmt: skip
def test_values_of_a_run_that_cannot_be_meant(tmp_path, changes):
    frames_json(tmp_path, **changes)
    with pytest.raises(InputError, match="damaged"):
        read_frames(tmp_path)


def test_a_run_that_is_nested_too_deeply(tmp_path):
    for name in ("frames.json", "map.json"):
        (tmp_path / name).write_text('{"frames": ' + "[" * 100_000)
    with pytest.raises(InputError, match="damaged"):
        read_frame_records(tmp_path)
    with pytest.raises(InputError, match="damaged"):
        read_poses(tmp_path)


def test_names_of_masks_lead_nowhere_else(tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    run = tmp_path / "run"
    (run / "masks").mkdir(parents=True)
    (run / "masks.json").write_text(json.dumps({"frames": {}, "written": {"../../secret.png": "0"}}))
    assert edited_masks(run) == {}
    put_aside(run, start_over=True)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["secret.png"]
    assert not (run / "masks_overwritten").exists()


def test_matches_of_frames_that_are_not_there(tmp_path):
    path = tmp_path / "a.npz"
    found = {5: PairFound(np.arange(2), np.ones((2, 2), np.float32), np.ones(2, np.float32), 0.5)}
    ReferenceMatches(0, np.ones((2, 2), np.float32), np.zeros(0, np.int64), found).save(path)
    assert ReferenceMatches.load(path, 6).targets == [5]
    with pytest.raises(InputError, match="targets beyond 3"):
        ReferenceMatches.load(path, 4)
    path.write_bytes(b"PK")
    with pytest.raises(InputError, match="damaged"):
        ReferenceMatches.load(path, 6)


def test_what_links_in_a_run_lead_to_stays(tmp_path):
    outside, run = tmp_path / "outside", tmp_path / "run"
    for folder in (outside, run / "sparse"):
        folder.mkdir(parents=True)
    for name in ("cameras.bin", "images.bin", "points3D.bin", "cloud.png", "log", "lock", "partial"):
        (outside / name).write_text(name)
    (run / "sparse" / "0").symlink_to(outside)
    (run / "evaluation").symlink_to(outside)
    (run / "evaluation.json").write_text('{"made_by": "dd-sfm evaluate model"}')
    (run / "run.log").symlink_to(outside / "log")
    (run / "metrics.json.partial").symlink_to(outside / "partial")
    (run / ".dd-sfm.lock").symlink_to(outside / "lock")
    with pytest.raises(OutputError, match=r"\.dd-sfm\.lock"), locked(run):
        pass
    remove_own(run, "densify")
    assert not (run / "sparse").exists()
    with pytest.raises(DDSfMError), logging_to(run / "run.log"):
        raise InputError("a\x1b[0m")
    write_text(run / "metrics.json", "{}")
    assert {path.name: path.read_text() for path in outside.iterdir()} == {
        path.name: path.name for path in outside.iterdir()
    }
    assert len(list(outside.iterdir())) == 7


def test_numbers_in_names(tmp_path):
    assert [last_number(name) for name in ("a/frame_0012.png", "000.png", "7.2.png", "x.png")] == [12, 0, 2, None]
    assert [last_number(f"{9 * 10**k}.png") for k in (17, 18, 19, 4000)] == [9 * 10**17, 9 * 10**18, None, None]
    with pytest.raises(InputError, match="none below 2"):
        frame_numbers(tmp_path, [f"{2**63}.png"])
    # What counts as a digit, but is no number.
    assert natural_key(Path("a9")) < natural_key(Path("a10")) < natural_key(Path("a10²"))


def test_a_ply_whose_faces_have_thousands_of_digits_has_none(tmp_path):
    path = tmp_path / "mesh.ply"
    path.write_text(f"ply\nformat ascii 1.0\nelement face {'9' * 5000}\nend_header\n")
    assert face_count(path) == 0
