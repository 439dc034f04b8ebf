"""Pairs of frames from a reconstruction: its points, projected, are the correspondences (the paper's supervision)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera, world_to_camera
from dd_sfm.errors import InputError
from dd_sfm.io.images import read_image, read_mask
from dd_sfm.ops.pixels import inside_mask
from dd_sfm.ops.spread import spread_positions
from dd_sfm.ops.working import field_grid, working_image, working_mask
from dd_sfm.structures import WorkingGrid
from dd_sfm.training.config import TrainConfig
from dd_sfm.training.sources.cache import Cache
from dd_sfm.training.sources.frames import WorkingFrames, store_frames
from dd_sfm.training.sources.pair_sample import PairSample, log_uniform_gap
from dd_sfm.training.sources.spec import DataPath
from dd_sfm.training.sources.structure import Structure, read_structure
from dd_sfm.training.sources.unposed import FindFieldOfView


@dataclass(frozen=True)
class PosedFrames:
    """Working frames with poses ``cam_from_world`` (N, 3, 4), ``cameras`` of the working images, ``xyz`` (P, 3), and
    the points ``seen`` in each.
    """  # fmt: skip

    frames: WorkingFrames
    cam_from_world: NDArray[np.float64]
    cameras: tuple[PinholeCamera, ...]
    xyz: NDArray[np.float64]
    seen: tuple[NDArray[np.int64], ...]

    def project(self, points: NDArray[np.int64], k: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Working pixels (N, 2), NaN behind the camera, and depths (N,) of points in frame k."""
        return self.cameras[k].project(world_to_camera(self.xyz[points], self.cam_from_world[k]))


class PosedSource:
    """Pairs of a reconstruction."""

    def __init__(self, posed: PosedFrames, gaps: tuple[int, int], note: str = "") -> None:
        self.posed, self.frames, self.gaps, self.note = posed, posed.frames, gaps, note

    def draw(self, rng: np.random.Generator, gap: int | None = None) -> PairSample:
        """A pair at a log-uniform gap, in either order; without points where no frames are so far apart."""
        count = len(self.frames)
        if gap is not None and gap >= count:
            return _no_points(self.frames)
        gap = min(gap or log_uniform_gap(rng, self.gaps), count - 1)
        i = int(rng.integers(count - gap))
        i, j = (i, i + gap) if rng.random() < 0.5 else (i + gap, i)
        common = np.intersect1d(self.posed.seen[i], self.posed.seen[j], assume_unique=True)
        xy0, xy1 = self.posed.project(common, i)[0], self.posed.project(common, j)[0]
        mask0, mask1 = self.frames.mask(i), self.frames.mask(j)
        ok = inside_mask(mask0, xy0) & inside_mask(mask1, xy1)
        return PairSample(self.frames.image(i), self.frames.image(j), mask0, mask1, xy0[ok], xy1[ok])


def _no_points(frames: WorkingFrames) -> PairSample:
    image, mask, empty = frames.image(0), frames.mask(0), np.zeros((0, 2))
    return PairSample(image, image, mask, mask, empty, empty)


def open_posed(data: DataPath, config: TrainConfig, find_field_of_view: FindFieldOfView, cache: Cache) -> PosedSource:
    """Prepare a JHU sequence, a COLMAP model with images or a run folder.

    Raises:
        InputError: If it cannot be read, or fewer than 2 frames with a pose lie in the range.
    """
    structure = read_structure(data.path)
    last = np.inf if data.last is None else data.last
    chosen = np.flatnonzero((structure.positions >= data.first) & (structure.positions <= last))
    if len(chosen) < 2:
        raise InputError(f"{data.label}: {len(chosen)} frames with a pose in the range; expected at least 2")
    note = structure.note
    if len(chosen) > config.max_frames:
        # Thinned, gaps would mean something else: the beginning is taken as it is.
        note += f"; the first {config.max_frames} of {len(chosen)} (max_frames)"
        chosen = chosen[: config.max_frames]
    settings = [config.working_height_px, config.visibility_spread, config.inlier_share, config.max_points_per_frame]
    key = cache.key(
        [*structure.paths, *structure.mask_paths],
        [structure.cam_from_world, _intrinsics(structure.cameras), structure.xyz, *structure.seen, chosen],
        [*settings, config.memory_mb],
    )
    held = cache.load(key)
    posed = _from_arrays(held) if held else _prepare(structure, chosen, config, find_field_of_view)
    if not held:
        cache.save(key, _to_arrays(posed))
    return PosedSource(posed, config.gaps, note)


def _prepare(
    structure: Structure, chosen: NDArray[np.int64], config: TrainConfig, find_field_of_view: FindFieldOfView
) -> PosedFrames:
    masks = _source_masks(structure, chosen, find_field_of_view)
    grid = field_grid(np.logical_or.reduce(masks), config.working_height_px, where=structure.name)
    frames = store_frames(
        structure.name,
        tuple(structure.numbers[k] for k in chosen),
        _images(structure, chosen, grid),
        (working_mask(m, grid) for m in masks),
        config.memory_mb,
    )
    seen = _smooth(structure, chosen, config.visibility_spread)
    cameras = tuple(grid.camera(structure.cameras[k]) for k in chosen)
    posed = PosedFrames(frames, structure.cam_from_world[chosen], cameras, structure.xyz, seen)
    if config.inlier_share < 1:
        good = plausible_points(posed, config.inlier_share)
        posed = _with_seen(posed, tuple(s[good[s]] for s in seen))
    return _capped(posed, config.max_points_per_frame)


