import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from conftest import ROOT
from plane import CAMERA
from plane_sequence import MASK, frame_set, images, model, poses, write_clip, write_jhu, write_run
from scene import project
from scipy.spatial.transform import Rotation

from dd_sfm.errors import ConfigError, DDSfMError, InputError
from dd_sfm.io.colmap_model import write_model
from dd_sfm.io.images import write_image
from dd_sfm.structures import Model
from dd_sfm.training.config import TrainConfig
from dd_sfm.training.sources.frames import WorkingFrames
from dd_sfm.training.sources.open_sources import (
    expand_folders,
    open_source,
    open_sources,
    sampling_shares,
    source_kind,
)
from dd_sfm.training.sources.posed import narrowest_range, plausible_points
from dd_sfm.training.sources.spec import DataPath, read_data_file, rendered_scenes
from dd_sfm.training.sources.structure import read_structure
from dd_sfm.training.sources.warp import WarpSource


def whole(frames, where):
    return np.ones(frames[0].shape[:2], bool)


def opened(path, **changes):
    return open_source(DataPath.parse(str(path)), TrainConfig(**({"working_height_px": 112} | changes)), whole)


def colours_agree(sample):
    """Median difference of colour at the common points of a pair, in grey levels."""
    colours = [
        image[np.round(xy[:, 1]).astype(int), np.round(xy[:, 0]).astype(int)].astype(float)
        for image, xy in ((sample.image0, sample.xy0), (sample.image1, sample.xy1))
    ]
    return np.median(np.abs(colours[0] - colours[1]))


@pytest.mark.parametrize("write", [write_run, write_jhu, lambda p: write_run(p, images_in="images")])
def test_points_of_a_pair_show_the_same_place(tmp_path, write):
    source = opened(write(tmp_path / "seq"))
    assert source.kind == "posed"
    rng = np.random.default_rng(0)
    for gap in (1, 4, None):
        sample = source.pairs.draw(rng, gap)
        assert len(sample.xy0) > 50
        assert colours_agree(sample) < 6
    assert colours_agree(WarpSource(source.frames).draw(rng)) < 6


def test_shifted_points_would_be_noticed(tmp_path):
    sample = opened(write_run(tmp_path / "seq")).pairs.draw(np.random.default_rng(0), 4)
    object.__setattr__(sample, "xy1", sample.xy1[::-1])
    assert colours_agree(sample) > 6


def test_convention_is_found_and_said(tmp_path):
    folder = write_run(tmp_path / "seq")
    assert read_structure(folder).note == "poses are cam_from_world"
    assert read_structure(write_jhu(tmp_path / "jhu")).note == "poses are world_from_cam"
    good = model(12)
    inverse = {k: np.column_stack([p[:, :3].T, -p[:, :3].T @ p[:, 3]]) for k, p in good.cam_from_world.items()}
    turned = Model(CAMERA, inverse, good.xyz, good.rgb, good.error_px, good.point, good.frame, good.xy)
    write_model(folder / "sparse" / "0", turned, frame_set(folder, 12))
    found = read_structure(folder)
    assert found.note == "poses are world_from_cam"
    assert found.cam_from_world == pytest.approx(np.stack(list(poses(12).values())))


def test_poses_that_do_not_reproject(tmp_path):
    folder = write_run(tmp_path / "seq")
    good = model(12)
    turn = Rotation.from_rotvec([0.6, -0.5, 1.0]).as_matrix()
    wrong = {k: np.column_stack([turn @ p[:, :3], p[:, 3] + [3, 9, 1]]) for k, p in good.cam_from_world.items()}
    broken = Model(CAMERA, wrong, good.xyz, good.rgb, good.error_px, good.point, good.frame, good.xy)
    write_model(folder / "sparse" / "0", broken, frame_set(folder, 12))
    with pytest.raises(InputError, match="poses do not reproject: .* with cam_from_world, .* with world_from_cam"):
        opened(folder)


def test_missing_and_misfitting_frames(tmp_path):
    folder = write_run(tmp_path / "seq")
    (folder / "frames" / "00000003.png").unlink()
    with pytest.raises(InputError, match=r"1 of 12 frames with a pose are missing \(00000003.png\)"):
        opened(folder)
    write_image(folder / "frames" / "00000003.png", np.zeros((60, 80, 3), np.uint8))
    with pytest.raises(InputError, match="80x60 pixels; expected 160x120"):
        opened(folder)


