"""Depth maps: of each frame a 16-bit PNG, a PNG of confidences, and arrays; depth.json tells how to read them."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import world_to_camera
from dd_sfm.documents import read_json
from dd_sfm.export.drawn_depth import DepthOf, DrawnFrame, coverage_text, depth_frames, draw_each
from dd_sfm.export.images import place_below
from dd_sfm.io.arrays import write_arrays
from dd_sfm.io.atomic import write_json
from dd_sfm.io.images import write_image
from dd_sfm.io.scene import Scene, scene_uncertainty
from dd_sfm.io.staging import whole_record
from dd_sfm.progress import Progress
from dd_sfm.structures import FloatArray

INDEX = "depth.json"
MADE_BY, MARKER = "dd-sfm convert", "convert.json"
HALF_CONFIDENCE = 0.01
"""Expected relative error of a depth whose confidence is one half."""
MOST_LEVEL = 65535
FARTHEST = 3.0
"""The PNGs reach so many times the depth that 99 % of the points in any frame are nearer than."""
SAMPLE = 20_000
"""Points that tell how far frames see."""
UNKNOWN = "the errors of the points are not known: all weigh the same, and the confidence of all depths is one half"


def write(scene: Scene, folder: Path, progress: Progress, *, depth_of: DepthOf = "references") -> list[str]:
    """Write png/, confidence/ and npz/ with a file a frame, and depth.json."""
    frames = depth_frames(scene, depth_of)
    stems = _stems({k: scene.images[k].name for k in frames})
    factor = _factor(scene, frames)

    def save(frame: DrawnFrame) -> dict[str, Any]:
        return _save(scene, frame, folder, stems[frame.position], factor)

    entries = list(draw_each(scene, frames, save, progress))
    write_json(folder / INDEX, _head(scene, factor, depth_of) | {"frames": entries})
    notes = [] if scene_uncertainty(scene) is not None else [UNKNOWN]
    return [*notes, coverage_text([entry["coverage"] for entry in entries])]


def holds_depth(folder: Path, depth_of: DepthOf, model: Mapping[str, str] | None = None) -> bool:
    """Whether a folder itself holds all depth maps of these frames, in the unit of the reconstruction.

    Args:
        folder: Where ``dd-sfm convert`` may have written; a link counts for nothing.
        depth_of: The frames.
        model: What they have to be made of, by :func:`dd_sfm.io.checksums.model_sums`; None for any model.
    """
    record = None if folder.is_symlink() else whole_record(folder, MARKER, MADE_BY)
    if record is None or record.get("target") != "depth" or record.get("scale", 1.0) != 1.0:
        return False
    if model is not None and record.get("model") != model:
        return False
    try:
        index = read_json(folder / INDEX)
        files = {entry[kind] for entry in index["frames"] for kind in ("png", "confidence", "npz")}
        return bool(index["of"] == depth_of and files <= set(record["files"]))
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _save(scene: Scene, frame: DrawnFrame, folder: Path, stem: str, factor: float) -> dict[str, Any]:
    """Write the files of a frame; returns its entry of depth.json."""
    image, drawn = scene.images[frame.position], frame.drawn
    known = drawn.depth > 0
    levels = np.rint(drawn.depth / factor)
    confidence = np.where(known, 1 / (1 + (drawn.sigma / HALF_CONFIDENCE) ** 2), 0).astype(np.float32)
    files = {"png": f"png/{stem}.png", "confidence": f"confidence/{stem}.png", "npz": f"npz/{stem}.npz"}
    places = {kind: place_below(folder, name) for kind, name in files.items()}
    write_image(places["png"], np.where(levels <= MOST_LEVEL, levels, 0).astype(np.uint16))
    write_image(places["confidence"], np.rint(255 * confidence).astype(np.uint8))
    arrays: dict[str, NDArray[Any]] = {"depth": _rounded(drawn.depth), "uncertainty": drawn.sigma.astype(np.float16)}
    with places["npz"].open("wb") as file:
        write_arrays(file, arrays, compressed=True)
    return {
        "name": image.name,
        "number": image.number,
        **files,
        "coverage": round(frame.coverage, 4),
        "median_depth": float(np.median(drawn.depth[known])) if known.any() else None,
        "camera": {name: getattr(image.camera, name) for name in ("width", "height", "fx", "fy", "cx", "cy")},
        "cam_from_world": scene.model.cam_from_world[frame.position],
    }


def _rounded(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Without the last bits, which tell nothing and cannot be compressed: to some 8 millionths of the depth."""
    bits = np.ascontiguousarray(depth).view(np.uint32)
    return ((bits + np.uint32(64)) & np.uint32(0xFFFFFF80)).view(np.float32)


def _stems(names: dict[int, str]) -> dict[int, str]:
    """Names of the files without ending: those of the images, with their ending where two differ in that alone."""
    stems = {k: str(PurePosixPath(name).with_suffix("")) for k, name in names.items()}
    return stems if len(set(stems.values())) == len(stems) else names


def _factor(scene: Scene, frames: list[int]) -> float:
    """The depth of one level: a round number (1, 2 or 5 times a power of ten) by which 16 bits reach far enough."""
    points: FloatArray = scene.model.xyz[:: max(1, len(scene.model.xyz) // SAMPLE)]
    farthest = 0.0
    for k in frames:
        camera = scene.images[k].camera
        xy, depth = camera.project(world_to_camera(points, scene.model.cam_from_world[k]))
        seen = depth[(depth > 0) & ((xy >= 0) & (xy < camera.size)).all(1)]
        farthest = max(farthest, float(np.percentile(seen, 99)) if len(seen) else 0.0)
    least = FARTHEST * (farthest or 1.0) / MOST_LEVEL
    power = 10.0 ** np.floor(np.log10(least))
    return float(f"{next((step * power for step in (1, 2, 5) if step * power >= least), 10 * power):.3g}")


def _head(scene: Scene, factor: float, depth_of: DepthOf) -> dict[str, Any]:
    unit = {"unit": "that of the reconstruction"} if scene.metric is None else scene.metric.as_json()
    return {
        "depth": "along the optical axis: distance from the camera's plane, not along the ray",
        **unit,
        "depth_factor": factor,
        "png": "depth = depth_factor * level, 16 bits; 0: not known, or farther than most_depth_in_png",
        "most_depth_in_png": factor * MOST_LEVEL,
        "npz": "depth, float32, and uncertainty, its expected relative error, float16; 0: not known",
        "confidence": "level / 255 = 1 / (1 + (uncertainty / 0.01)^2)",
        "undistorted": True,
        "camera": "pinhole of the undistorted images; the centre of the first pixel is at (0, 0)",
        "of": depth_of,
    }
