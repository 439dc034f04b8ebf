"""Colours of points, from frames on disk."""

import numpy as np

from dd_sfm.cameras import PinholeCamera
from dd_sfm.io.images import write_image
from dd_sfm.sfm.point_colours import colour
from dd_sfm.structures import Frame, FrameSet, Model


def test_colours_of_more_points_than_a_picture_of_opencv_may_have_rows(tmp_path):
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[..., 0], picture[..., 1] = np.arange(60), np.arange(40)[:, None]
    frame = Frame(0, tmp_path / "0.png", tmp_path / "0.png.png", 0.0)
    write_image(frame.path, picture)
    camera = PinholeCamera(60, 40, 50.0, 50.0, 29.5, 19.5)
    count = 70_000
    xy = np.random.default_rng(0).integers(0, (60, 40), (count, 2)).astype(np.float64)
    points = np.column_stack([xy, np.ones(count)])
    pose = np.eye(4)[:3]
    number = np.arange(count)
    model = Model(
        camera,
        {0: pose},
        points,
        np.zeros((count, 3), np.uint8),
        np.zeros(count),
        number,
        np.zeros(count, np.int64),
        xy,
    )
    coloured = colour(model, FrameSet((frame,), camera, 40))
    assert np.array_equal(coloured.rgb[:, :2], xy.astype(np.uint8))
