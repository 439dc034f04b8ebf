"""A dense workspace of COLMAP: undistorted images, the model, and depth and normal maps as stereo fusion reads them.

A map is ``WIDTH&HEIGHT&CHANNELS&``, then float32, channel by channel, row by row; depths that are 0 are not known.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dd_sfm.export import colmap
from dd_sfm.export.drawn_depth import DepthOf, DrawnFrame, coverage_text, depth_frames, draw_each
from dd_sfm.export.images import copy_image, need_images, place_below
from dd_sfm.io.atomic import write_text
from dd_sfm.io.scene import Scene
from dd_sfm.progress import Progress


def write(scene: Scene, folder: Path, progress: Progress, *, depth_of: DepthOf = "references") -> list[str]:
    """Write images/, sparse/ and stereo/ with depth_maps/ and normal_maps/ of the kind ``geometric``."""
    frames = depth_frames(scene, depth_of)
    posed = [scene.images[k] for k in scene.registered]
    need_images(scene, posed)
    for image in posed:
        copy_image(image, folder)
    (folder / "sparse").mkdir()
    notes = colmap.write(scene, folder / "sparse", progress)
    stereo = folder / "stereo"

    def save(frame: DrawnFrame) -> float:
        name = f"{scene.images[frame.position].name}.geometric.bin"
        write_map(place_below(stereo / "depth_maps", name), frame.drawn.depth[None])
        write_map(place_below(stereo / "normal_maps", name), frame.drawn.normals)
        return frame.coverage

    coverage = list(draw_each(scene, frames, save, progress))
    names = [scene.images[k].name for k in frames]
    write_text(stereo / "fusion.cfg", "".join(f"{name}\n" for name in names))
    write_text(stereo / "patch-match.cfg", "".join(f"{name}\n__auto__, 20\n" for name in names))
    return [*notes, coverage_text(coverage)]


def write_map(path: Path, values: NDArray[np.float32]) -> None:
    """Write a map (C, H, W)."""
    channels, height, width = values.shape
    path.write_bytes(f"{width}&{height}&{channels}&".encode() + values.astype("<f4").tobytes())