def test_ranges_count_positions(tmp_path):
    folder = write_run(tmp_path / "seq")
    assert opened(f"{folder}:3-7").frames.numbers == (3, 4, 5, 6, 7)
    with pytest.raises(InputError, match="1 frames with a pose in the range; expected at least 2"):
        opened(f"{folder}:11-30")


def test_pair_at_a_gap_that_the_range_does_not_have(tmp_path):
    source = opened(f"{write_run(tmp_path / 'seq')}:0-3")
    assert len(source.pairs.draw(np.random.default_rng(0), 4).xy0) == 0
    assert len(source.pairs.draw(np.random.default_rng(0), 3).xy0) > 0


def test_points_are_capped_alike_in_all_frames(tmp_path):
    source = opened(write_run(tmp_path / "seq"), max_points_per_frame=100).pairs
    assert max(len(s) for s in source.posed.seen) == 100
    # Chosen frame by frame, two frames would share 100 * 100 / 600 of them.
    assert len(np.intersect1d(source.posed.seen[4], source.posed.seen[5])) > 80


def test_visibility_spreads_over_neighbours(tmp_path):
    folder = write_jhu(tmp_path / "seq")
    none, some = (opened(folder, visibility_spread=s).pairs.posed for s in (0, 3))
    assert len(some.seen[5]) > len(none.seen[5])


def test_narrowest_range_by_hand():
    assert narrowest_range(np.array([0.0, 10, 11, 12, 13, 40]), 0.6) == (10, 13)
    assert narrowest_range(np.array([3.0, 1, 2]), 1.0) == (1, 3)


def test_points_of_the_wrong_depth_for_their_brightness_are_dropped(tmp_path):
    folder = write_run(tmp_path / "seq")
    good = model(12)
    xyz = good.xyz.copy()
    xyz[::20] *= 3  # three times as far along a ray of the first camera: nine times the energy
    point, frame, xy = project(xyz, good.cam_from_world, CAMERA)
    kept, point = np.unique(point, return_inverse=True)
    bad = Model(CAMERA, good.cam_from_world, xyz[kept], good.rgb[kept], good.error_px[kept], point, frame, xy)
    write_model(folder / "sparse" / "0", bad, frame_set(folder, 12))
    posed = opened(folder).pairs.posed
    good_points = plausible_points(posed, 0.9)
    is_far = posed.xyz[:, 2] > 30
    assert is_far.sum() > 5
    assert good_points[is_far].mean() < 0.1
    assert good_points[~is_far].mean() > 0.9
    left = opened(folder, inlier_share=0.9).pairs.posed.xyz
    assert (left[:, 2] > 30).sum() <= 0.1 * is_far.sum()


def test_many_frames_are_held_as_jpegs(tmp_path):
    folder = write_run(tmp_path / "seq")
    plain, packed = opened(folder).frames, opened(folder, memory_mb=0).frames
    assert packed.stored[0].ndim == 1
    assert sum(h.size for h in packed.stored) < 0.3 * sum(h.size for h in plain.stored)
    assert np.abs(plain.image(5).astype(int) - packed.image(5)).mean() < 2
    assert (plain.mask(5) == packed.mask(5)).all()


@pytest.mark.parametrize("share", [0, 0.5])
def test_a_damaged_cache_is_prepared_again(tmp_path, share):
    folder, cache = write_run(tmp_path / "seq"), tmp_path / "cache"
    first = opened(folder, cache=cache)
    [file] = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    assert (opened(folder, cache=cache).frames.image(2) == first.frames.image(2)).all()
    assert len(file.read_bytes()) == len(whole)


def test_cache_is_used_and_depends_on_the_images(tmp_path, monkeypatch):
    folder, cache = write_run(tmp_path / "seq"), tmp_path / "cache"
    first = opened(folder, cache=cache)
    monkeypatch.setattr("dd_sfm.training.sources.posed._prepare", lambda *a: pytest.fail("prepared again"))
    again = opened(folder, cache=cache)
    a, b = (s.pairs.draw(np.random.default_rng(3)) for s in (first, again))
    assert np.array_equal(a.image1, b.image1)
    assert np.array_equal(a.xy0, b.xy0)
    monkeypatch.undo()
    opened(folder, cache=cache, working_height_px=100)
    assert len(list(cache.iterdir())) == 2
    write_image(folder / "frames" / "00000003.png", np.full((120, 160, 3), 9, np.uint8))
    assert opened(folder, cache=cache).frames.image(3).mean() == pytest.approx(9)
    next(iter(cache.iterdir())).write_bytes(b"damaged")
    opened(folder, cache=cache)


