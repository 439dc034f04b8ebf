"""Files of poses as the reference of a model: which pose is of which frame."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import inverse_pose
from dd_sfm.errors import InputError
from dd_sfm.evaluation.model.path_reference import path_reference

FPS = 25.0
TIMES = {k: k / FPS for k in range(251)}


def camera(second):
    """Where a camera is at a time, world_from_cam (3, 4)."""
    place = [8 * np.sin(1.1 * second), 6 * np.cos(0.7 * second), 2 * second]
    return np.column_stack([Rotation.from_rotvec([0.0, 0.3 * np.sin(second), 0.1 * second]).as_matrix(), place])


MODEL = {k: inverse_pose(camera(t)) for k, t in TIMES.items()}


def written(folder, stamps, seconds):
    rows = []
    for stamp, second in zip(stamps, seconds, strict=True):
        pose = camera(second)
        turned = Rotation.from_matrix(pose[:, :3]).as_quat()
        rows.append(" ".join([str(stamp), *(repr(float(v)) for v in (*pose[:, 3], *turned))]))
    (folder / "a.tum").write_text("\n".join(rows) + "\n")
    return folder / "a.tum"


def test_images_are_known_by_the_number_in_their_names(tmp_path):
    rows = "".join(f"{k:08d}.png,{k},0,0,0,0,0,1\n" for k in (20, 10))
    (tmp_path / "a.csv").write_text("name,x,y,z,qx,qy,qz,qw\n" + rows)
    found, _ = path_reference(tmp_path / "a.csv", TIMES, MODEL)
    assert {k: -pose[0, 3] for k, pose in found.items()} == {10: 10.0, 20: 20.0}
    (tmp_path / "a.csv").write_text("name,x,y,z,qx,qy,qz,qw\nleft/1.png,0,0,0,0,0,0,1\nright/1.png,0,0,0,0,0,0,1\n")
    with pytest.raises(InputError, match="'right/1.png' is another of number 1"):
        path_reference(tmp_path / "a.csv", TIMES, MODEL)


@pytest.mark.parametrize("model", [MODEL, {}])
def test_whole_numbers_are_seconds_or_numbers_as_they_fit(tmp_path, model):
    seconds, _ = path_reference(written(tmp_path, range(11), range(11)), TIMES, model)
    assert len(seconds) == 251
    assert np.allclose(seconds[100], MODEL[100])
    numbers, _ = path_reference(written(tmp_path, TIMES, TIMES.values()), TIMES, model)
    assert np.allclose(numbers[100], MODEL[100])
    assert path_reference(written(tmp_path, TIMES, TIMES.values()), None)[0].keys() == TIMES.keys()


def test_whole_numbers_with_two_meanings_are_refused(tmp_path):
    model = {k: MODEL[k] for k in range(3)}
    with pytest.raises(InputError, match="as numbers of frames and as seconds; expected seconds with a fraction"):
        path_reference(written(tmp_path, range(3), range(3)), {k: 0.9 * k for k in range(3)}, model)
