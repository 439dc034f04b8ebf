"""Rendered clips: the truth is exact, the seed decides, the switches do what they say."""

import itertools
from dataclasses import replace
from typing import get_args

import cv2
import numpy as np
import pycolmap
import pytest
from scipy.spatial import cKDTree
from tiny_clip import TINY

from dd_sfm.config import dump_config
from dd_sfm.errors import ConfigError, OutputError, ReconstructionError
from dd_sfm.io.colmap_model import read_model
from dd_sfm.io.images import read_mask
from dd_sfm.io.lock import locked
from dd_sfm.io.truth import read_truth
from dd_sfm.io.video import iter_frames, open_source
from dd_sfm.progress import silent
from dd_sfm.synthetic.clip import is_complete, write_clip
from dd_sfm.synthetic.lens import make_optics
from dd_sfm.synthetic.organs import SHAPES
from dd_sfm.synthetic.path import inside_share, plan_path
from dd_sfm.synthetic.render import Renderer, make_scene
from dd_sfm.synthetic.settings import (
    RANGES,
    Difficulty,
    EffectSettings,
    LensSettings,
    LightSettings,
    Organ,
    PathSettings,
    SynthSettings,
    TissueSettings,
    check_settings,
    preset,
)

FRAMES = 9


def settings(**changes) -> SynthSettings:
    return replace(preset("colon", "real"), frames=FRAMES, width=320, height=180, depth_every=4, seed=5, **changes)


@pytest.fixture(scope="module")
def clip(tmp_path_factory, rendered_scene):
    out = tmp_path_factory.mktemp("synth") / "clip"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "dd_sfm.synthetic.clip.make_scene", lambda settings, _: replace(rendered_scene, settings=settings)
        )
        write_clip(settings(), out, jobs=1, overwrite=False, progress=silent)
    return out


def bilinear(image, xy):
    places = np.ascontiguousarray(xy, np.float32)[:, None]
    return cv2.remap(image, places, None, cv2.INTER_LINEAR)[:, 0]


def test_depth_reprojects_into_other_frames(clip):
    truth = read_truth(clip)
    pixels = np.argwhere(truth.mask)[::7, ::-1].astype(np.float64)
    points, hit = truth.world_points(0, pixels)
    xy, depth = truth.project(points[hit], 8)
    there = bilinear(truth.depth[2], xy)
    error = np.abs(there - depth)[there > 0] / depth[there > 0]
    assert np.median(error) < 1e-4
    assert np.percentile(error, 80) < 0.01


def test_warped_colours_agree(clip):
    """Brightness goes with the scope, which carries its light: colours are compared relative to their surroundings."""
    truth = read_truth(clip)
    weight = truth.mask.astype(np.float32)

    def detail(image):
        surround = cv2.GaussianBlur(image * weight[..., None], (0, 0), 10) / (
            cv2.GaussianBlur(weight, (0, 0), 10)[..., None] + 1e-3
        )
        return cv2.GaussianBlur(image, (0, 0), 0.8) / (surround + 4)

    images = [detail(i.astype(np.float32)) for _, i in iter_frames(open_source(clip / "clip.mp4"), range(FRAMES))]
    pixels = np.argwhere(truth.mask)[::5, ::-1].astype(np.float64)
    there, visible = truth.correspondences(0, 8, pixels)
    source = bilinear(images[0], pixels[visible])
    warped = np.abs(bilinear(images[8], there[visible]) - source).mean()
    unwarped = np.abs(bilinear(images[8], pixels[visible]) - source).mean()
    assert warped < 0.5 * unwarped


def test_true_cameras_triangulate_true_tracks(clip):
    model = read_model(clip / "sparse" / "0")
    assert sorted(model.cam_from_world) == list(range(FRAMES))
    error = []
    for point in range(0, len(model.xyz), 5):
        rows = np.flatnonzero(model.point == point)
        system = []
        for frame, xy in zip(model.frame[rows], model.xy[rows], strict=True):
            projection = model.camera.matrix @ model.cam_from_world[int(frame)]
            system += [xy[0] * projection[2] - projection[0], xy[1] * projection[2] - projection[1]]
        found = np.linalg.svd(np.array(system))[2][-1]
        error.append(np.linalg.norm(found[:3] / found[3] - model.xyz[point]))
    assert len(error) > 100
    assert np.median(error) < 0.05


