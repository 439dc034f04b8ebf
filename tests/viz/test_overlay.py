import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import texture
from viewing import CAMERA, poses

from dd_sfm.errors import InputError, UsageError
from dd_sfm.io.images import write_image, write_mask
from dd_sfm.io.scene import Scene, SceneImage
from dd_sfm.structures import Model
from dd_sfm.viz.render.overlay import OverlaySettings, check_overlay, overlay_frames
from dd_sfm.viz.render.visibility import make_layers, visible_points

GRID = np.stack(np.meshgrid(np.arange(-7, 9, 0.2), np.arange(-5.5, 5.6, 0.2)), -1).reshape(-1, 2)


def wall(depth, part=slice(None)):
    return np.column_stack([GRID * depth / 10, np.full(len(GRID), depth)])[part]


def make_scene(folder, xyz, *, without_pose=(), first=0, observed=(), path=None):
    """A scene of 5 frames, or along a path; ``observed`` are pairs of point and frame."""
    along = poses(5) if path is None else path
    folder.mkdir(exist_ok=True)
    images = []
    for k in range(len(along)):
        file = folder / f"{k:08d}.png"
        write_image(file, texture(120, 160, seed=k))
        images.append(SceneImage(file.name, k + first, CAMERA, file, None, k / 25))
    cam = {k: pose for k, pose in enumerate(along) if k not in without_pose}
    point, frame = (np.array([pair[c] for pair in observed], int) for c in (0, 1))
    rgb = np.tile(np.uint8([0, 255, 0]), (len(xyz), 1))
    model = Model(
        CAMERA, cam, xyz, rgb, np.linspace(0, 1, len(xyz)), point, frame, np.zeros((len(point), 2))
    )  # fmt: skip
    return Scene(folder, "colmap", model, tuple(images))


def in_picture(xyz, k=0):
    local = xyz @ poses(5)[k][:, :3].T + poses(5)[k][:, 3]
    xy = local[:, :2] / local[:, 2:] * 100 + [79.5, 59.5]
    return (np.round(xy) >= 0).all(1) & (np.round(xy) < [160, 120]).all(1)


def test_all_of_a_wall_is_visible(tmp_path):
    xyz = wall(10.0)
    [layer] = make_layers([make_scene(tmp_path / "a", xyz)])
    for k in (0, 3):
        assert visible_points(layer, k, CAMERA).tolist() == np.flatnonzero(in_picture(xyz, k)).tolist()


def test_a_wall_hides_the_wall_behind_it(tmp_path):
    near = wall(10.0)
    # The near wall covers the left half of what the first camera sees.
    near = near[near[:, 0] < 0]
    far = wall(20.0)
    [layer] = make_layers([make_scene(tmp_path / "a", np.concatenate([near, far]))])
    shown = visible_points(layer, 0, CAMERA)
    assert (shown < len(near)).sum() == in_picture(near).sum()
    seen_far = far[shown[shown >= len(near)] - len(near)]
    assert (seen_far[:, 0] > -0.8).all()
    assert len(seen_far) > 0.95 * (in_picture(far) & (far[:, 0] > 0.8)).sum()


def test_what_was_observed_in_the_frame_is_visible(tmp_path):
    near, far = wall(10.0), wall(20.0)
    k = len(near) + int(np.argmin(np.abs(far[:, :2]).sum(1)))
    both = np.concatenate([near, far])
    [hidden] = make_layers([make_scene(tmp_path / "a", both)])
    [layer] = make_layers([make_scene(tmp_path / "a", both, observed=[(k, 0)])])
    assert k not in visible_points(hidden, 0, CAMERA)
    assert k in visible_points(layer, 0, CAMERA)
    assert k not in visible_points(layer, 1, CAMERA)


def test_nothing_outside_the_field_of_view(tmp_path):
    [layer] = make_layers([make_scene(tmp_path / "a", wall(10.0))])
    usable = np.zeros((120, 160), bool)
    usable[:, 100:] = True
    xyz = layer.scene.model.xyz[visible_points(layer, 0, CAMERA, usable)]
    assert len(xyz) > 100
    assert (xyz[:, 0] / 10 * 100 + 79.5 >= 99.5).all()


