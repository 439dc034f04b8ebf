"""Write the report of a single run: one page that opens offline by a double click, on a phone too, and prints."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import InputError, one_line
from dd_sfm.evaluation.comparison.result import Column, Comparison, point_figures
from dd_sfm.io.atomic import write_text
from dd_sfm.io.clouds import some_uncertainty
from dd_sfm.io.colmap_sample import Sample
from dd_sfm.io.frame_poses import read_frame_poses
from dd_sfm.io.run_folder import REPORT, ExtractedFrames, read_frames, read_metrics
from dd_sfm.io.scene import Scene, open_scene
from dd_sfm.structures import FloatArray, Model
from dd_sfm.viz.render.evaluation_plots import png
from dd_sfm.viz.render.viewpoints import bulk_points
from dd_sfm.viz.report.clouds import cloud_pictures
from dd_sfm.viz.report.coverage_pictures import frame_pictures, read_surface, side_pictures
from dd_sfm.viz.report.facts import Facts, facts_of
from dd_sfm.viz.report.interactive_view import InteractiveCloud, interactive_view
from dd_sfm.viz.report.plots import single_histograms
from dd_sfm.viz.report.run_page import FrameState, RunPictures, run_page
from dd_sfm.viz.report.summary import summarise

MAX_POINTS = 120_000
"""Of the cloud in the 3D view: a page that a phone opens at once, and a mail takes."""
DRAWN = Sample(points=600_000, observations=0)
"""Of the cloud in pictures: more are not seen in them."""
COUNTED = Sample(points=150_000, observations=900_000)
"""For figures of observations, which take ten times as much memory as the observations themselves."""
JPEG_QUALITY = 86


def write_run_report(run: Path, *, title: str) -> Path:
    """Write ``report.html`` into a finished run, whose lock the caller holds.

    Args:
        run: The run folder.
        title: Name of the video.

    Returns:
        Path of the page.

    Raises:
        InputError: If the run is not finished, or damaged.
        OutputError: If the page cannot be written.
    """
    metrics, frames = read_metrics(run), read_frames(run)
    facts = facts_of(metrics, frames, extent=None)
    # One sample after the other, so that never both are in memory.
    extent, pictures = _drawn(run, facts)
    histograms, clouds, payload = _counted(run, facts)
    facts, pictures = replace(facts, extent=extent), replace(pictures, histograms=histograms)
    content = run_page(
        facts, summarise(facts), pictures, clouds, payload,
        poses=_frame_states(run, frames), title=one_line(title),
    )  # fmt: skip
    write_text(run / REPORT, content)
    return run / REPORT


def _drawn(run: Path, facts: Facts) -> tuple[float | None, RunPictures]:
    """The extent of the cloud, and its pictures; nothing without a point."""
    scene = _open(run, facts, DRAWN)
    if scene is None:
        return None, RunPictures()
    comparison = _comparison(scene, facts)
    sides, frames = _coverage_pictures(run, facts, scene)
    seen, outside = cloud_pictures(comparison)
    return _extent(scene.model), RunPictures(sides, frames, _jpegs(seen), _jpegs(outside))


def _counted(run: Path, facts: Facts) -> tuple[dict[str, bytes], list[InteractiveCloud], dict[str, Any] | None]:
    """The histograms of observations and points, and the cloud to turn; nothing without a point."""
    scene = _open(run, facts, COUNTED)
    if scene is None:
        return {}, [], None
    comparison = _comparison(scene, facts, some_uncertainty(run, scene.model.xyz / scene.factor))
    payload, clouds = interactive_view(comparison, MAX_POINTS)
    histograms = {name: png(figure, dpi=160) for name, figure in single_histograms(comparison).items()}
    return histograms, clouds, payload


def _open(run: Path, facts: Facts, sample: Sample) -> Scene | None:
    """A sample of the run's first model; None without a point."""
    try:
        scene = open_scene(run, sample=sample)
    except InputError:
        if facts.number("points"):
            raise
        return None
    return scene if len(scene.model.xyz) else None


def _comparison(scene: Scene, facts: Facts, uncertainty: FloatArray | None = None) -> Comparison:
    """The run as a comparison of one, which pictures and plots are made for."""
    numbers, found = [image.number for image in scene.images], scene.model
    poses = {numbers[k]: pose for k, pose in found.cam_from_world.items()}
    model = replace(found, cam_from_world=poses, frame=np.array(numbers, np.int64)[found.frame])
    name, label = ("sift", "SIFT") if facts.metrics.get("features") == "sift" else ("learned", "dd-sfm")
    points = point_figures(model, model.error_px) if len(model.point) else None
    total = max(len(model.xyz), int(facts.number("points") or 0))
    column = Column(
        name, label, scene.source, "", dict(facts.metrics), model, points, points_total=total, uncertainty=uncertainty
    )
    return Comparison((column,), (), {}, facts.unit, np.zeros((0, 3)), {})


def _extent(model: Model) -> float:
    """Length of the cloud along its longest direction, without strays."""
    points = bulk_points(model.xyz)
    centred: FloatArray = points - points.mean(0)
    direction = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    low, high = np.percentile(centred @ direction, (0.5, 99.5))
    return float(high - low)


def _frame_states(run: Path, frames: ExtractedFrames) -> list[FrameState]:
    """What became of the frames that were used."""
    known = {pose.frame: pose for pose in read_frame_poses(run)}
    states = []
    for record in frames.kept:
        pose, label = known.get(record.name), record.stem or str(record.index)
        if pose is not None:
            states.append(FrameState(label, pose.model == 0, pose.confidence))
    return states


def _jpegs(pictures: Mapping[str, NDArray[np.uint8]]) -> dict[str, bytes]:
    return {caption: _jpeg(picture) for caption, picture in pictures.items()}


def _coverage_pictures(run: Path, facts: Facts, scene: Scene) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Pictures of the surface, and of frames with holes, by their captions; none where none of it is in view."""
    if facts.coverage("measured_share") is None or not (run / "coverage.ply").is_file():
        return {}, {}
    surface = read_surface(run / "coverage.ply")
    if not len(surface.faces):
        return {}, {}
    poses = np.stack([scene.model.cam_from_world[k] for k in scene.registered])
    best = [hole.get("frame") for hole in facts.holes]
    frames = frame_pictures(surface, scene, [frame for frame in best if isinstance(frame, int)])
    return (
        {name: _encoded(".png", picture) for name, picture in side_pictures(surface, poses).items()},
        {f"frame {number}": _jpeg(picture) for number, picture in frames.items()},
    )


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    """An RGB picture as JPEG."""
    return _encoded(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def _encoded(ending: str, picture: NDArray[np.uint8], options: Any = ()) -> bytes:
    done, content = cv2.imencode(ending, picture[..., ::-1], list(options))
    assert done
    return content.tobytes()