def test_the_folder_is_complete(clip):
    masks = sorted(p.name for p in (clip / "masks").iterdir())
    assert masks == [f"{k:08d}.png.png" for k in range(FRAMES)]
    field = read_mask(clip / "mask.png")
    assert not (read_mask(clip / "masks" / masks[3]) & ~field).any()
    with np.load(clip / "truth.npz") as truth:
        assert truth["R"].shape == (FRAMES, 3, 3)
        assert truth["depth_frames"].tolist() == [0, 4, 8]
        assert truth["depth"].dtype == np.uint16
        assert np.linalg.det(truth["R"][0]) == pytest.approx(1.0)
        assert truth["deformation"] == 0.0
    assert (clip / "mesh.ply").is_file()
    assert "PINHOLE 320 180" in (clip / "calibration.txt").read_text()


def test_an_existing_clip_is_kept(clip, tmp_path):
    with pytest.raises(OutputError, match="holds a clip already"):
        write_clip(settings(), clip, jobs=1, overwrite=False, progress=silent)
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match="holds other files"):
        write_clip(settings(), tmp_path, jobs=1, overwrite=True, progress=silent)
    assert (tmp_path / "mine.txt").read_text() == "x"


@pytest.fixture
def at_hand(monkeypatch, tiny_scene):
    """The scene of TINY is there already: building the organ takes most of the time."""
    monkeypatch.setattr("dd_sfm.synthetic.clip.make_scene", lambda settings, _: replace(tiny_scene, settings=settings))


@pytest.fixture
def broken_off(at_hand, monkeypatch):
    """Begins a clip in a folder that is stopped at the given file."""

    def start(out, stop_at, *, overwrite=False):
        def stop(*arguments, **options):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(f"dd_sfm.synthetic.clip.{stop_at}", stop)
            with pytest.raises(KeyboardInterrupt):
                write_clip(TINY, out, jobs=1, overwrite=overwrite, progress=silent)

    return start


@pytest.mark.parametrize("stop_at", ["write_video", "write_model"])
def test_a_clip_that_was_broken_off_starts_again(tmp_path, broken_off, stop_at):
    out = tmp_path / "clip"
    broken_off(out, stop_at)
    assert not is_complete(out)
    write_clip(TINY, out, jobs=1, overwrite=False, progress=silent)
    assert is_complete(out)
    assert read_truth(out).lens.model == "PINHOLE"
    with pytest.raises(OutputError, match="holds a clip already"):
        write_clip(TINY, out, jobs=1, overwrite=False, progress=silent)


def test_overwriting_leaves_nothing_old_and_everything_else(tmp_path, broken_off):
    out = tmp_path / "clip"
    write_clip(TINY, out, jobs=1, overwrite=False, progress=silent)
    mine = [out / "notes.txt", out / "masks" / "mine.png", out / "sparse" / "1" / "cameras.bin", out / "truth.npz.old"]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    broken_off(out, "write_video", overwrite=True)
    left = {p for p in out.rglob("*") if p.is_file()}
    assert left == {*mine, out / "scene.yaml.partial", out / ".dd-sfm.lock"}
    assert {p.read_text() for p in mine} == {"mine"}


def test_a_clip_is_kept_when_the_next_one_cannot_be_made(tmp_path, monkeypatch):
    out = tmp_path / "clip"
    out.mkdir()
    (out / "scene.yaml").write_text("seed: 1\n")

    def refuse(settings, progress):
        raise ReconstructionError("path: frame 0 is outside the organ")

    monkeypatch.setattr("dd_sfm.synthetic.clip.make_scene", refuse)
    with pytest.raises(ReconstructionError):
        write_clip(TINY, out, jobs=1, overwrite=True, progress=silent)
    assert [p.name for p in out.iterdir()] == ["scene.yaml"]


def test_a_clip_that_another_process_has_finished_meanwhile_is_kept(tmp_path, monkeypatch):
    def finish_another(settings, progress):
        (tmp_path / "scene.yaml").write_text("seed: 1\n")

    monkeypatch.setattr("dd_sfm.synthetic.clip.make_scene", finish_another)
    with pytest.raises(OutputError, match="holds a clip already"):
        write_clip(TINY, tmp_path, jobs=1, overwrite=False, progress=silent)
    assert (tmp_path / "scene.yaml").read_text() == "seed: 1\n"


def test_one_writer_a_clip(tmp_path, at_hand):
    with locked(tmp_path), pytest.raises(OutputError, match="another dd-sfm"):
        write_clip(TINY, tmp_path, jobs=1, overwrite=False, progress=silent)


@pytest.mark.slow
def test_the_seed_decides(rendered_scene):
    base = rendered_scene.settings
    scenes = rendered_scene, make_scene(base), make_scene(replace(base, seed=base.seed + 1))
    first, again, other = (Renderer(scene).render(1).image for scene in scenes)
    assert np.array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 3


