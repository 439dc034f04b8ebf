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