def test_video_images_and_single_image_are_warped(tmp_path):
    clip = write_clip(tmp_path / "clip.avi")
    folder = tmp_path / "images"
    folder.mkdir()
    for k, image in enumerate(images(5)):
        write_image(folder / f"{k}.png", image)
    for path, count in ((clip, 12), (f"{clip}:2-5", 4), (folder, 5), (folder / "3.png", 1)):
        source = opened(path)
        assert source.kind == "unposed"
        assert len(source.frames) == count
        sample = source.pairs.draw(np.random.default_rng(1))
        assert len(sample.xy0) > 1000
        assert colours_agree(sample) < 8
    assert len(opened(clip, max_frames=4).frames) == 4


def test_rendered_ranges():
    source = opened(f"{ROOT / 'demo_videos' / 'sinus'}:20-50", working_height_px=100)
    assert source.kind == "rendered"
    assert source.frames.numbers == tuple(range(20, 51))
    for gap in (1, 4, None):
        sample = source.pairs.draw(np.random.default_rng(2), gap)
        assert colours_agree(sample) < 12
    assert len(source.pairs.draw(np.random.default_rng(2), 15).xy0) > 0
    # Frames 30 and 45 have depth: nothing is further from them than 25.
    assert len(source.pairs.draw(np.random.default_rng(2), 26).xy0) == 0
    with pytest.raises(InputError, match="frames"):
        opened(f"{ROOT / 'demo_videos' / 'sinus'}:200-300")


def test_folders_of_sources_share_a_weight(tmp_path):
    for name in ("patient1/a", "patient1/b", "patient2/c"):
        write_jhu(tmp_path / name, 3)
    assert [d.path.name for d in expand_folders(DataPath(tmp_path / "patient1"))] == ["a", "b"]
    everything = expand_folders(DataPath(tmp_path, weight=3.0))
    assert [(d.path.name, d.weight, d.part) for d in everything] == [(n, 3.0, 1 / 3) for n in "abc"]
    single = opened(tmp_path / "patient2" / "c")
    parts = [replace(single, data=d) for d in everything]
    shares = [share for _, share in sampling_shares([*parts, single], (1.0, 0.0, 0.0))]
    assert shares == pytest.approx([0.5, 0.5, 0.5, 0.5])  # the folder counts three times as much as the single one
    with pytest.raises(InputError, match="a folder of 2 sources takes no range"):
        expand_folders(DataPath(tmp_path / "patient1", 0, 4))


def test_unknown_kinds(tmp_path):
    with pytest.raises(InputError, match="unknown kind of source; expected a JHU sequence"):
        expand_folders(DataPath(tmp_path))
    with pytest.raises(InputError, match="not found; expected a JHU sequence"):
        expand_folders(DataPath(tmp_path / "none"))
    assert source_kind(tmp_path) is None


def test_no_usable_pair(tmp_path):
    folder = write_run(tmp_path / "seq", 3)
    few = model(3, spacing_mm=12.0)
    write_model(folder / "sparse" / "0", few, frame_set(folder, 3))
    with pytest.raises(InputError, match="no usable pair in 40 draws"):
        open_sources([DataPath(folder)], TrainConfig(working_height_px=112), whole)


def test_lens_with_distortion_is_refused(tmp_path):
    folder = write_run(tmp_path / "seq", images_in="images")
    import pycolmap

    built = pycolmap.Reconstruction(str(folder / "sparse" / "0"))
    camera = next(iter(built.cameras.values()))
    camera.model = pycolmap.CameraModelId.OPENCV
    camera.params = [100, 100, 80, 60, 0.1, 0, 0, 0]
    built.write_binary(str(folder / "sparse" / "0"))
    with pytest.raises(InputError, match="OPENCV has distortion; expected undistorted"):
        opened(folder)


