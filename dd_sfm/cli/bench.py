"""dd-sfm bench."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.output_checks import check_output_file

if TYPE_CHECKING:
    import torch

SECONDS = 3.0
"""Seconds that each part is measured for."""


def bench(
    out: Annotated[Path | None, typer.Option("--output", "-o", help="JSON file to write.", show_default=False)] = None,
    size: Annotated[int, typer.Option(min=64, help="Side of the described image in working pixels.")] = 500,
    device: o.Device = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    debug: o.Debug = False,
) -> None:
    """Measure throughput: describing, matching, rendering, each on one core (or the GPU).

    The first line is the machine's own limit, a large matrix product; matching is given as its share of it, with the
    work that an exhaustive search would be.

    Example: dd-sfm bench -o bench.json
    """
    import torch

    from dd_sfm.config import RuntimeConfig, load_config
    from dd_sfm.io.atomic import write_json
    from dd_sfm.runtime import resolve_device

    if out is not None:
        check_output_file(out, (".json",), overwrite=overwrite)
    on = resolve_device(load_config(RuntimeConfig, options=o.given_options({"device": device})))
    torch.set_num_threads(1)
    figures: dict[str, Any] = {"device": str(on)}
    with torch.inference_mode():
        figures |= _limit(on) | _describe(on, size) | _match(on, size)
    figures |= _render()
    limit = figures["matrix_product_gflops"]
    figures["match_share_of_limit"] = round(figures["match_gflops"] / limit, 3)
    for name, value in figures.items():
        print(f"{name:<36} {value}")
    if out is not None:
        write_json(out, figures)


def _rate(work: Callable[[], Any], on: "torch.device | None" = None) -> float:
    """Calls per second, after one call to warm up."""
    import torch

    def finish() -> None:
        if on is not None and on.type == "cuda":
            torch.cuda.synchronize()

    work()
    finish()
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        work()
        finish()
        count += 1
    return count / (time.perf_counter() - started)


def _limit(on: "torch.device") -> dict[str, Any]:
    import torch

    a, b = torch.rand(1024, 1024, device=on), torch.rand(1024, 1024, device=on)
    return {"matrix_product_gflops": round(_rate(lambda: a @ b, on) * 2 * 1024**3 / 1e9, 1)}


def _describe(on: "torch.device", size: int) -> dict[str, Any]:
    import numpy as np
    import torch

    from dd_sfm.config import Config
    from dd_sfm.features.describe import describe_image, use_bfloat16
    from dd_sfm.features.weights import load_weights

    config = Config()
    network = load_weights(config.describe.weights, on)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = np.random.default_rng(0).integers(0, 255, (size, size, 3), np.uint8)
    low = use_bfloat16(config, on)
    rate = _rate(lambda: describe_image(network, image, on, bfloat16=low), on)
    return {"describe_frames_per_s": round(rate, 2), "describe_bfloat16": low, "described_size_px": size}


def _match(on: "torch.device", size: int, queries: int = 2000, dim: int = 64) -> dict[str, Any]:
    import torch

    from dd_sfm.config import MatchConfig
    from dd_sfm.features.matching import match_cells

    side = size // 2
    make = torch.Generator().manual_seed(0)
    cells = torch.nn.functional.normalize(torch.randn(dim, side, side, generator=make), dim=0).to(on)
    asked = cells.flatten(1).t()[torch.randperm(side * side, generator=make)[:queries].to(on)]
    usable = torch.ones(side, side, dtype=torch.bool, device=on)
    config = MatchConfig()
    rate = _rate(lambda: match_cells(asked, cells, usable, config), on)
    return {
        "match_queries_per_s": round(rate * queries),
        "match_cells": side * side,
        "match_gflops": round(rate * 2 * queries * side * side * dim / 1e9, 1),
    }


def _render() -> dict[str, Any]:
    from dataclasses import replace

    import cv2

    from dd_sfm.synthetic.render import Renderer, make_scene
    from dd_sfm.synthetic.settings import preset

    cv2.setNumThreads(1)
    renderer = Renderer(make_scene(replace(preset("colon", "real"), width=640, height=360, frames=5)))
    return {"render_640x360_frames_per_s_per_core": round(_rate(lambda: renderer.render(2)), 2)}
