"""Images described as the frames of a run were, in hloc's files: queries that are localised in it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm import __version__
from dd_sfm.config import Config, MatchConfig, RuntimeConfig
from dd_sfm.errors import InputError, ShapeError
from dd_sfm.features.describe import Describer
from dd_sfm.features.keypoint_descriptors import describe_places
from dd_sfm.features.queries import query_points
from dd_sfm.io.calibration import open_calibration
from dd_sfm.io.finished_run import check_finished
from dd_sfm.io.hloc_files import (
    FEATURES,
    GLOBAL,
    MOST_MATCHABLE,
    QUERIES,
    ImageFeatures,
    check_names,
    write_features,
    write_queries,
)
from dd_sfm.io.images import read_image, read_mask
from dd_sfm.io.lens import COLMAP_MODELS, Lens
from dd_sfm.io.run_config import read_config
from dd_sfm.io.run_folder import ExtractedFrames, read_frames
from dd_sfm.io.run_layout import check_not_in_run
from dd_sfm.io.staging import staged_folder
from dd_sfm.io.undistortion import Undistortion, undistortion
from dd_sfm.ops.resize import working_scale
from dd_sfm.ops.working import grid_around, mask_height, to_working
from dd_sfm.pipeline.masks import erode_mask, find_field_of_view, frame_mask
from dd_sfm.pipeline.reopened import MOST_RESIZED
from dd_sfm.progress import Progress
from dd_sfm.runtime import resolve_device
from dd_sfm.structures import WorkingGrid

MARKER, MADE_BY = "queries.json", "dd-sfm hloc queries"
NAMES = (FEATURES, GLOBAL, QUERIES)
SAMPLES = 12
"""Images that the field of view is found from."""

Picture = NDArray[Any]


@dataclass(frozen=True)
class QueryRequest:
    """What is to be described.

    ``run``: the finished run; ``images``: RGB (H, W, 3) uint8, or files, by the names that they get, all of one camera;
    ``calibration`` of that, as the command line takes it; ``mask``: image of its field of view; ``spacing_px``: side
    of the cells of the working image that get one keypoint each.
    """

    run: Path
    images: Mapping[str, Path | Picture]
    out: Path
    calibration: str
    mask: Path | None = None
    spacing_px: int = MatchConfig.query_spacing_px
    overwrite: bool = False


@dataclass(frozen=True)
class _View:
    """How the images are seen: their lens, how it is undone, and of undistorted ones the field (H, W) and the cells."""

    given: Lens
    lens: Undistortion
    field: NDArray[np.bool_]
    grid: WorkingGrid


def describe_queries(request: QueryRequest, progress: Progress) -> None:
    """Write features.h5, global.h5 and queries.txt of images.

    Raises:
        InputError: If the run has no learned descriptors, or an image, the mask or the calibration cannot be used.
        ShapeError: If an image in memory is none.
        WeightsError: If the weights of the run cannot be used.
        OutputError: If the folder cannot be filled, or belongs to a run.
    """
    check_not_in_run(request.out)
    names = list(request.images)
    if not names:
        raise InputError("images: none; expected at least one to describe")
    check_names(names)
    config, frames = _of_run(request.run)
    taken = {f"{record.name}.{frames.suffix}" for record in frames.kept}.intersection(names)
    if taken:
        raise InputError(
            f"image '{min(taken)}': a frame of the run has this name; expected another, such as query/NAME"
        )
    describer = Describer(config, resolve_device(RuntimeConfig()))
    view = _view(request, config, frames, describer.stride)
    record = {"made_by": MADE_BY, "version": __version__, "run": str(request.run.resolve())}
    with staged_folder(request.out, MARKER, record, overwrite=request.overwrite, names=NAMES) as folder:
        found = _described(request, config, describer, view)
        write_features(folder, progress(found, total=len(names), label="describe"))
        write_queries(folder, names, view.given)


def _of_run(run: Path) -> tuple[Config, ExtractedFrames]:
    check_finished(run)
    config = read_config(run)
    if config.features != "learned":
        raise InputError(
            f"{run}: was made with {config.features}; expected a run with learned descriptors. Describe the images "
            "with hloc's sift"
        )
    return config, read_frames(run)


def _picture(request: QueryRequest, name: str, size: tuple[int, int] | None = None) -> Picture:
    """An image, of the size (width, height) that the others have."""
    given = request.images[name]
    picture = read_image(given) if isinstance(given, Path) else np.asarray(given)
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ShapeError(f"image '{name}': found {picture.shape} {picture.dtype}; expected RGB (H, W, 3) uint8")
    found = picture.shape[1], picture.shape[0]
    if size is not None and found != size:
        raise InputError(f"image '{name}': {found[0]}x{found[1]} pixels; expected {size[0]}x{size[1]}, as the others")
    return picture


def _view(request: QueryRequest, config: Config, frames: ExtractedFrames, stride: int) -> _View:
    """The lens, the field of view, and the grid on which a cell is the same angle as one of the run's frames."""
    samples = _samples(request)
    height, width = samples[0].shape[:2]
    field = find_field_of_view(samples, "images") if request.mask is None else _mask(request.mask, (width, height))
    given = open_calibration(request.calibration, width=width, height=height).lens
    lens = undistortion(given, field)
    if given.model not in COLMAP_MODELS:
        raise InputError(
            f"{request.calibration}: camera model {given.model}, which COLMAP has not, and so not hloc; expected one "
            "of COLMAP's. Undistort the images first"
        )
    seen = lens.apply_to_mask(field)
    most = config.describe.working_height_px
    usual = working_scale(mask_height(seen), most)
    known = working_scale(frames.field_of_view_px, most) * frames.camera.fx / lens.camera.fx
    scale = float(np.clip(known, usual / MOST_RESIZED, usual * MOST_RESIZED))
    usable = erode_mask(seen, config.masks)
    return _View(given, lens, usable, grid_around(usable, scale, stride, where="images"))


