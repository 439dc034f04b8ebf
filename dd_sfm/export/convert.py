"""A reconstruction written in the formats of other tools."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from dd_sfm import __version__
from dd_sfm.errors import ConfigError, OutputError
from dd_sfm.export.depth import MADE_BY, MARKER
from dd_sfm.export.drawn_depth import check_depth_of
from dd_sfm.export.formats import FORMATS, Format, SingleFile, Write
from dd_sfm.export.images import copy_image_files, frame_set
from dd_sfm.io.atomic import atomic_file, output_error
from dd_sfm.io.checksums import model_sums
from dd_sfm.io.metric import MetricScale
from dd_sfm.io.run_layout import check_not_in_run
from dd_sfm.io.scene import Scene, in_unit, open_scene
from dd_sfm.io.staging import check_folder, staged_folder
from dd_sfm.progress import Progress, silent
from dd_sfm.sfm.point_colours import colour

FILE_ENDINGS = (
    ".obj", ".off", ".stl", ".gltf", ".glb", ".fbx", ".dae", ".usda", ".usdz", ".mvs", ".psx",
    ".pcd", ".xyz", ".pts", ".ptx", ".asc", ".laz", ".vtk", ".vtp", ".vtu", ".bin", ".db", ".h5",
    ".npz", ".npy", ".csv", ".json", ".yaml", ".yml", ".html", ".md", ".log", ".zip", ".png", ".jpg", ".jpeg",
    ".splat", ".tif", ".tiff", ".bmp", ".mp4", ".avi", ".mov",
)  # fmt: skip
"""Names that end so are meant to be files: no folder is made of them."""


@dataclass(frozen=True)
class Conversion:
    """What was written: ``path`` (folder or file), numbers of images with a pose and points, and what to know of it."""

    path: Path
    images: int
    points: int
    notes: tuple[str, ...]


def convert(
    source: Path,
    out: Path,
    target: str,
    *,
    images: Path | None = None,
    copy_images: bool = False,
    depth_of: str | None = None,
    overwrite: bool = False,
    in_run: bool = False,
    metric: Callable[[Scene], MetricScale] | None = None,
    progress: Progress = silent,
) -> Conversion:
    """Write a reconstruction in another format.

    Args:
        source: Run folder, COLMAP model folder or JHU sequence.
        out: Folder to fill; or a file, for formats that are one.
        target: One of ``FORMATS``.
        images: Where the images are, when not beside the model.
        copy_images: Also copy images and masks, where the format does not ask for them anyway.
        depth_of: Of formats with depth maps the frames that have one: references, which is the default, or all.
        overwrite: Replace what an earlier conversion wrote.
        in_run: Whether ``out`` is a folder that the run itself has for this, where nothing else is converted to.
        metric: Finds the unit that all is written in; None for that of the source, which is arbitrary.
        progress: Shows the images as they are written.

    Raises:
        ConfigError: If the target is unknown, ``out`` is the source, or images are to be copied into a file.
        InputError: If the source is not complete enough for the target.
        OutputError: If ``out`` holds something, or cannot be written.
    """
    if not in_run:
        check_not_in_run(out)
    form, file = _check_request(source, out, target, copy_images=copy_images, overwrite=overwrite)
    fill = _writer(form, target, depth_of)
    scene = open_scene(source, images)
    if metric is not None:
        scene = in_unit(scene, metric(scene))
    if form.has_colours and scene.kind == "jhu":
        scene = _coloured(scene, progress)
    if file:
        with TemporaryDirectory() as scratch:
            notes = fill(scene, Path(scratch), progress)
            _move(Path(scratch) / file.name, out)
    else:
        record: dict[str, Any] = {"made_by": MADE_BY, "version": __version__, "target": target, "source": str(source)}
        if scene.metric is not None:
            record |= scene.metric.as_json()
        if form.has_depth and scene.run is not None:
            record["model"] = model_sums(scene.run)
        with staged_folder(out, MARKER, record, overwrite=overwrite) as folder:
            notes = fill(scene, folder, progress)
            if copy_images and not form.has_images:
                copy_image_files(scene, folder, progress)
    return Conversion(out, form.count_images(scene), len(scene.model.xyz), (*scene.notes, *notes))


def _check_request(
    source: Path, out: Path, target: str, *, copy_images: bool, overwrite: bool
) -> tuple[Format, SingleFile | None]:
    """The format that is asked for, and its file where it is to be one; see :func:`convert`."""
    if target not in FORMATS:
        raise ConfigError(f"--to {target}: unknown; expected one of {', '.join(FORMATS)}")
    form = FORMATS[target]
    if out.resolve() == source.resolve():
        raise ConfigError(f"{out}: is the source itself; expected another folder. Choose one with -o")
    _check_ending(out, target)
    file = form.file if form.file and out.suffix.lower() in form.file.suffixes and not out.is_dir() else None
    if file and copy_images:
        raise ConfigError(f"--copy-images: {out} is a file; expected a folder with -o, or leave the option out")
    if file:
        _check_file(out, target, file, overwrite=overwrite)
    else:
        check_folder(out, overwrite=overwrite)
    return form, file


def _writer(form: Format, target: str, depth_of: str | None) -> Write:
    """What writes the format, told of which frames there is to be a depth map."""
    if depth_of is None:
        return form.write
    if not (form.has_depth or form.may_have_depth):
        of_depth = ", ".join(name for name, other in FORMATS.items() if other.has_depth or other.may_have_depth)
        raise ConfigError(f"--depth {depth_of}: --to {target} holds no depth maps; expected it with --to {of_depth}")
    return partial(form.write, depth_of=check_depth_of(depth_of))


def _check_ending(out: Path, target: str) -> None:
    """A path that ends like a file of another kind is no name for a folder."""
    suffix, own = out.suffix.lower(), FORMATS[target].file
    if out.is_dir() or (own and suffix in own.suffixes):
        return
    others = [name for name, form in FORMATS.items() if form.file and suffix in form.file.suffixes]
    if others or suffix in FILE_ENDINGS:
        does = f", --to {others[0]} does" if others else ""
        raise ConfigError(
            f"{out}: --to {target} does not write {out.suffix} files{does}; expected a folder{_own_endings(target)}. "
            "Choose another with -o"
        )


def _own_endings(target: str) -> str:
    file = FORMATS[target].file
    return f" or a name that ends in {' or '.join(file.suffixes)}" if file else ""


def _check_file(path: Path, target: str, kind: SingleFile, *, overwrite: bool) -> None:
    """A file is only replaced when told to, and when it is of the kind that is to be written."""
    if not path.exists():
        return
    if not overwrite:
        raise OutputError(f"{path}: exists; expected a new file. Choose another with -o, or --overwrite")
    try:
        with path.open("rb") as file:
            ours = kind.is_one(file)
    except OSError as error:
        raise output_error(path, error) from error
    if not ours:
        raise OutputError(f"{path}: exists and is not a {target} file; it is never replaced. Choose another with -o")


def _move(written: Path, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as partial:
            shutil.copyfile(written, partial)
    except OSError as error:
        raise output_error(path, error) from error


def _coloured(scene: Scene, progress: Progress) -> Scene:
    """A sequence, which stores no colours, with those of its images."""
    if any(scene.images[k].path is None for k in scene.registered):
        return replace(scene, notes=(*scene.notes, "points are grey: the images that would colour them are not there"))
    # Points that nothing sees keep their grey.
    seen, point = np.unique(scene.model.point, return_inverse=True)
    part = replace(
        scene.model,
        point=point,
        xyz=scene.model.xyz[seen],
        rgb=scene.model.rgb[seen],
        error_px=scene.model.error_px[seen],
    )
    rgb = scene.model.rgb.copy()
    if len(seen):
        rgb[seen] = colour(part, frame_set(scene), progress).rgb
    return replace(scene, model=replace(scene.model, rgb=rgb))
