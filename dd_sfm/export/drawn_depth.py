"""The depth of frames of a scene, drawn from its points: what the formats that hold depth share."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from dd_sfm.config import Config
from dd_sfm.errors import ConfigError, InputError
from dd_sfm.export.images import need_pinhole
from dd_sfm.io.images import read_mask
from dd_sfm.io.run_config import read_config
from dd_sfm.io.run_folder import CONFIG
from dd_sfm.io.scene import Scene, SceneImage, scene_uncertainty
from dd_sfm.mvs.depth_rendering import RenderedDepth, SurfaceDiscs
from dd_sfm.progress import Progress
from dd_sfm.sfm.point_cloud import to_cloud

DepthOf = Literal["references", "all"]
"""The frames whose depth is written: those whose depth a run has searched, or all with a pose."""
DEPTH_OF: tuple[DepthOf, ...] = get_args(DepthOf)
Kept = TypeVar("Kept")


@dataclass(frozen=True)
class DrawnFrame:
    """A frame ``position`` of a scene with its depth, 0 beyond its mask; ``usable``: pixels of the mask."""

    position: int
    drawn: RenderedDepth
    usable: int

    @property
    def coverage(self) -> float:
        """Share of the usable pixels that have a depth."""
        return float((self.drawn.depth > 0).sum() / max(self.usable, 1))


def check_depth_of(text: str, others: tuple[str, ...] = ()) -> DepthOf:
    """The frames that a word of the command line names; ``others``: words that are allowed there beside these.

    Raises:
        ConfigError: If it names none.
    """
    for name in DEPTH_OF:
        if text == name:
            return name
    raise ConfigError(f"--depth {text}: unknown; expected {', '.join([*others, *DEPTH_OF])}")


def depth_frames(scene: Scene, which: DepthOf) -> list[int]:
    """Positions of the frames whose depth is asked for.

    Raises:
        InputError: If the images have distortion, or there are no points to draw.
    """
    need_pinhole(scene, "a depth map")
    if not len(scene.model.xyz):
        raise InputError(f"{scene.source}: the model has no points; expected some, which the depth is drawn from")
    has_config = scene.run is not None and (scene.run / CONFIG).is_file()
    config = read_config(scene.run) if scene.run is not None and has_config else Config()
    return scene.registered[:: 1 if which == "all" else config.dense.every]


def draw_each(
    scene: Scene, frames: list[int], save: Callable[[DrawnFrame], Kept], progress: Progress
) -> Iterator[Kept]:
    """Draw the depth of frames and save each; the cores share the frames, no more than these are in memory at once.

    Args:
        scene: The scene.
        frames: Positions of frames with a pose.
        save: Is called by several threads at once.
        progress: Shows the frames.

    Yields:
        What ``save`` returns, in the order of the frames.
    """
    discs = SurfaceDiscs(to_cloud(scene.model, scene_uncertainty(scene)))

    def work(k: int) -> Kept:
        mask = _usable(scene.images[k])
        drawn = discs.render(scene.images[k].camera, scene.model.cam_from_world[k])
        masked = RenderedDepth(drawn.depth * mask, drawn.sigma * mask, drawn.normals * mask)
        return save(DrawnFrame(k, masked, int(mask.sum())))

    threads = torch.get_num_threads()
    waiting = progress(frames, total=len(frames), label="depth")
    with ThreadPoolExecutor(threads) as pool:
        some: list[int] = []
        for number, frame in enumerate(waiting, start=1):
            some.append(frame)
            if len(some) == threads or number == len(frames):
                yield from pool.map(work, some)
                some = []


def coverage_text(coverage: list[float]) -> str:
    """What is told of the share of pixels that have a depth."""
    share = float(np.median(coverage))
    return f"the depth of {share:.0%} of the usable pixels is known, in the median of {len(coverage)} frames"


def _usable(image: SceneImage) -> NDArray[np.bool_]:
    width, height = image.camera.size
    if image.mask_path is None:
        return np.ones((height, width), bool)
    mask = read_mask(image.mask_path)
    if mask.shape != (height, width):
        raise InputError(
            f"{image.mask_path}: {mask.shape[1]}x{mask.shape[0]} pixels; expected {width}x{height}, as the model's "
            "camera"
        )
    return mask
