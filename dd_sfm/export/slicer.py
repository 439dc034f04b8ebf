"""For 3D Slicer: the cloud and the camera path as VTK's PolyData (.vtp), and a transform to move them by.

Slicer's own axes point right, anterior and superior; ``SPACE=LPS`` and the names below tell nothing of the patient: the
axes are those of the reconstruction, until a registration brings it onto an image.
"""

from pathlib import Path

import numpy as np

from dd_sfm.cameras import inverse_pose
from dd_sfm.export.points import scene_points, unit_of
from dd_sfm.io.atomic import write_text
from dd_sfm.io.scene import Scene
from dd_sfm.io.transforms import itk_text
from dd_sfm.io.vtp import write_polydata
from dd_sfm.progress import Progress

CLOUD, PATH, TRANSFORM = "points.vtp", "cameras.vtp", "transform.tfm"


def write(scene: Scene, folder: Path, progress: Progress) -> list[str]:
    """Write points.vtp with an array a column, cameras.vtp, a line with frame numbers and view directions, and
    transform.tfm: the identity, a linear transform for the user to change in Slicer, or to replace by a registration.
    """  # fmt: skip
    points = scene_points(scene)
    columns = dict(points.columns)
    normals = np.column_stack([columns.pop(name) for name in ("nx", "ny", "nz")])
    texts = {name: str(value) for name, value in unit_of(scene).items()}
    arrays = {"Colour": points.cloud.rgb, "Normals": normals, **columns}
    write_polydata(folder / CLOUD, points.cloud.xyz, arrays, texts=texts)
    back = inverse_pose(np.stack([scene.model.cam_from_world[k] for k in scene.registered]))
    arrays = {
        "frame": np.array([scene.images[k].number for k in scene.registered], np.int64),
        "view_direction": back[:, :, 2].astype(np.float32),
    }
    write_polydata(folder / PATH, back[:, :, 3], arrays, texts=texts, as_line=True)
    write_text(folder / TRANSFORM, itk_text(np.eye(4)))
    unknown = [] if scene.metric else ["Slicer takes lengths for mm, and the unit is arbitrary: give it with --scale"]
    return [*points.notes, *unknown]
