"""What can be looked at: a cloud with what is known of its points, and the cameras that saw it."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dd_sfm.errors import InputError
from dd_sfm.evaluation.model.alignment import align_cameras, follows
from dd_sfm.io.clouds import read_cloud, read_faces
from dd_sfm.io.scene import Scene, SceneImage, open_scene, scene_uncertainty
from dd_sfm.mvs.mesh import vertex_normals
from dd_sfm.structures import FloatArray, IntArray

MIN_COMMON = 3
"""Images that two runs must share: fewer do not fix a scale and a rotation."""
COMPARED = {"learned": "learned", "sift": "SIFT", "sift_default": "SIFT, COLMAP's defaults"}
"""What the folders in that of a comparison are called: shorter than in its report, which says how SIFT was set up."""


@dataclass(frozen=True)
class Shown:
    """A cloud and its cameras.

    ``xyz`` (P, 3); ``rgb`` (P, 3) uint8; ``error_px`` (P,), NaN where unknown; ``track_length`` (P,), 0 where unknown;
    ``uncertainty`` (P,) error relative to the distance that half of such points stay below, NaN where unknown.
    ``images`` are those with a pose, in order; ``cam_from_world`` (C, 3, 4) are their poses; ``faces`` (F, 3) index the
    points of a mesh, F = 0 for a cloud. ``kind`` is that of the scene, ``frames`` all its frame numbers.
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

    @property
    def parts(self) -> str:
        """What ``xyz`` holds, in a word."""
        return "vertices" if len(self.faces) else "points"

    @property
    def numbers(self) -> list[int]:
        """Frame numbers of the images."""
        return [image.number for image in self.images]


def open_shown(source: Path) -> Shown:
    """Read a run folder, COLMAP model, JHU sequence or PLY file.

    Raises:
        InputError: If there is no cloud, or it is empty.
    """
    if source.is_file() or source.suffix.lower() == ".ply":
        return _shown_ply(source)
    return shown_scene(open_scene(source))


def shown_scene(scene: Scene) -> Shown:
    """The cloud and cameras of a reconstruction.

    Raises:
        InputError: If the model has no point.
    """
    model = scene.model
    if not len(model.xyz):
        raise InputError(f"{scene.source}: the model has no point; expected at least one. Repeat the run")
    error = np.where(model.error_px >= 0, model.error_px, np.nan)
    return Shown(
        scene.source,
        scene_label(scene),
        model.xyz,
        model.rgb,
        error,
        np.bincount(model.point, minlength=len(model.xyz)),
        _uncertainty_of(scene),
        tuple(scene.images[k] for k in scene.registered),
        np.stack([model.cam_from_world[k] for k in scene.registered]),
        kind=scene.kind,
        frames=tuple(image.number for image in scene.images),
    )


def scene_label(scene: Scene) -> str:
    """The folder's name, with those above it as far as it says nothing by itself; in a comparison see COMPARED."""
    folder = scene.source.resolve()
    if folder.name in COMPARED and all((folder.parent / name).is_dir() for name in ("learned", "sift")):
        return COMPARED[folder.name]
    parts = [folder.name]
    for parent in folder.parents:
        if not (parts[0].isdigit() or parts[0] == "sparse") or not parent.name:
            break
        parts.insert(0, parent.name)
    return "/".join(parts)


def tell_apart(labels: list[str], sources: list[Path]) -> list[str]:
    """The labels, or the names of the sources where two labels are the same, with the folders above them if need be."""
    paths = [source.resolve() for source in sources]
    names = [path.name for path in paths]
    longer = [f"{path.parent.name}/{path.name}" for path in paths]
    for found in (labels, names, longer):
        if len(set(found)) == len(found):
            return found
    return [str(path) for path in paths]


def _uncertainty_of(scene: Scene) -> FloatArray:
    """The column of the run's own cloud, whose points are those of its model in the same order."""
    column = scene_uncertainty(scene)
    return np.full(len(scene.model.xyz), np.nan) if column is None else column