@pytest.mark.slow
def test_switches(rendered_scene):
    base = rendered_scene.settings
    effects = replace(base.effects, debris=60, deformation=0.5, smoke=0.9)
    loop = make_scene(replace(base, path=replace(base.path, loop=True, speed=0.6), effects=effects))
    out = np.linalg.norm(loop.path.centre[4] - loop.path.centre[0])
    back = np.linalg.norm(loop.path.centre[8] - loop.path.centre[0])
    assert back < 0.6 * out
    # Effects are compared along the same path.
    busy = Renderer(replace(loop, path=rendered_scene.path, exposure=rendered_scene.exposure))
    calm = Renderer(rendered_scene)
    assert np.abs(busy.vertices(6) - calm.vertices(6)).max() > 0.05
    hidden = [int((calm.render(k).usable & ~busy.render(k).usable).sum()) for k in (0, 8)]
    assert max(hidden) > 0
    # Smoke in the middle of the clip takes contrast, and the mask leaves out what it hides, not the depth.
    clear, hazy = calm.render(4), busy.render(4)
    assert hazy.image[calm.optics.mask].std() < 0.8 * clear.image[calm.optics.mask].std()
    assert hazy.usable.sum() < 0.5 * clear.usable.sum()
    assert (hazy.depth > 0).sum() > 0.99 * (clear.depth > 0).sum()


def test_moving_tissue_is_in_the_truth(tmp_path, at_hand):
    moving = replace(TINY, effects=replace(TINY.effects, deformation=0.5))
    write_clip(moving, tmp_path / "clip", jobs=1, overwrite=False, progress=silent)
    assert read_truth(tmp_path / "clip").deformation == 0.5


def test_distortion_is_in_the_truth(tmp_path, at_hand):
    base = replace(settings(), width=240, height=136, frames=3, depth_every=1)
    out = tmp_path / "bent"
    bent = replace(base, lens=replace(base.lens, distortion=(-0.2, 0.02)))
    write_clip(bent, out, jobs=1, overwrite=False, progress=silent)
    assert "OPENCV 240 136" in (out / "calibration.txt").read_text()
    truth = read_truth(out)
    pixels = np.argwhere(truth.mask)[::9, ::-1].astype(np.float64)
    points, hit = truth.world_points(0, pixels)
    xy, depth = truth.project(points[hit], 0)
    assert np.abs(xy - pixels[hit]).max() < 1e-3
    xy, depth = truth.project(points[hit], 2)
    there = bilinear(truth.depth[2], xy)
    assert np.median(np.abs(there - depth)[there > 0] / depth[there > 0]) < 3e-4
    # COLMAP's model is of the clip as it is, so that colmap image_undistorter takes both.
    model = pycolmap.Reconstruction(str(out / "sparse" / "0"))
    assert model.camera(1).model_name == "OPENCV"
    assert model.camera(1).params[4:] == pytest.approx([-0.2, 0.02, 0, 0])
    model.update_point_3d_errors()
    errors = [p.error for p in model.points3D.values()]
    assert len(errors) > 100
    assert max(errors) < 1e-3


def bent_optics(k1, k2=0.0, **changes):
    base = replace(settings(), width=240, height=136)
    return make_optics(replace(base, lens=replace(base.lens, distortion=(k1, k2), **changes)))


@pytest.mark.parametrize("distortion", [(-0.2, 0.0), (-0.219, 0.0), (-0.4, 0.15), (2.0, 0.0), (2.0, 2.0)])
def test_rays_lead_back_to_their_pixels(distortion):
    optics = bent_optics(*distortion)
    lens = optics.lens.pinhole.matrix, np.array(optics.lens.params[4:])
    back = cv2.projectPoints(optics.rays.astype(float), np.zeros(3), np.zeros(3), *lens)[0]
    assert np.abs(back[:, 0] - np.argwhere(optics.mask)[:, ::-1]).max() < 0.1


@pytest.mark.parametrize(
    ("k1", "field", "least"), [(-0.3, 78.0, "-0.219"), (-0.24, 78.0, "-0.219"), (-0.1, 120.0, "-0.048")]
)
def test_distortion_that_folds_the_field(k1, field, least):
    """The radial polynomial turns back before it reaches the rim: no ray leads there."""
    message = rf"lens.distortion \[{k1}, 0.0\]: .*expected k1 of {least} or more with k2 0"
    with pytest.raises(ConfigError, match=message):
        bent_optics(k1, field_of_view_deg=field)
    bent_optics(float(least), field_of_view_deg=field)