def frames_of(layers, **changes):
    return list(overlay_frames(layers, OverlaySettings(**changes)))


def test_plain_frame_and_points_beside_it(tmp_path):
    scene = make_scene(tmp_path / "a", wall(10.0), without_pose=(2,))
    layers = make_layers([scene])
    frames = frames_of(layers, colour="photo", point_size=3.0)
    assert len(frames) == 5
    assert {f.shape for f in frames} == {(120, 320, 3)}
    below = np.s_[40:]
    for k, frame in enumerate(frames):
        plain, drawn = frame[below, :160], frame[below, 160:]
        assert (plain == texture(120, 160, seed=k)[below]).all()
        green = (drawn[..., 1] > 230) & (drawn[..., 0] < 60)
        assert green.mean() > 0.5 if k != 2 else (drawn == plain).all()
    assert len(frames_of(layers, every=2)) == 3


def test_instruments_are_outlined_and_hide_points(tmp_path):
    scene = make_scene(tmp_path / "a", wall(10.0))
    whole, left = np.ones((120, 160), bool), np.ones((120, 160), bool)
    left[40:80, 60:120] = False
    images = []
    for image in scene.images:
        write_mask_in(tmp_path / "masks", image.name, whole)
        images.append(replace(image, mask_path=write_mask_in(tmp_path / "instruments", image.name, left)))
    masked = replace(scene, images=tuple(images), field_mask=tmp_path / "masks" / f"{images[0].name}.png")
    settings = OverlaySettings(colour="photo", panel=(160, 120))
    picture, plain = (next(iter(overlay_frames(make_layers([s]), settings))) for s in (masked, scene))
    before, after = picture[:, :160].astype(int), picture[:, 160:].astype(int)
    changed = (before != plain[:, :160]).any(2)
    assert changed[38:82, 58:62].any()
    assert not changed[44:76, 66:114].any()
    assert (after == before)[46:74, 66:114].all()
    assert not (plain[:, 160:] == plain[:, :160])[46:74, 66:114].all()


def write_mask_in(folder, name, mask):
    folder.mkdir(exist_ok=True)
    write_mask(folder / f"{name}.png", mask)
    return folder / f"{name}.png"


def test_colours_by_depth_are_those_of_the_scale(tmp_path):
    left, right = wall(10.0), wall(10.0)
    left, right = left[left[:, 0] < 0], right[right[:, 0] >= 0] * 2
    both = np.concatenate([left, right])
    scene = make_scene(tmp_path / "a", both, observed=[(p, 0) for p in range(len(both))])
    frame = frames_of(make_layers([scene]), point_size=3.0)[0][40:80, 160:].astype(int)
    near, far = frame[:, 10:60].reshape(-1, 3).mean(0), frame[:, 100:150].reshape(-1, 3).mean(0)
    assert near[0] > near[2] + 50
    assert far[2] > far[0] + 50


def test_a_model_without_observations_has_depths_too(tmp_path):
    frame = frames_of(make_layers([make_scene(tmp_path / "a", wall(10.0))]))[0]
    assert np.abs(frame[40:80, 160:].astype(int) - frame[40:80, :160]).mean() > 20


def test_two_runs_side_by_side_in_one_unit_of_depth(tmp_path):
    xyz = wall(10.0)
    rows = [(p, 0) for p in range(len(xyz))]
    first = make_scene(tmp_path / "a", xyz, observed=rows)
    scaled = {k: np.column_stack([p[:, :3], 3 * p[:, 3]]) for k, p in first.model.cam_from_world.items()}
    second = make_scene(tmp_path / "b", xyz * 3, observed=rows)
    second = replace(second, model=replace(second.model, cam_from_world=scaled))
    layers = make_layers([first, second])
    assert [layer.scale for layer in layers] == pytest.approx([1, 1 / 3])
    assert [layer.label for layer in layers] == ["a", "b"]
    frame = frames_of(layers)[0]
    assert frame.shape == (120, 320, 3)
    assert np.abs(frame[40:80, :160].astype(int) - frame[40:80, 160:]).max() <= 1


