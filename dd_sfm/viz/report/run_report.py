"""Write the report of a single run: one page that opens offline by a double click, on a phone too, and prints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import InputError, one_line
from dd_sfm.evaluation.comparison.compare import compare_runs
from dd_sfm.evaluation.comparison.result import Comparison, Entry
from dd_sfm.io.atomic import write_text
from dd_sfm.io.frame_poses import read_frame_poses
from dd_sfm.io.lock import locked
from dd_sfm.io.run_folder import REPORT, ExtractedFrames, read_frames, read_metrics
from dd_sfm.io.scene import open_scene
from dd_sfm.structures import FloatArray
from dd_sfm.viz.render.evaluation_plots import png
from dd_sfm.viz.render.viewpoints import bulk_points
from dd_sfm.viz.report.clouds import cloud_pictures
from dd_sfm.viz.report.coverage_pictures import frame_pictures, read_surface, side_pictures
from dd_sfm.viz.report.facts import Facts, facts_of
from dd_sfm.viz.report.interactive_view import interactive_view
from dd_sfm.viz.report.plots import single_histograms
from dd_sfm.viz.report.run_page import FrameState, RunPictures, run_page
from dd_sfm.viz.report.summary import summarise

MAX_POINTS = 120_000
"""Of the cloud in the 3D view: a page that a phone opens at once, and a mail takes."""
JPEG_QUALITY = 86


def write_run_report(run: Path, *, title: str) -> Path:
    """Write ``report.html`` into a finished run.

    Args:
        run: The run folder.
        title: Name of the video.

    Returns:
        Path of the page.

    Raises:
        InputError: If the run is not finished, or damaged.
        OutputError: If the page cannot be written, or another process writes to the run.
    """
    with locked(run):
        metrics, frames = read_metrics(run), read_frames(run)
        label = "SIFT" if metrics.get("features") == "sift" else "dd-sfm"
        comparison = _comparison(run, Entry("sift" if label == "SIFT" else "learned", label, run))
        extent = None if comparison is None else _extent(comparison)
        facts = facts_of(metrics, frames, extent=extent)
        payload, clouds = (None, []) if comparison is None else interactive_view(comparison, MAX_POINTS)
        content = run_page(
            facts, summarise(facts), _pictures(run, facts, comparison), clouds, payload,
            poses=_frame_states(run, frames), title=one_line(title),
        )  # fmt: skip
        write_text(run / REPORT, content)
    return run / REPORT


def _comparison(run: Path, entry: Entry) -> Comparison | None:
    """The run as a comparison of one, which pictures and plots are made for; None without a point."""
    try:
        return compare_runs([entry])
    except InputError:
        if read_metrics(run).get("points"):
            raise
        return None


def _extent(comparison: Comparison) -> float:
    """Length of the cloud along its longest direction, without strays."""
    model = comparison.with_model[0].model
    assert model is not None
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


def _pictures(run: Path, facts: Facts, comparison: Comparison | None) -> RunPictures:
    if comparison is None:
        return RunPictures()
    sides, frames = _coverage_pictures(run, facts)
    seen, outside = cloud_pictures(comparison)
    histograms = {name: png(figure, dpi=110) for name, figure in single_histograms(comparison).items()}
    return RunPictures(sides, frames, _jpegs(seen), _jpegs(outside), histograms)


def _jpegs(pictures: Mapping[str, NDArray[np.uint8]]) -> dict[str, bytes]:
    return {caption: _jpeg(picture) for caption, picture in pictures.items()}


def _coverage_pictures(run: Path, facts: Facts) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Pictures of the surface, and of frames with holes, by their captions; none where there is no surface."""
    if facts.coverage("measured_share") is None or not (run / "coverage.ply").is_file():
        return {}, {}
    surface, scene = read_surface(run / "coverage.ply"), open_scene(run)
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
