"""Depth maps of ``dd-sfm convert`` and ``dd-sfm reconstruct --depth``."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from converting import write_dense_run
from plane import CAMERA, DEPTH_MM, FRAMES, OWN, plane_model, to_own_world

from dd_sfm.cli.reconstruct import write_depth
from dd_sfm.config import RuntimeConfig
from dd_sfm.errors import ConfigError, InputError, OutputError
from dd_sfm.export import drawn_depth
from dd_sfm.export.convert import convert
from dd_sfm.export.depth import holds_depth
from dd_sfm.io.checksums import model_sums
from dd_sfm.io.clouds import write_cloud
from dd_sfm.io.run_layout import remove_own, run_with
from dd_sfm.sfm.point_cloud import to_cloud

TRUE = DEPTH_MM * OWN.scale


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of the plane with points dense enough to be a surface, whose errors are known."""
    folder = tmp_path_factory.mktemp("depth") / "run"
    write_dense_run(folder)
    return folder


@pytest.fixture(scope="module")
def maps(run, tmp_path_factory):
    """The depth maps of the run."""
    folder = tmp_path_factory.mktemp("maps") / "depth"
    convert(run, folder, "depth")
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
    with pytest.raises(
        ConfigError, match="--to ply holds no depth maps; expected it with --to nerfstudio, depth, colmap-depth"
    ):
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


@pytest.mark.parametrize("spoil", ["file", "unfinished", "target", "scale", "model", "link"])
def test_depth_maps_count_only_when_they_are_whole_and_of_the_model(run, maps, tmp_path, spoil):
    folder = tmp_path / "depth"
    shutil.copytree(maps, folder)
    sums = model_sums(run)
    assert holds_depth(folder, "references", sums)
    record = json.loads((folder / "convert.json").read_text())
    assert record["files"][0] != "depth.json"
    changed = {"unfinished": {"whole": False}, "target": {"target": "colmap-depth"}, "scale": {"scale": 2.0}}
    (folder / "convert.json").write_text(json.dumps(record | changed.get(spoil, {})))
    if spoil == "file":
        next((folder / "npz").iterdir()).unlink()
    elif spoil == "model":
        sums = sums | {"points.ply": "7 00000000"}
    elif spoil == "link":
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
    assert not holds_depth(folder, "references", sums)


def test_depth_maps_of_an_earlier_model_are_written_anew(run, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    write_depth(copy, "references", quiet=False)
    model = to_own_world(plane_model(0.8))
    write_cloud(copy / "points.ply", to_cloud(model, np.full(len(model.xyz), 0.02)))
    capsys.readouterr()
    write_depth(copy, "references", quiet=False)
    assert "written: depth maps" in "".join(capsys.readouterr())


@pytest.mark.parametrize("held", ["link", "ply", "mm"])
def test_what_is_not_its_own_in_the_place_of_the_depth_maps_stays(dd_sfm, run, maps, tmp_path, held):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    if held == "link":
        (copy / "depth").symlink_to(maps)
    elif held == "ply":
        convert(run, copy / "depth", "ply")
    else:
        shutil.copytree(maps, copy / "depth")
    marker = copy / "depth" / "convert.json"
    if held == "mm":
        marker.write_text(json.dumps(json.loads(marker.read_text()) | {"unit": "mm", "scale": 2.0}))
    before = marker.read_bytes()
    with pytest.raises(OutputError, match={"link": "a link to", "ply": "--to ply", "mm": "in mm"}[held]):
        write_depth(copy, "references", quiet=True)
    # Before any stage begins.
    ran = dd_sfm("reconstruct", tmp_path / "none.mp4", "-o", copy, "--depth", "all")
    assert (ran.code, str(copy / "depth") in ran.err) == (1, True)
    assert marker.read_bytes() == before


def test_nothing_else_is_converted_into_the_place_of_the_depth_maps(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "stages.json").write_text("{}")
    for inside in ("depth", "depth/more"):
        with pytest.raises(OutputError, match="belongs to the run"):
            convert(copy, copy / inside, "ply")
    assert run_with(copy / "depth" / "png" / "00000010.png") == copy


def test_files_that_tell_of_others_are_moved_after_them(run, tmp_path, monkeypatch):
    moved = []
    replace = Path.replace

    def moving(path, target):
        moved.append(Path(target).name)
        if Path(target).name == "depth.json":
            raise OSError("full")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", moving)
    with pytest.raises(OutputError):
        convert(run, tmp_path / "out", "depth")
    assert sum(name.endswith(".png") for name in moved) == 2 * 6
    monkeypatch.undo()
    assert not holds_depth(tmp_path / "out", "references")
    convert(run, tmp_path / "out", "depth", overwrite=True)
    assert holds_depth(tmp_path / "out", "references")


def test_depth_maps_are_drawn_by_as_many_threads_as_set(run, tmp_path, monkeypatch):
    shutil.copytree(run, tmp_path / "run")
    used, pool = [], drawn_depth.ThreadPoolExecutor
    monkeypatch.setattr(drawn_depth, "ThreadPoolExecutor", lambda count: used.append(count) or pool(count))
    before = torch.get_num_threads()
    write_depth(tmp_path / "run", "references", RuntimeConfig(threads=before + 1), quiet=True)
    assert used == [before + 1]
    assert torch.get_num_threads() == before


def test_nerfstudio_gets_depth_of_every_frame(run, tmp_path):
    """A file holds a thousand times the depth: the loader's default factor gives the unit of the poses."""
    convert(run, tmp_path, "nerfstudio", depth_of="all")
    frames = json.loads((tmp_path / "transforms.json").read_text())["frames"]
    drawn = [np.load(tmp_path / frame["depth_file_path"]) for frame in frames]
    assert len(drawn) == FRAMES
    known = np.concatenate([depth[depth > 0] for depth in drawn]) / 1000
    assert np.median(known) == pytest.approx(TRUE, rel=0.02)
    assert {depth.shape for depth in drawn} == {CAMERA.size[::-1]}


def test_nerfstudio_takes_no_depth_of_some_frames(run, tmp_path):
    with pytest.raises(ConfigError, match="expected --depth all"):
        convert(run, tmp_path / "out", "nerfstudio", depth_of="references")


def test_nerfstudio_opens_it_with_its_own_loader(run, tmp_path):
    """Its package brings a stack of CUDA along: installed without dependencies, its loader needs little of that."""
    parser = pytest.importorskip("nerfstudio.data.dataparsers.nerfstudio_dataparser")
    from nerfstudio.data.datasets.depth_dataset import DepthDataset

    convert(run, tmp_path, "nerfstudio", depth_of="all")
    config = parser.NerfstudioDataParserConfig(
        data=tmp_path, downscale_factor=1, orientation_method="none", center_method="none", auto_scale_poses=False,
        eval_mode="all",
    )  # fmt: skip
    read = config.setup().get_dataparser_outputs("train")
    assert len(read.image_filenames) == FRAMES
    assert len(read.mask_filenames) == FRAMES
    camera = read.cameras[0]
    assert (float(camera.fx), float(camera.cx)) == (CAMERA.fx, CAMERA.cx + 0.5)
    depth = DepthDataset(read)[3]["depth_image"].numpy()[..., 0]
    assert depth.shape == CAMERA.size[::-1]
    assert np.median(depth[depth > 0]) == pytest.approx(TRUE, rel=0.02)