def test_every_run_is_drawn_with_its_own_focal_length(tmp_path):
    xyz = wall(10.0)
    first = make_scene(tmp_path / "a", xyz)
    second = make_scene(tmp_path / "b", xyz * [1, 1, 2])
    longer = replace(CAMERA, fx=2 * CAMERA.fx, fy=2 * CAMERA.fy)
    second = replace(second, images=tuple(replace(image, camera=longer) for image in second.images))
    mask = np.zeros((120, 160), bool)
    mask[10:110, 30:130] = True
    write_mask(tmp_path / "field.png", mask)
    first, second = (replace(scene, field_mask=tmp_path / "field.png") for scene in (first, second))
    looks = {"colour": "photo", "panel": (80, 80), "point_size": 2.0}
    both, alone = frames_of(make_layers([first, second]), **looks), frames_of(make_layers([second]), **looks)
    for k in range(5):
        left, right = both[k][30:, :80], both[k][30:, 80:]
        assert (right == alone[k][30:, 80:]).all()
        # The projections are those of the first run.
        assert (right == left).mean() > 0.99


def write_frames_json(folder, focal, lens, source="clip.mp4"):
    camera = {"width": 160, "height": 120, "fx": focal, "fy": focal, "cx": 79.5, "cy": 59.5}
    records = [{"index": k, "time_s": k / 25, "kept": True, "reason": ""} for k in range(5)]
    content = {"source": source, "width": 160, "height": 120, "frames_in_source": 5, "camera": camera,
               "field_of_view_px": 120}  # fmt: skip
    (folder / "frames.json").write_text(json.dumps({**content, "undistorted": lens, "frames": records}))


def test_runs_with_other_lenses_are_drawn_on_their_own_frames(tmp_path):
    first, second = (replace(make_scene(tmp_path / name, wall(10.0)), run=tmp_path / name) for name in "ab")
    for image in second.images:
        write_image(image.path, np.full((150, 160, 3), 200, np.uint8))
    bent = {"model": "OPENCV", "params": [90, 90, 80, 60, -0.3, 0, 0, 0], "width": 160, "height": 120}
    write_frames_json(tmp_path / "a", 100.0, None)
    write_frames_json(tmp_path / "b", 90.0, bent, source="other.mp4")
    with pytest.raises(InputError, match="expected two runs of the same video"):
        check_overlay(make_layers([first, second]), OverlaySettings())
    write_frames_json(tmp_path / "b", 90.0, bent)
    layers = make_layers([first, second])
    check_overlay(layers, OverlaySettings())
    picture = next(iter(overlay_frames(layers, OverlaySettings(point_size=1.0))))
    # The first frame, and that of the second run, smaller and between black borders.
    assert picture.shape == (120, 320, 3)
    assert (picture[60, 160:166] < 10).all()
    right = picture[:, 160:].reshape(-1, 3).astype(int)
    assert (np.abs(right - 200).max(1) < 8).sum() > 200
    lost = replace(second, images=tuple(replace(image, path=None) for image in second.images))
    with pytest.raises(InputError, match="images not found .*undone another lens"):
        check_overlay(make_layers([first, lost]), OverlaySettings())


def test_frames_are_cropped_to_the_field_of_view_and_shrunk(tmp_path):
    mask = np.zeros((120, 160), bool)
    mask[10:110, 30:130] = True
    write_mask(tmp_path / "field.png", mask)
    scene = replace(make_scene(tmp_path / "a", wall(10.0)), field_mask=tmp_path / "field.png")
    layers = make_layers([scene])
    assert frames_of(layers)[0].shape == (102, 204, 3)
    assert frames_of(layers, crop=False)[0].shape == (120, 320, 3)
    assert frames_of(layers, panel=(50, 400))[0].shape == (50, 100, 3)


