"""Images in memory, described and matched with the same functions as the frames of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dd_sfm.config import Config, DescribeConfig, MasksConfig, MatchConfig, RuntimeConfig
from dd_sfm.config_checks import check_config
from dd_sfm.errors import ConfigError, ShapeError
from dd_sfm.features.describe import describe_image, descriptor_map, use_bfloat16
from dd_sfm.features.queries import query_points
from dd_sfm.features.view_matching import MatchView, match_view, match_views
from dd_sfm.features.weights import load_weights
from dd_sfm.io.images import MASK_THRESHOLD
from dd_sfm.ops.pixels import inside_mask
from dd_sfm.ops.resize import working_scale
from dd_sfm.ops.working import WorkingFrame, grid_around, mask_height, to_working
from dd_sfm.pipeline.masks import erode_mask, find_field_of_view, frame_mask
from dd_sfm.runtime import resolve_device
from dd_sfm.structures import DescriptorMap, WorkingGrid

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_] | NDArray[np.uint8]
LEAST_PX = 64
"""Smaller images show too little for the network."""


@dataclass(frozen=True)
class Descriptor:
    """A learned descriptor, loaded and ready.

    ``network``: (1, 3, H, W) RGB in [0, 1] -> unit-norm descriptors (1, D, H // stride, W // stride); ``stride``:
    working pixels per cell; ``precision``: the network's arithmetic.
    """

    name: str
    network: nn.Module
    device: torch.device
    stride: int
    precision: Literal["float32", "bfloat16"]

    def describe(
        self,
        image: Image,
        mask: Mask | None = None,
        *,
        working_height_px: int | None = DescribeConfig.working_height_px,
        masks: MasksConfig | None = None,
    ) -> DescriptorMap:
        """Describe one image (H, W, 3); see :func:`describe`."""
        _check_image("image", image)
        return self._describe([image], [mask], working_height_px, masks)[0]

    def _describe(
        self,
        images: Sequence[Image],
        given: Sequence[Mask | None],
        working_height_px: int | None,
        masks: MasksConfig | None,
    ) -> list[DescriptorMap]:
        frames, grid = _working_frames(images, given, working_height_px, masks or MasksConfig(), self.stride)
        return [self._map(frame, grid) for frame in frames]

    def _map(self, frame: WorkingFrame, grid: WorkingGrid) -> DescriptorMap:
        found = describe_image(self.network, frame.image, self.device, bfloat16=self.precision == "bfloat16")
        # What was made in inference mode cannot take part in a gradient later on; a copy can.
        return descriptor_map(found.clone(), frame.mask, grid)


@dataclass(frozen=True)
class ImageMatches:
    """Matches of two images.

    ``xy0``, ``xy1`` (K, 2) float64: matched places in pixels of image 0 and image 1; ``scores`` (K,) float32 in
    [0, 1]; ``queries`` (N, 2) float64: the points of image 0 that were looked for, and ``query`` (K,) int64 the row of
    each match among them; ``inlier_ratio``: share of all points searched whose match came back and agreed with its
    neighbours.
    """

    xy0: NDArray[np.float64]
    xy1: NDArray[np.float64]
    scores: NDArray[np.float32]
    query: NDArray[np.int64]
    queries: NDArray[np.float64]
    inlier_ratio: float

    def __len__(self) -> int:
        return len(self.xy0)

    def __repr__(self) -> str:
        return (
            f"<ImageMatches: {len(self)} of {len(self.queries)} points matched, inlier ratio {self.inlier_ratio:.2f}>"
        )


def load_descriptor(
    name_or_path: str | Path = DescribeConfig.weights,
    device: str | torch.device = "auto",
    *,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
) -> Descriptor:
    """Load a learned descriptor.

    Args:
        name_or_path: Shipped weights by name, or a .safetensors file that ``dd-sfm train`` wrote.
        device: "auto" (CUDA where there is a device), "cpu", "cuda", or a device of torch.
        precision: Arithmetic of the network; "auto": bfloat16 where the machine has it in hardware.

    Raises:
        WeightsError: If the weights are not found or cannot be used.
        DeviceError: If CUDA is asked for and there is no CUDA device.
        ConfigError: If device or precision is none of those above.

    Example:
        >>> descriptor = load_descriptor("compact-rendered", device="cpu")
    """
    if precision not in ("auto", "float32", "bfloat16"):
        raise ConfigError(f"precision {precision!r}: unknown; expected auto, float32 or bfloat16")
    on = _device(device)
    network = load_weights(str(name_or_path), on)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    bfloat16 = use_bfloat16(Config(describe=DescribeConfig(precision=precision)), on)
    stride = int(getattr(network, "stride"))  # noqa: B009  (typed as a tensor or module by torch)
    return Descriptor(str(name_or_path), network, on, stride, "bfloat16" if bfloat16 else "float32")


def describe(
    image: Image,
    *,
    descriptor: Descriptor,
    mask: Mask | None = None,
    working_height_px: int | None = DescribeConfig.working_height_px,
    masks: MasksConfig | None = None,
) -> DescriptorMap | list[DescriptorMap]:
    """Describe every cell of an image, or of a batch of images, as a reconstruction describes frames.

    The image is resized so that its field of view is ``working_height_px`` high, and cut to the field of view. The
    map's ``grid`` places the cells: ``map.grid.to_source(cell_to_image(cells, map.grid.stride))``.

    Args:
        image: RGB (H, W, 3) uint8 of at least 64 pixels a side, or a batch (N, H, W, 3), which shares one field of view
            and one grid.
        descriptor: From :func:`load_descriptor`.
        mask: The field of view, (H, W) bool or uint8 (128 or more: usable), as ``reconstruct --mask`` takes it; for a
            batch also (N, H, W). None: found from the images.
        working_height_px: Height of the field of view that the network sees; None: the image's own size.
        masks: How far the field of view is shrunk and highlights are left out. None: as in a reconstruction;
            ``MasksConfig(erode_px=0, highlight_level=256)`` uses the mask as it is.

    Returns:
        ``descriptors`` (D, h, w) of unit norm, float32 on a CPU and float16 on a GPU, rounded to float16 on both;
        ``usable`` (h, w) bool; and ``grid``. For a batch a list of N.

    Raises:
        ShapeError: If image or mask have another shape or dtype.
        InputError: If no pixel is usable.
        ConfigError: If ``working_height_px`` is below 64, or a value of ``masks`` cannot be used.

    Example:
        >>> found = describe(image, descriptor=load_descriptor(device="cpu"))
        >>> found.descriptors[:, found.usable].shape
    """
    is_batch = np.ndim(image) == 4
    images: list[Image] = list(image) if is_batch else [image]
    for single in images:
        _check_image("image", single)
    given: list[Mask | None] = [mask] * len(images)
    if mask is not None and is_batch and np.shape(mask)[:-2] == (len(images),):
        given = list(mask)
    if not images:
        return []
    maps = descriptor._describe(images, given, working_height_px, masks)
    return maps if is_batch else maps[0]


def match_images(
    image0: Image,
    image1: Image,
    *,
    descriptor: Descriptor,
    mask0: Mask | None = None,
    mask1: Mask | None = None,
    config: MatchConfig | None = None,
    queries: NDArray[Any] | None = None,
    working_height_px: int = DescribeConfig.working_height_px,
    masks: MasksConfig | None = None,
) -> ImageMatches:
    """Match two images as a reconstruction matches two frames.

    Points of image 0 are searched in image 1, searched back, compared with the motion of their neighbours and refined
    by aligning patches; what does not hold is left out. Images of one size share a field of view, as frames do.

    Args:
        image0: RGB (H, W, 3) uint8.
        image1: The same; it may be of another size.
        descriptor: From :func:`load_descriptor`.
        mask0: Field of view of image 0; see :func:`describe`.
        mask1: The same of image 1.
        config: Choice of points, search, checks and alignment; None: the defaults.
        queries: Points (N, 2) of image 0 in pixels to look for, of which those outside the usable area are not found;
            others are searched around them, since a match is judged by its neighbours. None: chosen by ``config``.
        working_height_px: Height of the field of view at which images are matched.
        masks: See :func:`describe`.

    Raises:
        ShapeError: If an array has another shape or dtype.
        InputError: If no pixel of an image is usable.
        ConfigError: If a value of ``config`` or ``masks`` cannot be used.

    Example:
        >>> matches = match_images(image0, image1, descriptor=load_descriptor())
        >>> best = matches.xy1[matches.scores > 0.8]
    """
    config, settings, stride = config or MatchConfig(), masks or MasksConfig(), descriptor.stride
    check_config(Config(match=config))
    frames, grids = _frames_of_pair((image0, image1), (mask0, mask1), working_height_px, settings, stride)
    asked, row = _asked_points(frames[0], grids[0], queries)
    # Around the points asked for there are always others: a few alone would have no neighbours to agree with.
    xy = np.concatenate([asked, query_points(frames[0], config, asked)])
    view0, view1 = (_match_view(descriptor, frame, grid, config) for frame, grid in zip(frames, grids, strict=True))
    matched = match_views(view0, view1, xy, config, stride)
    if queries is None:
        row, queries = np.arange(len(xy)), grids[0].to_source(xy.astype(np.float64))
    index, found_xy, score = (tensor.cpu().numpy() for tensor in (matched.index, matched.xy, matched.score))
    # The others were only searched for the sake of those asked for.
    is_asked = index < len(row)
    index, all_queries = row[index[is_asked]], np.array(queries, np.float64)
    return ImageMatches(
        all_queries[index],
        grids[1].to_source(found_xy[is_asked].astype(np.float64)),
        score[is_asked].astype(np.float32),
        index,
        all_queries,
        matched.inlier_ratio,
    )


def _frames_of_pair(
    images: tuple[Image, Image],
    masks: tuple[Mask | None, Mask | None],
    height_px: int,
    settings: MasksConfig,
    stride: int,
) -> tuple[list[WorkingFrame], list[WorkingGrid]]:
    """Two images at working size, on one grid where they are of one size."""
    for name, image in zip(("image0", "image1"), images, strict=True):
        _check_image(name, image)
    if images[0].shape == images[1].shape:
        frames, grid = _working_frames(list(images), list(masks), height_px, settings, stride)
        return frames, [grid, grid]
    alone = [
        _working_frames([image], [mask], height_px, settings, stride) for image, mask in zip(images, masks, strict=True)
    ]
    return [frames[0] for frames, _ in alone], [grid for _, grid in alone]


def _match_view(descriptor: Descriptor, frame: WorkingFrame, grid: WorkingGrid, config: MatchConfig) -> MatchView:
    found = descriptor._map(frame, grid)
    bfloat16 = descriptor.precision == "bfloat16"
    return match_view(found.descriptors, found.usable, frame.image, config, bfloat16=bfloat16)


def _asked_points(
    frame: WorkingFrame, grid: WorkingGrid, queries: NDArray[Any] | None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The queries on usable area (M, 2) in working pixels, and which rows (M,) they are."""
    places = np.zeros((0, 2)) if queries is None else np.asarray(queries, np.float64)
    if places.ndim != 2 or places.shape[1] != 2:
        raise ShapeError(f"queries: found {places.shape}; expected (N, 2) pixels (x, y) of image 0")
    working = grid.to_working(places).astype(np.float32)
    inside = inside_mask(frame.mask, working)
    return working[inside], np.flatnonzero(inside)


def _working_frames(
    images: Sequence[Image],
    given: Sequence[Mask | None],
    working_height_px: int | None,
    settings: MasksConfig,
    stride: int,
) -> tuple[list[WorkingFrame], WorkingGrid]:
    """Images of one size with their masks at working size, all on one grid."""
    check_config(Config(masks=settings))
    if working_height_px is not None and working_height_px < LEAST_PX:
        raise ConfigError(f"working_height_px {working_height_px}: expected {LEAST_PX} or more")
    own = [None if mask is None else _as_mask(mask, image) for mask, image in zip(given, images, strict=True)]
    known = [mask for mask in own if mask is not None]
    area = np.logical_or.reduce(known) if known else find_field_of_view(images, "image")
    scale = 1.0 if working_height_px is None else working_scale(mask_height(area), working_height_px)
    usable = [
        frame_mask(image, erode_mask(area if mask is None else mask, settings), settings)
        for image, mask in zip(images, own, strict=True)
    ]
    grid = grid_around(np.logical_or.reduce(usable), scale, stride, where="image")
    return [to_working(image, mask, grid) for image, mask in zip(images, usable, strict=True)], grid


def _as_mask(mask: Mask, image: Image) -> NDArray[np.bool_]:
    found: NDArray[Any] = np.asarray(mask)
    if found.shape != image.shape[:2] or found.dtype not in (np.bool_, np.uint8):
        raise ShapeError(f"mask: found {found.shape} {found.dtype}; expected {image.shape[:2]} bool or uint8")
    return found if found.dtype == np.bool_ else np.asarray(found >= MASK_THRESHOLD)


def _check_image(name: str, image: Any) -> None:
    found = f"{np.shape(image)} {getattr(image, 'dtype', type(image).__name__)}"
    is_image = isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    if not is_image or min(image.shape[:2]) < LEAST_PX:
        raise ShapeError(f"{name}: found {found}; expected RGB (H, W, 3) uint8 of at least {LEAST_PX} pixels a side")


def _device(name: str | torch.device) -> torch.device:
    if isinstance(name, torch.device):
        resolve_device(RuntimeConfig(device="cuda" if name.type == "cuda" else "cpu"))
        return name
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device {name!r}: unknown; expected auto, cpu, cuda or a torch.device")
    return resolve_device(RuntimeConfig(device=name))  # type: ignore[arg-type]
