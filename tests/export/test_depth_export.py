"""Depth maps of ``dd-sfm convert`` and ``dd-sfm reconstruct --depth``."""

import json
import shutil

import cv2
import numpy as np
import pytest
from converting import write_small_run
from plane import CAMERA, DEPTH_MM, FRAMES, OWN, plane_model, to_own_world

from dd_sfm.cli.reconstruct import write_depth
from dd_sfm.errors import ConfigError, InputError
from dd_sfm.export.convert import convert
from dd_sfm.export.depth import holds_depth
from dd_sfm.io.clouds import write_cloud
from dd_sfm.io.colmap_model import write_model
from dd_sfm.io.run_layout import remove_own
from dd_sfm.sfm.point_cloud import to_cloud
from dd_sfm.structures import Frame, FrameSet

TRUE = DEPTH_MM * OWN.scale


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the plane with points dense enough to be a surface, whose errors are known."""
    folder = tmp_path_factory.mktemp("depth") / "run"
    write_small_run(folder)
    model = to_own_world(plane_model(0.7))
    names = [f"{k + 10:08d}.png" for k in range(FRAMES)]
    frames = FrameSet(
        tuple(
            Frame(k + 10, folder / "frames" / n, folder / "masks" / f"{n}.png", (k + 10) / 25)
            for k, n in enumerate(names)
        ),
        CAMERA,
        120,
    )
    write_model(folder / "sparse" / "0", model, frames)
    write_cloud(folder / "points.ply", to_cloud(model, np.full(len(model.xyz), 0.02)))
    return folder


def maps_of(out):
    index = json.loads((out / "depth.json").read_text())
    for frame in index["frames"]:
        levels = cv2.imread(str(out / frame["png"]), cv2.IMREAD_UNCHANGED)
        confidence = cv2.imread(str(out / frame["confidence"]), cv2.IMREAD_UNCHANGED)
        yield index, frame, levels, confidence, np.load(out / frame["npz"])


@pytest.mark.parametrize(("depth_of", "count"), [(None, 6), ("all", FRAMES)])
def test_depth_maps_are_of_the_frames_asked_for(run, tmp_path, depth_of, count):
    done = convert(run, tmp_path / "out", "depth", depth_of=depth_of)
    maps = list(maps_of(tmp_path / "out"))
    assert len(maps) == count
    assert holds_depth(tmp_path / "out", depth_of or "references")
    assert any("usable pixels" in note for note in done.notes)
    for index, frame, levels, confidence, arrays in maps:
        known = levels > 0
        assert levels.dtype == np.uint16
        assert frame["coverage"] > 0.9
        assert np.allclose(levels[known] * index["depth_factor"], TRUE, rtol=2e-3)
        assert (arrays["depth"] > 0)[known].all()
        assert np.allclose(arrays["depth"][known], TRUE, rtol=2e-3)
        assert np.allclose(arrays["uncertainty"][known], 0.02, rtol=1e-2)
        assert (np.abs(confidence[known].astype(int) - 51) <= 1).all()
        assert not confidence[~known].any()
        # The mask of frame k leaves out its first k columns.
        assert not known[:, : frame["number"] - 10].any()
        assert index["undistorted"] is True


def test_depth_maps_in_a_known_unit(dd_sfm, run, tmp_path):
    ran = dd_sfm("convert", run, "-o", tmp_path / "out", "--to", "depth", "--scale", f"{1 / OWN.scale}mm")
    assert ran.code == 0, ran.err
    index, frame, levels, _, _ = next(maps_of(tmp_path / "out"))
    assert index["unit"] == "mm"
    assert index["scale"] == pytest.approx(1 / OWN.scale)
    assert np.median(levels[levels > 0]) * index["depth_factor"] == pytest.approx(DEPTH_MM, rel=1e-3)
    assert frame["median_depth"] == pytest.approx(DEPTH_MM, rel=1e-3)


def test_colmap_fuses_its_depth_maps(run, tmp_path):
    pycolmap = pytest.importorskip("pycolmap")
    out = tmp_path / "workspace"
    convert(run, out, "colmap-depth", depth_of="all")
    options = pycolmap.StereoFusionOptions(min_num_pixels=3)
    (tmp_path / "fused").mkdir()
    fused = pycolmap.stereo_fusion(str(tmp_path / "fused"), str(out), input_type="geometric", options=options)
    points = np.array([point.xyz for point in fused.points3D.values()])
    assert len(points) > 5000
    model = to_own_world(plane_model(5.0)).xyz
    normal = np.linalg.svd(model - model.mean(0))[2][2]
    assert np.abs((points - model.mean(0)) @ normal).max() < 5e-3 * TRUE


def test_what_depth_cannot_be_written_of_is_said(dd_sfm, run, tmp_path):
    with pytest.raises(ConfigError, match="--to ply holds no depth maps; expected it with --to depth and colmap-depth"):
        convert(run, tmp_path / "out", "ply", depth_of="all")
    with pytest.raises(ConfigError, match="--depth some: unknown; expected references, all"):
        convert(run, tmp_path / "out", "depth", depth_of="some")
    ran = dd_sfm("reconstruct", tmp_path / "none.mp4", "-o", tmp_path / "run", "--depth", "some")
    assert (ran.code, "expected none, references, all" in ran.err) == (2, True)
    assert not (tmp_path / "run").exists()
    empty = tmp_path / "model"
    convert(run, empty, "colmap-text")
    (empty / "points3D.txt").write_text("")
    text = (empty / "images.txt").read_text().splitlines()
    heads = [line for line in text if line.endswith(".png")]
    (empty / "images.txt").write_text("".join(f"{line}\n\n" for line in heads))
    with pytest.raises(InputError, match="the model has no points"):
        convert(empty, tmp_path / "out", "depth")


def test_a_run_loses_its_depth_maps_with_its_points(run, tmp_path):
    copy = tmp_path / "run"
    convert(run, copy / "depth", "depth")
    (copy / "depth" / "mine.txt").write_text("mine")
    remove_own(copy, "map")
    assert holds_depth(copy / "depth", "references")
    remove_own(copy, "densify")
    assert [p.name for p in (copy / "depth").rglob("*")] == ["mine.txt"]


def test_a_finished_run_gets_its_depth_maps_once(run, tmp_path, capsys):
    # As reconstruct calls it after the last stage.
    shutil.copytree(run, tmp_path / "run")
    for depth_of, written in (("references", True), ("references", False), ("all", True)):
        write_depth(tmp_path / "run", depth_of, quiet=False)
        out = "".join(capsys.readouterr())
        assert ("written: depth maps" in out, "nothing to do" in out) == (written, not written)
        assert holds_depth(tmp_path / "run" / "depth", depth_of)
    assert len(list((tmp_path / "run" / "depth" / "png").iterdir())) == FRAMES
