"""A cloud to look at: its points with their errors, and the cameras that saw them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dd_sfm.errors import InputError, one_line
from dd_sfm.evaluation.model.alignment import align_common_cameras
from dd_sfm.io.clouds import read_cloud, read_faces
from dd_sfm.io.frame_poses import read_frame_poses
from dd_sfm.io.scene import Scene, SceneImage, open_scene, scene_uncertainty
from dd_sfm.io.trajectory import located_poses, model_number
from dd_sfm.mvs.mesh import vertex_normals
from dd_sfm.sfm.geometry import Similarity
from dd_sfm.sfm.observation_geometry import mean_distances
from dd_sfm.structures import FloatArray, IntArray

MIN_COMMON_IMAGES = 3
"""Fewest images that two runs must share: fewer do not determine scale and rotation."""
RUN_MESH = "mesh.ply"
"""File of a run that ``dd-sfm mesh`` writes."""
COMPARISON_LABELS = {"learned": "learned", "sift": "SIFT", "sift_default": "SIFT, COLMAP's defaults"}
"""Labels of the runs of a comparison, by folder; its report has longer ones, which say how SIFT was set up."""


@dataclass(frozen=True)
class CloudView:
    """A cloud and its cameras.

    ``xyz`` (P, 3); ``rgb`` (P, 3) uint8; ``error_px`` (P,): mean reprojection error, NaN where unknown;
    ``track_length`` (P,): 0 where unknown; ``uncertainty`` (P,): error relative to the distance that half of such
    points stay below, NaN where unknown; ``images``: those with a pose, in order; ``cam_from_world`` (C, 3, 4): their
    poses; ``faces`` (F, 3): triangles of a mesh as indices of points, F = 0 for a cloud; ``kind``: of the scene
    (:class:`dd_sfm.io.scene.Scene`); ``frames``: all frame numbers of the scene; ``between``: of a run with key frames
    the poses (3, 4) of all its frames by number, those between them too; ``first_frame`` (P,): number of the first
    frame that sees a point, NaN where unknown; ``error`` (P,): length in scene units that half of the errors of such
    points stay below, NaN where unknown; ``confidence``: how far a pose can be trusted, in [0, 1], by frame number;
    ``placed``: what brought the coordinates of the files in ``source`` to these, None where they are the same.
    """

    source: Path
    label: str
    xyz: FloatArray
    rgb: NDArray[np.uint8]
    error_px: FloatArray
    track_length: IntArray
    uncertainty: FloatArray
    images: tuple[SceneImage, ...]
    cam_from_world: FloatArray
    faces: IntArray = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    kind: str = "colmap"
    frames: tuple[int, ...] = ()
    between: Mapping[int, FloatArray] = field(default_factory=dict)
    first_frame: FloatArray = field(default_factory=lambda: np.zeros(0))
    error: FloatArray = field(default_factory=lambda: np.zeros(0))
    confidence: Mapping[int, float] = field(default_factory=dict)
    placed: Similarity | None = None

    def __post_init__(self) -> None:
        for name in ("first_frame", "error"):
            if not len(getattr(self, name)):
                object.__setattr__(self, name, np.full(len(self.xyz), np.nan))

    @cached_property
    def spacing(self) -> FloatArray:
        """Distance (P,) of points to their neighbours, limited so that strays do not become large splats."""
        spacing = point_spacing(self.xyz)
        middle = float(np.median(spacing))
        return np.clip(spacing, 0.4 * middle, 1.5 * middle)

    @property
    def point_word(self) -> str:
        """What to call the points in messages."""
        return "vertices" if len(self.faces) else "points"

    @property
    def frame_numbers(self) -> list[int]:
        """Frame numbers of the images with a pose."""
        return [image.number for image in self.images]

    @property
    def poses_by_frame(self) -> dict[int, FloatArray]:
        """cam_from_world (3, 4) by frame number."""
        return dict(zip(self.frame_numbers, self.cam_from_world, strict=True))


def open_cloud_view(source: Path) -> CloudView:
    """Read the cloud of a run folder, COLMAP model, JHU sequence or PLY file.

    Raises:
        InputError: If there is no cloud, or it is empty.
    """
    if source.is_file() or source.suffix.lower() == ".ply":
        return _ply_cloud_view(source)
    return scene_cloud_view(open_scene(source))


def open_mesh(cloud: CloudView) -> CloudView | None:
    """The mesh that ``dd-sfm mesh`` wrote beside a run's cloud, in the coordinates of that cloud; None without one.

    Raises:
        InputError: If the file is damaged.
    """
    path = mesh_path(cloud)
    if path is None:
        return None
    mesh = open_cloud_view(path)
    return mesh if cloud.placed is None else replace(mesh, xyz=cloud.placed.points(mesh.xyz))


def mesh_path(cloud: CloudView) -> Path | None:
    """The file that :func:`open_mesh` reads; None without one."""
    path = cloud.source / RUN_MESH
    return path if path.is_file() else None


def scene_cloud_view(scene: Scene) -> CloudView:
    """The cloud and cameras of a reconstruction.

    Raises:
        InputError: If the model has no point.
    """
    model = scene.model
    if not len(model.xyz):
        raise InputError(f"{scene.source}: the model has no point; expected at least one. Repeat the run")
    error = np.where(model.error_px >= 0, model.error_px, np.nan)
    uncertainty = _uncertainty_of(scene)
    return CloudView(
        scene.source,
        scene_label(scene),
        model.xyz,
        model.rgb,
        error,
        np.bincount(model.point, minlength=len(model.xyz)),
        uncertainty,
        tuple(scene.images[k] for k in scene.registered),
        np.stack([model.cam_from_world[k] for k in scene.registered]),
        kind=scene.kind,
        frames=tuple(image.number for image in scene.images),
        between=located_poses(scene.run, scene.model_folder),
        first_frame=_first_frame(scene),
        error=uncertainty * mean_distances(model),
        confidence=_confidence_of(scene),
    )


def _first_frame(scene: Scene) -> FloatArray:
    """Number (P,) of the first frame that sees a point, NaN where none does."""
    first = np.full(len(scene.model.xyz), np.inf)
    numbers = np.array([image.number for image in scene.images], float)
    np.minimum.at(first, scene.model.point, numbers[scene.model.frame])
    return np.where(np.isfinite(first), first, np.nan)


def _confidence_of(scene: Scene) -> dict[int, float]:
    """How far the poses of a run's frames can be trusted, by frame number; empty where that is not known."""
    if scene.run is None or scene.model_folder is None:
        return {}
    model = model_number(scene.model_folder)
    known = {pose.frame: pose.confidence for pose in read_frame_poses(scene.run) if pose.model == model}
    by_number = {image.number: known.get(PurePosixPath(image.name).stem) for image in scene.images}
    return {number: value for number, value in by_number.items() if value is not None}


