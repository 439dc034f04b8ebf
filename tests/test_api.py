"""The Python interface: what it returns, what it refuses, and that it leaves the process as it was."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch
from conftest import circle_mask, moving_frames, texture
from plane import CAMERA, FRAMES, plane_model, write_run
from process_state import leaves_the_process_alone as leaves_the_process_alone

import dd_sfm
from dd_sfm.config import Config, MasksConfig, MatchConfig, dump_config, load_config
from dd_sfm.errors import ConfigError, InputError, ShapeError, UsageError, WeightsError
from dd_sfm.features.describe import describe_frames
from dd_sfm.features.match import Matcher
from dd_sfm.features.queries import query_points
from dd_sfm.io.clouds import write_cloud
from dd_sfm.io.images import read_image, write_image, write_mask
from dd_sfm.io.run_config import write_config
from dd_sfm.io.run_folder import ExtractedFrames, read_frames, write_frames, write_metrics
from dd_sfm.notes import Note, NoteCode
from dd_sfm.pipeline.frames import extract_frames
from dd_sfm.progress import silent
from dd_sfm.sfm.point_cloud import to_cloud
from dd_sfm.structures import DescriptorMap, DropReason, FrameRecord

pytestmark = pytest.mark.usefixtures("leaves_the_process_alone")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def descriptor():
    return dd_sfm.load_descriptor(device="cpu", precision="float32")


@pytest.fixture(scope="module")
def images():
    return moving_frames(3, step=4.0)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """The plane's model as a finished run, with a second model of three frames."""
    folder = tmp_path_factory.mktemp("run")
    model = plane_model(2.0)
    for name in ("frames", "masks"):
        (folder / name).mkdir()
    records = [FrameRecord(FRAMES, 1.0, 0.1, DropReason.BLURRED, "blurred")]
    for k in range(FRAMES):
        write_image(folder / "frames" / f"{k:08d}.png", texture(CAMERA.height, CAMERA.width, seed=k))
        write_mask(folder / "masks" / f"{k:08d}.png.png", circle_mask())
        records.append(FrameRecord(k, k / 25, 1.0))
    write_frames(
        folder, ExtractedFrames("clip.mp4", 160, 120, 25.0, FRAMES + 1, CAMERA, None, 104, "png", tuple(records))
    )  # fmt: skip
    notes = {"degradations": ["1 of 17 frames left out as blurred"], "degradation_codes": ["frames_blurred"]}
    write_metrics(folder, {"points": len(model.xyz), "features": "learned", **notes})
    config = load_config(Config, None, ["frames.end=17", "match.query_spacing_px=7"])
    write_config(folder, {**dump_config(config), "versions": {}, "device_used": "cpu"})
    write_run(folder / "sparse" / "0", model)
    rows = model.frame < 3
    few = replace(
        model,
        cam_from_world={k: model.cam_from_world[k] for k in range(3)},
        point=model.point[rows], frame=model.frame[rows], xy=model.xy[rows],
    )  # fmt: skip
    write_run(folder / "sparse" / "1", few)
    write_cloud(folder / "points.ply", to_cloud(model, np.linspace(0.001, 0.1, len(model.xyz))))
    return folder


@pytest.fixture(scope="module")
def run(run_folder):
    return dd_sfm.open_run(run_folder)


# Descriptors


def test_a_descriptor_says_what_it_is(descriptor):
    assert (descriptor.name, descriptor.device, descriptor.stride, descriptor.precision) == (
        "compact-rendered", CPU, 2, "float32",
    )  # fmt: skip
    assert not descriptor.network.training


def test_weights_and_device_that_are_not_there_are_refused():
    with pytest.raises(WeightsError, match="compact-renderd: not found; did you mean 'compact-rendered'"):
        dd_sfm.load_descriptor("compact-renderd")
    with pytest.raises(ConfigError, match="device 'tpu': unknown; expected auto, cpu"):
        dd_sfm.load_descriptor(device="tpu")
    with pytest.raises(ConfigError, match="precision 'half': unknown"):
        dd_sfm.load_descriptor(precision="half")


