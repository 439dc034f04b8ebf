import cv2
import numpy as np
import pytest

from dd_sfm.cameras import PinholeCamera
from dd_sfm.errors import InputError, ShapeError
from dd_sfm.io.colmap import pycolmap
from dd_sfm.io.lens import COLMAP_MODELS, LENS_MODELS, Lens
from dd_sfm.ops.coordinates import to_colmap

EXTRA = {
    "SIMPLE_RADIAL": (-0.15,), "RADIAL": (-0.2, 0.03), "OPENCV": (-0.3, 0.05, 0.001, 0.002), "FOV": (0.9,),
    "FULL_OPENCV": (-0.3, 0.05, 0.001, 0.002, 0.1, 0.2, 0.1, 0.1), "SIMPLE_DIVISION": (-0.2,), "DIVISION": (-0.2,),
    "EUCM": (0.6, 1.1), "SIMPLE_RADIAL_FISHEYE": (-0.03,), "RADIAL_FISHEYE": (-0.03, 0.002),
    "OPENCV_FISHEYE": (-0.03, 0.002, 0.001, -0.0001),
    "THIN_PRISM_FISHEYE": (-0.03, 0.002, 0.001, -0.0005, 0.001, 0.0, 0.002, 0.001),
    "RAD_TAN_THIN_PRISM_FISHEYE": (-0.03, 0.002, 0.001, 0.0, 0.0, 0.0, 0.001, 0.002, 0.001, 0.0, 0.002, 0.0005),
}  # fmt: skip
OWN = {
    "TILTED_OPENCV": (
        300.0,
        310.0,
        320.0,
        240.0,
        0.5,
        -0.2,
        0.05,
        0.001,
        0.002,
        *[0.0] * 4,
        0.001,
        0,
        0,
        0,
        0.01,
        0.02,
    ),
    "MEI": (600.0, 620.0, 320.0, 240.0, 0.5, 1.1, -0.05, 0.005, 0.001, 0.002, 0.0),
    "DOUBLE_SPHERE": (300.0, 310.0, 320.0, 240.0, -0.2, 0.6),
}
WIDE = [name for name in LENS_MODELS if "FISHEYE" in name]


def lens_of(model):
    if model == "EQUIRECTANGULAR":
        return Lens(model, (640.0, 480.0), 640, 480)
    if model in OWN:
        return Lens(model, OWN[model], 640, 480)
    if model == "SCARAMUZZA":
        polynomial = (300.0, 0.0, -6e-4, -2e-7, -1e-10, 0.0, 0.0)
        return Lens(model, (320.0, 240.0, 1.001, 0.0005, -0.0003, 1.0, *polynomial), 640, 480)
    focal = (300.0,) if LENS_MODELS[model][0] == "f" else (300.0, 310.0)
    return Lens(model, (*focal, 320.0, 240.0, *EXTRA.get(model, ())), 640, 480)


def rays_to(limit_deg, count=400):
    rng = np.random.default_rng(0)
    angle, azimuth = np.radians(limit_deg) * np.sqrt(rng.random(count)), rng.uniform(-np.pi, np.pi, count)
    return np.column_stack([np.sin(angle) * np.cos(azimuth), np.sin(angle) * np.sin(azimuth), np.cos(angle)])


@pytest.mark.parametrize("model", COLMAP_MODELS)
def test_every_model_of_the_installed_colmap_projects_as_colmap_does_and_back(model):
    lens, rays = lens_of(model), rays_to(50)
    xy, depth = lens.project(3 * rays)
    camera = pycolmap.Camera(model=model, width=640, height=480, params=list(lens.params))
    assert to_colmap(xy) == pytest.approx(np.asarray(camera.img_from_cam(rays)), abs=1e-9)
    assert depth == pytest.approx(3 * rays[:, 2])
    assert lens.unproject(xy) == pytest.approx(rays, abs=1e-8)


@pytest.mark.parametrize("model", [*WIDE, "EUCM", "DIVISION", "SCARAMUZZA", "MEI", "DOUBLE_SPHERE", "EQUIRECTANGULAR"])
def test_rays_behind_the_plane_come_back_where_the_model_has_them(model):
    rays = rays_to(115)
    lens = lens_of(model)
    assert (rays[:, 2] < -0.1).any()
    assert lens.field_limit_deg > 115
    assert lens.unproject(lens.project(rays)[0]) == pytest.approx(rays, abs=1e-7)