def _shown_ply(path: Path) -> Shown:
    if not path.is_file():
        raise InputError(f"{path}: not found; expected a run folder, a COLMAP model folder or a PLY file")
    with path.open("rb") as file:
        if file.read(3) != b"ply":
            raise InputError(f"{path}: not a PLY file; expected a run folder, a COLMAP model folder or a PLY file")
    cloud = read_cloud(path)
    # Other tools mark points without a place by NaN.
    placed = np.asarray(np.isfinite(cloud.xyz).all(1))
    if not placed.any():
        raise InputError(f"{path}: the cloud has no point; expected at least one")
    unknown = np.full(len(cloud.xyz), np.nan)
    xyz, rgb, faces = cloud.xyz[placed], cloud.rgb[placed], _faces_between(path, placed)
    if len(faces) and (rgb == rgb[0]).all():
        rgb = _shaded(xyz, rgb, faces)
    return Shown(
        path,
        path.stem,
        xyz,
        rgb,
        # Zero everywhere is what the reader gives for a file without the column.
        (cloud.error_px if cloud.error_px.any() else unknown)[placed],
        cloud.track_length[placed],
        (unknown if cloud.uncertainty is None else cloud.uncertainty)[placed],
        (),
        np.zeros((0, 3, 4)),
        faces,
    )


def _shaded(xyz: FloatArray, rgb: NDArray[np.uint8], faces: IntArray) -> NDArray[np.uint8]:
    """Colours (P, 3) of a mesh of one colour that show its shape, by the slope of its surface; both sides alike."""
    light = np.abs(vertex_normals(xyz, faces) @ (np.array([2.0, 3.0, 5.0]) / np.sqrt(38)))
    return np.round(rgb * (0.3 + 0.7 * light[:, None])).astype(np.uint8)


def _faces_between(path: Path, placed: NDArray[np.bool_]) -> IntArray:
    """Triangles (F, 3) of a PLY between the points that have a place; none when it is no triangle mesh."""
    faces = read_faces(path)
    if not len(faces) or faces.min() < 0 or faces.max() >= len(placed):
        return np.zeros((0, 3), np.int64)
    number = np.cumsum(placed) - 1
    return number[faces[placed[faces].all(1)]]


def align_shown(moved: Shown, onto: Shown) -> tuple[Shown, bool]:
    """Bring a cloud and its cameras into the frame of another by the images that both have.

    Returns:
        The moved one, and whether its cameras follow the others' (:func:`dd_sfm.evaluation.model.alignment.follows`).

    Raises:
        InputError: If they share fewer than 3 images.
    """
    if not moved.images or not onto.images:
        which = moved if not moved.images else onto
        raise InputError(
            f"{which.source}: a cloud without cameras cannot be brought beside another; expected two runs or COLMAP "
            "models of the same video"
        )
    common = sorted(set(moved.numbers) & set(onto.numbers))
    if len(common) < MIN_COMMON:
        raise no_common_images(onto.source, moved.source, len(common))
    ours, theirs = (
        np.stack([s.cam_from_world[s.numbers.index(number)] for number in common]) for s in (moved, onto)
    )  # fmt: skip
    similarity = align_cameras(ours, theirs).similarity
    poses = similarity.poses(moved.cam_from_world)
    same = follows(similarity.poses(ours), theirs)
    return replace(moved, xyz=similarity.points(moved.xyz), cam_from_world=poses), same


def no_common_images(first: Path, second: Path, count: int) -> InputError:
    """The message for two runs that are not of one video."""
    found = "no image" if not count else f"{count} image{'s' if count > 1 else ''}"
    return InputError(
        f"{first} and {second}: {found} in common; expected {MIN_COMMON} or more frames of one video, numbered alike"
    )


def point_spacing(xyz: FloatArray, neighbours: int = 4) -> FloatArray:
    """Distance (P,) of every point to the ``neighbours``-th nearest other; 0 for a single point."""
    count = min(neighbours, len(xyz) - 1)
    if count < 1:
        return np.zeros(len(xyz))
    return np.asarray(cKDTree(xyz).query(xyz, k=[count + 1])[0])[:, 0]


def median_spacing(xyz: FloatArray, neighbours: int = 4, most: int = 20_000) -> float:
    """The median of :func:`point_spacing`, from ``most`` points evenly picked when there are more."""
    count = min(neighbours, len(xyz) - 1)
    if count < 1:
        return 0.0
    chosen = xyz[:: max(1, len(xyz) // most)]
    return float(np.median(np.asarray(cKDTree(xyz).query(chosen, k=[count + 1])[0])))