def test_a_map_has_unit_descriptors_on_a_grid_that_lies_in_the_image(descriptor, images):
    found = dd_sfm.describe(images[0], descriptor=descriptor)
    assert isinstance(found, DescriptorMap)
    assert found.descriptors.dtype == torch.float32
    assert found.descriptors.shape[1:] == (found.grid.height // 2, found.grid.width // 2) == found.usable.shape
    assert found.usable.any()
    norms = found.descriptors[:, found.usable].norm(dim=0)
    assert torch.allclose(norms, torch.ones_like(norms), atol=2e-3)
    rows, columns = np.nonzero(found.usable.numpy())
    there = found.grid.to_source((np.stack([columns, rows], 1) + 0.5) * 2 - 0.5)
    column, row = np.round(there).astype(int).T
    assert circle_mask()[row, column].all()


def test_a_descriptor_describes_by_itself(descriptor, images):
    one, other = descriptor.describe(images[1]), dd_sfm.describe(images[1], descriptor=descriptor)
    assert one.grid == other.grid
    assert torch.equal(one.descriptors, other.descriptors)


def test_settings_that_cannot_be_used_are_refused(descriptor, images):
    with pytest.raises(ConfigError, match="match.query_spacing_px 0"):
        dd_sfm.match_images(images[0], images[1], descriptor=descriptor, config=MatchConfig(query_spacing_px=0))
    with pytest.raises(ConfigError, match="masks.erode_px -1"):
        dd_sfm.describe(images[0], descriptor=descriptor, masks=MasksConfig(erode_px=-1))
    with pytest.raises(ConfigError, match="working_height_px 8: expected 64 or more"):
        dd_sfm.describe(images[0], descriptor=descriptor, working_height_px=8)


def test_images_are_taken_however_they_lie_in_memory(descriptor, images):
    straight = dd_sfm.describe(images[0], descriptor=descriptor)
    turned = np.ascontiguousarray(images[0][..., ::-1])[..., ::-1]
    turned.setflags(write=False)
    assert torch.equal(dd_sfm.describe(turned, descriptor=descriptor).descriptors, straight.descriptors)


def test_images_without_texture_have_no_matches(descriptor, images):
    flat = np.full_like(images[0], 90)
    found = dd_sfm.match_images(flat, images[0], descriptor=descriptor)
    assert (found.xy0.shape, found.xy1.shape, found.scores.shape) == ((0, 2), (0, 2), (0,))


def test_a_batch_shares_one_grid(descriptor, images):
    assert dd_sfm.describe(np.zeros((0, 120, 160, 3), np.uint8), descriptor=descriptor) == []
    maps = dd_sfm.describe(np.stack(images), descriptor=descriptor)
    assert [m.grid for m in maps] == [maps[0].grid] * 3
    masks = np.stack([circle_mask()] * 3)
    each = dd_sfm.describe(np.stack(images), descriptor=descriptor, mask=masks)
    shared = dd_sfm.describe(np.stack(images), descriptor=descriptor, mask=masks[0])
    alone = dd_sfm.describe(images[2], descriptor=descriptor, mask=255 * masks[0].astype(np.uint8))
    assert torch.equal(each[2].descriptors, shared[2].descriptors)
    assert each[2].grid.scale == alone.grid.scale


def test_an_image_is_described_at_its_own_size_when_asked_to(descriptor, images):
    at_working = dd_sfm.describe(images[0], descriptor=descriptor)
    at_own = dd_sfm.describe(images[0], descriptor=descriptor, working_height_px=None)
    lower = dd_sfm.describe(images[0], descriptor=descriptor, working_height_px=64)
    assert (at_working.grid.scale, at_own.grid.scale) == (1.5, 1.0)
    assert lower.grid.scale == pytest.approx(64 / 100, abs=0.07)


def test_a_mask_is_used_as_it_is_when_asked_to(descriptor, images):
    mask = np.zeros((120, 160), bool)
    mask[20:100, 30:130] = True
    as_it_is = MasksConfig(erode_px=0, highlight_level=256)
    found = dd_sfm.describe(images[0], descriptor=descriptor, mask=mask, masks=as_it_is, working_height_px=None)
    assert int(found.usable.sum()) == 40 * 50
    shrunk = dd_sfm.describe(images[0], descriptor=descriptor, mask=mask, working_height_px=None)
    assert int(shrunk.usable.sum()) < 40 * 50


def test_descriptors_can_take_part_in_a_gradient(descriptor, images):
    found = dd_sfm.describe(images[0], descriptor=descriptor)
    weight = torch.ones(found.descriptors.shape[0], requires_grad=True)
    (found.descriptors * weight[:, None, None]).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (np.zeros((120, 160), np.uint8), r"image: found \(120, 160\) uint8; expected RGB \(H, W, 3\) uint8"),
        (np.zeros((120, 160, 3), np.float32), "float32"),
        (np.zeros((120, 160, 4), np.uint8), r"\(120, 160, 4\)"),
        (np.zeros((20, 160, 3), np.uint8), "of at least 64 pixels a side"),
        ([[1, 2], [3, 4]], r"\(2, 2\) list"),
    ],
)
def test_what_is_no_image_is_refused(descriptor, image, found):
    with pytest.raises(ShapeError, match=found):
        dd_sfm.describe(image, descriptor=descriptor)


