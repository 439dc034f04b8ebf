"""COLMAP's model, binary or text."""

from pathlib import Path
from tempfile import TemporaryDirectory

from dd_sfm.export.images import PROJECTED, frame_set
from dd_sfm.io.colmap_model import write_model
from dd_sfm.io.colmap_source import rewrite_model
from dd_sfm.io.scene import Scene
from dd_sfm.progress import Progress


def write(scene: Scene, folder: Path, progress: Progress, *, text: bool = False) -> list[str]:
    """Write the model: that of a run or of COLMAP with all that it holds, else one made of the sequence."""
    if scene.model_folder is not None:
        rewrite_model(scene.model_folder, folder, text=text, scale=scene.factor)
        return []
    cameras = {k: scene.images[k].camera for k in scene.registered}
    with TemporaryDirectory() as scratch:
        write_model(Path(scratch), scene.model, frame_set(scene), cameras)
        rewrite_model(Path(scratch), folder, text=text)
    return [PROJECTED]