def scene_label(scene: Scene) -> str:
    """A label for a scene: the name of its folder, with the folders above it where it is a name such as sparse/0.

    Runs of a comparison have labels of their own (:data:`COMPARISON_LABELS`).
    """
    folder = scene.source.resolve()
    if folder.name in COMPARISON_LABELS and all((folder.parent / name).is_dir() for name in ("learned", "sift")):
        return COMPARISON_LABELS[folder.name]
    parts = [folder.name]
    for parent in folder.parents:
        if not (parts[0].isdecimal() or parts[0] == "sparse") or not parent.name:
            break
        parts.insert(0, parent.name)
    return one_line("/".join(parts))


def distinct_labels(labels: list[str], sources: list[Path]) -> list[str]:
    """Labels that differ: those given, or else the names of the sources, if need be with the folders above them."""
    paths = [source.resolve() for source in sources]
    names = [path.name for path in paths]
    longer = [f"{path.parent.name}/{path.name}" for path in paths]
    for found in (labels, names, longer):
        if len(set(found)) == len(found):
            return [one_line(label) for label in found]
    return [one_line(path) for path in paths]


def _uncertainty_of(scene: Scene) -> FloatArray:
    """The uncertainty (P,) in the run's points.ply, whose points are in the order of its model; NaN without it."""
    column = scene_uncertainty(scene)
    return np.full(len(scene.model.xyz), np.nan) if column is None else column


