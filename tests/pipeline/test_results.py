"""What stages leave for the next one."""

import json

import numpy as np
from scene import CAMERA

from dd_sfm.io.colmap_database import VerifiedPairs
from dd_sfm.pipeline.results import load_map, save_map
from dd_sfm.sfm.mapping import MapResult


def test_the_mapper_of_an_earlier_versions_run_is_read(tmp_path):
    poses = [{0: np.eye(3, 4), 1: np.eye(3, 4)}]
    save_map(tmp_path, MapResult(poses, [CAMERA], "relaxed", VerifiedPairs(3, 2, 50), {"verify": 0.5}))
    assert load_map(tmp_path).mapper == "relaxed"
    path = tmp_path / "map.json"
    path.write_text(json.dumps({k.replace("mapper", "rung"): v for k, v in json.loads(path.read_text()).items()}))
    assert load_map(tmp_path).mapper == "relaxed"