def test_masks_that_do_not_fit_are_refused(descriptor, images):
    with pytest.raises(ShapeError, match=r"mask: found \(60, 80\) bool; expected \(120, 160\) bool or uint8"):
        dd_sfm.describe(images[0], descriptor=descriptor, mask=np.ones((60, 80), bool))
    with pytest.raises(InputError, match="no usable pixel"):
        dd_sfm.describe(images[0], descriptor=descriptor, mask=np.zeros((120, 160), bool))
    with pytest.raises(InputError, match="all frames are black"):
        dd_sfm.describe(np.zeros((120, 160, 3), np.uint8), descriptor=descriptor)


# Matches


def test_matches_follow_the_texture(descriptor, images):
    found = dd_sfm.match_images(images[0], images[2], descriptor=descriptor)
    count = len(found)
    assert count > 100
    assert found.xy0.shape == found.xy1.shape == (count, 2)
    assert (found.xy0.dtype, found.xy1.dtype, found.scores.dtype, found.query.dtype) == (
        np.float64, np.float64, np.float32, np.int64,
    )  # fmt: skip
    assert ((found.scores > 0) & (found.scores <= 1)).all()
    assert 0.5 < found.inlier_ratio <= 1
    assert np.array_equal(found.queries[found.query], found.xy0)
    # The texture moves by (-8, -4) px in two frames.
    assert np.median(np.linalg.norm(found.xy1 - found.xy0 - [-8, -4], axis=1)) < 0.3


def test_points_asked_for_are_found_among_others(descriptor, images):
    asked = np.array([[80, 60], [2, 2], [np.nan, 60], [70.5, 50.25], [1e9, 0]])
    found = dd_sfm.match_images(images[0], images[1], descriptor=descriptor, queries=asked)
    assert found.query.tolist() == [0, 3]
    assert np.array_equal(found.xy0, asked[[0, 3]])
    assert found.xy1 == pytest.approx(asked[[0, 3]] + [-4, -2], abs=0.5)
    assert len(dd_sfm.match_images(images[0], images[1], descriptor=descriptor, queries=np.zeros((0, 2)))) == 0
    with pytest.raises(ShapeError, match=r"queries: found \(5,\); expected \(N, 2\) pixels"):
        dd_sfm.match_images(images[0], images[1], descriptor=descriptor, queries=asked[:, 0])


def test_images_of_two_sizes_are_matched(descriptor, images):
    cut = np.ascontiguousarray(images[1][10:, 20:])
    found = dd_sfm.match_images(images[0], cut, descriptor=descriptor)
    assert np.median(np.linalg.norm(found.xy1 - found.xy0 - [-24, -12], axis=1)) < 0.3


