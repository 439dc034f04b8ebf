"""Descriptors, the model to localise in, and queries, as hloc reads them."""

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pycolmap
import pytest
import torch
from converting import FIRST, WITHOUT_POSE, write_small_run
from plane import CAMERA

import dd_sfm
from dd_sfm.config import Config, dump_config, load_config
from dd_sfm.errors import ConfigError, InputError, OutputError, ShapeError
from dd_sfm.export.convert import convert
from dd_sfm.features.describe import describe_frames
from dd_sfm.io.colmap_triangulation import triangulate_matches
from dd_sfm.io.hloc_files import check_names
from dd_sfm.io.run_config import write_config
from dd_sfm.io.run_folder import ExtractedFrames, load_frames, write_frames, write_metrics
from dd_sfm.pipeline.hloc_queries import names_of
from dd_sfm.progress import silent
from dd_sfm.structures import FrameRecord

DEMO = Path(__file__).parents[2] / "demo_videos" / "sinus"
WITHOUT = f"{FIRST + WITHOUT_POSE:08d}.png"
"""The frame of the small run that has no keypoints."""
PINHOLE = f"{CAMERA.fx},{CAMERA.fy},{CAMERA.cx + 0.5},{CAMERA.cy + 0.5}"


def verify_matches(path):
    """Make all matches of a database verified ones, as after the mapper."""
    with pycolmap.Database.open(path) as database:
        for pair, matches in zip(*database.read_all_matches(), strict=True):
            geometry = pycolmap.TwoViewGeometry()
            geometry.inlier_matches, geometry.config = matches, pycolmap.TwoViewGeometryConfiguration.CALIBRATED
            database.write_two_view_geometry(*pycolmap.pair_id_to_image_pair(pair), geometry)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small run as a finished one, whose descriptors are kept."""
    folder = tmp_path_factory.mktemp("hloc") / "run"
    write_small_run(folder)
    count = len(list((folder / "frames").iterdir()))
    records = tuple(FrameRecord(k + FIRST, None, 1.0) for k in range(count))
    write_frames(folder, ExtractedFrames("clip.mp4", 160, 120, 25.0, 60, CAMERA, None, 120, "png", records))
    config = load_config(Config, None, [])
    write_config(folder, dump_config(config))
    write_metrics(folder, {"features": "learned"})
    verify_matches(folder / "database.db")
    describe_frames(load_frames(folder), folder, config, torch.device("cpu"), silent)
    return folder


@pytest.fixture(scope="module")
def converted(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("converted") / "hloc"
    return out, convert(run, out, "hloc")


def read(path):
    with h5py.File(path) as file:
        return {name: {key: value[()] for key, value in file[name].items()} for name in file}


def test_every_keypoint_has_a_descriptor_of_unit_length(run, converted):
    out, done = converted
    assert not any("without descriptors" in note for note in done.notes)
    for name, image in read(out / "features.h5").items():
        assert image["descriptors"].shape == (64, len(image["keypoints"])), name
        assert image["descriptors"].dtype == np.float16
        length = np.linalg.norm(image["descriptors"].astype(np.float32), axis=0)
        if name == WITHOUT:
            assert not len(image["keypoints"])
            continue
        # Frame k of the small run is masked up to column k, which some keypoints lie beyond.
        usable = image["keypoints"][:, 0] > int(name[:8]) - FIRST + 1
        assert usable.sum() > 10
        assert np.allclose(length[usable], 1, atol=2e-3)
    pooled = np.stack([image["global_descriptor"] for image in read(out / "global.h5").values()])
    assert np.allclose(np.linalg.norm(pooled, axis=1), 1, atol=1e-4)


def test_descriptors_are_those_of_the_network_at_the_keypoints(run, converted):
    name = f"{FIRST:08d}.png"
    image = read(converted[0] / "features.h5")[name]
    picture = dd_sfm.read_frames(run / "frames", [0])[0]
    descriptor = dd_sfm.load_descriptor(device="cpu", precision="float32")
    found = descriptor.describe(picture, np.ones((120, 160), bool), working_height_px=500)
    cells = (found.grid.to_working(image["keypoints"].astype(np.float64)) + 0.5) / found.grid.stride - 0.5
    column, row = np.round(cells).astype(int).T
    nearest = found.descriptors[:, row, column].numpy()
    similarity = (nearest * image["descriptors"]).sum(0)
    other = (nearest * np.roll(image["descriptors"], 1, axis=1)).sum(0)
    assert np.median(similarity) > 0.9
    assert np.median(other) < np.median(similarity) - 0.3


def test_deleted_descriptors_are_made_again_and_the_run_stays_as_it_is(run, converted, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "descriptors")
    before = sorted(p.relative_to(tmp_path) for p in (tmp_path / "run").rglob("*"))
    convert(tmp_path / "run", tmp_path / "out", "hloc")
    assert sorted(p.relative_to(tmp_path) for p in (tmp_path / "run").rglob("*")) == before
    kept, made = read(converted[0] / "features.h5"), read(tmp_path / "out" / "features.h5")
    for name in kept:
        similarity = (kept[name]["descriptors"].astype(np.float32) * made[name]["descriptors"]).sum(0)
        similarity = similarity if len(similarity) else np.ones(1)
        assert np.median(similarity) > 0.97, name


def test_what_cannot_be_described_is_left_out_and_told(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "descriptors")
    (tmp_path / "run" / "frames" / f"{FIRST:08d}.png").unlink()
    done = convert(tmp_path / "run", tmp_path / "out", "hloc")
    assert any(f"without descriptors: {tmp_path}/run/frames/{FIRST:08d}.png: not found" in n for n in done.notes)
    done = convert(run / "sparse" / "0", tmp_path / "of_model", "hloc")
    assert "descriptors" in read(tmp_path / "of_model" / "features.h5")[f"{FIRST:08d}.png"], "the run is around it"
    shutil.copytree(run / "sparse" / "0", tmp_path / "model")
    done = convert(tmp_path / "model", tmp_path / "plain", "hloc")
    assert any("without descriptors" in note and "is no run" in note for note in done.notes)
    assert sum("there is no global.h5 and no sfm/: without descriptors" in note for note in done.notes) == 1
    for out in ("out", "plain"):
        assert {key for i in read(tmp_path / out / "features.h5").values() for key in i} == {"keypoints", "image_size"}
        assert not (tmp_path / out / "sfm").exists()
        assert not (tmp_path / out / "global.h5").exists()


@pytest.mark.parametrize("damaged", ["00000011.npz", "00000011.pooled.npy"])
def test_a_damaged_map_is_as_one_that_is_missing(damaged, run, converted, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "descriptors" / damaged).write_bytes(b"PK damaged")
    done = convert(tmp_path / "run", tmp_path / "whole", "hloc")
    assert done.notes == converted[1].notes, "it is described again"
    assert (tmp_path / "whole" / "sfm" / "points3D.bin").is_file()
    (tmp_path / "run" / "frames" / "00000011.png").unlink()
    done = convert(tmp_path / "run", tmp_path / "out", "hloc")
    assert any("frames/00000011.png: not found" in note for note in done.notes)
    assert any("there is no global.h5 and no sfm/" in note for note in done.notes)
    features = read(tmp_path / "out" / "features.h5")
    assert {key for image in features.values() for key in image} == {"keypoints", "image_size"}
    assert set(features) == set(read(converted[0] / "features.h5"))


def test_a_picture_that_cannot_be_described_again_is_told(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "descriptors" / "00000011.npz").unlink()
    (tmp_path / "run" / "frames" / "00000011.png").write_bytes(b"no picture")
    done = convert(tmp_path / "run", tmp_path / "out", "hloc")
    assert any("without descriptors" in n and "00000011.png" in n for n in done.notes)
    assert not {"global.h5", "sfm"} & {path.name for path in (tmp_path / "out").iterdir()}
    assert "descriptors" not in read(tmp_path / "out" / "features.h5")["00000012.png"]


def test_image_points_of_the_model_are_the_keypoints_by_number(run, converted):
    features = read(converted[0] / "features.h5")
    model, own = (pycolmap.Reconstruction(str(p)) for p in (converted[0] / "sfm", run / "sparse" / "0"))
    poses = {image.name: image.cam_from_world().matrix() for image in own.images.values()}
    assert model.num_points3D() > 10
    assert {image.name for image in model.images.values()} == set(poses)
    for image in model.images.values():
        places = np.array([point.xy for point in image.points2D])
        assert np.allclose(places, features[image.name]["keypoints"] + 0.5, atol=1e-4)
        assert np.allclose(image.cam_from_world().matrix(), poses[image.name], atol=1e-12)
        assert image.num_points3D > 10


def test_a_model_that_cannot_be_written_is_told_in_a_line(run, tmp_path):
    (tmp_path / "sfm" / "points3D.bin").mkdir(parents=True)
    with pytest.raises(OutputError, match=rf"^{tmp_path}/sfm: .*; choose another output folder"):
        triangulate_matches(run / "database.db", run / "sparse" / "0", run / "frames", tmp_path / "sfm")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=rf"^{tmp_path}/file: cannot be written"):
        triangulate_matches(run / "database.db", run / "sparse" / "0", run / "frames", tmp_path / "file")


def test_the_model_is_in_the_unit_of_the_conversion(run, converted, tmp_path):
    from dd_sfm.registration.metric_scale import find_scale

    convert(run, tmp_path / "mm", "hloc", metric=lambda scene: find_scale("2.5", lambda: scene))
    one, other = (pycolmap.Reconstruction(str(p / "sfm")) for p in (converted[0], tmp_path / "mm"))
    for image in one.images.values():
        same = other.find_image_with_name(image.name)
        assert np.allclose(same.projection_center(), 2.5 * image.projection_center())


def test_a_run_without_a_database_says_why_there_is_no_model(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "database.db").unlink()
    done = convert(tmp_path / "run", tmp_path / "out", "hloc")
    assert any("there is no sfm/" in note for note in done.notes)
    assert "descriptors" in read(tmp_path / "out" / "features.h5")[f"{FIRST:08d}.png"]


def test_sift_has_the_descriptors_of_the_database(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    write_config(tmp_path / "run", dump_config(load_config(Config, None, ["features=sift"])))
    rng, stored = np.random.default_rng(0), {}
    with pycolmap.Database.open(tmp_path / "run" / "database.db") as database:
        for image in database.read_all_images():
            numbers = rng.integers(1, 90, (len(database.read_keypoints(image.image_id)), 128)).astype(np.uint8)
            kind = pycolmap.FeatureExtractorType.SIFT
            database.write_descriptors(image.image_id, pycolmap.FeatureDescriptors(type=kind, data=numbers))
            stored[image.name] = numbers
    done = convert(tmp_path / "run", tmp_path / "out", "hloc")
    assert any("there is no global.h5: SIFT describes no image as a whole" in note for note in done.notes)
    assert not (tmp_path / "out" / "global.h5").exists()
    for name, image in read(tmp_path / "out" / "features.h5").items():
        wanted = stored[name] / np.linalg.norm(stored[name].astype(float), axis=1, keepdims=True)
        assert np.allclose(image["descriptors"], wanted.T, atol=1e-3)
    assert (tmp_path / "out" / "sfm" / "points3D.bin").is_file()
    with pytest.raises(InputError, match=r"was made with sift; expected a run with learned descriptors"):
        dd_sfm.write_hloc_queries(tmp_path / "run", run / "frames", tmp_path / "q", calibration=PINHOLE)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE cameras SET model = 99", "there is no sfm/: .*cannot be read by COLMAP"),
        ("UPDATE frame_data SET frame_id = frame_id + 1000", "there is no sfm/: .*cannot be read by COLMAP"),
        ("DELETE FROM two_view_geometries", "there is no sfm/: .*no match of it gives a point"),
        ("DELETE FROM keypoints WHERE image_id = 2", None),
        ("UPDATE two_view_geometries SET data = x'ffffffff01000000', rows = 1 WHERE rows > 0", None),
    ],
)
def test_a_damaged_database_is_told_in_a_line(run, tmp_path, change, says):
    shutil.copytree(run, tmp_path / "run")
    with closing(sqlite3.connect(tmp_path / "run" / "database.db")) as database, database:
        database.execute(change)
    if says is None:
        with pytest.raises(InputError, match=r"database\.db: cannot be read \(matches of keypoints that are not there"):
            convert(tmp_path / "run", tmp_path / "out", "hloc")
        return
    notes = "\n".join(convert(tmp_path / "run", tmp_path / "out", "hloc").notes)
    assert re.search(says, notes), notes
    assert not (tmp_path / "out" / "sfm").exists()


# Queries


def test_queries_are_described_like_the_frames_of_the_run(run, converted, tmp_path):
    dd_sfm.write_hloc_queries(run, run / "frames", tmp_path / "q", calibration=PINHOLE)
    known = read(converted[0] / "features.h5")
    with h5py.File(tmp_path / "q" / "features.h5") as file:
        query = {key: value[()] for key, value in file[f"frames/{FIRST:08d}.png"].items()}
    assert query["image_size"].tolist() == [160, 120]
    assert query["descriptors"].shape == (64, len(query["keypoints"]))
    frame = known[f"{FIRST:08d}.png"]
    similarity = frame["descriptors"].T.astype(np.float32) @ query["descriptors"].astype(np.float32)
    away = np.linalg.norm(query["keypoints"][similarity.argmax(1)] - frame["keypoints"], axis=1)
    inside = (frame["keypoints"] > 12).all(1) & (frame["keypoints"] < [148, 108]).all(1)
    assert np.median(away[inside]) < 2.5, "the most similar keypoint is the one at the same place"
    line = (tmp_path / "q" / "queries.txt").read_text().splitlines()[0].split()
    assert line[:4] == [f"frames/{FIRST:08d}.png", "PINHOLE", "160", "120"]
    assert [float(value) for value in line[4:]] == pytest.approx([float(value) for value in PINHOLE.split(",")])


def test_keypoints_of_a_lens_with_distortion_are_pixels_of_the_image(run, tmp_path):
    pictures = {f"q/{k}.png": p for k, p in enumerate(dd_sfm.read_frames(run / "frames", [0, 1]))}
    (tmp_path / "mask.png").write_bytes(next((run / "masks").iterdir()).read_bytes())
    for name, more in (("flat", ""), ("bent", ",-0.2,0,0,0")):
        dd_sfm.write_hloc_queries(
            run, pictures, tmp_path / name, calibration=PINHOLE + more, mask=tmp_path / "mask.png", spacing_px=20
        )
    camera = (tmp_path / "bent" / "queries.txt").read_text().splitlines()[0].split()
    assert (camera[1], float(camera[-4])) == ("OPENCV", -0.2)
    for name in ("flat", "bent"):
        with h5py.File(tmp_path / name / "features.h5") as file:
            keypoints = file["q/0.png/keypoints"][()]
        assert len(keypoints) > 100
        assert (keypoints > -0.5).all()
        assert (keypoints < [159.5, 119.5]).all()


def test_queries_that_cannot_be_used_are_refused_in_a_line(run, tmp_path):
    picture = dd_sfm.read_frames(run / "frames", [0])[0]

    def refused(kind, says, images, **more):
        with pytest.raises(kind, match=says):
            dd_sfm.write_hloc_queries(run, images, tmp_path / "q", **{"calibration": PINHOLE, **more})
        assert not (tmp_path / "q").exists()

    refused(InputError, "images: none; expected at least one", {})
    refused(InputError, "a space in its name", {"a b.png": picture})
    refused(InputError, f"image '{FIRST:08d}.png': a frame of the run has this name", {f"{FIRST:08d}.png": picture})
    refused(ShapeError, r"image 'a': found \(120, 160\) uint8; expected RGB", {"a": picture[..., 0]})
    refused(InputError, "image 'b': 80x120 pixels; expected 160x120", {"a": picture, "b": picture[:, :80]})
    refused(InputError, "no folder; expected one of images", tmp_path / "away")
    refused(InputError, "as the images, 255 where usable", {"a": picture}, mask=_mask(tmp_path, (10, 20)))
    refused(ConfigError, "spacing_px 1: expected 2 or more", {"a": picture}, spacing_px=1)
    refused(InputError, "expected", {"a": picture}, calibration="1,2")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([""], "image '': no name"),
        (["q\x00a"], r"image 'q\\x00a': a character in its name"),
        (["q/\x1b[0m"], r"image 'q/\\x1b\[0m': a character in its name"),
        (["a\udce4"], r"image 'a\\udce4': a character in its name"),
        (["a\nb"], r"image 'a\\nb': a space in its name"),
        (["."], r"image '\.': a part of its name"),
        (["/q/0.png"], "image '/q/0.png': a part of its name"),
        (["q/0.png", "q//0.png"], "image 'q//0.png': a part of its name"),
        (["q/"], "image 'q/': a part of its name"),
        (["q/../0.png"], r"image 'q/\.\./0.png': a part of its name"),
        (["q/0/keypoints", "q/0"], "image 'q/0/keypoints': lies in 'q/0', which is an image, too"),
        ([3], "image 3: a name that is no text; expected one such as"),
        ([None, "a"], "image None: a name that is no text; expected one such as"),
    ],
)
def test_names_that_no_file_of_hloc_can_hold_are_refused_before_anything_is_read(names, says, tmp_path):
    picture = np.zeros((120, 160, 3), np.uint8)
    with pytest.raises(InputError, match=f"^{says}") as found:
        dd_sfm.write_hloc_queries(
            tmp_path / "no_run", dict.fromkeys(names, picture), tmp_path / "q", calibration=PINHOLE
        )
    assert "expected" in str(found.value)


def test_names_that_files_of_hloc_can_hold_are_taken():
    check_names(["q/0.png", "q/0", "q/0.png.jpg", "q.png", "..q/...", "K\u00f6rper\u200d/1", "back\\slash"])


def test_queries_are_never_written_into_a_run(run, tmp_path):
    shutil.copytree(run, tmp_path / "other")
    (tmp_path / "other" / "stages.json").write_text("{}")
    before = sorted((tmp_path / "other").rglob("*"))
    for place in ("other", "other/instruments", "other/frames"):
        with pytest.raises(OutputError, match=rf"^{tmp_path}/{place}: belongs to the run in .*other; expected another"):
            dd_sfm.write_hloc_queries(run, run / "frames", tmp_path / place, calibration=PINHOLE, overwrite=True)
    assert sorted((tmp_path / "other").rglob("*")) == before


def test_files_of_others_are_told_of_before_anything_is_described(run, tmp_path, monkeypatch):
    from dd_sfm.pipeline import hloc_queries

    monkeypatch.setattr(hloc_queries, "describe_places", lambda *_: pytest.fail("described"))
    (tmp_path / "q").mkdir()
    for name in ("features.h5", "global.h5", "queries.txt"):
        (tmp_path / "q" / name).write_text("mine")
        with pytest.raises(OutputError, match=rf"{name}: exists and is not from dd-sfm hloc queries"):
            dd_sfm.write_hloc_queries(run, run / "frames", tmp_path / "q", calibration=PINHOLE, overwrite=True)
        assert [path.name for path in (tmp_path / "q").iterdir()] == [name]
        (tmp_path / "q" / name).unlink()


def test_an_image_is_named_after_the_folder_that_it_was_given_in(tmp_path):
    for folder in ("stored", "query"):
        (tmp_path / folder).mkdir()
    (tmp_path / "stored" / "0001.png").write_text("")
    (tmp_path / "query" / "first.png").symlink_to(tmp_path / "stored" / "0001.png")
    given = tmp_path / "stored" / ".." / "query" / "first.png"
    assert names_of([given]) == {"query/first.png": given}


def _mask(folder, shape):
    from dd_sfm.io.images import write_mask

    write_mask(folder / "small.png", np.ones(shape, bool))
    return folder / "small.png"
