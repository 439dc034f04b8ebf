from dataclasses import replace

import cv2
import numpy as np
import pytest
from conftest import texture
from test_overlay import make_scene, wall

from dd_sfm.errors import InputError
from dd_sfm.io.images import read_image, write_image
from dd_sfm.viz.render.cloud_view import scene_cloud_view
from dd_sfm.viz.render.same_video import check_same_video, renumber_images, scenes_agree


@pytest.fixture
def pair(tmp_path):
    return tuple(make_scene(tmp_path / name, wall(10.0)) for name in ("a", "b"))


def rewrite(scene, change):
    for image in scene.images:
        write_image(image.path, change(read_image(image.path)))


def test_the_same_frames_saved_otherwise_or_smaller(pair):
    first, second = pair
    check_same_video(first, second)
    rewrite(second, lambda picture: np.clip(picture.astype(int) + 3, 0, 255).astype(np.uint8))
    check_same_video(first, second)
    rewrite(second, lambda picture: cv2.resize(picture, (81, 61), interpolation=cv2.INTER_AREA))
    check_same_video(first, second)


def test_another_video_under_the_same_numbers(pair):
    first, second = pair
    rewrite(second, lambda picture: np.roll(picture[::-1], 40, axis=1))
    with pytest.raises(InputError, match=r"a and .*b: frames of the same number show different pictures \(\d\d of 255"):
        check_same_video(first, second)


def test_another_shape(pair):
    first, second = pair
    rewrite(second, lambda picture: texture(120, 120, seed=0))
    with pytest.raises(InputError, match="frame 0 is 160 x 120 in one and 120 x 120 in the other; expected two runs"):
        check_same_video(first, second)


def test_images_that_are_not_there_are_not_looked_at(pair):
    first, second = pair
    rewrite(second, lambda picture: 255 - picture)
    check_same_video(first, replace(second, images=tuple(replace(i, path=None) for i in second.images)))


def test_cameras_that_go_another_way(pair):
    first, second = pair
    assert scenes_agree(first, second)
    rng = np.random.default_rng(0)
    astray = {k: np.column_stack([np.eye(3), rng.normal(size=3)]) for k in second.model.cam_from_world}
    assert scenes_agree(first, replace(second, model=replace(second.model, cam_from_world=astray))) is False
    few = {k: second.model.cam_from_world[k] for k in (0, 1)}
    assert scenes_agree(first, replace(second, model=replace(second.model, cam_from_world=few))) is None
    still = dict.fromkeys(second.model.cam_from_world, np.eye(3, 4))
    assert scenes_agree(first, replace(second, model=replace(second.model, cam_from_world=still))) is None


def counted(scene, *, start=0, kind="colmap"):
    """The same with images counted from another number."""
    images = tuple(replace(image, number=start + k) for k, image in enumerate(scene.images))
    return replace(scene, images=images, kind=kind)


@pytest.fixture
def long_pair(tmp_path):
    """Cameras on a bent path, so that an offset shows."""
    path = [np.column_stack([np.eye(3), [-0.1 * k, -0.5 * np.sin(k / 2), 0]]) for k in range(12)]
    return [make_scene(tmp_path / name, wall(10.0), path=path) for name in ("a", "b")]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"kind": "run"}, {"kind": "jhu", "start": 4000}),
        ({"kind": "jhu", "start": 4000}, {"kind": "run"}),
        ({"kind": "run"}, {"start": 1}),
        ({"start": 1}, {"kind": "run"}),
        ({"start": 1}, {}),
    ],
)
def test_frames_that_are_numbered_otherwise(long_pair, ours, theirs):
    first, second = counted(long_pair[0], **ours), counted(long_pair[1], **theirs)
    begun = [scene.images[0].number for scene in (first, second)]
    for one, two in ((first, second), (scene_cloud_view(first), scene_cloud_view(second))):
        alike, notes = renumber_images(two, one)
        assert [i.number for i in alike.images] == [i.number for i in one.images]
        assert notes == [f"{second.source}: its frame {begun[1]} is frame {begun[0]} of {first.source}"]
    check_same_video(first, renumber_images(second, first)[0])
    assert scenes_agree(first, renumber_images(second, first)[0])


def test_frames_that_only_one_has_are_no_frame_of_the_other(long_pair):
    first, second = counted(long_pair[0], kind="run"), counted(long_pair[1], start=1)
    poses = {k: pose for k, pose in first.model.cam_from_world.items() if k < 10}
    first = replace(first, model=replace(first.model, cam_from_world=poses), images=first.images[:10])
    alike, _ = renumber_images(second, first)
    assert [i.number for i in alike.images[:10]] == list(range(10))
    assert len({i.number for i in alike.images}) == 12


def test_the_same_numbers_stay_as_they_are(pair, long_pair):
    for first, second in (pair, long_pair):
        for kind in ("run", "colmap"):
            alike, notes = renumber_images(counted(second), counted(first, kind=kind))
            assert [i.number for i in alike.images] == [i.number for i in counted(second).images]
            assert notes == []
