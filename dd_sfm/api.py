"""The Python interface: describe and match images, reconstruct videos, and read what a run wrote.

Nothing here prints, and no call leaves a setting of the process changed: threads, signal handlers, environment, log
levels and random seeds are afterwards what they were before, but for COLMAP's own seed. Images are RGB uint8 (H, W, 3);
pixels are (x, y) with the centre of the first one at (0, 0); poses are ``cam_from_world``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dd_sfm.api_files import convert as convert
from dd_sfm.api_files import find_scale as find_scale
from dd_sfm.api_files import mesh as mesh
from dd_sfm.api_files import write_mesh as write_mesh
from dd_sfm.api_joining import localize as localize
from dd_sfm.api_joining import merge as merge
from dd_sfm.api_joining import write_hloc_queries as write_hloc_queries
from dd_sfm.api_values import OnStage, Source, calibration_text, say_nothing, settings_of, source_paths_of
from dd_sfm.calibration.board import Board as Board
from dd_sfm.calibration.calibrate import MAX_VIEWS, CalibrationRequest, calibrate_board
from dd_sfm.calibration.result import BoardCalibration as BoardCalibration
from dd_sfm.cameras import PinholeCamera as PinholeCamera
from dd_sfm.config import Config as Config
from dd_sfm.config import MasksConfig as MasksConfig
from dd_sfm.config import MatchConfig as MatchConfig
from dd_sfm.errors import ConfigError as ConfigError
from dd_sfm.errors import DDSfMError as DDSfMError
from dd_sfm.errors import DeviceError as DeviceError
from dd_sfm.errors import InputError as InputError
from dd_sfm.errors import OutputError as OutputError
from dd_sfm.errors import ReconstructionError as ReconstructionError
from dd_sfm.errors import ShapeError as ShapeError
from dd_sfm.errors import StoppedError as StoppedError
from dd_sfm.errors import WeightsError as WeightsError
from dd_sfm.evaluation.comparison.compare import compare_runs
from dd_sfm.evaluation.comparison.result import Comparison as Comparison
from dd_sfm.evaluation.comparison.result import Entry
from dd_sfm.evaluation.model import evaluate as evaluation
from dd_sfm.evaluation.model.evaluate import Evaluation as Evaluation
from dd_sfm.evaluation.model.pose_reference import open_pose_reference
from dd_sfm.evaluation.model.surface import BEST_COUNTS
from dd_sfm.evaluation.model.trajectory import GAPS
from dd_sfm.export.convert import Conversion as Conversion
from dd_sfm.io import clouds, finished_run
from dd_sfm.io.colmap_database import log_kept
from dd_sfm.io.finished_run import Observations as Observations
from dd_sfm.io.finished_run import RunFrame as RunFrame
from dd_sfm.io.finished_run import RunModel as RunModel
from dd_sfm.io.metric import MetricScale as MetricScale
from dd_sfm.io.several_sources import source_paths
from dd_sfm.io.video import iter_frames, open_source
from dd_sfm.mvs.mesh import Mesh as Mesh
from dd_sfm.notes import Note as Note
from dd_sfm.notes import NoteCode as NoteCode
from dd_sfm.pipeline.compare import CompareRequest, comparing, run_all
from dd_sfm.pipeline.in_memory import Descriptor as Descriptor
from dd_sfm.pipeline.in_memory import Image as Image
from dd_sfm.pipeline.in_memory import ImageMatches as ImageMatches
from dd_sfm.pipeline.in_memory import describe as describe
from dd_sfm.pipeline.in_memory import load_descriptor as load_descriptor
from dd_sfm.pipeline.in_memory import match_images as match_images
from dd_sfm.pipeline.run import run
from dd_sfm.pipeline.stage_work import RunRequest
from dd_sfm.presets import configure as configure
from dd_sfm.progress import Progress as Progress
from dd_sfm.progress import silent
from dd_sfm.registration.known_scale import check_unit, factor_in, known_scale
from dd_sfm.registration.register import Registration as Registration
from dd_sfm.registration.register import Settings as RegistrationSettings
from dd_sfm.registration.request import RegistrationRequest, run_registration
from dd_sfm.registration.starts import Range
from dd_sfm.structures import DescriptorMap as DescriptorMap
from dd_sfm.structures import PointCloud as PointCloud
from dd_sfm.viz.notebook import Run as Run
from dd_sfm.viz.notebook import open_run as open_run
from dd_sfm.viz.report.after_run import report_on

Stage = Literal["frames", "describe", "match", "map", "densify"]
LABELS = {
    "learned": "learned",
    "sift": "SIFT, tuned",
    "sift_strong": "SIFT, strong",
    "sift_default": "SIFT, COLMAP's defaults",
}


def read_frames(source: str | Path, numbers: Sequence[int]) -> list[Image]:
    """Read frames of a video file or a folder of images, RGB (H, W, 3) uint8 each.

    Args:
        source: Video file, or folder of images.
        numbers: Zero-based numbers of frames, in any order.

    Raises:
        InputError: If the source cannot be read or has no such frame.

    Example:
        >>> first, later = read_frames("nose.mp4", [0, 5])
    """
    info = open_source(Path(source))
    found = dict(iter_frames(info, sorted({number for number in numbers if number >= 0})))
    missing = [number for number in numbers if number not in found]
    if missing:
        raise InputError(f"{source}: no frame {missing[0]} found; expected numbers from 0 to {info.frame_count - 1}")
    return [found[number] for number in numbers]


def reconstruct(
    source: Source,
    out: str | Path,
    config: Config | str | None = None,
    *,
    calibration: str | Path | PinholeCamera | None = None,
    mask: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    on_stage: OnStage | None = None,
) -> Run:
    """Turn an endoscopic video into a point cloud and a COLMAP model: ``dd-sfm reconstruct`` as a function.

    Finished stages are kept: the same call goes on after a break, and with other settings it redoes only what depends
    on them.

    Args:
        source: Video file, or folder of images; or a list of several of one camera, which share tissue.
        out: Run folder to write: a new or empty one, or that of an earlier run of this source.
        config: From :func:`configure`, or the name of a quality; None: "standard".
        calibration: "fx,fy,cx,cy" at source size in COLMAP's pixels, a file of any tool that docs/calibrate.md
            lists, or a camera. None: it is estimated from the clip.
        mask: Image of the frames' size, 255 where usable, or a folder of such images named as the frames; None: the
            field of view is found.
        overwrite: Start over in the folder of an earlier run.
        progress: Shows how far a long stage is; None: nothing is shown.
        on_stage: Called with a line as each stage begins.

    Returns:
        The finished run.

    Raises:
        ConfigError: If the configuration cannot be used.
        InputError: If source, mask or calibration cannot be used.
        OutputError: If the folder holds something else, cannot be written, or another process writes to it.
        WeightsError, DeviceError: If the weights cannot be used, or the device is not there.
        ReconstructionError: If no model could be made.
        StoppedError: If Ctrl-C came; the same call goes on.

    Example:
        >>> run = reconstruct("nose.mp4", "runs/nose", "preview", calibration="666.2,666.2,919.5,542.1")
        >>> run.points.xyz.shape
    """
    run_stages(
        source, out, config, calibration=calibration, mask=mask, overwrite=overwrite, progress=progress,
        on_stage=on_stage,
    )  # fmt: skip
    return open_run(out)


def run_stages(
    source: Source,
    out: str | Path,
    config: Config | str | None = None,
    *,
    last: Stage = "densify",
    calibration: str | Path | PinholeCamera | None = None,
    mask: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    on_stage: OnStage | None = None,
) -> dict[str, Any]:
    """Do the stages of a reconstruction up to ``last``, or what is left of them; see :func:`reconstruct`.

    Returns:
        The figures of metrics.json; empty when ``last`` is not the last stage.
    """
    request, say = _request(source, out, config, calibration, mask, overwrite, last), on_stage or say_nothing
    with log_kept():
        return run(request, progress or silent, say, lambda: report_on(request, progress or silent, say))


def compare(
    source: Source,
    out: str | Path,
    config: Config | str | None = None,
    *,
    calibration: str | Path | PinholeCamera | None = None,
    mask: str | Path | None = None,
    sift: Literal["tuned", "strong"] = "tuned",
    default_sift: bool = True,
    reference: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    on_stage: OnStage | None = None,
) -> Comparison:
    """Reconstruct a video with the learned descriptor and with SIFT, and report both side by side.

    Writes OUT/report.html, OUT/report.json and OUT/figures, and the runs OUT/learned, OUT/sift and OUT/sift_default.
    A run that finds no model is part of the result, not an error.

    Args:
        source: See :func:`reconstruct`.
        out: Folder to write.
        config: See :func:`reconstruct`; the features are those of each run.
        calibration: See :func:`reconstruct`.
        mask: See :func:`reconstruct`.
        sift: How SIFT is set up: "tuned" for smooth tissue, or "strong" (and affine shape, domain size pooling).
        default_sift: Whether SIFT runs with COLMAP's defaults as well.
        reference: Rendered clip, JHU sequence, COLMAP model or run to measure all runs against.
        overwrite: Start over in the folder of an earlier comparison.
        progress, on_stage: See :func:`reconstruct`.

    Returns:
        The runs and their figures; ``figures["warnings"]`` says why nothing was measured against a reference.

    Raises:
        ReconstructionError: If no run finds a model.
        DDSfMError: Else as :func:`reconstruct`.

    Example:
        >>> found = compare("nose.mp4", "runs/both", "preview", reference="runs/other")
        >>> found.figures["verdict"]
    """
    from dd_sfm.viz.report.write import check_report, write_report

    folder, say, settings = Path(out), on_stage or say_nothing, settings_of(config)
    _check_comparison(settings, sift)
    request = CompareRequest(_request(source, out, settings, calibration, mask, overwrite), sift, default_sift)
    labels = LABELS | {"sift": LABELS["sift_strong" if sift == "strong" else "sift"]}
    with log_kept():
        check_report(folder)
        against = None if reference is None else Path(reference)
        if against is not None:
            # A reference that cannot be read is reported before hours of work, not after them.
            open_pose_reference(against)
        with comparing(request):
            outcomes = run_all(request, progress or silent, say)
            say("report ...")
            found = compare_runs([Entry(r.name, labels[r.name], r.folder, r.failure) for r in outcomes], against)
            write_report(folder, found, title=", ".join(path.name for path in source_paths(request.base.source)))
    return found


def evaluate_model(
    model: Run | str | Path, reference: str | Path, *, best: Sequence[int] = BEST_COUNTS, gaps: Sequence[int] = GAPS
) -> Evaluation:
    """Measure the poses and points of a model against the truth or a reference model. Nothing is written.

    The model is aligned by its cameras; every observation with true depth is then compared with its true place.

    Args:
        model: A run, its folder, or the folder of a COLMAP model.
        reference: Rendered clip (truth.npz), JHU sequence, COLMAP model or run.
        best: Numbers of best points to measure on their own, so that models of different density compare.
        gaps: Distances in frames for relative pose errors.

    Raises:
        InputError: If either cannot be read, or they share fewer than 3 frames.

    Example:
        >>> found = evaluate_model("runs/demo", "demo_videos/sinus")
        >>> found.figures["trajectory"], found.xyz.shape
    """
    with log_kept():
        return evaluation.evaluate_model(finished_run.run_path(model), Path(reference), best=best, gaps=gaps)


def calibrate(
    source: str | Path,
    board: Board,
    *,
    model: str = "auto",
    every: int = 1,
    max_views: int = MAX_VIEWS,
    progress: Progress | None = None,
    on_stage: OnStage | None = None,
) -> BoardCalibration:
    """Calibrate a scope by a video of a checkerboard or ChArUco board. Nothing is written.

    Args:
        source: Video file, or folder of images, of the board.
        board: Its inner corners, and its markers if it has any.
        model: "pinhole" (with distortion), "fisheye", or "auto": what predicts views best that were held out.
        every: Look at every N-th frame.
        max_views: Fit at most so many views, those that differ most.
        progress, on_stage: See :func:`reconstruct`.

    Returns:
        Parameters with their standard deviations, residuals and a verdict; ``yaml()`` is the file that
        ``calibration`` of :func:`reconstruct` takes.

    Raises:
        InputError: If the source cannot be read, or shows too few views of the board.

    Example:
        >>> found = calibrate("board.mp4", Board(9, 6))
        >>> found.params, found.deviations, found.verdict.text
        >>> Path("scope.yaml").write_text(found.yaml())
    """
    request = CalibrationRequest(Path(source), board, model, every, max_views)
    return calibrate_board(request, progress or silent, on_stage or say_nothing)


def register(
    source: Run | str | Path,
    surface: str | Path,
    *,
    pairs: str | Path | None = None,
    initial: str | Path | NDArray[np.float64] | None = None,
    scale: float | str | None = None,
    within: tuple[float, float, float] = (15.0, 25.0, 1.25),
    unit: str = "mm",
    seed: int = 0,
    progress: Progress | None = None,
) -> Registration:
    """Register a cloud to a surface from CT or of a phantom. Nothing is written.

    Args:
        source: A run, its folder, the folder of a COLMAP model, or a PLY file with normals.
        surface: Mesh as STL, PLY, OBJ, VTK or VTP, or a cloud as PLY.
        pairs, initial: File of picked points, or a transform (4, 4) that is roughly right, or a file of one. With
            neither the whole surface is searched.
        scale: Unit of the cloud in the surface's, where it is known, or all that ``--scale`` of the command takes,
            such as "2mm"; None: that of a run with known poses is kept, and otherwise found; "open": found in any case.
        within: How far off a start may be: a length, degrees, and a factor of the scale.
        unit, seed, progress: The surface's unit, "mm", "cm" or "m"; seed of the starts; see :func:`reconstruct`.

    Raises:
        ConfigError: If two starts are given, or a unit or a scale is unknown.
        InputError: If something cannot be read.
        ReconstructionError: If no start leads to the surface.

    Example:
        >>> register("runs/nose", "ct.stl", pairs="picked.csv").similarity.scale
    """
    check_unit(unit)
    path = Path(str(getattr(source, "path", source)))
    factor = scale if isinstance(scale, float | int) else factor_in(known_scale(scale, path), unit)
    settings = RegistrationSettings(None, Range(*within), factor, seed, unit)
    request = RegistrationRequest(path, surface, settings, pairs, initial)
    with log_kept():
        return run_registration(request, progress or silent)


def write_cloud(path: str | Path, points: PointCloud) -> None:
    """Write points, as those of a run or some of them, to a binary PLY file with all that is known of each.

    Raises:
        OutputError: If the file cannot be written.

    Example:
        >>> write_cloud("sure.ply", run.points.where(run.points.uncertainty < 0.01))
    """
    clouds.write_cloud(Path(path), points)


def _request(
    source: Source,
    out: str | Path,
    config: Config | str | None,
    calibration: str | Path | PinholeCamera | None,
    mask: str | Path | None,
    overwrite: bool,
    last: Stage = "densify",
) -> RunRequest:
    return RunRequest(
        source_paths_of(source), Path(out), settings_of(config), calibration_text(calibration),
        None if mask is None else Path(mask), overwrite, last,
    )  # fmt: skip


def _check_comparison(config: Config, sift: str) -> None:
    """Check that the configuration leaves alone what a comparison sets itself.

    Raises:
        ConfigError: If it sets the features, or a SIFT preset other than ``sift``.
    """
    if sift not in ("tuned", "strong"):
        raise ConfigError(f"--sift {sift}: unknown; expected tuned or strong")
    if config.features != "learned":
        raise ConfigError(f"features is '{config.features}' in the configuration; expected none: compare runs both")
    if config.sift.preset not in ("tuned", sift):
        raise ConfigError(f"sift.preset is '{config.sift.preset}' in the configuration; expected --sift to choose it")