def test_the_configuration_of_a_match_counts(descriptor, images):
    few = dd_sfm.match_images(images[0], images[1], descriptor=descriptor, config=MatchConfig(query_spacing_px=20))
    many = dd_sfm.match_images(images[0], images[1], descriptor=descriptor)
    assert 4 * len(few.queries) < len(many.queries)


def test_matches_are_those_of_a_reconstruction(descriptor, images, tmp_path):
    (tmp_path / "in").mkdir()
    for k, image in enumerate(images):
        write_image(tmp_path / "in" / f"{k}.png", image)
    write_mask(tmp_path / "mask.png", circle_mask())
    config = load_config(Config, None, ["describe.precision=float32"])
    calibration, mask = "150,150,80,60", tmp_path / "mask.png"
    out = tmp_path / "run"
    frames = extract_frames(
        tmp_path / "in", out, config, calibration=calibration, mask=mask, progress=silent
    )  # fmt: skip
    describe_frames(frames, out, config, CPU, silent)
    matcher = Matcher(frames, out, config, CPU)
    queries = query_points(matcher.frame(0), config.match)
    expected, grid = matcher.match(0, 2, queries), matcher.maps.grid
    found = dd_sfm.match_images(
        *(read_image(frames.frames[k].path) for k in (0, 2)), descriptor=descriptor, mask0=circle_mask()
    )
    # But for what descriptors lose where they are packed.
    common, ours, theirs = np.intersect1d(found.query, expected.query, return_indices=True)
    assert len(common) > 0.97 * max(len(found.query), len(expected.query))
    assert found.xy0[ours] == pytest.approx(grid.to_source(queries[common].astype(float)))
    apart = np.linalg.norm(found.xy1[ours] - grid.to_source(expected.xy[theirs].astype(float)), axis=1)
    assert np.median(apart) < 0.01
    assert np.percentile(apart, 95) < 0.1
    assert np.median(np.abs(found.scores[ours] - expected.score[theirs])) < 0.01
    assert found.inlier_ratio == pytest.approx(expected.inlier_ratio, abs=0.02)


# Runs


def test_a_run_knows_its_frames(run, run_folder):
    assert [frame.index for frame in run.frames] == list(range(FRAMES))
    assert all(frame.registered for frame in run.frames)
    assert run.frames[5].time_s == 0.2
    assert run.dropped == {FRAMES: "blurred"}
    assert np.array_equal(run.image(5), read_image(run_folder / "frames" / "00000005.png"))
    assert run.frames[5].path.is_file()
    assert run.frames[5].mask_path.is_file()
    assert np.array_equal(run.masks[5], circle_mask())
    assert (len(run.masks), list(run.masks)[:2], 5 in run.masks, FRAMES in run.masks) == (FRAMES, [0, 1], True, False)


def test_a_frame_that_a_run_has_not_is_an_error(run):
    with pytest.raises(InputError, match="no frame 16 among those used; expected one of 16 from 0 to 15"):
        run.image(16)
    with pytest.raises(InputError, match="no frame -1 among those used"):
        run.masks[-1]


def test_poses_are_those_that_colmap_reads(run, run_folder):
    theirs = pycolmap.Reconstruction(str(run_folder / "sparse" / "0"))
    posed = {int(Path(image.name).stem): image.cam_from_world().matrix() for image in theirs.images.values()}
    assert list(run.poses) == sorted(posed) == list(range(FRAMES))
    for number, pose in run.poses.items():
        assert pose.shape == (3, 4)
        assert pose == pytest.approx(posed[number], abs=1e-12)
    ours = run.to_pycolmap()
    assert ours.num_reg_images() == FRAMES
    assert ours.num_points3D() == len(run.points)
    (camera,) = ours.cameras.values()
    assert (run.camera.fx, run.camera.cx, run.camera.width) == (CAMERA.fx, CAMERA.cx, CAMERA.width)
    assert camera.principal_point_x == run.camera.cx + 0.5


