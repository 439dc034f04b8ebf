"""What trainers of 3D Gaussian splatting read: images/ and sparse/0, a COLMAP model of undistorted PINHOLE cameras.

Kerbl et al., 3D Gaussian Splatting for Real-Time Radiance Field Rendering, SIGGRAPH 2023, refuse any other camera.
"""

from pathlib import Path

from dd_sfm.export import colmap
from dd_sfm.export.images import copy_image_files, need_pinhole
from dd_sfm.io.colmap_source import make_pinhole
from dd_sfm.io.scene import Scene
from dd_sfm.progress import Progress


def write(scene: Scene, folder: Path, progress: Progress) -> list[str]:
    """Write images/, masks/ where there are some, and sparse/0."""
    need_pinhole(scene, "3D Gaussian splatting")
    copy_image_files(scene, folder, progress)
    model = folder / "sparse" / "0"
    model.mkdir(parents=True)
    notes = colmap.write(scene, model, progress)
    make_pinhole(model)
    return notes