def _ply_cloud_view(path: Path) -> CloudView:
    if not path.is_file():
        raise InputError(f"{path}: not found; expected a run folder, a COLMAP model folder or a PLY file")
    with path.open("rb") as file:
        if file.read(3) != b"ply":
            raise InputError(f"{path}: not a PLY file; expected a run folder, a COLMAP model folder or a PLY file")
    cloud = read_cloud(path)
    # Other programs mark points without a position by NaN.
    finite = np.asarray(np.isfinite(cloud.xyz).all(1))
    if not finite.any():
        raise InputError(f"{path}: the cloud has no point; expected at least one")
    unknown = np.full(len(cloud.xyz), np.nan)
    xyz, rgb, faces = cloud.xyz[finite], cloud.rgb[finite], _faces_between(path, finite)
    if len(faces) and (rgb == rgb[0]).all():
        rgb = _shaded(xyz, rgb, faces)
    return CloudView(
        path,
        path.stem,
        xyz,
        rgb,
        # The reader gives zeros for a file without this column.
        (cloud.error_px if cloud.error_px.any() else unknown)[finite],
        cloud.track_length[finite],
        (unknown if cloud.uncertainty is None else cloud.uncertainty)[finite],
        (),
        np.zeros((0, 3, 4)),
        faces,
    )


def _shaded(xyz: FloatArray, rgb: NDArray[np.uint8], faces: IntArray) -> NDArray[np.uint8]:
    """Shade a mesh of one colour by the slope of its surface, so that its shape shows; returns colours (P, 3)."""
    light = np.abs(vertex_normals(xyz, faces) @ (np.array([2.0, 3.0, 5.0]) / np.sqrt(38)))
    return np.round(rgb * (0.3 + 0.7 * light[:, None])).astype(np.uint8)


def _faces_between(path: Path, finite: NDArray[np.bool_]) -> IntArray:
    """Triangles (F, 3) of a PLY file between its ``finite`` points (P,) bool; none when it is not a triangle mesh."""
    faces = read_faces(path)
    if not len(faces) or faces.min() < 0 or faces.max() >= len(finite):
        return np.zeros((0, 3), np.int64)
    number = np.cumsum(finite) - 1
    return number[faces[finite[faces].all(1)]]


def align_cloud_view(moved: CloudView, onto: CloudView) -> tuple[CloudView, bool]:
    """Align a cloud and its cameras to another by the images that both have.

    Returns:
        The aligned cloud, and whether the cameras of both agree
        (:func:`dd_sfm.evaluation.model.alignment.cameras_agree`).

    Raises:
        InputError: If they share fewer than 3 images.
    """
    if not moved.images or not onto.images:
        which = moved if not moved.images else onto
        raise InputError(
            f"{which.source}: has no cameras to align it to another cloud by; expected two runs or COLMAP "
            "models of the same video"
        )
    common = len({*moved.frame_numbers} & {*onto.frame_numbers})
    if common < MIN_COMMON_IMAGES:
        raise too_few_common_images(onto.source, moved.source, common)
    found = align_common_cameras(moved.poses_by_frame, onto.poses_by_frame)
    poses = found.similarity.poses(moved.cam_from_world)
    xyz, error = found.similarity.points(moved.xyz), moved.error * found.similarity.scale
    # A cloud that was moved is not looked at through its own cameras.
    placed = replace(moved, xyz=xyz, error=error, cam_from_world=poses, between={}, placed=found.similarity)
    return placed, found.agrees


def too_few_common_images(first: Path, second: Path, count: int) -> InputError:
    """The error for two runs that share too few images to be of one video."""
    found = "no image" if not count else f"{count} image{'s' if count > 1 else ''}"
    return InputError(
        f"{first} and {second}: {found} in common; expected {MIN_COMMON_IMAGES} or more frames of the same video with "
        "the same numbers"
    )


def point_spacing(xyz: FloatArray, neighbours: int = 4) -> FloatArray:
    """Distance (P,) of every point (P, 3) to its ``neighbours``-th nearest neighbour; 0 for a single point."""
    count = min(neighbours, len(xyz) - 1)
    if count < 1:
        return np.zeros(len(xyz))
    return np.asarray(cKDTree(xyz).query(xyz, k=[count + 1])[0])[:, 0]


def median_spacing(xyz: FloatArray, neighbours: int = 4, max_points: int = 20_000) -> float:
    """The median of :func:`point_spacing`, estimated from about ``max_points`` points when there are more."""
    count = min(neighbours, len(xyz) - 1)
    if count < 1:
        return 0.0
    chosen = xyz[:: max(1, len(xyz) // max_points)]
    return float(np.median(np.asarray(cKDTree(xyz).query(chosen, k=[count + 1])[0])))