def test_a_fisheye_lens_agrees_with_opencv():
    lens, rays = lens_of("OPENCV_FISHEYE"), rays_to(80)
    matrix = np.array([[300, 0, 319.5], [0, 310, 239.5], [0, 0, 1.0]])
    expected = cv2.fisheye.projectPoints(
        rays[:, None], np.zeros(3), np.zeros(3), matrix, np.array(EXTRA["OPENCV_FISHEYE"])
    )[0][:, 0]
    assert lens.project(rays)[0] == pytest.approx(expected, abs=1e-6)


def test_the_field_ends_where_a_polynomial_turns_back():
    lens = Lens("SIMPLE_RADIAL", (300.0, 320.0, 240.0, -0.35), 640, 480)
    # The radius r (1 - 0.35 r^2) is largest at r = sqrt(1 / 1.05).
    turn = np.degrees(np.arctan(np.sqrt(1 / 1.05)))
    assert lens.field_limit_deg == pytest.approx(turn, abs=0.1)
    beside = np.radians([turn - 0.2, turn + 0.2, 60.0])
    xy, _ = lens.project(np.column_stack([np.sin(beside), 0 * beside, np.cos(beside)]))
    assert np.isfinite(xy[:, 0]).tolist() == [True, False, False]
    # A pixel outside the widest circle that rays reach shows none.
    assert np.isnan(lens.unproject(np.array([[635.0, 475.0]]))).all()


def test_the_field_ends_by_direction_with_tangential_terms():
    straight = Lens("OPENCV", (300.0, 300.0, 320.0, 240.0, -0.3, 0.0, 0.0, 0.0), 640, 480)
    tilted = Lens("OPENCV", (300.0, 300.0, 320.0, 240.0, -0.3, 0.0, 0.0, 0.05), 640, 480)
    assert tilted.field_limit_deg < straight.field_limit_deg - 1
    # p2 > 0 pulls outward at the right and inward at the left, so there it turns first.
    angle = np.radians(straight.field_limit_deg)
    sides = np.array([[np.sin(angle), 0, np.cos(angle)], [-np.sin(angle), 0, np.cos(angle)]])
    assert np.isfinite(tilted.project(sides)[0][:, 0]).tolist() == [True, False]


@pytest.mark.parametrize("model", LENS_MODELS)
def test_resized_and_cropped_pictures_show_the_same(model):
    lens, rays = lens_of(model), rays_to(40)
    xy, _ = lens.project(rays)
    assert lens.scaled(0.5).project(rays)[0] == pytest.approx((xy + 0.5) / 2 - 0.5, abs=1e-9)
    wide = lens.resized((1280, 480))
    assert wide.size == (1280, 480)
    assert wide.project(rays)[0] == pytest.approx((xy + 0.5) * [2, 1] - 0.5, abs=1e-9)
    if model == "EQUIRECTANGULAR":
        with pytest.raises(InputError, match="a part of a panorama"):
            lens.cropped((1, 2), (10, 10))
    else:
        assert lens.cropped((100, 50), (400, 300)).project(rays)[0] == pytest.approx(xy - [100, 50], abs=1e-9)


def test_a_pinhole_is_a_lens_without_distortion():
    camera = PinholeCamera(640, 480, 500.0, 510.0, 300.0, 200.0)
    lens = Lens.of(camera)
    assert lens.pinhole == camera
    assert not lens.has_distortion
    xy, _ = lens.project(np.array([[0.1, 0.2, 1.0], [0.1, 0.2, -1.0]]))
    assert xy[0] == pytest.approx([350, 302])
    assert np.isnan(xy[1]).all()


@pytest.mark.parametrize(
    ("model", "params", "says"),
    [("KANNALA", (1.0,), "camera model KANNALA; expected one of"), ("OPENCV", (1.0,), "1 parameters; OPENCV has fx")],
)
def test_an_unknown_model_or_another_count_is_refused(model, params, says):
    with pytest.raises(ShapeError, match=says):
        Lens(model, params, 640, 480)
