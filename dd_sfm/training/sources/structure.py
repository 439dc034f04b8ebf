"""Reconstructions to train on: JHU sequences, COLMAP models with images, and run folders, read alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera, inverse_pose, world_to_camera
from dd_sfm.errors import InputError, listed
from dd_sfm.io.jhu import read_sequence
from dd_sfm.io.scene import Scene, open_scene, undistorted_size


@dataclass(frozen=True)
class Structure:
    """Frames with poses, and the points that they see.

    ``positions`` (N,): which of the source's frames they are, counted as FIRST-LAST counts; ``numbers`` and ``paths``
    of the frames; ``mask_paths``: empty, one for all, or one a frame; ``size`` (width, height); ``cam_from_world``
    (N, 3, 4) and ``cameras`` of the frames; ``xyz`` (P, 3); ``seen``: points that each frame sees; ``note``: how the
    poses were understood.
    """

    name: str
    positions: NDArray[np.int64]
    numbers: tuple[int, ...]
    paths: tuple[Path, ...]
    mask_paths: tuple[Path, ...]
    size: tuple[int, int]
    cam_from_world: NDArray[np.float64]
    cameras: tuple[PinholeCamera, ...]
    xyz: NDArray[np.float64]
    seen: tuple[NDArray[np.int64], ...]
    note: str


def read_structure(folder: Path) -> Structure:
    """Read a JHU sequence (motion.yaml), a COLMAP model with its images, or a run folder.

    Raises:
        InputError: If it is damaged, an image is missing, its lens has distortion, or its poses do not reproject.
    """
    found = _from_jhu(folder) if (folder / "motion.yaml").is_file() else _from_scene(open_scene(folder))
    missing = [p.name for p in found.paths if not p.is_file()]
    if missing:
        raise InputError(
            f"{folder}: {len(missing)} of {len(found.paths)} frames with a pose are missing "
            f"({listed(missing, 3)}); expected them beside the poses (JHU), or in images/ or frames/ (COLMAP, run)"
        )
    return found


def _from_jhu(folder: Path) -> Structure:
    read = read_sequence(folder)
    registered = [f for f in read.frames if f in read.cam_from_world]
    empty = np.zeros(0, np.int64)
    return Structure(
        folder.name,
        np.array([k for k, f in enumerate(read.frames) if f in read.cam_from_world], np.int64),
        tuple(registered),
        tuple(read.image_paths[f] for f in registered),
        (folder / "undistorted_mask.bmp",),
        (read.mask.shape[1], read.mask.shape[0]),
        np.stack([read.cam_from_world[f] for f in registered]) if registered else np.zeros((0, 3, 4)),
        tuple(read.cameras[f] for f in registered),
        read.points,
        tuple(read.points_seen.get(f, empty) for f in registered),
        f"poses are {read.convention}",
    )


def _from_scene(scene: Scene) -> Structure:
    registered = scene.registered
    images = [scene.images[k] for k in registered]
    size = undistorted_size(scene)
    model = scene.model
    order = np.argsort(model.frame, kind="stable")
    starts = np.searchsorted(model.frame[order], np.arange(len(scene.images) + 1))
    seen = tuple(np.unique(model.point[order[starts[k] : starts[k + 1]]]) for k in registered)
    cameras = tuple(i.camera for i in images)
    poses = np.stack([model.cam_from_world[k] for k in registered])
    row = np.full(len(scene.images), -1)
    row[registered] = np.arange(len(registered))
    posed = np.flatnonzero(row[model.frame] >= 0)
    observations = row[model.frame[posed]], model.point[posed], model.xy[posed]
    poses, note = _check_convention(scene.source, poses, cameras, model.xyz, observations, size)
    masks = [i.mask_path for i in images if i.mask_path is not None]
    field = (scene.field_mask,) if scene.field_mask else ()
    return Structure(
        scene.source.resolve().name,
        np.arange(len(registered)),
        tuple(i.number for i in images),
        tuple(i.path or Path(i.name) for i in images),
        tuple(masks) if len(masks) == len(images) else field,
        size,
        poses,
        cameras,
        model.xyz,
        seen,
        note,
    )


def _check_convention(
    where: Path,
    poses: NDArray[Any],
    cameras: Sequence[PinholeCamera],
    xyz: NDArray[Any],
    observations: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    size: tuple[int, int],
) -> tuple[NDArray[Any], str]:
    """The poses as cam_from_world, whichever way the model holds them, and what was found."""
    row, point, xy = observations
    if len(row) < 16:
        raise InputError(f"{where}: {len(row)} observations of points; expected a model with points that images see")
    chosen = np.random.default_rng(0).permutation(len(row))[:5000]
    row, point, xy = row[chosen], point[chosen], xy[chosen]
    used = np.unique(row)
    inverse = inverse_pose(poses)
    limit = 0.02 * size[1]
    shares = {}
    for name, candidate in (("cam_from_world", poses), ("world_from_cam", inverse)):
        local = world_to_camera(xyz[point], candidate[row])
        error = np.full(len(row), np.nan)
        for k in used:
            own = row == k
            error[own] = np.linalg.norm(cameras[k].project(local[own])[0] - xy[own], axis=1)
        shares[name] = float((np.nan_to_num(error, nan=np.inf) < limit).mean())
    best = max(shares, key=lambda name: shares[name])
    if shares[best] < 0.5:
        raise InputError(
            f"{where}: poses do not reproject: {shares['cam_from_world']:.0%} of the observations lie within "
            f"{limit:.0f} px of their point with cam_from_world, {shares['world_from_cam']:.0%} with world_from_cam; "
            "expected more than half"
        )
    return (poses if best == "cam_from_world" else inverse), f"poses are {best}"
