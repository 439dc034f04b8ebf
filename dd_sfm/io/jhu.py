"""The sequence format of the Johns Hopkins endoscopy data: frames, poses, points, visibility and mask as text files."""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from plyfile import PlyData, PlyElement
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import PinholeCamera, camera_centres, pose_at, world_to_camera
from dd_sfm.documents import regular
from dd_sfm.errors import InputError, reason_of
from dd_sfm.io.atomic import write_bytes, write_text
from dd_sfm.io.clouds import PLY_ERRORS, read_ply
from dd_sfm.io.images import read_mask, write_mask
from dd_sfm.io.shortage import raise_if_short
from dd_sfm.ops.coordinates import from_colmap, to_colmap
from dd_sfm.ops.pixels import inside_mask

NUMBER = r"\s*([-+0-9.eE]+)"
POSITION = re.compile(rf"position:\s*x:{NUMBER}\s*y:{NUMBER}\s*z:{NUMBER}")
ORIENTATION = re.compile(rf"orientation:\s*x:{NUMBER}\s*y:{NUMBER}\s*z:{NUMBER}\s*w:{NUMBER}")


@dataclass(frozen=True)
class JHUSequence:
    """A real sequence with reference poses and points.

    ``frames``: all frame numbers; ``image_paths``: their JPEGs; ``cam_from_world``: poses (3, 4) of the registered
    frames, and ``cameras`` their cameras, in the same order; ``points`` (P, 3); ``points_seen``: per frame the points
    that it sees; ``mask`` (H, W); ``convention``: how ``motion.yaml`` was understood, found by which poses project the
    points into the mask.
    """

    folder: Path
    frames: list[int]
    image_paths: dict[int, Path]
    cam_from_world: dict[int, NDArray[np.float64]]
    cameras: dict[int, PinholeCamera]
    points: NDArray[np.float64]
    points_seen: dict[int, NDArray[np.int64]]
    mask: NDArray[np.bool_]
    convention: str


def read_sequence(folder: Path) -> JHUSequence:
    """Read a sequence.

    Raises:
        InputError: If a file is missing, does not parse or does not fit the others, or neither pose convention
            reprojects the points.
    """
    try:
        frames = _integers(folder / "selected_indexes")
        visible = _views(folder / "visible_view_indexes")
        rotations, positions = _motion(folder / "motion.yaml", len(visible))
        focal_centre = _intrinsics(folder / "camera_intrinsics_per_view", len(visible))
        points = _points(folder / "structure.ply")
        seen = _visibility(folder / "view_indexes_per_point", len(points))
        mask = read_mask(folder / "undistorted_mask.bmp")
    except (OSError, ValueError, TypeError, OverflowError, MemoryError, *PLY_ERRORS) as error:
        raise_if_short(str(folder), error)
        raise InputError(f"{folder}: not a complete JHU sequence ({reason_of(error)})") from error
    height, width = mask.shape
    cameras = {f: PinholeCamera(width, height, *v) for f, v in zip(visible, focal_centre.tolist(), strict=True)}
    candidates = {
        "world_from_cam": pose_at(rotations.transpose(0, 2, 1), positions),
        "cam_from_world": np.concatenate([rotations, positions[..., None]], 2),
    }
    shares = {name: _share_inside(poses, cameras, points, seen, mask) for name, poses in candidates.items()}
    convention = max(shares, key=lambda name: shares[name])
    if shares[convention] < 0.5:
        raise InputError(
            f"{folder}: poses do not reproject: {shares['world_from_cam']:.0%} of the points fall inside the mask with "
            f"world_from_cam, {shares['cam_from_world']:.0%} with cam_from_world; expected more than half"
        )
    return JHUSequence(
        folder,
        frames,
        {f: folder / f"{f:08d}.jpg" for f in frames},
        dict(zip(visible, candidates[convention], strict=True)),
        cameras,
        points,
        seen,
        mask,
        convention,
    )