def test_how_well_the_focal_length_is_known_is_that_of_the_frames(run_folder, tmp_path):
    shutil.copytree(run_folder, tmp_path / "run")
    found = read_frames(run_folder)
    write_frames(tmp_path / "run", replace(found, camera=replace(CAMERA, is_guess=True, focal_sigma=0.25)))
    run = dd_sfm.open_run(tmp_path / "run")
    for camera in (run.camera, *(model.camera for model in run.models)):
        assert (camera.is_guess, camera.focal_sigma, camera.fx) == (True, 0.25, CAMERA.fx)
    assert run.camera is run.camera, "it is read once"


def test_observations_project_to_where_they_were_seen(run):
    seen, points = run.observations, run.points
    assert (seen.point.dtype, seen.frame.dtype, seen.xy.shape) == (np.int64, np.int64, (len(seen), 2))
    pose = np.stack([run.poses[number] for number in seen.frame])
    local = np.einsum("nij,nj->ni", pose[:, :, :3], points.xyz[seen.point]) + pose[:, :, 3]
    xy = (local / local[:, 2:]) @ run.camera.matrix.T
    assert xy[:, :2] == pytest.approx(seen.xy, abs=1e-3)


def test_points_are_chosen_by_how_far_they_can_be_trusted(run):
    points = run.points
    assert points.uncertainty is not None
    sure = points.where(points.uncertainty < 0.01)
    assert 0 < len(sure) < len(points)
    assert (sure.uncertainty < 0.01).all()
    assert np.array_equal(sure.xyz, points.xyz[points.uncertainty < 0.01])
    assert len(points.where(np.zeros(len(points), bool))) == 0
    with pytest.raises(ShapeError, match=rf"mask \(3,\) int64; expected \({len(points)},\) bool"):
        points.where(np.array([1, 2, 3]))


def test_a_run_is_shown_in_a_notebook(run, tmp_path):
    shown = run.show(colour="error", max_points=50)
    assert shown._repr_html_().startswith('<iframe sandbox="allow-scripts" srcdoc="&lt;')
    assert re.match(r"50 of \d+ points are drawn", shown.notes[0].replace(",", ""))
    shown.save(tmp_path / "run.html")
    assert (tmp_path / "run.html").read_text() == shown.page
    assert "MB of HTML" in repr(shown)
    with pytest.raises(UsageError, match="--colour altitude: unknown"):
        run.show(colour="altitude")


def test_models_apart_are_told_apart(run):
    assert [len(model.poses) for model in run.models] == [FRAMES, 3]
    assert set(run.models[1].observations.frame) == {0, 1, 2}
    assert run.models[1].to_pycolmap().num_reg_images() == 3
    assert run.models[0].xyz == pytest.approx(run.points.xyz, abs=1e-4)


def test_a_run_knows_its_settings_and_figures(run):
    assert run.metrics["points"] == len(run.points)
    assert run.notes == (Note(NoteCode.FRAMES_BLURRED, "1 of 17 frames left out as blurred"),)
    assert (run.config.frames.end, run.config.match.query_spacing_px) == (17, 7)


def test_a_run_of_another_version_is_read(run_folder, tmp_path):
    old = tmp_path / "old"
    old.mkdir()
    for name in ("frames", "masks", "sparse"):
        (old / name).symlink_to(run_folder / name)
    content = json.loads((run_folder / "frames.json").read_text())
    content["frames"] = [{key: r[key] for key in ("index", "time_s", "kept", "reason")} for r in content["frames"]]
    kept = {key: content[key] for key in ("camera", "width", "height", "field_of_view_px", "frames")}
    (old / "frames.json").write_text(json.dumps(kept))
    (old / "metrics.json").write_text('{"degradations": ["a sentence alone"]}')
    (old / "config.yaml").write_text(
        "frames: {every: 2, of_another_version: 1}\nof_another_version: 3\ndensify: {min_views: 4}\n"
    )
    points = dd_sfm.open_run(run_folder).points
    write_cloud(old / "points.ply", replace(points, uncertainty=None, triangulation_angle_deg=None))
    run = dd_sfm.open_run(str(old))
    assert run.config == dd_sfm.configure(settings={"frames.every": 2, "triangulation.min_views": 4})
    assert run.points.uncertainty is None
    assert len(run.frames) == FRAMES
    assert run.frames[3].path.is_file()
    assert run.dropped == {FRAMES: "blurred"}
    assert [note.text for note in run.notes] == ["a sentence alone"]
    assert len(run.points.where(run.points.track_length > 2)) > 0