def test_the_same_points_are_seen_at_half_the_size(tmp_path):
    layers = make_layers([make_scene(tmp_path / "a", wall(10.0))])
    full = frames_of(layers, colour="photo", point_size=8.0)[0][:, 160:]
    half = frames_of(layers, colour="photo", point_size=8.0, panel=(80, 60))[0][:, 80:]
    covered = [((f[..., 1] > 200) & (f[..., 0] < 90))[f.shape[0] // 3 :] for f in (full, half)]
    assert covered[0].mean() == pytest.approx(covered[1].mean(), abs=0.05)


def test_images_of_another_size_are_fitted_in(tmp_path):
    scene = make_scene(tmp_path / "a", wall(10.0))
    write_image(tmp_path / "a" / "00000003.png", texture(240, 320, seed=3))
    write_image(tmp_path / "a" / "00000004.png", texture(100, 200, seed=4))
    assert {f.shape for f in frames_of(make_layers([scene]))} == {(120, 320, 3)}


def test_masks_of_the_full_size_beside_images_that_were_shrunk(tmp_path):
    mask = np.zeros((240, 320), bool)
    mask[:, :160] = True
    write_mask(tmp_path / "mask.png", mask)
    scene = make_scene(tmp_path / "a", wall(10.0))
    masked = tuple(replace(image, mask_path=tmp_path / "mask.png") for image in scene.images)
    frame = frames_of(make_layers([replace(scene, images=masked)]), colour="photo", point_size=1.0)[0][40:, 160:]
    green = (frame[..., 1] > 200) & (frame[..., 0] < 90)
    assert green[:, :78].any()
    assert not green[:, 82:].any()


def test_what_cannot_be_drawn(tmp_path):
    scene = make_scene(tmp_path / "a", wall(10.0))
    layers = make_layers([scene])
    with pytest.raises(UsageError, match="--colour beauty: unknown; expected one of depth, error, photo"):
        check_overlay(layers, OverlaySettings("beauty"))
    lost = replace(scene, images=(replace(scene.images[0], path=None), *scene.images[1:]))
    with pytest.raises(InputError, match=r"a: 1 of 5 images not found \('00000000.png' is one\); .*--images"):
        check_overlay(make_layers([lost]), OverlaySettings())
    unknown = replace(scene, model=replace(scene.model, error_px=np.full(len(scene.model.xyz), -1.0)))
    with pytest.raises(InputError, match="has no errors of its points"):
        check_overlay(make_layers([unknown]), OverlaySettings("error"))
    other = make_scene(tmp_path / "b", wall(10.0), first=100)
    with pytest.raises(InputError, match="a and .*b: no image in common"):
        check_overlay(make_layers([scene, other]), OverlaySettings())
    with pytest.raises(InputError, match="c: the model has no point to draw"):
        make_layers([make_scene(tmp_path / "c", np.zeros((0, 3)))])


def test_points_of_dense_clouds_are_smaller(tmp_path):
    few, many = wall(10.0, slice(None, None, 40)), np.repeat(wall(10.0), 5, axis=0)
    covered = []
    for k, xyz in enumerate((few, many)):
        layers = make_layers([make_scene(tmp_path / str(k), xyz)])
        usual = [frames_of(layers, colour="photo", **size)[0][40:, 160:] for size in ({}, {"point_size": 2.0})]
        covered.append([((f[..., 1] > 200) & (f[..., 0] < 90)).mean() for f in usual])
    assert covered[0][0] == covered[0][1]
    assert covered[1][0] < 0.8 * covered[1][1]


def test_a_frame_of_several_sources_is_called_with_its_own():
    assert SceneImage("left_00000003.png", 3, CAMERA, source="left.mp4").called == "frame 3 of left.mp4"
    assert SceneImage("00000003.png", 3, CAMERA).called == "frame 3"
