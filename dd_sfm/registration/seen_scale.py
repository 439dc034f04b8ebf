"""The scale by what frames themselves show: something of known diameter, or the two cameras of one stereo scope."""

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from dd_sfm.cameras import inverse_pose, relative_pose, rotation_angles_deg, world_to_camera
from dd_sfm.errors import ConfigError, InputError
from dd_sfm.io.metric import UNITS, MetricScale
from dd_sfm.io.scene import Scene, SceneImage
from dd_sfm.mvs.depth_rendering import SurfaceDiscs
from dd_sfm.sfm.point_cloud import to_cloud
from dd_sfm.structures import FloatArray

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
LENGTH = rf"({NUMBER})\s*(mm|cm|m)?"
TOOL = re.compile(rf"(\d+):({NUMBER}),({NUMBER}),({NUMBER}),({NUMBER}):{LENGTH}")
BASELINE = re.compile(LENGTH)
PICK_PX = 1.0
"""Standard deviation of a picked edge."""
AROUND = 0.6
"""The depth of what is picked is that of points within this share of its width around an edge."""
LEAST_POINTS = 5
MOST_SIGMA = 0.2
"""A scale with a larger standard deviation, relative to it, is refused."""
LEAST_PAIRS = 3
MOST_TURN_DEG = 5.0
"""The two cameras of a scope keep their place to each other to so much."""


def scale_by_tool(text: str, scene: Scene) -> MetricScale:
    """The scale by the diameter of something round on the tissue, both edges of which were picked in a frame.

    A shaft of diameter d that is seen under the angle a has its axis at the distance d / (2 sin(a / 2)). The same
    distance in units is that of the surface at its edges, which it has to touch.

    Args:
        text: ``FRAME:x1,y1,x2,y2:DIAMETER``, pixels of the undistorted frame, whose first one's centre is at (0, 0).
        scene: The reconstruction.

    Raises:
        ConfigError: If the text is none.
        InputError: If the frame has no pose, or nothing around the edges was reconstructed.
    """
    found = TOOL.fullmatch(text.replace(" ", ""))
    if found is None:
        raise ConfigError(
            f"--scale tool:{text}: expected tool:FRAME:x1,y1,x2,y2:DIAMETER, as tool:120:310,240,352,251:5mm"
        )
    image, pose = _posed(int(found[1]), scene)
    edges = np.array([float(found[k]) for k in range(2, 6)]).reshape(2, 2)
    diameter = float(found[6]) * UNITS[found[7] or "mm"]
    width = float(np.linalg.norm(edges[1] - edges[0]))
    if not (diameter > 0 and width > 2 * PICK_PX):
        raise ConfigError(f"--scale tool:{text}: expected a diameter above 0, and two edges some pixels apart")
    if ((edges < -0.5) | (edges > np.array(image.camera.size) - 0.5)).any():
        raise InputError(
            f"--scale tool:{text}: outside of frame {image.number}, which has {image.camera.width} x "
            f"{image.camera.height} pixels; expected pixels of the undistorted frame, as in frames/"
        )
    rays = image.camera.unproject(edges)
    rays /= np.linalg.norm(rays, axis=1)[:, None]
    angle = float(np.arccos(np.clip(rays[0] @ rays[1], -1, 1)))
    distance_mm = diameter / (2 * np.sin(angle / 2))
    distance, spread = _surface_distance(scene, image, pose, edges, AROUND * width)
    sigma = float(np.hypot(np.sqrt(2) * PICK_PX / width, spread / distance))
    if sigma > MOST_SIGMA:
        raise InputError(
            f"--scale tool:{text}: the surface around the edges lies {distance:.3g} +- {spread:.2g} units away and the "
            f"edges are {width:.0f} pixels apart, which leaves the scale open by {100 * sigma:.0f} %; expected "
            f"{100 * MOST_SIGMA:.0f} % or less. Pick where it touches the tissue, and large"
        )
    factor = distance_mm / distance
    note = (
        f"scale {factor:.6g} mm a unit, +- {100 * sigma:.2g} %: {diameter:g} mm that are {width:.1f} pixels wide in "
        f"frame {image.number} are {distance_mm:.3g} mm away, where the surface is {distance:.3g} units away"
    )
    figures = {"scale_sigma": sigma, "scale_frame": image.number, "known_diameter_mm": diameter}
    return MetricScale(factor, "mm", f"a known diameter of {diameter:g} mm in frame {image.number}", figures, (note,))


def tool_text(frame: int, edges: Sequence[FloatArray], diameter_mm: float) -> str:
    """What ``--scale`` takes for both edges of something of known diameter in a frame, see :func:`scale_by_tool`.

    Args:
        frame: Number of the frame.
        edges: Two pixels (2,).
        diameter_mm: The diameter in mm.

    Raises:
        ConfigError: If there are not two edges, or the diameter is not above 0.
    """
    if len(edges) != 2:
        raise ConfigError(f"edges picked: {len(edges)}; expected two, opposite each other")
    if not 0 < diameter_mm < np.inf:
        raise ConfigError(f"diameter {diameter_mm:g} mm: expected one above 0")
    pixels = ",".join(f"{value:.1f}" for edge in edges for value in edge)
    return f"tool:{frame}:{pixels}:{diameter_mm:.9g}mm"


def _posed(number: int, scene: Scene) -> tuple[SceneImage, FloatArray]:
    for k in scene.registered:
        if scene.images[k].number == number:
            return scene.images[k], scene.model.cam_from_world[k]
    known = [scene.images[k].number for k in scene.registered]
    raise InputError(
        f"--scale tool:{number}: frame {number} has no pose; expected one of the {len(known)} of {scene.source} from "
        f"{min(known)} to {max(known)} that have"
    )