def test_what_is_no_finished_run_is_refused(run_folder, tmp_path):
    with pytest.raises(InputError, match="away: not found; expected the folder of a run"):
        dd_sfm.open_run(tmp_path / "away")
    with pytest.raises(InputError, match="is a file"):
        dd_sfm.open_run(run_folder / "points.ply")
    with pytest.raises(InputError, match="not the folder of a run"):
        dd_sfm.open_run(tmp_path)
    (tmp_path / "frames.json").write_bytes((run_folder / "frames.json").read_bytes())
    with pytest.raises(InputError, match=r"the run is not finished: metrics.json, config.yaml, points.ply, sparse/0"):
        dd_sfm.open_run(tmp_path)


@pytest.mark.parametrize("name", ["frames.json", "metrics.json", "config.yaml", "points.ply"])
def test_damaged_files_of_a_run_are_named(run_folder, tmp_path, name):
    for entry in run_folder.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / name).unlink()
    (tmp_path / name).write_text("[")
    run = dd_sfm.open_run(tmp_path)
    read = {"frames.json": "frames", "metrics.json": "metrics", "config.yaml": "config", "points.ply": "points"}
    with pytest.raises(InputError, match=name):
        getattr(run, read[name])


# The package


IMPORT = """
import sys
import dd_sfm
assert dd_sfm.__version__
assert not {"torch", "numpy", "pycolmap", "cv2"} & set(sys.modules), "the import is not quick"
from process_state import process_state, system_handlers
before = process_state()
folder = sys.argv[1]
run = dd_sfm.open_run(folder)
dd_sfm.match_images(run.image(0), run.image(0), descriptor=dd_sfm.load_descriptor(device="cpu"), mask0=run.masks[0])
run.to_pycolmap()
after = process_state()
changed = [name for name in before if before[name] != after[name]]
assert not changed, changed
"""


def test_the_import_is_quick_and_changes_nothing(run_folder):
    here = Path(__file__).parent
    ran = subprocess.run(
        [sys.executable, "-c", IMPORT, str(run_folder)],
        cwd=here.parent, env={"PYTHONPATH": f"{here}:{here.parent}", "PATH": "/usr/bin:/bin", "HOME": str(run_folder)},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_the_package_names_what_it_offers():
    for name in dd_sfm.__all__:
        assert getattr(dd_sfm, name) is getattr(dd_sfm.api, name)
        assert name in dir(dd_sfm)
    with pytest.raises(AttributeError, match="module 'dd_sfm' has no attribute 'reconstrct'"):
        _ = dd_sfm.reconstrct


# Configurations


def test_a_configuration_is_made_of_quality_file_and_settings(tmp_path):
    assert dd_sfm.configure() == Config()
    (tmp_path / "own.yaml").write_text("match: {query_spacing_px: 9}\n")
    made = dd_sfm.configure("preview", {"frames.end": 12, "pairs.offsets": [1, 2]}, file=tmp_path / "own.yaml")
    assert (made.dense.every, made.match.query_spacing_px, made.frames.end, made.pairs.offsets) == (6, 9, 12, (1, 2))
    assert dd_sfm.configure(file="extreme") == dd_sfm.configure("extreme")
    assert dd_sfm.configure(settings={"densify.min_views": 4}).triangulation.min_views == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("best",), "quality 'best': unknown; expected preview, standard or extreme"),
        (("standard", {"match.query_spacing": 3}), "settings: unknown key 'match.query_spacing'; did you mean"),
        (("standard", {"frames.every": "two"}), "settings: 'frames.every' is 'two'; expected a whole number"),
        (("standard", {"frames.every": 0}), "frames.every 0: expected 1 or more"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        dd_sfm.configure(*arguments)
