"""What stages leave for the next one."""

import json

import numpy as np
from scene import CAMERA

from dd_sfm.io.colmap_database import VerifiedPairs
from dd_sfm.io.run_folder import read_poses, write_poses
from dd_sfm.sfm.mapping import MapResult


def test_the_mapper_of_an_earlier_versions_run_is_read(tmp_path):
    poses = [{0: np.eye(3, 4), 1: np.eye(3, 4)}]
    write_poses(tmp_path, MapResult(poses, [CAMERA], "relaxed", VerifiedPairs(3, 2, 50), {"verify": 0.5}))
    assert read_poses(tmp_path).mapper == "relaxed"
    path = tmp_path / "map.json"
    path.write_text(json.dumps({k.replace("mapper", "rung"): v for k, v in json.loads(path.read_text()).items()}))
    assert read_poses(tmp_path).mapper == "relaxed"
