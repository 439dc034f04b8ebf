from dataclasses import replace

import numpy as np
import pycolmap
import pytest
from test_colmap_model import small_model

from dd_sfm.errors import InputError
from dd_sfm.io.colmap_model import write_model
from dd_sfm.io.colmap_source import as_binary, read_any_model


@pytest.fixture
def model(tmp_path):
    made, frames = small_model(tmp_path)
    write_model(tmp_path / "0", made, frames)
    return made, frames


def test_the_same_as_binary_and_as_text(tmp_path, model):
    made, frames = model
    (tmp_path / "text").mkdir()
    pycolmap.Reconstruction(str(tmp_path / "0")).write_text(str(tmp_path / "text"))
    for folder in ("0", "text"):
        read = read_any_model(tmp_path / folder)
        # Frame 0 has no pose: the others move up.
        assert read.names == tuple(f.path.name for f in frames.frames[1:])
        assert read.cameras == (made.camera,) * 4
        assert read.lens == ""
        assert read.model.xyz == pytest.approx(made.xyz)
        assert (read.model.point == made.point).all()
        assert (read.model.frame == made.frame - 1).all()
        assert read.model.xy == pytest.approx(made.xy)
        for k, pose in read.model.cam_from_world.items():
            assert pose == pytest.approx(made.cam_from_world[k + 1])


def test_points_keep_the_order_of_the_file(tmp_path, model):
    """points.ply of a run lists them in the same order."""
    made, frames = model
    turned = np.arange(len(made.xyz))[::-1]
    order = np.lexsort((made.frame, turned[made.point]))
    other = replace(
        made, xyz=made.xyz[turned], rgb=made.rgb[turned], error_px=made.error_px[turned],
        point=turned[made.point][order], frame=made.frame[order], xy=made.xy[order],
    )  # fmt: skip
    write_model(tmp_path / "1", other, frames)
    assert read_any_model(tmp_path / "1").model.xyz == pytest.approx(made.xyz[turned])


def test_every_image_has_its_own_camera(tmp_path, model):
    read = pycolmap.Reconstruction(str(tmp_path / "0"))
    read.add_camera_with_trivial_rig(
        pycolmap.Camera(model="OPENCV", width=320, height=240, params=[300, 310, 160, 120, 0.1, 0, 0, 0], camera_id=9)
    )
    (tmp_path / "two").mkdir()
    read.write_binary(str(tmp_path / "two"))
    assert read_any_model(tmp_path / "two").lens == ""
    content = bytearray((tmp_path / "two" / "images.bin").read_bytes())
    # Camera of the first image, after its id and pose.
    content[8 + 60 : 8 + 64] = (9).to_bytes(4, "little")
    (tmp_path / "two" / "images.bin").write_bytes(content)
    for name in ("rigs.bin", "frames.bin"):
        (tmp_path / "two" / name).unlink()
    found = read_any_model(tmp_path / "two")
    assert found.lens == "OPENCV"
    assert sorted({c.width for c in found.cameras}) == [320, 640]
    assert min(c.cx for c in found.cameras) == pytest.approx(159.5)


def test_files_of_two_models(tmp_path, model):
    other, frames = small_model(tmp_path, seed=1)
    write_model(tmp_path / "1", other, frames)
    (tmp_path / "0" / "points3D.bin").write_bytes((tmp_path / "1" / "points3D.bin").read_bytes())
    with pytest.raises(InputError, match="images and points do not fit together"):
        read_any_model(tmp_path / "0")


def test_as_many_observations_of_other_points(tmp_path, model):
    made, frames = model
    # Two points change places in one file only.
    number = np.arange(len(made.xyz))
    number[[0, 1]] = 1, 0
    order = np.lexsort((made.frame, number[made.point]))
    other = replace(made, point=number[made.point][order], frame=made.frame[order], xy=made.xy[order])
    write_model(tmp_path / "1", other, frames)
    (tmp_path / "0" / "images.bin").write_bytes((tmp_path / "1" / "images.bin").read_bytes())
    with pytest.raises(InputError, match="images and points do not fit together"):
        read_any_model(tmp_path / "0")


@pytest.mark.parametrize("name", ["cameras", "images", "points3D"])
def test_a_file_that_is_cut_short(tmp_path, model, name):
    path = tmp_path / "0" / f"{name}.bin"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"expected (that of a complete binary COLMAP|a complete) model"):
        read_any_model(tmp_path / "0")


def test_a_camera_model_that_nobody_knows(tmp_path, model):
    path = tmp_path / "0" / "cameras.bin"
    content = bytearray(path.read_bytes())
    content[12:16] = (99).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(InputError, match="cameras cannot be read"):
        read_any_model(tmp_path / "0")


def refuse(folder):
    raise InputError(f"{folder}: not liked")


def test_what_is_wrong_with_a_model_as_text_is_told_of_its_own_folder(tmp_path, model):
    (tmp_path / "text").mkdir()
    pycolmap.Reconstruction(str(tmp_path / "0")).write_text(str(tmp_path / "text"))
    with pytest.raises(InputError) as found, as_binary(tmp_path / "text") as binary:
        refuse(binary)
    assert str(found.value) == f"{tmp_path / 'text'}: not liked"
