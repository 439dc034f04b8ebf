"""The cloud as LAS 1.4 (.las), for CloudCompare, PDAL and GIS, with what tells how far to trust its points."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import numpy as np

from dd_sfm.errors import InputError
from dd_sfm.export.points import scene_points, unit_of
from dd_sfm.io.atomic import json_content
from dd_sfm.io.scene import Scene
from dd_sfm.progress import Progress

NAME = "points.las"
STEPS = 2.0**30
"""Of the whole extent of the cloud: coordinates are integers of 32 bits."""
LEAST_EXTENT = 1e-9
"""What a cloud of one place is taken for."""
RGB_FORMAT = 7
OWNER, RECORD = "dd-sfm", 1


def write(scene: Scene, folder: Path, progress: Progress) -> list[str]:
    """Write points.las; unit and scale are in a record of the head, as JSON.

    Raises:
        InputError: If laspy is not installed.
    """
    if find_spec("laspy") is None:
        raise InputError(
            'LAS files: laspy is not installed; expected it for this format. Try pip install "dd-sfm[las]", or '
            "pip install laspy"
        )
    import laspy

    points = scene_points(scene)
    cloud = points.cloud
    header = laspy.LasHeader(version="1.4", point_format=RGB_FORMAT)
    header.generating_software, header.system_identifier = "dd-sfm", "structure from motion"
    low, high = (np.zeros(3), np.ones(3)) if not len(cloud.xyz) else (cloud.xyz.min(0), cloud.xyz.max(0))
    # A decimal number, as readers print it.
    step = 10.0 ** np.ceil(np.log10(max(float((high - low).max()), LEAST_EXTENT) / STEPS))
    # The offset is the corner itself: a whole number may be more steps away from a small cloud than integers hold.
    header.offsets, header.scales = low, np.full(3, step)
    columns = points.columns
    header.add_extra_dims([laspy.ExtraBytesParams(name, values.dtype) for name, values in columns.items()])
    text = json.dumps(json_content(unit_of(scene))).encode()
    header.vlrs.append(laspy.VLR(OWNER, RECORD, "unit and scale, JSON", text))
    file = laspy.LasData(header)
    file.x, file.y, file.z = cloud.xyz.T
    file.red, file.green, file.blue = cloud.rgb.T.astype(np.uint16) * 257
    for name, values in columns.items():
        file[name] = values
    file.write(str(folder / NAME))
    return list(points.notes)


def is_one(file: BinaryIO) -> bool:
    """Whether an open file begins as a LAS does."""
    return file.read(4) == b"LASF"