def test_shares_follow_mix_and_weights(tmp_path):
    run = opened(write_run(tmp_path / "a"))
    other = open_source(DataPath(run.data.path, weight=3.0), TrainConfig(working_height_px=112), whole)
    pictures = opened(write_clip(tmp_path / "clip.avi"))
    shares = [share for _, share in sampling_shares([run, other, pictures], (0.4, 0.4, 0.2))]
    assert shares == pytest.approx([0.2, 0.6, 0.2 / 3, 0.6 / 3, 0.2 / 3])
    # Alone of its kind a weight counts too, against the other kinds.
    assert [share for _, share in sampling_shares([other], (0.4, 0.4, 0.2))] == pytest.approx([1.2, 0.6])
    assert [share for _, share in sampling_shares([run], (1.0, 1.0, 0.0))] == [1.0]
    with pytest.raises(InputError, match="the kinds of sources given have no share"):
        sampling_shares([pictures], (1.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a/b", ("a/b", 0, None, 1.0)),
        ("a/b:0-94", ("a/b", 0, 94, 1.0)),
        ("a:b/c", ("a:b/c", 0, None, 1.0)),
        ("a/b:2-9@0.5", ("a/b", 2, 9, 0.5)),
        ("me@home/b", ("me@home/b", 0, None, 1.0)),
        ("a@2", ("a", 0, None, 2.0)),
        ("synth:colon:0-9", ("synth:colon:0-9", 0, None, 1.0)),
    ],
)
def test_data_path(text, expected):
    data = DataPath.parse(text)
    assert (str(data.path), data.first, data.last, data.weight) == expected


@pytest.mark.parametrize("text", ["a:9-2", "a@0"])
def test_data_path_refuses(text):
    with pytest.raises(ConfigError):
        DataPath.parse(text)


def test_scenes_to_render():
    assert [(s.organ, s.seed, s.weight) for s in rendered_scenes(DataPath.parse("synth:colon"))] == [("colon", 0, 1.0)]
    many = rendered_scenes(DataPath.parse("synth:sinus:3-4@2"))
    assert [(s.seed, s.weight, s.part) for s in many] == [(3, 2.0, 0.5), (4, 2.0, 0.5)]
    assert rendered_scenes(DataPath.parse("a/b")) == []
    with pytest.raises(ConfigError, match="expected synth:ORGAN"):
        rendered_scenes(DataPath.parse("synth:colon:x"))


def test_data_file(tmp_path):
    file = tmp_path / "data.yaml"
    file.write_text(
        "train: [seq/a@2, {path: /b, frames: [0, 94], weight: 0.5}, 'synth:colon:3']\nvalidation: ['seq/c:5-9']\n"
    )
    train, validation = read_data_file(file)
    assert [(str(d.path), d.first, d.last, d.weight) for d in train] == [
        (str(tmp_path / "seq" / "a"), 0, None, 2.0), ("/b", 0, 94, 0.5), ("synth:colon:3", 0, None, 1.0),
    ]  # fmt: skip
    assert validation == [DataPath(tmp_path / "seq" / "c", 5, 9)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("train: {a: 1}", "must be lists"),
        ("trian: []", "expected the lists 'train' and 'validation'"),
        ("train: [{path: a, frame: [1, 2]}]", "expected PATH"),
        ("train: [{path: a, frames: [4, 2]}]", "expected .first, last."),
        ("train: [{path: a, weight: -1}]", "a number above zero"),
        ("train: [", "cannot be read"),
    ],
)
def test_data_file_refuses(tmp_path, content, says):
    file = tmp_path / "data.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=says):
        read_data_file(file)


def test_mask_of_the_run_is_kept(tmp_path):
    source = opened(write_run(tmp_path / "seq"))
    assert source.frames.shape == (120, 160)
    assert source.frames.mask(0).sum() == 112 * 152
    shutil.rmtree(tmp_path / "seq" / "frames")
    with pytest.raises(DDSfMError):
        opened(tmp_path / "seq")


def test_frames_survive_packing():
    mask = MASK.copy()
    mask[30:40, 50] = False
    frames = WorkingFrames("a", (1,), (np.zeros((120, 160, 3), np.uint8),), np.packbits(mask)[None], mask.shape)
    assert (frames.mask(0) == mask).all()
    assert cv2.countNonZero(frames.mask(0).astype(np.uint8)) == mask.sum()