def _surface_distance(
    scene: Scene, image: SceneImage, pose: FloatArray, edges: FloatArray, radius: float
) -> tuple[float, float]:
    """How far the surface around two pixels is from the camera, and a standard deviation of that."""
    model = scene.model
    local = world_to_camera(model.xyz, pose)
    xy, depth = image.camera.project(local)
    near = np.zeros(len(xy), np.bool_)
    for edge in edges:
        near |= (depth > 0) & (np.square(xy - edge).sum(1) <= max(radius, 4.0) ** 2)
    # What lies behind a nearer part of the surface is not what is seen.
    surface = _surface_depth(scene, image, pose, xy, depth)
    hidden = near & (surface > 0) & (depth >= 1.05 * surface)
    seen = near & (surface > 0) & ~hidden
    # A sparse cloud is not drawn as a surface: then nothing is known to lie before its points.
    seen = seen if seen.sum() >= LEAST_POINTS else near & ~hidden
    if seen.sum() < LEAST_POINTS:
        behind = f", and {hidden.sum()} behind a nearer surface" if hidden.any() else ""
        raise InputError(
            f"--scale tool:{image.number}: {int(seen.sum())} points around the picked edges{behind}; expected "
            f"{LEAST_POINTS} or more, of the tissue that it touches. Pick another frame"
        )
    distance = np.linalg.norm(local[seen], axis=1)
    middle = float(np.median(distance))
    return middle, float(1.4826 * np.median(np.abs(distance - middle)))


def _surface_depth(scene: Scene, image: SceneImage, pose: FloatArray, xy: FloatArray, depth: FloatArray) -> FloatArray:
    """Depth of the nearest surface at the pixels of points, 0 where none is drawn."""
    drawn = SurfaceDiscs(to_cloud(scene.model, None)).render(image.camera, pose).depth
    inside = (depth > 0) & (xy > -0.5).all(1) & (xy < np.array(image.camera.size) - 0.5).all(1)
    found = np.zeros(len(xy))
    x, y = np.rint(xy[inside]).astype(np.int64).T
    found[inside] = drawn[y, x]
    return found


def scale_by_baseline(text: str, scene: Scene) -> MetricScale:
    """The scale by the distance of the two cameras of a stereo scope, which are two sources of one run.

    Frames at the same time are a pair; of all pairs the second camera has to be at the same place in the first one's
    axes.

    Args:
        text: The distance.
        scene: The reconstruction.

    Raises:
        ConfigError: If the text is no length.
        InputError: If the run has not two sources, or their cameras do not keep their place to each other.
    """
    found = BASELINE.fullmatch(text.strip())
    if found is None or not float(found[1]) > 0:
        raise ConfigError(f"--scale baseline:{text}: expected the distance of the two cameras, as baseline:4.2mm")
    length = float(found[1]) * UNITS[found[2] or "mm"]
    names = sorted({scene.images[k].source for k in scene.registered} - {""})
    if len(names) != 2:
        raise InputError(
            f"--scale baseline:{text}: {scene.source} has frames of {len(names) or 1} source{'s' * (len(names) > 1)}; "
            "expected a run of two, the left and the right video of a stereo scope: dd-sfm reconstruct LEFT RIGHT"
        )
    pairs = _pairs(scene, names)
    if len(pairs) < LEAST_PAIRS:
        raise InputError(
            f"--scale baseline:{text}: {len(pairs)} frames of {names[0]} have one of {names[1]} at the same time; "
            f"expected {LEAST_PAIRS} or more"
        )
    poses = scene.model.cam_from_world
    relative = inverse_pose(relative_pose(*(np.stack([poses[pair[n]] for pair in pairs]) for n in (1, 0))))
    apart = relative[:, :, 3]
    middle = np.median(apart, axis=0)
    distance = float(np.linalg.norm(middle))
    away = np.linalg.norm(apart - middle, axis=1)
    turned = rotation_angles_deg(relative[:, :, :3] @ relative[len(pairs) // 2, :, :3].T)
    spread = 1.4826 * float(np.median(away)) / max(distance, 1e-30)
    if spread > MOST_SIGMA or float(np.median(turned)) > MOST_TURN_DEG:
        raise InputError(
            f"--scale baseline:{text}: the camera of {names[1]} moves in that of {names[0]} from frame to frame, "
            f"by {100 * spread:.0f} % of its distance and {np.median(turned):.2g} degrees (median); expected the two "
            "cameras of one scope, whose videos start together"
        )
    sigma = float(spread / np.sqrt(len(pairs)))
    factor = length / distance
    note = (
        f"scale {factor:.6g} mm a unit, +- {100 * sigma:.2g} %: in {len(pairs)} pairs of frames the camera of "
        f"{names[1]} is {distance:.4g} units from that of {names[0]}, alike to {100 * spread:.2g} % (one pair)"
    )
    figures = {"scale_sigma": sigma, "scale_pairs": len(pairs), "known_baseline_mm": length}
    return MetricScale(factor, "mm", f"a stereo baseline of {length:g} mm", figures, (note,))


def _pairs(scene: Scene, names: list[str]) -> list[tuple[int, int]]:
    """Positions of frames of two sources at the same time, or of the same number where times are not known."""
    by_stamp: dict[float, dict[str, int]] = defaultdict(dict)
    firsts = {name: min(i.number for i in scene.images if i.source == name) for name in names}
    has_times = all(scene.images[k].time_s is not None for k in scene.registered)
    for k in scene.registered:
        image = scene.images[k]
        stamp = (
            round(image.time_s, 3) if has_times and image.time_s is not None else image.number - firsts[image.source]
        )
        by_stamp[stamp].setdefault(image.source, k)
    return [(own[names[0]], own[names[1]]) for _, own in sorted(by_stamp.items()) if len(own) == 2]
