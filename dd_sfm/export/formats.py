"""The formats that a scene can be written in: a new one is a file beside this one and a line in ``FORMATS``."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from dd_sfm.export import (
    colmap,
    colmap_depth,
    depth,
    e57,
    hloc,
    jhu,
    las,
    metashape,
    nerfstudio,
    openmvs,
    ply,
    slicer,
    splats,
    tum,
    usd,
)
from dd_sfm.io.scene import Scene

Write = Callable[..., list[str]]
"""Fills an existing, empty folder with a scene and returns what is worth knowing of it, a line each.

It is called with scene, folder and progress; a format of depth maps also with ``depth_of``.
"""


@dataclass(frozen=True)
class SingleFile:
    """A format that is one file: its name in a folder, the endings it may have, and whether an open file is one."""

    name: str
    suffixes: tuple[str, ...]
    is_one: Callable[[BinaryIO], bool]


@dataclass(frozen=True)
class Format:
    """How to write a format, and what it holds."""

    write: Write
    has_colours: bool = True
    """Whether colours of points are written: those of a sequence are then taken from its images."""
    has_points: bool = True
    """Whether points are written, beside cameras."""
    has_images: bool = False
    """Whether images are part of it, so that they need not be asked for."""
    has_depth: bool = False
    """Whether it holds depth maps, so that there is a choice of frames for them."""
    may_have_depth: bool = False
    """Whether depth maps are written beside all else where they are asked for."""
    file: SingleFile | None = None
    count_images: Callable[[Scene], int] = lambda scene: len(scene.registered)
    """How many images with a pose are written."""


FORMATS = {
    "colmap": Format(colmap.write),
    "colmap-text": Format(partial(colmap.write, text=True)),
    "jhu": Format(jhu.write, has_colours=False, has_images=True),
    "nerfstudio": Format(nerfstudio.write, has_images=True, may_have_depth=True),
    "hloc": Format(hloc.write, has_colours=False),
    "depth": Format(depth.write, has_colours=False, has_points=False, has_depth=True),
    "colmap-depth": Format(colmap_depth.write, has_images=True, has_depth=True),
    "3dgs": Format(splats.write, has_images=True),
    "openmvs": Format(openmvs.write, has_images=True),
    "metashape": Format(
        metashape.write,
        has_colours=False,
        has_points=False,
        file=SingleFile(metashape.NAME, (".xml",), metashape.is_one),
    ),
    "slicer": Format(slicer.write),
    "las": Format(las.write, file=SingleFile(las.NAME, (".las",), las.is_one)),
    "e57": Format(e57.write, file=SingleFile(e57.NAME, (".e57",), e57.is_one)),
    "usd": Format(usd.write, file=SingleFile(usd.NAME, (".usdc", ".usd"), usd.is_one)),
    "ply": Format(ply.write, file=SingleFile(ply.NAME, (".ply",), ply.is_one)),
    "tum": Format(
        tum.write,
        has_colours=False,
        has_points=False,
        file=SingleFile(tum.NAME, (".tum", ".txt"), tum.is_one),
        count_images=tum.count_poses,
    ),
}
"""The formats by the name that ``dd-sfm convert --to`` knows them by."""
