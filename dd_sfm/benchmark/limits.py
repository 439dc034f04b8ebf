"""What the machine can do at best: matrix products, interpolated reads of an image, the disk."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import grid_sample

from dd_sfm.benchmark.measure import Task
from dd_sfm.io.atomic import atomic_file
from dd_sfm.ops.compiled import Float32Array, Int64Array, compiled_for_workers, over_cores
from dd_sfm.ops.packed_image import pack_image, packed_sample

MATRIX, GATHER = "matrix product", "gather"
"""Kinds of limits; that of the matrix product is followed by the type of its numbers."""
PATCH_SIDE = 11
"""Places are read patch by patch, as the depth search does: neighbours are in the processor's cache."""


def finished(work: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """A call that returns when its work is done on the device."""
    if device.type != "cuda":
        return work

    def and_wait() -> object:
        result = work()
        torch.cuda.synchronize(device)
        return result

    return and_wait


def matrix_tasks(device: torch.device, threads: tuple[int, ...], side: int) -> list[Task]:
    """Products of square matrices of float32 and of bfloat16."""
    tasks = []
    for dtype in (torch.float32, torch.bfloat16):
        kind = str(dtype).removeprefix("torch.")
        make = torch.Generator().manual_seed(0)
        a, b = (torch.rand(side, side, generator=make).to(device, dtype) for _ in range(2))
        for count in threads:
            task = Task(
                "matrix", f"matrix product, {kind}", "GFLOP/s", 2 * side**3 / 1e9,
                finished(lambda a=a, b=b: a @ b, device),  # type: ignore[misc]
                device.type, count, bound=f"{MATRIX} {kind}", note=f"{side} x {side}",
            )  # fmt: skip
            tasks.append(task)
    return tasks


def gather_tasks(device: torch.device, threads: tuple[int, ...], origins: int) -> list[Task]:
    """An image read at fractional places, and the interpolated values summed."""
    if device.type == "cuda":
        return [_gather_on_gpu(device)]
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (500, 500)).astype(np.float32)
    x, y = _places(rng)
    corner = _origins(origins, 500 - PATCH_SIDE - 3)
    amount = len(x) * len(corner) / 1e6
    packed, sums = pack_image(image), np.empty(len(corner), np.float32)
    layouts = (
        (
            "image of float32",
            partial(over_cores, _sum_samples, len(corner), image, x, y, corner, sums),
            "four loads a sample",
        ),
        (
            "packed image",
            partial(over_cores, _sum_packed, len(corner), packed, x, y, corner, sums),
            "one load of 64 bits a sample",
        ),
    )
    return [
        Task("gather", f"gather, {name}", "Msamples/s", amount, work, threads=count, bound=GATHER, note=note)
        for name, work, note in layouts
        for count in threads
    ]


def disk_tasks(folder: Path, megabytes: int) -> list[Task]:
    """A file written to the disk, and read from it; the system's copies in memory are dropped before reading.

    Args:
        folder: A temporary folder for the file, in the folder that is measured.
        megabytes: Size of the file.
    """
    content = np.random.default_rng(0).bytes(megabytes * 1_000_000)
    path = folder / "dd-sfm-bench.bin"

    def write() -> None:
        with atomic_file(path) as partial, partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def read() -> None:
        with path.open("rb") as file:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            file.read()

    note = f"{megabytes} MB in {folder.parent}"
    return [
        Task("disk", "disk, write", "MB/s", megabytes, write, note=note, waits=True),
        Task("disk", "disk, read", "MB/s", megabytes, read, note=note, waits=True),
    ]


def _places(rng: np.random.Generator) -> tuple[Float32Array, Float32Array]:
    """Fractional places (128,) of a patch's samples relative to its corner: whole vectors of 8 or 16."""
    rows, columns = np.divmod(np.arange(128), PATCH_SIDE)
    x, y = (places + rng.uniform(0, 1, 128) for places in (columns, rows))
    return x.astype(np.float32), y.astype(np.float32)


def _origins(count: int, limit: int) -> Float32Array:
    """Corners (count, 2) of patches, row by row, each overlapping the last."""
    rows, columns = np.divmod(2 * np.arange(count), limit)
    return np.column_stack([columns, (2 * rows) % limit]).astype(np.float32)


@compiled_for_workers
def _sum_samples(
    first: int,
    last: int,
    image: Float32Array,
    x: Float32Array,
    y: Float32Array,
    corner: Float32Array,
    sums: Float32Array,
) -> None:
    """The sums (N,) of an image (H, W) at places (K,), relative to each of the corners (N, 2) in a range."""
    flat = image.ravel()
    width = np.int32(image.shape[1])
    for n in range(first, last):
        cx, cy = corner[n, 0], corner[n, 1]
        total = np.float32(0)
        for k in range(x.shape[0]):
            px, py = cx + x[k], cy + y[k]
            column, row = np.int32(px), np.int32(py)
            fx, fy = px - np.float32(column), py - np.float32(row)
            at = row * width + column
            p00, p01 = flat[at], flat[at + np.int32(1)]
            p10, p11 = flat[at + width], flat[at + width + np.int32(1)]
            top, low = p00 + (p01 - p00) * fx, p10 + (p11 - p10) * fx
            total += top + (low - top) * fy
        sums[n] = total


@compiled_for_workers
def _sum_packed(
    first: int,
    last: int,
    packed: Int64Array,
    x: Float32Array,
    y: Float32Array,
    corner: Float32Array,
    sums: Float32Array,
) -> None:
    """The same of an image as :func:`dd_sfm.ops.packed_image.pack_image` lays it out, in its steps."""
    flat = packed.ravel()
    width = np.int32(packed.shape[1])
    for n in range(first, last):
        cx, cy = corner[n, 0], corner[n, 1]
        total = np.float32(0)
        for k in range(x.shape[0]):
            px, py = cx + x[k], cy + y[k]
            column, row = np.int32(px), np.int32(py)
            fx, fy = px - np.float32(column), py - np.float32(row)
            total += packed_sample(flat[row * width + column], fx, fy)
        sums[n] = total


def _gather_on_gpu(device: torch.device) -> Task:
    """The same by torch, for places all over the image."""
    make = torch.Generator().manual_seed(0)
    image = torch.rand(1, 1, 500, 500, generator=make).to(device)
    places = (2 * torch.rand(1, 4096, 4096, 2, generator=make) - 1).to(device)

    def read() -> Any:
        return grid_sample(image, places, align_corners=True).sum()

    amount = places.numel() / 2 / 1e6
    return Task("gather", "gather, grid_sample", "Msamples/s", amount, finished(read, device), "cuda", bound=GATHER)
