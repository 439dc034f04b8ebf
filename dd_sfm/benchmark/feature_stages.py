"""Describing and matching, measured on the made-up scene."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from dd_sfm.benchmark.limits import GATHER, MATRIX, finished
from dd_sfm.benchmark.measure import Task
from dd_sfm.benchmark.scene import BenchmarkScene
from dd_sfm.config import Config
from dd_sfm.features.consensus import local_affine
from dd_sfm.features.describe import Describer
from dd_sfm.features.packed_map import PackedMap, find_basis, unpack
from dd_sfm.features.patch_alignment import align_patches
from dd_sfm.features.queries import query_points
from dd_sfm.features.view_matching import MatchView, match_view, match_views, packed_grey
from dd_sfm.ops.sampling import image_to_cell
from dd_sfm.ops.working import WorkingFrame

TARGET_OFFSET = 2
"""The reference is matched with the view so many positions after it: under 3 degrees."""


class Describing:
    """The network on a device, and views of a scene as matching gets them from a run.

    Args:
        config: The configuration that names the weights.
        device: Where the network runs.
        scene: The scene.
    """

    def __init__(self, config: Config, device: torch.device, scene: BenchmarkScene) -> None:
        self.config, self.device, self.scene = config, device, scene
        self.describer = Describer(config, device)
        self.basis = find_basis(self.describer.moment(self.frame(scene.reference)))

    @property
    def bound(self) -> str:
        """The kind of matrix product that it is made of."""
        return f"{MATRIX} {'bfloat16' if self.describer.bfloat16 else 'float32'}"

    def frame(self, position: int) -> WorkingFrame:
        """A frame of the scene, all of which is usable."""
        image = self.scene.images[position]
        return WorkingFrame(image, np.ones(image.shape[:2], bool))

    def pack(self, position: int) -> PackedMap:
        """The descriptors of a frame as they are stored."""
        return self.describer.pack(self.frame(position), self.basis)[0]

    def view(self, position: int) -> MatchView:
        """What matching needs of a frame."""
        return self.prepare(self.pack(position), position)

    def prepare(self, packed: PackedMap, position: int) -> MatchView:
        """The same from stored descriptors."""
        held = unpack(packed, self.scene.views.grid, self.device)
        image, bfloat16 = self.scene.images[position], self.describer.bfloat16
        return match_view(held.descriptors, held.usable, image, self.config.match, bfloat16=bfloat16)


def describe_tasks(describing: Describing, threads: tuple[int, ...]) -> list[Task]:
    """Frames described: on a CPU one by each thread at the same time, as a run does."""
    scene = describing.scene
    image = scene.images[scene.reference]
    with FlopCounterMode(display=False) as counter:
        describing.describer.describe(describing.frame(scene.reference))
    gflop = counter.get_total_flops() / 1e9
    note = f"{image.shape[1]} x {image.shape[0]}, {gflop:.3g} GFLOP a frame"
    return [
        Task(
            "describe", "describe", "frames/s", count,
            finished(partial(_in_threads, partial(describing.pack, scene.reference), count), describing.device),
            describing.device.type, count, bound_by=describing.bound, cost=gflop, note=note,
        )
        for count in threads
    ]  # fmt: skip


def match_tasks(describing: Describing, threads: tuple[int, ...]) -> list[Task]:
    """A pair of frames matched, and the parts that this takes."""
    config, device, scene = describing.config.match, describing.device, describing.scene
    source, target = (describing.view(scene.reference + k) for k in (0, TARGET_OFFSET))
    xy = query_points(describing.frame(scene.reference), config)
    stride = scene.views.grid.stride
    points = torch.from_numpy(xy).to(device)
    queries = source.map.sample(image_to_cell(points, stride).to(points.dtype))
    search = partial(target.map.search, queries)
    whole = partial(match_views, source, target, xy, config, stride)
    prepare = partial(describing.prepare, describing.pack(scene.reference), scene.reference)
    found = whole()
    xy0, xy1 = xy[found.index.cpu().numpy()], found.xy.cpu().numpy()
    similarities, note = _similarities(len(xy), describing)
    cost = 2 * queries.shape[1] / 1e3
    affine = np.tile(np.eye(2), (len(xy0), 1, 1))
    patches = partial(
        align_patches, source.image, target.image, torch.from_numpy(xy0), torch.from_numpy(xy1), affine,
        radius=config.patch_radius_px,
    )  # fmt: skip
    of_search = {"bound_by": describing.bound, "cost": cost, "note": note}
    parts: list[tuple[str, str, float, Any, dict[str, Any]]] = [
        ("view prepared", "frames/s", 1, prepare, {}),
        ("search", "Msimilarities/s", similarities / 1e6, search, of_search),
        ("neighbours", "matches/s", len(xy0), partial(local_affine, xy0, xy1), {}),
        ("patches", "matches/s", len(xy0), patches, {}),
        ("whole pair", "matches/s", len(xy0), whole, {"note": f"{len(xy0)} matches of {len(xy)} points"}),
    ]
    if device.type == "cuda":
        # The others are the CPU's there, too.
        parts = [part for part in parts if part[0] not in ("neighbours", "patches")]
    return [
        Task(
            "match", f"match, {name}", unit, amount * count,
            finished(partial(_in_threads, work, count), device), device.type, count, **more,
        )
        for name, unit, amount, work, more in parts
        for count in threads
    ]  # fmt: skip


def patch_tasks(scene: BenchmarkScene, config: Config, threads: tuple[int, ...], points: int) -> list[Task]:
    """Patches aligned between two frames in a single step: each is sampled once in the source and in the target."""
    radius = config.match.patch_radius_px
    side, size = 2 * radius + 1, scene.images[0].shape[0]
    xy = np.random.default_rng(2).uniform(side, size - 1 - side, (points, 2)).astype(np.float32)
    source, target = (packed_grey(scene.images[scene.reference + k]) for k in (0, 1))
    places = torch.from_numpy(xy)
    affine = np.tile(np.eye(2), (points, 1, 1))
    work = partial(align_patches, source, target, places, places, affine, radius=radius, iterations=1)
    samples = 2 * points * side**2
    return [
        Task(
            "align", "match, alignment of patches", "Msamples/s", samples * count / 1e6,
            partial(_in_threads, work, count), threads=count, bound_by=GATHER, note=f"{side} x {side}",
        )
        for count in threads
    ]  # fmt: skip


def _similarities(queries: int, describing: Describing) -> tuple[int, str]:
    """Similarities that the matrix product of a search makes, and how it searches. All cells are usable."""
    grid = describing.scene.views.grid
    height, width = grid.height // grid.stride, grid.width // grid.stride
    search = describing.config.match.search
    if search == "exhaustive" or (search == "auto" and describing.device.type == "cuda"):
        return queries * height * width, "every cell"
    coarse = len(range(1, height, 4)) * len(range(1, width, 4))
    return queries * coarse, "every 4th cell along both axes, then around the best"


def _in_threads(work: Any, count: int) -> None:
    """Do the same work once in each of so many threads, with one thread of torch each."""
    if count == 1:
        work()
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda _: work(), range(count)))
    finally:
        torch.set_num_threads(before)
