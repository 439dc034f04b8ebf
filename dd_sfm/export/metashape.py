"""Cameras as Agisoft Metashape imports them (File, Import, Import Cameras: Agisoft XML), and nerfstudio too.

A camera's transform is world_from_cam with axes right, down and forward; the principal point is told from the centre of
the image, and fx as f + b1. Cameras are found by their labels, the names of the images without ending.
"""

import re
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from xml.etree import ElementTree

import numpy as np

from dd_sfm.cameras import PinholeCamera, inverse_pose
from dd_sfm.errors import one_line
from dd_sfm.export.images import need_pinhole
from dd_sfm.export.points import unit_of
from dd_sfm.io.atomic import write_bytes
from dd_sfm.io.scene import Scene
from dd_sfm.ops.coordinates import to_colmap
from dd_sfm.progress import Progress

NAME = "cameras.xml"


def write(scene: Scene, folder: Path, progress: Progress) -> list[str]:
    """Write cameras.xml: a sensor for every camera, and every image with a pose."""
    need_pinhole(scene, "Metashape's undistorted images")
    root = ElementTree.Element("document", version="2.0.0")
    texts = "; ".join(f"{name}: {value}" for name, value in unit_of(scene).items())
    root.append(ElementTree.Comment(comment_text(f"dd-sfm; {texts}")))
    chunk = ElementTree.SubElement(root, "chunk", label="dd-sfm", enabled="true")
    used = [scene.images[k] for k in scene.registered]
    lenses = list(dict.fromkeys(image.camera for image in used))
    sensors = ElementTree.SubElement(chunk, "sensors", next_id=str(len(lenses)))
    for number, lens in enumerate(lenses):
        _add_sensor(sensors, number, lens)
    ids = " ".join(str(number) for number in range(len(used)))
    components = ElementTree.SubElement(chunk, "components", next_id="1", active_id="0")
    component = ElementTree.SubElement(components, "component", id="0", label="Component 1")
    ElementTree.SubElement(ElementTree.SubElement(component, "partition"), "camera_ids").text = ids
    cameras = ElementTree.SubElement(chunk, "cameras", next_id=str(len(used)), next_group_id="0")
    for number, (k, image) in enumerate(zip(scene.registered, used, strict=True)):
        label = str(PurePosixPath(image.name).with_suffix(""))
        sensor = str(lenses.index(image.camera))
        names = {"id": str(number), "sensor_id": sensor, "component_id": "0", "label": label}
        camera = ElementTree.SubElement(cameras, "camera", names)
        back = np.vstack([inverse_pose(scene.model.cam_from_world[k]), [0, 0, 0, 1]])
        ElementTree.SubElement(camera, "transform").text = " ".join(f"{value:.17g}" for value in back.ravel())
        ElementTree.SubElement(camera, "orientation").text = "1"
    ElementTree.indent(root)
    write_bytes(folder / NAME, b'<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root) + b"\n")
    return []


def comment_text(text: str) -> str:
    """A text as a comment of XML may hold it: on one line, no two hyphens in a row, and none at the end."""
    return f" {re.sub('-(?=-)', '- ', one_line(text))} "


def _add_sensor(sensors: ElementTree.Element, number: int, camera: PinholeCamera) -> None:
    size = {"width": str(camera.width), "height": str(camera.height)}
    sensor = ElementTree.SubElement(sensors, "sensor", id=str(number), label=f"undistorted {number}", type="frame")
    ElementTree.SubElement(sensor, "resolution", size)
    calibration = ElementTree.SubElement(sensor, "calibration", {"type": "frame", "class": "adjusted"})
    ElementTree.SubElement(calibration, "resolution", size)
    cx, cy = to_colmap(camera.principal_point) - np.array(camera.size) / 2
    values = {"f": camera.fy, "cx": cx, "cy": cy, "b1": camera.fx - camera.fy}
    for name, value in values.items():
        ElementTree.SubElement(calibration, name).text = f"{float(value):.17g}"


def is_one(file: BinaryIO) -> bool:
    """Whether an open file is a Metashape document."""
    return b"<document" in file.read(512)
