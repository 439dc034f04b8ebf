"""Dense search, alignment in views, planes and bundle adjustment, measured on the made-up scene."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.benchmark.limits import GATHER
from dd_sfm.benchmark.measure import Task
from dd_sfm.benchmark.scene import BenchmarkScene, disturbed_model
from dd_sfm.config import DenseConfig
from dd_sfm.mvs.depth_maps import PLANE_TOLERANCE, depth_map
from dd_sfm.mvs.kernels.depth_planes import fit_planes
from dd_sfm.mvs.kernels.slanted_patches import PATCH
from dd_sfm.mvs.views import choose_views
from dd_sfm.sfm.bundle_adjustment import bundle_adjust_counted

STEP = 4
"""Working pixels between those whose depth is searched."""
MARGIN = 0.2
"""Share of the image at each side whose pixels are left out where every view is to see the patch."""


def dense_tasks(scene: BenchmarkScene, threads: tuple[int, ...], step: int = STEP) -> list[Task]:
    """Votes of views for depths, patches aligned in a view, planes fitted, and the depth map of a frame.

    Without iterations every view votes exactly once for a pixel, and a patch is sampled exactly once: the samples are
    those of the views that saw it, and of its reference.
    """
    size = scene.images[0].shape[0]
    pixels = _grid(size, step, round(MARGIN * size))
    planes = scene.planes(pixels)
    vote, votes = _vote(scene, pixels, planes)
    align, aligned = _align(scene, pixels, planes)
    every = _grid(size, step, 0)
    side = len(range(0, size, step))
    inverse = scene.planes(every)[:, 0].reshape(side, side)
    search = partial(depth_map, scene.views, scene.reference, step, DenseConfig().min_correlation)
    fit = partial(fit_planes, inverse, np.ones_like(inverse), 2, PLANE_TOLERANCE)
    patch, views = f"{PATCH} x {PATCH}", len(choose_views(scene.views, scene.reference))
    parts: list[tuple[str, str, str, float, Any, dict[str, Any]]] = [
        ("depth", "depth search, votes", "Msamples/s", votes / 1e6, vote,
         {"bound_by": GATHER, "note": f"{patch}, {views} views"}),
        ("depth", "depth search, map of a frame", "pixels/s", inverse.size,
         search, {"note": f"{views} views"}),
        ("align", "densify, alignment in views", "Msamples/s", aligned / 1e6, align,
         {"bound_by": GATHER, "note": patch}),
        ("planes", "densify, planes", "Mcells/s", inverse.size / 1e6, fit, {"note": "5 x 5"}),
    ]  # fmt: skip
    return [
        Task(part, name, unit, amount, work, threads=count, **more)
        for part, name, unit, amount, work, more in parts
        for count in threads
    ]


def adjust_tasks(scene: BenchmarkScene, threads: int) -> list[Task]:
    """Bundle adjustment from moved cameras: every iteration linearises all observations once."""
    model = disturbed_model(scene)
    adjust = partial(bundle_adjust_counted, model, scene.frames, refine_focal=False, scale_px=1.0, threads=threads)
    iterations = adjust()[1]
    note = f"{len(model.point):,} observations, {iterations} iterations"
    amount = len(model.point) * iterations / 1e6
    return [Task("adjust", "bundle adjustment", "Mobservations/s", amount, adjust, threads=threads, note=note)]


def _vote(
    scene: BenchmarkScene, pixels: NDArray[np.float32], planes: NDArray[np.float32]
) -> tuple[Callable[[], Any], int]:
    """One vote of every view for every pixel, and the samples that it takes."""
    chosen = choose_views(scene.views, scene.reference)
    search, shown = scene.views.images.on_device((scene.reference, *chosen))
    matrices, shifts = scene.views.transfers(scene.reference, chosen)
    work = partial(search.refine, shown, matrices, shifts, pixels, planes, 1.0, 0, 0.5)
    inverse, _, correlation = work()
    seen = int((correlation > -1).sum()) + int((inverse > 0).sum())
    return work, seen * PATCH**2


def _align(
    scene: BenchmarkScene, pixels: NDArray[np.float32], planes: NDArray[np.float32]
) -> tuple[Callable[[], Any], int]:
    """Every pixel's patch looked at in its views, and the samples that it takes."""
    chosen = choose_views(scene.views, scene.reference)
    search, shown = scene.views.images.on_device((scene.reference, *chosen))
    matrices, shifts = scene.views.transfers(scene.reference, chosen)
    asked = np.ones((len(pixels), len(chosen)), bool)
    work = partial(search.align, shown, matrices, shifts, pixels, planes, asked, 0, 3.0)
    _, score = work()
    seen = score > -1
    return work, int(seen.sum() + seen.any(1).sum()) * PATCH**2


def _grid(size: int, step: int, margin: int) -> NDArray[np.float32]:
    """Pixels (N, 2), row by row."""
    rows, columns = np.mgrid[margin : size - margin : step, margin : size - margin : step]
    return np.stack([columns, rows], -1).reshape(-1, 2).astype(np.float32)
