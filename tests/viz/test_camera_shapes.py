from dataclasses import replace

import numpy as np
import pytest
from viewing import CAMERA, shown

from dd_sfm.cameras import camera_centres
from dd_sfm.io.images import write_image, write_mask
from dd_sfm.io.scene import SceneImage
from dd_sfm.viz.render.camera_shapes import camera_lines, camera_pictures, evenly_spread
from dd_sfm.viz.render.splat import project


def test_spread():
    assert evenly_spread(3, 10) == [0, 1, 2]
    assert evenly_spread(101, 3) == [0, 50, 100]
    assert evenly_spread(0, 3) == []


def test_outlines_end_in_the_corners_of_the_picture(tmp_path):
    cloud = shown(tmp_path)
    lines = camera_lines(cloud, 2.0)
    # Four steps of the path, then eight lines a camera.
    assert lines.ends.shape == (4 + 5 * 8, 2, 3)
    centres = camera_centres(cloud.cam_from_world)
    assert lines.ends[:4] == pytest.approx(np.stack([centres[:-1], centres[1:]], 1))
    spokes = lines.ends[4 + 8 * 2 : 4 + 8 * 2 + 4]
    assert spokes[:, 0] == pytest.approx(np.tile(centres[2], (4, 1)))
    places = project(spokes[:, 1], CAMERA, cloud.cam_from_world[2])
    assert places.xy == pytest.approx(np.array([[-0.5, -0.5], [159.5, -0.5], [159.5, 119.5], [-0.5, 119.5]]))
    assert places.depth == pytest.approx(2.0)
    assert len(np.unique(lines.rgb, axis=0)) == 5
    assert (camera_lines(cloud, 2.0, (1, 2, 3)).rgb == [1, 2, 3]).all()
    assert camera_lines(cloud, 2.0, frustums=0).ends == pytest.approx(lines.ends[:4])


def test_pictures_lie_where_the_camera_sees_them(tmp_path):
    path = tmp_path / "a.png"
    image = np.zeros((120, 160, 3), np.uint8)
    image[:, 80:] = 200
    write_image(path, image)
    cloud = shown(tmp_path, count=1, images=[SceneImage("a.png", 0, CAMERA, path)])
    pictures = camera_pictures(cloud, 3.0)
    assert len(pictures.vertices) == 64 * 48
    assert len(pictures.triangles) == 2 * 63 * 47
    places = project(pictures.vertices, CAMERA, cloud.cam_from_world[0])
    assert (pictures.rgb[places.xy[:, 0] > 85] == 200).all()
    assert (pictures.rgb[places.xy[:, 0] < 75] == 0).all()


def test_pictures_show_the_field_of_view_only(tmp_path):
    path, mask_path = tmp_path / "a.png", tmp_path / "mask.png"
    write_image(path, np.full((120, 160, 3), 90, np.uint8))
    mask = np.zeros((120, 160), bool)
    mask[:, :80] = True
    write_mask(mask_path, mask)
    cloud = shown(tmp_path, count=1, images=[SceneImage("a.png", 0, CAMERA, path, mask_path)])
    pictures = camera_pictures(cloud, 3.0)
    corners = project(pictures.vertices[np.unique(pictures.triangles)], CAMERA, cloud.cam_from_world[0]).xy
    assert corners[:, 0].max() < 82


def test_images_that_cannot_be_read_are_left_out(tmp_path):
    broken = tmp_path / "b.png"
    broken.write_text("no image")
    cloud = shown(tmp_path, count=2, images=[SceneImage("a.png", 0, CAMERA), SceneImage("b.png", 1, CAMERA, broken)])
    assert len(camera_pictures(cloud, 1.0).vertices) == 0


def test_a_cloud_without_cameras(tmp_path):
    bare = replace(shown(tmp_path), images=(), cam_from_world=np.zeros((0, 3, 4)))
    assert len(camera_lines(bare, 1.0).ends) == 0
    assert len(camera_pictures(bare, 1.0).triangles) == 0
