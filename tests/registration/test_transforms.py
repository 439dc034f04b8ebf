import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dd_sfm.errors import InputError
from dd_sfm.io.transforms import itk_text, read_transform
from dd_sfm.registration.inputs import read_pairs, read_start, start_by_pairs, with_scale

ROTATION = Rotation.from_rotvec([0.3, -0.2, 0.5])
MATRIX = np.eye(4)
MATRIX[:3, :3], MATRIX[:3, 3] = 1.7 * ROTATION.as_matrix(), [3, -4, 5]


def texts():
    x, y, z, _ = ROTATION.as_quat(canonical=True)
    centre = np.array([1.0, 2.0, 3.0])
    shift = MATRIX[:3, 3] - centre + MATRIX[:3, :3] @ centre
    numbers = " ".join(map(repr, map(float, (x, y, z, *shift, 1.7))))
    head = "#Insight Transform File V1.0\n#Transform 0\n"
    return {
        "a.txt": "\n".join(" ".join(map(repr, row)) for row in MATRIX.tolist()),
        "b.json": json.dumps({"matrix": MATRIX.tolist()}),
        "c.json": json.dumps(MATRIX.tolist()),
        "d.json": json.dumps({"scale": 1.7, "rotation": ROTATION.as_matrix().tolist(), "translation": [3, -4, 5]}),
        "e.tfm": itk_text(MATRIX),
        "f.tfm": f"{head}Transform: Similarity3DTransform_double_3_3\nParameters: {numbers}\nFixedParameters: 1 2 3\n",
    }


@pytest.mark.parametrize("name", texts())
def test_transforms_are_read(name, tmp_path):
    (tmp_path / name).write_text(texts()[name])
    assert np.allclose(read_transform(tmp_path / name), MATRIX)
    start = read_start(tmp_path / name)
    assert start.scale == pytest.approx(1.7)
    assert np.allclose(start.points(np.ones((1, 3))), (MATRIX @ np.ones(4))[:3])


def test_itk_maps_points_as_the_matrix_does(tmp_path):
    itk = pytest.importorskip("SimpleITK")
    (tmp_path / "a.tfm").write_text(itk_text(MATRIX))
    transform = itk.ReadTransform(str(tmp_path / "a.tfm"))
    for point in np.random.default_rng(0).normal(scale=50, size=(20, 3)):
        assert np.allclose(transform.TransformPoint(point.tolist()), MATRIX[:3, :3] @ point + MATRIX[:3, 3], atol=1e-9)


@pytest.mark.parametrize("name", ["AffineTransform", "Similarity3DTransform", "VersorRigid3DTransform"])
def test_what_itk_writes_is_read_as_itk_maps_it(name, tmp_path):
    itk = pytest.importorskip("SimpleITK")
    turned = MATRIX[:3, :3] / 1.7
    transform = getattr(itk, name)(*([3] if name == "AffineTransform" else []))
    transform.SetCenter((4.0, -7.0, 2.0))
    transform.SetTranslation((3.0, 1.0, -2.0))
    transform.SetMatrix((turned if name == "VersorRigid3DTransform" else 1.7 * turned).ravel().tolist())
    itk.WriteTransform(transform, str(tmp_path / "a.tfm"))
    matrix = read_transform(tmp_path / "a.tfm")
    for point in np.random.default_rng(0).normal(scale=50, size=(20, 3)):
        assert np.allclose(transform.TransformPoint(point.tolist()), matrix[:3, :3] @ point + matrix[:3, 3], atol=1e-9)


@pytest.mark.parametrize(
    "text",
    ["1 2 3", "a b", "0 " * 16, "1 0 0 0 0 2 0 0 0 0 1 0", "-1 0 0 0 0 1 0 0 0 0 1 0", "1 0 0 nan 0 1 0 0 0 0 1 0"],
)
def test_what_is_no_similarity_is_refused(text, tmp_path):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(InputError, match="expected"):
        read_start(tmp_path / "a.txt")


def test_pairs_give_the_transform(tmp_path):
    cloud = np.random.default_rng(0).normal(size=(4, 3))
    surface = cloud @ MATRIX[:3, :3].T + MATRIX[:3, 3]
    np.savetxt(tmp_path / "pairs.csv", np.column_stack([cloud, surface]), delimiter=",", header="x,y,z,X,Y,Z")
    found = start_by_pairs(*read_pairs(tmp_path / "pairs.csv"), "pairs.csv")
    assert np.allclose(found.points(cloud), surface)
    other = with_scale(found, 2.0, cloud.mean(0))
    assert other.scale == 2.0
    assert np.allclose(other.points(cloud.mean(0)[None]), surface.mean(0))
    with pytest.raises(InputError, match="2 pairs"):
        start_by_pairs(cloud[:2], surface[:2], "pairs.csv")
    line = np.outer(np.arange(4.0), [1, 2, 3])
    with pytest.raises(InputError, match="on a line"):
        start_by_pairs(line, line, "pairs.csv")
    (tmp_path / "bad.csv").write_text("1,2,3\n")
    with pytest.raises(InputError, match="six numbers"):
        read_pairs(tmp_path / "bad.csv")