@pytest.mark.slow
@pytest.mark.parametrize(("organ", "difficulty"), [("sinus", "hard"), ("bladder", "easy")])
def test_other_organs_render(organ, difficulty):
    scene = make_scene(replace(preset(organ, difficulty), width=320, height=180, frames=12, seed=4))
    renderer = Renderer(scene)
    first, last = renderer.render(0), renderer.render(11)
    for frame in (first, last):
        assert (frame.depth[renderer.optics.mask] > 0).mean() > 0.97
        assert 60 < frame.image[renderer.optics.mask].mean() < 140
        assert frame.depth[frame.depth > 0].min() > 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": 2}, "--frames 2"),
        ({"width": 95}, "--size 95x180"),
        ({"width": 481}, "even numbers"),
        ({"depth_every": 0}, "depth_every 0"),
        ({"path": PathSettings(clearance=0.0)}, "path.clearance 0.0"),
        ({"path": PathSettings(tremor=-1.0)}, "path.tremor -1.0"),
        ({"light": LightSettings(exposure=1.0)}, "light.exposure 1.0"),
        ({"tissue": TissueSettings(trees=-1)}, "tissue.trees -1"),
        ({"fps": 0.0}, "fps 0.0: expected 0.1 to 1000"),
        ({"crf": 99}, "crf 99: expected 0 to 51"),
        ({"lens": LensSettings(circle=0.0)}, "lens.circle 0.0: expected 0.2 to 3"),
        ({"tissue": TissueSettings(texture_mm=0.0)}, "tissue.texture_mm 0.0: expected 1 to 1000"),
        ({"effects": EffectSettings(smoke=7.0)}, "effects.smoke 7.0: expected 0 to 1"),
        (
            {"lens": LensSettings(distortion=(-0.2, 9.0))},
            r"lens.distortion \[-0.2, 9.0\]: expected numbers, each -2 to 2",
        ),
    ],
)
def test_impossible_settings(change, message):
    with pytest.raises(ConfigError, match=message):
        make_scene(replace(settings(), **change))


def test_every_number_has_a_range_that_holds_all_presets():
    for organ, difficulty in itertools.product(get_args(Organ), get_args(Difficulty)):
        check_settings(preset(organ, difficulty))
    plain = dump_config(SynthSettings())
    numbers = {key for key, value in plain.items() if isinstance(value, int | float)}
    for name, section in plain.items():
        if isinstance(section, dict):
            numbers |= {f"{name}.{key}" for key, value in section.items() if not isinstance(value, bool | str)}
    assert numbers == set(RANGES) | {"frames", "width", "height"}


def test_an_impossible_path():
    base = settings()
    with pytest.raises(ConfigError, match="leaves the organ"):
        make_scene(replace(base, path=replace(base.path, speed=30.0)))


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "frames"), [(811, 75), (813, 40)])
def test_a_path_that_begins_behind_a_wall_is_brought_back(seed, frames):
    """The middle line of these noses passes through a turbinate, which a push off the nearest wall would go on into."""
    shape = SHAPES["sinus"](np.random.default_rng([seed, 0]))
    path = plan_path(shape, shape.mesh.vertices, frames, PathSettings(), np.random.default_rng([seed, 2]))
    assert inside_share(shape.mesh, path.centre).min() > 0.9
    assert cKDTree(shape.mesh.vertices).query(path.centre)[0].min() > 0.5 * PathSettings().clearance


@pytest.mark.slow
def test_a_free_place_at_the_rim_of_a_fold_stays_where_it_is():
    """The normals of the folds that are nearest to it point away from it."""
    shape = SHAPES["colon"](np.random.default_rng([103, 0]))
    path = plan_path(shape, shape.mesh.vertices, 75, PathSettings(), np.random.default_rng([103, 2]))
    assert cKDTree(shape.mesh.vertices).query(path.centre)[0].min() > 9.0
    assert inside_share(shape.mesh, path.centre).min() > 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # Whether it ends near the wall or beyond it depends on rounding.
        ({"clearance": 40.0}, r"path: (the scope comes within|frame 0 is outside)"),
        ({"tremor": 100.0}, "path:"),
        ({"tremor": 100.0, "clearance": 0.0}, r"path: frame \d+ is outside"),
    ],
)
def test_a_path_through_the_wall(change, message):
    """Too wide or too wild for the organ: the scope would look at it from outside, or touch it."""
    shape, way = SHAPES["colon"](np.random.default_rng([777, 0])), PathSettings()

    def plan(settings):
        return plan_path(shape, shape.mesh.vertices, 75, settings, np.random.default_rng([777, 2]))

    with pytest.raises(ReconstructionError, match=message):
        plan(replace(way, **change))
    assert inside_share(shape.mesh, plan(way).centre).min() > 0.9
    assert inside_share(shape.mesh, np.array([[500.0, 0, 0]])).max() == 0.0
