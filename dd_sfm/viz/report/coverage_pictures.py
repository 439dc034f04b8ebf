"""Pictures of what was seen how often: the surface from six sides, and holes in the frames that show them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera, camera_centres, world_to_camera
from dd_sfm.io.clouds import read_ply
from dd_sfm.io.images import read_image, read_mask
from dd_sfm.io.run_folder import readable
from dd_sfm.io.scene import Scene
from dd_sfm.ops.rays import RayScene
from dd_sfm.structures import FloatArray, IntArray
from dd_sfm.viz.render.viewpoints import Viewpoint, fit_view, look_along, viewing_axes

SIDE_PX = 460, 380
"""Width and height of a picture from a side."""
FRAME_WIDTH_PX, ROUGH_WIDTH_PX = 620, 160
"""Width of a frame with holes, and of one in which they are counted to choose frames."""
MOST_FRAMES = 4
MOST_HOLES = 12
"""Listed on the page, and numbered in its pictures."""
LEAST_SHOWN_PX, LEAST_ROUGH_PX = 60, 6
"""Of a hole in a picture, below which it gets no number, and in a rough one, below which it does not count."""
UNSEEN = 2
"""Value of ``place`` in coverage.ply for what is out of view."""
OUTLINE, LABEL, PATH = (120, 10, 10), (20, 20, 20), (20, 20, 20)
FRAME_OUTLINE = (255, 230, 60)
FONT, FONT_SCALE, FONT_THICKNESS = cv2.FONT_HERSHEY_SIMPLEX, 0.65, 2
LABEL_MARGIN = 3
"""White around a number, in pixels."""
LABEL_STEPS = (
    (0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1), (0, 2), (0, -2), (2, 0), (-2, 0),
)  # fmt: skip
"""Where a number may stand beside its place, in sizes of its own, the nearest first."""
SIDES = {
    "from the left": (1.0, 0.0, 0.0),
    "from the right": (-1.0, 0.0, 0.0),
    "from above": (0.0, 1.0, 0.0),
    "from below": (0.0, -1.0, 0.0),
    "from behind the camera": (0.0, 0.0, 1.0),
    "from ahead": (0.0, 0.0, -1.0),
}
"""Directions of view in the axes of the mean camera: right, down, forward."""


@dataclass(frozen=True)
class CoverageSurface:
    """What coverage.ply holds: ``vertices`` (V, 3), ``faces`` (F, 3), ``rgb`` (V, 3), ``place`` and ``hole`` (V,)."""

    vertices: FloatArray
    faces: IntArray
    rgb: NDArray[np.uint8]
    place: IntArray
    hole: IntArray


def read_surface(path: Path) -> CoverageSurface:
    """Read coverage.ply, without what is neither in view nor a hole: there the surface is a mere closing.

    Raises:
        InputError: If it is damaged.
    """
    with readable(path):
        content = read_ply(path, known_list_len={"face": {"vertex_indices": 3}})
        vertex = content["vertex"].data
        faces = np.array(content["face"].data["vertex_indices"], np.int64).reshape(-1, 3)
        xyz, rgb = (
            np.stack([vertex[name] for name in names], 1) for names in (("x", "y", "z"), ("red", "green", "blue"))
        )
        place, hole = np.array(vertex["place"], np.int64), np.array(vertex["hole"], np.int64)
        known = (place != UNSEEN) | (hole >= 0)
        faces = faces[known[faces].all(1)]
        return CoverageSurface(xyz.astype(np.float64), faces, rgb.astype(np.uint8), place, hole)


def side_pictures(surface: CoverageSurface, cam_from_world: FloatArray) -> dict[str, NDArray[np.uint8]]:
    """The surface from six sides, RGB by their names; holes are outlined and numbered, a line is the camera's path.

    Args:
        surface: With at least one face.
        cam_from_world: Poses of the cameras (N, 3, 4) in their order.
    """
    axes, scene = viewing_axes(cam_from_world), RayScene(surface.vertices, surface.faces)
    shown = np.concatenate([surface.vertices[np.unique(surface.faces)], camera_centres(cam_from_world)])
    pictures = {}
    for name, direction in SIDES.items():
        forward = np.array(direction) @ axes
        down = axes[1] if abs(direction[1]) < 0.5 else axes[2] * -np.sign(direction[1])
        view = fit_view(look_along(forward, down), shown, SIDE_PX)
        pictures[name] = _picture(surface, scene, view, camera_centres(cam_from_world))
    return pictures


def _picture(surface: CoverageSurface, scene: RayScene, view: Viewpoint, path: FloatArray) -> NDArray[np.uint8]:
    nearest, slant = _cast(surface, scene, view.camera, view.cam_from_world)
    hit = nearest >= 0
    shade = np.where(hit, 0.62 + 0.38 * slant, 1.0)[..., None]
    picture = np.where(hit[..., None], surface.rgb[nearest] * shade, 255).astype(np.uint8)
    _draw_path(picture, view, path)
    _draw_holes(picture, np.where(hit, surface.hole[nearest], -1), OUTLINE)
    return _trimmed(picture)


def _trimmed(picture: NDArray[np.uint8], margin: int = 12) -> NDArray[np.uint8]:
    """A picture without the white around what it shows."""
    rows, columns = (np.flatnonzero((picture < 250).any((axis, 2))) for axis in (1, 0))
    top, bottom, left, right = (
        max(0, v) for v in (rows[0] - margin, rows[-1] + margin, columns[0] - margin, columns[-1] + margin)
    )
    return picture[top : bottom + 1, left : right + 1]


def _cast(
    surface: CoverageSurface, scene: RayScene, camera: PinholeCamera, cam_from_world: FloatArray
) -> tuple[IntArray, FloatArray]:
    """The vertex (H, W) that each pixel shows, -1 for none, and how much the surface faces it (H, W), 0 to 1."""
    height, width = camera.height, camera.width
    xy = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).reshape(-1, 2).astype(np.float64)
    rays = camera.unproject(xy) @ cam_from_world[:, :3]
    hits = scene.cast(camera_centres(cam_from_world[None])[0], rays)
    face = surface.faces[np.maximum(hits.face, 0)]
    nearest = face[np.arange(len(face)), hits.weights.argmax(1)]
    a, b, c = (surface.vertices[face[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    lengths = np.linalg.norm(normal, axis=1) * np.linalg.norm(rays, axis=1)
    slant = np.abs((normal * rays).sum(1)) / np.maximum(lengths, 1e-12)
    return np.where(hits.face >= 0, nearest, -1).reshape(height, width), slant.reshape(height, width)


def _draw_path(picture: NDArray[np.uint8], view: Viewpoint, path: FloatArray) -> None:
    """The path of the camera, through the surface, with a dot where it begins."""
    xy, depth = view.camera.project(world_to_camera(path, view.cam_from_world))
    places = np.round(np.where(depth[:, None] > 0, xy, 0)).astype(np.int32)
    cv2.polylines(picture, [places.reshape(-1, 1, 2)], False, PATH, 1, cv2.LINE_AA)
    cv2.circle(picture, tuple(map(int, places[0])), 4, PATH, -1, cv2.LINE_AA)


def _draw_holes(picture: NDArray[np.uint8], hole: IntArray, colour: tuple[int, int, int]) -> None:
    """Outline holes (H, W), -1 for none, and write their numbers, which begin at 1, into those large enough."""
    labels = []
    for number in np.unique(hole[hole >= 0]).tolist():
        mask = (hole == number).astype(np.uint8)
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outlines, -1, colour, 1, cv2.LINE_AA)
        if mask.sum() < LEAST_SHOWN_PX or number >= MOST_HOLES:
            continue
        # The place of the number is the one deepest inside.
        inside = cv2.distanceTransform(cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3)
        x, y = (int(v) - 1 for v in np.unravel_index(inside.argmax(), inside.shape)[::-1])
        labels.append((number + 1, x, y))
    _write_numbers(picture, labels)


def _write_numbers(picture: NDArray[np.uint8], labels: Sequence[tuple[int, int, int]]) -> None:
    """Write numbers at places (x, y); one that would stand on another goes beside it, with a line to its place."""
    taken = np.zeros(picture.shape[:2], bool)
    for number, x, y in labels:
        text = str(number)
        (width, height), _ = cv2.getTextSize(text, FONT, FONT_SCALE, FONT_THICKNESS)
        width, height = width + 2 * LABEL_MARGIN, height + 2 * LABEL_MARGIN
        free = (
            (min(max(0, x + dx * width - width // 2), picture.shape[1] - width),
             min(max(0, y + dy * height - height // 2), picture.shape[0] - height))
            for dx, dy in LABEL_STEPS
        )  # fmt: skip
        place = next((at for at in free if not taken[at[1] : at[1] + height, at[0] : at[0] + width].any()), None)
        if place is None:
            continue
        left, top = place
        taken[top : top + height, left : left + width] = True
        if not (left <= x < left + width and top <= y < top + height):
            cv2.line(picture, (x, y), (left + width // 2, top + height // 2), LABEL, 1, cv2.LINE_AA)
        corners = (left, top), (left + width - 1, top + height - 1)
        cv2.rectangle(picture, *corners, (255, 255, 255), -1)
        cv2.rectangle(picture, *corners, LABEL, 1)
        at = left + LABEL_MARGIN, top + height - LABEL_MARGIN
        cv2.putText(picture, text, at, FONT, FONT_SCALE, LABEL, FONT_THICKNESS, cv2.LINE_AA)


def frame_pictures(surface: CoverageSurface, scene: Scene, frames: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
    """Frames with the holes in view outlined, RGB, by the frames' numbers.

    Args:
        surface: The surface; what hides a hole is judged by it.
        scene: The frames.
        frames: Numbers of frames that may be shown: those that together show the most are.
    """
    rays = RayScene(surface.vertices, surface.faces)
    position = {scene.images[k].number: k for k in scene.registered if scene.images[k].path is not None}
    field = None if scene.field_mask is None else read_mask(scene.field_mask)

    def holes(number: int, width: int) -> IntArray:
        whole = scene.images[position[number]].camera
        camera = whole.fitted((width, max(1, round(width * whole.height / whole.width))))
        nearest, _ = _cast(surface, rays, camera, scene.model.cam_from_world[position[number]])
        hole = np.where(nearest >= 0, surface.hole[nearest], -1)
        if field is not None:
            hole[cv2.resize(field.astype(np.uint8), camera.size, interpolation=cv2.INTER_NEAREST) == 0] = -1
        return hole

    rough = {number: holes(number, ROUGH_WIDTH_PX) for number in dict.fromkeys(frames) if number in position}
    pictures = {}
    for number in _that_show_most(rough):
        path, hole = scene.images[position[number]].path, holes(number, FRAME_WIDTH_PX)
        assert path is not None
        size = hole.shape[1], hole.shape[0]
        picture = np.asarray(cv2.resize(read_image(path), size, interpolation=cv2.INTER_AREA), np.uint8)
        _draw_holes(picture, hole, FRAME_OUTLINE)
        left, top, right, bottom = _field_box(field, size)
        pictures[number] = picture[top:bottom, left:right]
    return pictures


def _field_box(field: NDArray[np.bool_] | None, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a field of view (H, W) in a picture of a size; all of it where there is none."""
    if field is None or not field.any():
        return 0, 0, *size
    width, height = size
    rows, columns = (np.flatnonzero(field.any(axis)) for axis in (1, 0))
    across, down = width / field.shape[1], height / field.shape[0]
    return (
        int(columns[0] * across), int(rows[0] * down),
        math.ceil((columns[-1] + 1) * across), math.ceil((rows[-1] + 1) * down),
    )  # fmt: skip


def _that_show_most(seen: Mapping[int, IntArray]) -> list[int]:
    """Choose frames one by one: the next is the one that shows the most of holes that those before it do not.

    Args:
        seen: By number of a frame the hole (H, W) of each of its pixels, -1 for none.
    """
    counts = {}
    for number, hole in seen.items():
        holes, sizes = np.unique(hole[hole >= 0], return_counts=True)
        counts[number] = {h: n for h, n in zip(holes.tolist(), sizes.tolist(), strict=True) if n >= LEAST_ROUGH_PX}
    chosen, shown = list[int](), set[int]()
    while counts and len(chosen) < MOST_FRAMES:
        gain = {number: sum(n for h, n in found.items() if h not in shown) for number, found in counts.items()}
        best = max(gain, key=lambda number: gain[number])
        if not gain[best]:
            break
        chosen.append(best)
        shown |= counts.pop(best).keys()
    return chosen
