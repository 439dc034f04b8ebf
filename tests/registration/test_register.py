import json
import re

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from surfaces import disturbed, seen_part, tube

from dd_sfm.errors import InputError, ReconstructionError
from dd_sfm.io.clouds import write_points
from dd_sfm.registration.certainty import Direction, displacement, words
from dd_sfm.registration.figures import figures
from dd_sfm.registration.moving import open_moving
from dd_sfm.registration.register import Settings, register
from dd_sfm.registration.starts import Range, inside
from dd_sfm.registration.target import make_target
from dd_sfm.sfm.geometry import Similarity

IDENTITY = Similarity(1.0, np.eye(3), np.zeros(3))


def registered(bump, **settings):
    target = make_target(tube(bump), samples=12_000)
    cloud, back = disturbed(seen_part(target))
    return register(cloud, target, Settings(start=IDENTITY, **settings)), back


@pytest.fixture(scope="module")
def bumpy():
    return registered(2.5)


@pytest.fixture(scope="module")
def smooth():
    return registered(0.0)


@pytest.mark.slow
def test_a_cloud_is_found_from_a_rough_start(bumpy):
    found, back = bumpy
    assert displacement(found.cloud, found.similarity, back) < 0.2
    assert found.similarity.scale == pytest.approx(back.scale, rel=0.01)
    assert found.fits
    assert not found.ambiguous, found.reasons
    assert np.median(found.residual) < 0.1


@pytest.mark.slow
def test_a_tube_fits_anywhere_along_itself(smooth):
    found, _ = smooth
    assert found.fits
    assert found.ambiguous
    free = np.array([d.vector for d in found.directions.undecided])
    assert len(free) >= 2
    # A shift along its axis, and a turn about it, lie in what is open.
    axis = found.similarity.rotation @ [0, 0, 1.0]
    for shift in (False, True):
        wanted = np.zeros(7)
        wanted[3:6] if shift else wanted[:3]
        wanted[slice(3, 6) if shift else slice(0, 3)] = [0, 0, 1]
        assert np.linalg.norm(free @ wanted) > 0.8, (shift, axis)
    assert any("along" in reason for reason in found.reasons)


@pytest.mark.slow
def test_figures_are_those_of_the_transform(bumpy):
    found, _ = bumpy
    content = figures(found)
    at = found.similarity
    assert np.allclose(content["matrix"][:3, :3], at.scale * at.rotation)
    assert np.allclose(content["matrix"][:3, 3], content["translation"])
    assert content["residual_median"] == pytest.approx(np.median(found.residual))
    assert content["residual_p90"] == pytest.approx(np.percentile(found.residual, 90))
    assert sum(region["points"] for region in content["regions"]) <= content["points"] == len(found.residual)
    assert 0.5 < content["overlap"] <= 1
    assert content["restarts"]["ended_here"] > 2


@pytest.mark.slow
def test_a_cloud_of_something_else_does_not_fit():
    target = make_target(tube(2.5), samples=12_000)
    cloud, _ = disturbed(seen_part(target))
    rng = np.random.default_rng(0)
    blob = cloud.centre + 8 * rng.standard_normal(cloud.xyz.shape)
    other = type(cloud)(blob, cloud.normals, cloud.sigma, cloud.rgb)
    found = register(other, target, Settings(start=IDENTITY))
    assert not found.fits
    assert found.ambiguous
    # One verdict: where nothing fits, nothing fits as well elsewhere.
    assert found.verdict == "fits nowhere"
    assert [reason.partition(":")[0] for reason in found.reasons] == ["the cloud fits nowhere"]
    assert not found.others


@pytest.mark.slow
def test_without_a_start_the_surface_is_searched():
    target = make_target(tube(2.5), samples=12_000)
    cloud, back = disturbed(seen_part(target), scale=3.0, degrees=140.0, shift=(300.0, -100.0, 50.0))
    found = register(cloud, target, Settings(scale=1 / 3.0))
    assert displacement(found.cloud, found.similarity, back) < 0.3


@pytest.mark.parametrize("start", [IDENTITY._replace(shift=np.full(3, 1000.0)), IDENTITY._replace(scale=1e-3)])
def test_a_start_that_leads_nowhere_is_refused(start):
    target = make_target(tube(2.5), samples=3_000)
    cloud, _ = disturbed(seen_part(target))
    with pytest.raises(ReconstructionError, match="no start leads to the surface"):
        register(cloud, target, Settings(start=start))


def test_a_cloud_that_is_a_line_is_refused(tmp_path):
    line = np.linspace(0, 1, 200)[:, None] * np.ones(3)
    for name, xyz in (("line", line), ("point", 0 * line)):
        write_points(tmp_path / f"{name}.ply", xyz, np.zeros((200, 3), np.uint8))
        with pytest.raises(InputError, match="lie on a line, or at one place"):
            open_moving(tmp_path / f"{name}.ply")


def test_a_place_is_inside_a_range():
    cloud = seen_part(make_target(tube(2.5), samples=1000), count=100)
    within = Range(5.0, 10.0, 1.1)
    for scale, degrees, shift, expected in ((1, 0, 0, True), (1, 0, 8, False), (1, 20, 0, False), (1.3, 0, 0, False)):
        rotation = Rotation.from_rotvec([0, 0, np.radians(degrees)]).as_matrix()
        place = Similarity(scale, rotation, cloud.centre + np.array([shift, 0, 0]) - scale * rotation @ cloud.centre)
        assert inside(place, IDENTITY, cloud, within) is expected


def test_a_known_scale_is_kept():
    target = make_target(tube(2.5), samples=4000)
    cloud = seen_part(target, count=300)
    from dd_sfm.registration.icp import Schedule, refine

    at, _ = refine(
        cloud, target, Similarity(1.03, np.eye(3), np.array([0.3, 0, 0])), Schedule(steps=5), scale_sigma=0.0
    )
    assert at.scale == pytest.approx(1.03, rel=1e-6)


