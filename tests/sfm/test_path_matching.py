"""Which poses of a measured path belong to which frames."""

from pathlib import Path

import numpy as np

from dd_sfm.io.camera_paths import CameraPath
from dd_sfm.sfm.known_poses import frame_keys
from dd_sfm.sfm.path_matching import Reading, readings
from dd_sfm.sfm.path_pair import PathPair
from dd_sfm.structures import FrameRecord


def poses(count):
    found = np.repeat(np.eye(3, 4)[None], count, 0)
    found[:, 0, 3] = np.arange(count)
    return found


def named(*names):
    return CameraPath(Path("model"), np.arange(len(names), dtype=float), poses(len(names)), "names", names)


def frames(*labels):
    return frame_keys(
        [
            FrameRecord(n * 3 + k, None, 1.0, source=f"{k}.png", stem=f"{label}_{n * 3 + k:08d}" if label else "")
            for n, label in enumerate(labels)
            for k in range(3)
        ]
    )


def test_images_of_several_folders_are_told_by_the_folder():
    path = named(*(f"{side}/{k}.png" for side in ("left", "right") for k in range(3)))
    assert readings(path, frames("right", "left"))[0].wanted.tolist() == [3, 4, 5, 0, 1, 2]
    for way in readings(path, frames("")):
        assert np.isnan(way.wanted).all()


def test_frames_of_several_sources_do_not_share_an_image():
    for way in readings(named("0.png", "1.png", "2.png"), frames("left", "right")):
        assert way.wanted[:3].tolist() == [0, 1, 2]
        assert np.isnan(way.wanted[3:]).all()


def test_of_frames_with_one_time_the_first_is_taken():
    times = np.array([0.0, 0.04, 0.04, 0.08, 0.12, 0.16])
    path = CameraPath(Path("a.tum"), np.arange(9) / 50, poses(9), "times")
    pair = PathPair(poses(6), path, Reading("by seconds", times, is_exact=False))
    ours, _ = pair.at(pair.rows(0.0), 0.0)
    assert np.allclose(ours[::2, 0, 3], [0, 1, 3, 4, 5])