def _source_masks(
    structure: Structure, chosen: NDArray[np.int64], find_field_of_view: FindFieldOfView
) -> list[NDArray[np.bool_]]:
    """One mask for all frames, or one each."""
    width, height = structure.size
    if not structure.mask_paths:
        spread = chosen[spread_positions(len(chosen), 16)]
        masks = [find_field_of_view([read_image(structure.paths[k]) for k in spread], structure.name)]
    elif len(structure.mask_paths) == 1:
        masks = [read_mask(structure.mask_paths[0])]
    else:
        masks = [read_mask(structure.mask_paths[k]) for k in chosen]
    for mask in masks:
        if mask.shape != (height, width):
            raise InputError(
                f"{structure.name}: a mask of {mask.shape[1]}x{mask.shape[0]} pixels; expected {width}x{height}, "
                "as the camera"
            )
    return masks


def _images(structure: Structure, chosen: NDArray[np.int64], grid: WorkingGrid) -> Iterator[NDArray[Any]]:
    width, height = structure.size
    for k in chosen:
        image = read_image(structure.paths[k])
        if image.shape[:2] != (height, width):
            raise InputError(
                f"{structure.paths[k]}: {image.shape[1]}x{image.shape[0]} pixels; expected {width}x{height}, as the "
                "camera"
            )
        yield working_image(image, grid)


def _smooth(structure: Structure, chosen: NDArray[np.int64], spread: int) -> tuple[NDArray[np.int64], ...]:
    """What a frame or one near it sees: reconstructions list only the views that a detector found again."""
    numbers = np.array(structure.numbers)
    found = []
    for k in chosen:
        near = np.flatnonzero(np.abs(numbers - numbers[k]) <= spread)
        found.append(np.unique(np.concatenate([structure.seen[n] for n in near])))
    return tuple(found)


def plausible_points(posed: PosedFrames, share: float) -> NDArray[np.bool_]:
    """Which points (P,) have the brightness that their depth asks for.

    A scope carries its light, so brightness times squared depth is much the same over a frame (Liu et al., CVPR 2020,
    supplement). Per frame the narrowest range that holds ``share`` of its points is taken as usual; a point outside it
    in half of its frames or more is dropped.
    """
    odd, total = np.zeros(len(posed.xyz), np.int64), np.zeros(len(posed.xyz), np.int64)
    for k, seen in enumerate(posed.seen):
        xy, depth = posed.project(seen, k)
        inside = inside_mask(posed.frames.mask(k), xy)
        if inside.sum() < 2:
            continue
        value = cv2.GaussianBlur(posed.frames.image(k), (0, 0), 1.5).max(2).astype(np.float64)
        cell = np.round(xy[inside]).astype(np.int64)
        energy = value[cell[:, 1], cell[:, 0]] * depth[inside] ** 2
        low, high = narrowest_range(energy, share)
        points = seen[inside]
        total[points] += 1
        odd[points[(energy < low) | (energy > high)]] += 1
    return (total == 0) | (2 * odd < total)


def narrowest_range(values: NDArray[Any], share: float) -> tuple[float, float]:
    """The narrowest interval that holds at least ``share`` of values (N,)."""
    ordered = np.sort(values)
    count = min(len(ordered), max(1, int(np.ceil(share * len(ordered)))))
    widths = ordered[count - 1 :] - ordered[: len(ordered) - count + 1]
    start = int(np.argmin(widths))
    return float(ordered[start]), float(ordered[start + count - 1])


def _capped(posed: PosedFrames, most: int) -> PosedFrames:
    """At most so many points a frame: the same random ones everywhere, so that frames still share them."""
    rank = np.random.default_rng(0).permutation(len(posed.xyz))
    return _with_seen(posed, tuple(np.sort(s[np.argsort(rank[s])[:most]]) for s in posed.seen))


def _with_seen(posed: PosedFrames, seen: tuple[NDArray[np.int64], ...]) -> PosedFrames:
    """The same frames; only points that are seen are held."""
    used = np.unique(np.concatenate(seen)) if seen else np.zeros(0, np.int64)
    return PosedFrames(
        posed.frames,
        posed.cam_from_world,
        posed.cameras,
        posed.xyz[used],
        tuple(np.searchsorted(used, s) for s in seen),
    )


def _intrinsics(cameras: tuple[PinholeCamera, ...]) -> NDArray[np.float64]:
    """fx, fy, cx, cy (N, 4)."""
    return np.array([[*camera.focal, *camera.principal_point] for camera in cameras]).reshape(-1, 4)


def _to_arrays(posed: PosedFrames) -> dict[str, Any]:
    return {
        "frames": posed.frames,
        "cam_from_world": posed.cam_from_world,
        "intrinsics": _intrinsics(posed.cameras),
        "xyz": posed.xyz,
        "seen": np.concatenate(posed.seen),
        "seen_ends": np.cumsum([len(s) for s in posed.seen]),
    }


def _from_arrays(arrays: dict[str, Any]) -> PosedFrames:
    height, width = arrays["frames"].shape
    cameras = tuple(PinholeCamera(width, height, *values) for values in arrays["intrinsics"].tolist())
    seen = tuple(np.split(arrays["seen"], arrays["seen_ends"][:-1]))
    return PosedFrames(arrays["frames"], arrays["cam_from_world"], cameras, arrays["xyz"], seen)