def test_directions_are_told_in_words():
    shift = Direction(np.array([0, 0, 0, 0, 0, -1.0, 0]), 0.0, 1.0)
    assert words(shift, 3.1, 20.0, "mm") == "along (0.00, 0.00, 1.00) by +- 3.1 mm" or "-0.00" in words(
        shift, 3.1, 20.0, "mm"
    )
    growth = Direction(np.array([0, 0, 0, 0, 0, 0, 1.0]), 0.0, 1.0)
    assert words(growth, 1.0, 25.0, "mm") == "scale by +- 4.1 %"
    turn = Direction(np.array([1.0, 0, 0, 0, 0, 0, 0]), 0.0, 1.0)
    assert re.fullmatch(r"turned about \(1\.00, 0\.00, 0\.00\) by \+- 5\.73 degrees", words(turn, 2.0, 20.0, "mm"))


@pytest.mark.slow
def test_the_command_writes_all(dd_sfm, tmp_path):
    from dd_sfm.io.clouds import read_ply, write_cloud, write_mesh
    from dd_sfm.io.transforms import read_transform
    from dd_sfm.structures import PointCloud

    surface = tube(2.5)
    target = make_target(surface, samples=12_000)
    cloud, back = disturbed(seen_part(target))
    count = len(cloud.xyz)
    write_mesh(tmp_path / "ct.ply", surface.vertices, surface.faces, surface.vertices)
    write_cloud(
        tmp_path / "cloud.ply",
        PointCloud(cloud.xyz, cloud.rgb, cloud.normals, np.zeros(count), np.zeros(count, int), None, cloud.sigma),
    )
    picked = cloud.xyz[[0, count // 3, count // 2, count - 1]]
    rows = np.column_stack([picked, back.points(picked) + 0.5])
    np.savetxt(tmp_path / "pairs.csv", rows, delimiter=",", header="x,y,z,X,Y,Z", comments="")
    words = ("register", tmp_path / "cloud.ply", tmp_path / "ct.ply", "-o", tmp_path / "out")
    ran = dd_sfm(*words, "--pairs", tmp_path / "pairs.csv")
    assert ran.code == 0, ran.err
    assert "decided" in ran.out
    assert "median, mm" in ran.out
    content = json.loads((tmp_path / "out" / "registration.json").read_text())
    assert content["ambiguous"] is False
    assert content["verdict"] == "decided"
    assert content["unit"] == "mm"
    matrix = read_transform(tmp_path / "out" / "transform.tfm")
    assert np.allclose(matrix, content["matrix"])
    assert np.allclose(read_transform(tmp_path / "out" / "inverse.tfm") @ matrix, np.eye(4), atol=1e-9)
    assert np.allclose(read_transform(tmp_path / "out" / "registration.json"), matrix)
    written = read_ply(tmp_path / "out" / "residuals.ply")
    _check_by_itk(tmp_path / "out", cloud.xyz, np.stack([written["vertex"][axis] for axis in "xyz"], 1))
    assert np.median(written["vertex"]["residual"]) == pytest.approx(content["residual_median"], rel=1e-3)
    assert "unit: mm" in written.comments
    again = dd_sfm(*words, "--pairs", tmp_path / "pairs.csv")
    assert again.code == 1
    assert "not empty" in again.err


def _check_by_itk(folder, cloud, moved):
    """ITK maps the cloud by transform.tfm to where residuals.ply has it, and back by inverse.tfm."""
    itk = pytest.importorskip("SimpleITK")
    to, back = (itk.ReadTransform(str(folder / name)) for name in ("transform.tfm", "inverse.tfm"))
    assert len(cloud) == len(moved)
    for point, place in zip(cloud[::50], moved[::50], strict=True):
        assert np.allclose(to.TransformPoint(point.astype(float).tolist()), place, atol=1e-3)
        assert np.allclose(back.TransformPoint(place.astype(float).tolist()), point, atol=1e-3)


def test_the_command_refuses_what_it_cannot_use(dd_sfm, tmp_path):
    (tmp_path / "cloud.ply").write_text("ply\n")
    (tmp_path / "pairs.csv").write_text("1,2,3,4,5,6\n2,3,4,5,6,7\n")
    (tmp_path / "ct.xyz").write_text("")
    base = ("register", tmp_path / "cloud.ply", tmp_path / "ct.xyz", "-o", tmp_path / "out")
    assert dd_sfm(*base).code == 1
    both = dd_sfm(*base, "--pairs", tmp_path / "pairs.csv", "--initial", tmp_path / "pairs.csv")
    assert (both.code, "both given" in both.err) == (2, True)
    assert dd_sfm(*base, "--within", "15,25").code == 2
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("")
    assert "not empty" in dd_sfm(*base).err


def test_the_picture_shows_the_residuals():
    from dd_sfm.registration.certainty import Directions
    from dd_sfm.registration.register import Registration
    from dd_sfm.viz.render.residual_picture import residual_picture

    cloud = seen_part(make_target(tube(2.5), samples=1000), count=300)
    residual = np.linspace(0, 1, len(cloud.xyz))
    held = Directions((), cloud.centre, cloud.radius)
    found = Registration(IDENTITY, cloud, residual, 0.01, (), held, True, 1, 1, (), "mm")
    picture = residual_picture(found)
    assert picture.shape == (700, 1500, 3)
    colours = np.unique(picture.reshape(-1, 3), axis=0)
    assert ((colours[:, 0] > 150) & (colours[:, 2] < 60)).any()
    assert ((colours[:, 2] > 150) & (colours[:, 0] < 90)).any()