def _samples(request: QueryRequest) -> list[Picture]:
    names = list(request.images)
    chosen = [names[k] for k in np.unique(np.linspace(0, len(names) - 1, SAMPLES).round().astype(int))]
    first = _picture(request, chosen[0])
    size = first.shape[1], first.shape[0]
    return [first, *(_picture(request, name, size) for name in chosen[1:])]


def _mask(path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    mask = read_mask(path)
    if mask.shape != size[::-1] or not mask.any():
        raise InputError(
            f"{path}: a mask of {mask.shape[1]}x{mask.shape[0]} pixels, {mask.sum()} of them usable; expected "
            f"{size[0]}x{size[1]}, as the images, 255 where usable"
        )
    return mask


def _described(request: QueryRequest, config: Config, describer: Describer, view: _View) -> Iterator[ImageFeatures]:
    """Keypoints in pixels of the images themselves, with their descriptors."""
    size: tuple[int, int] | None = None
    settings = MatchConfig(query="corners", query_spacing_px=request.spacing_px, max_queries=MOST_MATCHABLE)
    for name in request.images:
        picture = _picture(request, name, size)
        size = picture.shape[1], picture.shape[0]
        flat = view.lens.apply(picture)
        frame = to_working(flat, frame_mask(flat, view.field, config.masks), view.grid)
        xy = view.grid.to_source(query_points(frame, settings).astype(np.float64))
        places = view.lens.to_source(xy)
        shown = np.isfinite(places).all(1)
        descriptors, pooled = describe_places(describer, frame, view.grid, xy[shown])
        yield ImageFeatures(name, size, places[shown], descriptors, pooled)


def names_of(files: Sequence[Path]) -> dict[str, Path]:
    """Names that files get: folder and file, which no frame of a run is called.

    Raises:
        InputError: If two have the same.
    """
    found: dict[str, Path] = {}
    for file in files:
        # The image itself may be a link to anywhere.
        name = f"{file.parent.resolve().name}/{file.name}".lstrip("/")
        if name in found:
            raise InputError(f"{file}: has the name {name}, as {found[name]} has; expected different ones")
        found[name] = file
    return found