def write_sequence(
    folder: Path,
    frames: Sequence[int],
    cam_from_world: Mapping[int, NDArray[np.float64]],
    cameras: Mapping[int, PinholeCamera],
    points: NDArray[np.float64],
    seen: tuple[NDArray[np.int64], NDArray[np.int64]],
    mask: NDArray[np.bool_],
) -> None:
    """Write all of a sequence but its JPEGs; ``motion.yaml`` holds world_from_cam.

    Args:
        folder: An existing folder.
        frames: All frame numbers, also without a pose.
        cam_from_world: Poses (3, 4) by frame number.
        cameras: Camera of each frame with a pose, by frame number.
        points: (P, 3).
        seen: Point (O,) and frame number (O,) of every observation, sorted by point.
        mask: Usable pixels (H, W).
    """
    # Three numbers a view, as in the published sequences, wherever one focal length says it all.
    posed = [cameras[frame] for frame in cam_from_world]
    focal_centre = np.array([[*c.focal, *c.principal_point] for c in posed]).reshape(-1, 4)
    square = all(camera.fx == camera.fy for camera in posed)
    values = np.concatenate([focal_centre[:, : 1 if square else 2], to_colmap(focal_centre[:, 2:])], 1)
    write_text(folder / "camera_intrinsics_per_view", _lines(f"{v:.12g}" for v in values.ravel()))
    write_text(folder / "selected_indexes", _lines(frames))
    write_text(folder / "visible_view_indexes", _lines(cam_from_world))
    write_text(folder / "motion.yaml", _motion_text(list(cam_from_world.values())))
    point, frame = seen
    starts = np.searchsorted(point, np.arange(len(points)))
    write_text(folder / "view_indexes_per_point", _lines(np.insert(frame, starts, -1).tolist()))
    # Positions alone: readers take all properties of a vertex for its coordinates.
    vertex = np.empty(len(points), [("x", "f4"), ("y", "f4"), ("z", "f4")])
    vertex["x"], vertex["y"], vertex["z"] = points.T
    buffer = io.BytesIO()
    PlyData([PlyElement.describe(vertex, "vertex")], text=True).write(buffer)
    write_bytes(folder / "structure.ply", buffer.getvalue())
    write_mask(folder / "undistorted_mask.bmp", mask)


def _lines(values: Iterable[object]) -> str:
    return "".join(f"{v}\n" for v in values)


def _motion_text(poses: list[NDArray[np.float64]]) -> str:
    parts = ["header: \n  seq: 0\n  stamp: 0.000000000\n  frame_id: \nposes[]:\n"]
    for k, pose in enumerate(poses):
        parts.append(f"  poses[{k}]: \n")
        centre = camera_centres(pose)
        quaternion = Rotation.from_matrix(pose[:, :3].T).as_quat()
        for name, axes, numbers in (("position", "xyz", centre), ("orientation", "xyzw", quaternion)):
            parts.append(f"    {name}: \n")
            parts += [f"      {axis}: {number:.15g}\n" for axis, number in zip(axes, numbers, strict=True)]
    return "".join(parts)


def _integers(path: Path) -> list[int]:
    return [int(v) for v in regular(path).read_text().split()]


def _views(path: Path) -> list[int]:
    """The frames with a pose, each once."""
    numbers = _integers(path)
    if len(set(numbers)) != len(numbers):
        twice = next(n for n in numbers if numbers.count(n) > 1)
        raise InputError(f"{path}: frame {twice} is listed twice; expected every frame once, as it has one pose")
    return numbers


