"""Describing and matching, measured on the made-up scene."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from dd_sfm.benchmark.limits import GATHER, MATRIX, finished
from dd_sfm.benchmark.measure import Task
from dd_sfm.benchmark.scene import BenchmarkScene
from dd_sfm.config import Config
from dd_sfm.features.consensus import local_affine
from dd_sfm.features.describe import describe_image, descriptor_map, use_bfloat16
from dd_sfm.features.patch_alignment import align_patches
from dd_sfm.features.queries import query_points
from dd_sfm.features.view_matching import MatchView, match_view, match_views, packed_grey
from dd_sfm.features.weights import load_weights
from dd_sfm.ops.sampling import image_to_cell
from dd_sfm.ops.working import WorkingFrame

TARGET_OFFSET = 2
"""The reference is matched with the view so many positions after it: under 3 degrees."""


@dataclass(frozen=True)
class Describing:
    """The network on a device, and how it runs there."""

    network: torch.nn.Module
    device: torch.device
    bfloat16: bool
    config: Config

    @classmethod
    def load(cls, config: Config, device: torch.device) -> "Describing":
        """The network that the configuration names."""
        network = load_weights(config.describe.weights, device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cls(network, device, use_bfloat16(config, device), config)

    @property
    def bound(self) -> str:
        """The kind of matrix product that it is made of."""
        return f"{MATRIX} {'bfloat16' if self.bfloat16 else 'float32'}"

    def describe(self, image: NDArray[np.uint8]) -> Tensor:
        """Descriptors of an image, on the device."""
        return describe_image(self.network, image, self.device, bfloat16=self.bfloat16)

    def view(self, scene: BenchmarkScene, position: int) -> MatchView:
        """What matching needs of a frame of the scene."""
        image = scene.images[position]
        mask = np.ones(image.shape[:2], bool)
        held = descriptor_map(self.describe(image), mask, scene.views.grid)
        return match_view(held.descriptors, held.usable, image, self.config.match, bfloat16=self.bfloat16)


def describe_tasks(scene: BenchmarkScene, describing: Describing, threads: tuple[int, ...]) -> list[Task]:
    """Frames described: on a CPU one by each thread at the same time, as a run does."""
    image = scene.images[scene.reference]
    with FlopCounterMode(display=False) as counter:
        describing.describe(image)
    gflop = counter.get_total_flops() / 1e9
    note = f"{image.shape[1]} x {image.shape[0]}, {gflop:.3g} GFLOP a frame"
    return [
        Task(
            "describe", "describe", "frames/s", count,
            finished(partial(_in_threads, partial(describing.describe, image), count), describing.device),
            describing.device.type, count, bound_by=describing.bound, cost=gflop, note=note,
        )
        for count in threads
    ]  # fmt: skip


def match_tasks(scene: BenchmarkScene, describing: Describing, threads: tuple[int, ...]) -> list[Task]:
    """A pair of frames matched, and the parts that this takes."""
    config, device = describing.config.match, describing.device
    source, target = (describing.view(scene, scene.reference + k) for k in (0, TARGET_OFFSET))
    image = scene.images[scene.reference]
    xy = query_points(WorkingFrame(image, np.ones(image.shape[:2], bool)), config)
    stride = scene.views.grid.stride
    points = torch.from_numpy(xy).to(device)
    queries = source.map.sample(image_to_cell(points, stride).to(points.dtype))
    search = partial(target.map.search, queries)
    whole = partial(match_views, source, target, xy, config, stride)
    found = whole()
    xy0, xy1 = xy[found.index.cpu().numpy()], found.xy.cpu().numpy()
    similarities, note = _similarities(len(xy), (image.shape[0] // stride, image.shape[1] // stride), describing)
    cost = 2 * queries.shape[1] / 1e3
    affine = np.tile(np.eye(2), (len(xy0), 1, 1))
    patches = partial(
        align_patches, source.image, target.image, torch.from_numpy(xy0), torch.from_numpy(xy1), affine,
        radius=config.patch_radius_px,
    )  # fmt: skip
    parts: list[tuple[str, str, float, Any, dict[str, Any]]] = [
        (
            "search",
            "Msimilarities/s",
            similarities / 1e6,
            search,
            {"bound_by": describing.bound, "cost": cost, "note": note},
        ),
        ("neighbours", "matches/s", len(xy0), partial(local_affine, xy0, xy1), {}),
        ("patches", "matches/s", len(xy0), patches, {}),
        ("whole pair", "matches/s", len(xy0), whole, {"note": f"{len(xy0)} matches of {len(xy)} points"}),
    ]
    if device.type == "cuda":
        # The others are the CPU's there, too.
        parts = [part for part in parts if part[0] in ("search", "whole pair")]
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


def _similarities(queries: int, cells: tuple[int, int], describing: Describing) -> tuple[int, str]:
    """Similarities that the matrix product of a search makes, and how it searches."""
    search = describing.config.match.search
    exhaustive = search == "exhaustive" or (search == "auto" and describing.device.type == "cuda")
    if exhaustive:
        return queries * cells[0] * cells[1], "every usable cell"
    # The coarse search looks at every 4th cell along both axes.
    return queries * len(range(1, cells[0], 4)) * len(
        range(1, cells[1], 4)
    ), "every 4th cell along both axes, then around the best"


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
