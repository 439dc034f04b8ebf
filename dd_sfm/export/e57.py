"""The cloud as E57 (ASTM E2807), for CloudCompare and tools of laser scanning, with what tells how far to trust it.

Lengths of the format are metres. Normals are in the registered extension for them, and what the standard has no field
for is in an extension of this project, which readers that do not know it leave out.
"""

import json
import uuid
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import InputError
from dd_sfm.export.points import ScenePoints, scene_points, unit_of
from dd_sfm.io.atomic import json_content
from dd_sfm.io.metric import UNITS
from dd_sfm.io.scene import Scene
from dd_sfm.progress import Progress

NAME = "points.e57"
NORMALS = "http://www.libe57.org/E57_NOR_surface_normals.txt"
OWN = "https://dd-sfm.org/e57/reconstruction"
MM_OF_METRE = 1000.0
CHUNK = 1_000_000
COLOURS, STATE = ("colorRed", "colorGreen", "colorBlue"), "cartesianInvalidState"


def write(scene: Scene, folder: Path, progress: Progress) -> list[str]:
    """Write points.e57; unit and scale are in the description of the scan, as JSON.

    Raises:
        InputError: If pye57 is not installed.
    """
    if find_spec("pye57") is None:
        raise InputError(
            'E57 files: pye57 is not installed; expected it for this format. Try pip install "dd-sfm[e57]", or '
            "pip install pye57"
        )
    import pye57

    points, metric = scene_points(scene), scene.metric
    is_metric = metric is not None and metric.unit in UNITS
    factor = UNITS[metric.unit] / MM_OF_METRE if metric is not None and is_metric else 1.0
    file = pye57.E57(str(folder / NAME), mode="w")
    try:
        _write_scan(file, _fields(points, factor), json.dumps(json_content(unit_of(scene))))
    finally:
        file.close()
    unknown = [] if is_metric else ["E57 holds metres, and the unit is arbitrary: give it with --scale"]
    return [*points.notes, *unknown]


def _fields(points: ScenePoints, factor: float) -> dict[str, NDArray[Any]]:
    """What is written of the points, (P,) by the names of fields."""
    cloud = points.cloud
    found: dict[str, NDArray[Any]] = {
        f"cartesian{axis}": np.ascontiguousarray(factor * column, np.float64)
        for axis, column in zip("XYZ", cloud.xyz.T, strict=True)
    }
    found |= {name: np.ascontiguousarray(column) for name, column in zip(COLOURS, cloud.rgb.T, strict=True)}
    # Some readers ask for it.
    found[STATE] = np.zeros(len(cloud.xyz), np.int8)
    normals = {"nx": "nor:normalX", "ny": "nor:normalY", "nz": "nor:normalZ"}
    for name, values in points.columns.items():
        # Fields of extensions have no underscore in the examples of the standard: one word each.
        parts = name.split("_")
        own = "dds:" + parts[0] + "".join(part.capitalize() for part in parts[1:])
        found[normals.get(name, own)] = np.ascontiguousarray(values, np.float32)
    return found


def _write_scan(file: Any, fields: dict[str, NDArray[Any]], description: str) -> None:
    """Write one scan, whose axes are those of the reconstruction."""
    from pye57 import libe57

    image = file.image_file
    image.extensionsAdd("nor", NORMALS)
    image.extensionsAdd("dds", OWN)
    scan, prototype = libe57.StructureNode(image), libe57.StructureNode(image)
    scan.set("guid", libe57.StringNode(image, f"{{{uuid.uuid4()}}}"))
    scan.set("name", libe57.StringNode(image, "dd-sfm"))
    scan.set("description", libe57.StringNode(image, description))
    count = len(fields["cartesianX"])
    bounds = libe57.StructureNode(image)
    for axis in "XYZ":
        values = fields[f"cartesian{axis}"]
        for end, value in (("Minimum", values.min(initial=np.inf)), ("Maximum", values.max(initial=-np.inf))):
            bounds.set(f"{axis.lower()}{end}", libe57.FloatNode(image, float(value) if count else 0.0))
    scan.set("cartesianBounds", bounds)
    limits = libe57.StructureNode(image)
    for name in COLOURS:
        limits.set(f"{name}Minimum", libe57.IntegerNode(image, 0))
        limits.set(f"{name}Maximum", libe57.IntegerNode(image, 255))
        prototype.set(name, libe57.IntegerNode(image, 0, 0, 255))
    scan.set("colorLimits", limits)
    buffers, parts = libe57.VectorSourceDestBuffer(), {}
    for name, values in fields.items():
        if name == STATE:
            prototype.set(name, libe57.IntegerNode(image, 0, 0, 2))
        elif name not in COLOURS:
            is_place = values.dtype == np.float64
            prototype.set(name, libe57.FloatNode(image, 0.0, libe57.E57_DOUBLE if is_place else libe57.E57_SINGLE))
        parts[name] = np.empty(CHUNK, values.dtype)
        buffers.append(libe57.SourceDestBuffer(image, name, parts[name], CHUNK, True, False))
    vector = libe57.CompressedVectorNode(image, prototype, libe57.VectorNode(image, True))
    scan.set("points", vector)
    file.data3d.append(scan)
    writer = vector.writer(buffers)
    for first in range(0, count, CHUNK):
        some = min(CHUNK, count - first)
        for name, values in fields.items():
            parts[name][:some] = values[first : first + some]
        writer.write(some)
    writer.close()


def is_one(file: BinaryIO) -> bool:
    """Whether an open file begins as an E57 does."""
    return file.read(8) == b"ASTM-E57"