def _motion(path: Path, views: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotations (V, 3, 3) and positions (V, 3) of ``motion.yaml``, whichever way they lead."""
    text = regular(path).read_text()
    positions, quaternions = POSITION.findall(text), ORIENTATION.findall(text)
    if len(positions) != views or len(quaternions) != views:
        raise InputError(f"{path}: {min(len(positions), len(quaternions))} poses; expected {views}, one a visible view")
    poses = np.concatenate([_numbers(path, positions, 3), _numbers(path, quaternions, 4)], 1)
    lengths = np.linalg.norm(poses[:, 3:], axis=1)
    damaged = np.flatnonzero(~np.isfinite(poses).all(1) | ~np.isfinite(lengths) | (lengths == 0))
    if len(damaged):
        raise InputError(
            f"{path}: pose {damaged[0]} is {_listed(poses[damaged[0]])}; expected a finite position and a quaternion "
            "other than zero"
        )
    return Rotation.from_quat(poses[:, 3:]).as_matrix(), poses[:, :3]


def _numbers(path: Path, texts: Sequence[str | tuple[str, ...]], columns: int) -> NDArray[np.float64]:
    try:
        return np.array(texts, np.float64).reshape(-1, columns)
    except ValueError as error:
        raise InputError(f"{path}: {error}; expected numbers") from error


def _listed(values: NDArray[np.float64]) -> str:
    return " ".join(f"{v:g}" for v in values)


def _points(path: Path) -> NDArray[np.float64]:
    """The points (P, 3) of ``structure.ply``."""
    content = read_ply(path)
    names = content["vertex"].data.dtype.names if "vertex" in content else ()
    if not {"x", "y", "z"} <= set(names):
        found = f"vertices of {', '.join(names)}" if names else "no vertices"
        raise InputError(f"{path}: {found}; expected vertices with x, y and z")
    vertex = content["vertex"].data
    points = np.stack([vertex["x"], vertex["y"], vertex["z"]], 1).astype(np.float64)
    damaged = np.flatnonzero(~np.isfinite(points).all(1))
    if len(damaged):
        raise InputError(f"{path}: point {damaged[0]} is {_listed(points[damaged[0]])}; expected finite numbers")
    return points


def _visibility(path: Path, points: int) -> dict[int, NDArray[np.int64]]:
    """``-1`` starts a point; the frame numbers that see it follow."""
    values = np.array(regular(path).read_text().split(), np.int64)
    point = np.cumsum(values == -1) - 1
    if len(values) and (point[0] < 0 or point[-1] >= points):
        found = f"{point[-1] + 1} points" if point[0] == 0 else f"{values[0]} first"
        raise InputError(
            f"{path}: {found}; expected at most {points} points as in structure.ply, each starting with -1"
        )
    keep = values >= 0
    frame, point = values[keep], point[keep]
    return {int(f): np.unique(point[frame == f]) for f in np.unique(frame)}


def _intrinsics(path: Path, views: int) -> NDArray[np.float64]:
    """fx, fy, cx, cy (V, 4) of the visible views, pixel centres at integers."""
    numbers = _numbers(path, regular(path).read_text().split(), 1)
    if len(numbers) == 4 * views:
        values = numbers.reshape(views, 4)
    elif len(numbers) == 3 * views:
        f, cx, cy = numbers.reshape(views, 3).T
        values = np.stack([f, f, cx, cy], 1)
    else:
        raise InputError(f"{path}: {len(numbers)} numbers for {views} views; expected 3 or 4 a view")
    damaged = np.flatnonzero(~np.isfinite(values).all(1) | (values[:, :2] <= 0).any(1))
    if len(damaged):
        raise InputError(
            f"{path}: view {damaged[0]} has {_listed(values[damaged[0]])} (fx, fy, cx, cy); expected finite numbers "
            "and focal lengths above 0"
        )
    # The values come from COLMAP-style calibrations, where the first pixel's centre is at 0.5.
    return np.concatenate([values[:, :2], from_colmap(values[:, 2:])], 1)


def _share_inside(
    poses: NDArray[Any],
    cameras: dict[int, PinholeCamera],
    points: NDArray[Any],
    seen: dict[int, NDArray[np.int64]],
    mask: NDArray[np.bool_],
) -> float:
    """Share of the visible points that a convention projects into the mask."""
    inside, total = 0, 0
    for pose, (frame, camera) in zip(poses, cameras.items(), strict=True):
        xy, _ = camera.project(world_to_camera(points[seen.get(frame, np.zeros(0, np.int64))], pose))
        total += len(xy)
        inside += int(inside_mask(mask, xy).sum())
    return inside / max(1, total)
