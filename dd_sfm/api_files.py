"""The calls of the Python interface that go on from a finished run: its scale, files for other tools, a mesh."""

import numbers
from pathlib import Path

from dd_sfm.errors import ConfigError
from dd_sfm.export import convert as conversion
from dd_sfm.export.convert import Conversion
from dd_sfm.io import clouds, finished_run
from dd_sfm.io.colmap_database import log_kept
from dd_sfm.io.metric import MetricScale
from dd_sfm.mvs.mesh import Mesh, MeshSettings, mesh_cloud
from dd_sfm.progress import Progress, silent
from dd_sfm.registration.known_scale import metric_of, scale_finder
from dd_sfm.structures import PointCloud

MOST_TRIM, DETAILS = 0.9, (4, 13)


def find_scale(run: finished_run.Run | str | Path, scale: str | float | None = None) -> MetricScale | None:
    """The length of a unit of a reconstruction, from what is known.

    Args:
        run: A run, its folder, a COLMAP model or a JHU sequence.
        scale: What tells it, as ``--scale`` of the commands takes it: a factor (0.31, in mm), a known distance
            ("12.5mm@x,y,z:x,y,z"), camera positions ("tum:FILE@mm"), a known diameter ("tool:FRAME:x,y,x,y:5mm"), the
            baseline of a stereo scope ("baseline:4.2mm") or a registration ("registration:FILE"). None: what the run
            knows itself, as one with known poses does.

    Returns:
        ``factor``: one unit in ``unit``; ``error``: half of such scales are wrong by a smaller share of them, 0 where
        nothing is known of that; ``origin`` and ``notes`` in words. None where ``scale`` is None and nothing is known.

    Raises:
        ConfigError: If ``scale`` is none of these.
        InputError: If something cannot be read, or does not determine the scale.

    Example:
        >>> metric = find_scale("runs/nose", "tum:robot.tum@mm")
        >>> metric.factor, metric.error
    """
    with log_kept():
        return metric_of(_scale_text(scale), finished_run.run_path(run))


def convert(
    source: finished_run.Run | str | Path,
    out: str | Path,
    to: str,
    *,
    images: str | Path | None = None,
    copy_images: bool = False,
    depth: str | None = None,
    scale: str | float | MetricScale | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Conversion:
    """Write a reconstruction in the format of another tool, as ``dd-sfm convert`` does.

    Args:
        source: A run, its folder, a COLMAP model or a JHU sequence.
        out: Folder to write, or a file for formats that are one.
        to: The format, as "nerfstudio" or "ply"; ``dd-sfm convert --help`` names all.
        images: Folder of the model's images, when not beside it.
        copy_images: Also copy images and masks where the format does not hold them anyway.
        depth: Of formats with depth maps the frames that have one: "references" or "all".
        scale: What tells the unit, see :func:`find_scale`, or what that returned; None: that of the run.
        overwrite: Replace what an earlier conversion wrote there; other files stay.
        progress: Shows the images as they are written.

    Returns:
        ``path``, numbers of ``images`` with a pose and of ``points``, and ``notes``: what to know of it.

    Raises:
        ConfigError: If the format is unknown, or ``out`` is the source.
        InputError: If the source cannot be read, or is not complete enough for the format.
        OutputError: If ``out`` holds something, or cannot be written.

    Example:
        >>> convert("runs/nose", "exports/nose", "nerfstudio")
        >>> convert("runs/nose", "nose_mm.ply", "ply", scale="12.5mm@1,0,3:2,0,3")
    """
    path = finished_run.run_path(source)
    metric = (lambda _: scale) if isinstance(scale, MetricScale) else scale_finder(_scale_text(scale), path)
    with log_kept():
        return conversion.convert(
            path, Path(out), to, images=None if images is None else Path(images), copy_images=copy_images,
            depth_of=depth, overwrite=overwrite, metric=metric, progress=progress or silent,
        )  # fmt: skip


def mesh(points: PointCloud | finished_run.Run, *, detail: int | None = None, trim: float = 0.02) -> Mesh:
    """Make a coloured triangle mesh of points: screened Poisson, trimmed to where there are points.

    Args:
        points: Points with normals, as those of a run or some of them; or a run, for all of its points.
        detail: Depth of the octree, 4 to 13; None: what fits the points' spacing.
        trim: Share of the surface with the fewest points that is left out.

    Returns:
        ``vertices`` (V, 3) in the unit of the points, ``faces`` (F, 3) with the front towards the cameras, ``normals``
        (V, 3) and ``rgb`` (V, 3).

    Raises:
        ConfigError: If ``points`` are none, or ``detail`` or ``trim`` is out of range.
        InputError: If there are too few points, or they have no normals.
        ReconstructionError: If no surface comes of it.

    Example:
        >>> surface = mesh(run.points.where(run.points.uncertainty < 0.02))
        >>> write_mesh("nose.ply", surface)
    """
    cloud = points.points if isinstance(points, finished_run.Run) else points
    if not isinstance(cloud, PointCloud):
        raise ConfigError(f"points {str(points)[:80]}: expected a run or its points, as open_run(...).points")
    if detail is not None and not DETAILS[0] <= detail <= DETAILS[1]:
        raise ConfigError(f"detail {detail}: expected {DETAILS[0]} to {DETAILS[1]}")
    if not 0 <= trim <= MOST_TRIM:
        raise ConfigError(f"trim {trim}: expected 0 to {MOST_TRIM}")
    with log_kept():
        return mesh_cloud(cloud, MeshSettings(detail, trim)).mesh


def write_mesh(path: str | Path, surface: Mesh) -> None:
    """Write a mesh to a binary PLY file.

    Raises:
        OutputError: If the file cannot be written.

    Example:
        >>> write_mesh("nose.ply", mesh(run.points))
    """
    clouds.write_mesh(
        Path(path), surface.vertices, surface.faces, surface.normals, surface.rgb, comments=(clouds.MESH_COMMENT,)
    )


def _scale_text(scale: str | float | None) -> str | None:
    """What names a scale, as the commands take it.

    Raises:
        ConfigError: If it is neither a text nor a number.
    """
    if scale is None or isinstance(scale, str):
        return scale
    if isinstance(scale, bool) or not isinstance(scale, numbers.Real):
        raise ConfigError(f"scale {scale!r}: expected a text, as --scale takes it, or a number of mm a unit")
    return repr(float(scale))
