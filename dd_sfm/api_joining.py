"""The calls of the Python interface that bring a finished run together with another video or run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dd_sfm.api_values import OnStage, Source, calibration_text, say_nothing, settings_of, source_paths_of
from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config, MatchConfig
from dd_sfm.errors import ConfigError, InputError
from dd_sfm.io import finished_run
from dd_sfm.io.colmap_database import log_kept
from dd_sfm.io.images import list_images
from dd_sfm.io.run_folder import read_frames
from dd_sfm.pipeline.hloc_queries import QueryRequest, describe_queries, names_of
from dd_sfm.pipeline.localize import LocalizeRequest, config_of_run
from dd_sfm.pipeline.localize import localize as run_localization
from dd_sfm.pipeline.merge import MergeRequest, config_of_first
from dd_sfm.pipeline.merge import merge as merge_runs
from dd_sfm.progress import Progress, silent
from dd_sfm.viz.notebook import Run, open_run


def localize(
    run: Run | str | Path,
    source: Source,
    out: str | Path,
    config: Config | None = None,
    *,
    calibration: str | Path | PinholeCamera | None = None,
    mask: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    on_stage: OnStage | None = None,
) -> Run:
    """Place the frames of another video in the model of a finished run, which stays as it is.

    Args:
        run: A finished run, or its folder.
        source: See :func:`reconstruct`; also of another scope.
        out: Folder to write.
        config: Settings; None: those of the run, with all frames of the source.
        calibration, mask: Of the source; see :func:`reconstruct`.
        overwrite: Replace what an earlier call wrote there.
        progress, on_stage: See :func:`reconstruct`.

    Returns:
        ``out``, which holds the points of the run and the poses of the new frames in its coordinates.
        ``metrics["localized"]`` says what speaks for each pose, ``metrics["frames_without_pose"]`` why others have
        none.

    Raises:
        ReconstructionError: If no frame shows tissue that the run does. Nothing is written then.
        DDSfMError: Else as :func:`reconstruct`.

    Example:
        >>> later = localize("runs/nose", "later.mp4", "runs/later", calibration="666.2,666.2,919.5,542.1")
        >>> later.all_poses, later.metrics["pose_confidence_median"]
    """
    known = finished_run.run_path(run)
    settings = config_of_run(known) if config is None else settings_of(config)
    request = LocalizeRequest(
        known, source_paths_of(source), Path(out), settings, calibration_text(calibration),
        None if mask is None else Path(mask), overwrite,
    )  # fmt: skip
    with log_kept():
        run_localization(request, progress or silent, on_stage or say_nothing)
    return open_run(out)


def merge(
    first: Run | str | Path,
    second: Run | str | Path,
    out: str | Path,
    config: Config | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    on_stage: OnStage | None = None,
) -> Run:
    """Join two finished runs that share tissue into a new one; both stay as they are.

    Args:
        first: A finished run, or its folder; the result has its coordinates.
        second: Another one, of the same video or another, of the same scope or another.
        out: Folder to write.
        config: Settings; None: those of the first run.
        overwrite: Replace what an earlier call wrote there.
        progress, on_stage: See :func:`reconstruct`.

    Returns:
        The merged run; ``metrics["joined"]`` says what joins the runs, with the scale between them and its error.

    Raises:
        ReconstructionError: If the runs do not share enough tissue. Nothing is written then.
        DDSfMError: Else as :func:`reconstruct`.

    Example:
        >>> both = merge("runs/nose", "runs/later", "runs/both")
        >>> joined = both.metrics["joined"]
        >>> joined["scale"], len(both.points)
    """
    known, other = map(finished_run.run_path, (first, second))
    settings = config_of_first(known) if config is None else settings_of(config)
    request = MergeRequest((known, other), Path(out), settings, overwrite)
    with log_kept():
        merge_runs(request, progress or silent, on_stage or say_nothing, _write_report)
    return open_run(out)


def write_hloc_queries(
    run: Run | str | Path,
    images: str | Path | Sequence[str | Path] | Mapping[str, NDArray[np.uint8]],
    out: str | Path,
    *,
    calibration: str | Path | PinholeCamera,
    mask: str | Path | None = None,
    spacing_px: int = MatchConfig.query_spacing_px,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Describe images as the frames of a run were, so that hloc can localise them in ``convert --to hloc`` of it.

    Writes features.h5 (keypoints at corners and, where there are none, in the middle of cells, in pixels of the images
    as they are; descriptors (D, N) float16 of unit length by the run's weights), global.h5 (one ``global_descriptor``
    an image, for retrieval) and queries.txt (names and camera). The network sees the images without distortion, a pixel
    at the angle of one of the run's frames.

    Args:
        run: A finished run with learned descriptors, or its folder.
        images: Folder of images, or files, which get the name FOLDER/FILE; or RGB (H, W, 3) uint8 by the name that
            each gets, which no frame of the run may have. All are of one size and camera.
        out: Folder to write.
        calibration: Of the images; see :func:`reconstruct`. For those of the run's own camera without distortion
            ``run.camera`` does.
        mask: Image of the images' size, 255 where usable; None: the field of view is found.
        spacing_px: Side in working pixels of the cells that get a keypoint each, 2 or more.
        overwrite: Replace what an earlier call wrote there.
        progress: See :func:`reconstruct`.

    Returns:
        ``out``.

    Raises:
        InputError: If the run has no learned descriptors, or images, mask or calibration cannot be used.
        ShapeError: If an image in memory has another shape or dtype.
        ConfigError: If ``spacing_px`` is below 2.
        WeightsError, OutputError: If the run's weights are not there, or the folder cannot be written.

    Example:
        >>> write_hloc_queries("runs/nose", "later/query", "runs/queries", calibration="666.2,666.2,919.5,542.1")
    """
    if spacing_px < 2:
        raise ConfigError(f"spacing_px {spacing_px}: expected 2 or more")
    known = finished_run.run_path(run)
    request = QueryRequest(
        known, _named(images), Path(out), str(calibration_text(calibration)), None if mask is None else Path(mask),
        spacing_px, overwrite,
    )  # fmt: skip
    describe_queries(request, progress or silent)
    return Path(out)


def _named(
    images: str | Path | Sequence[str | Path] | Mapping[str, NDArray[np.uint8]],
) -> dict[str, Path] | dict[str, NDArray[np.uint8]]:
    if isinstance(images, Mapping):
        return dict(images)
    if not isinstance(images, str | Path):
        return names_of([Path(image) for image in images])
    folder = Path(images)
    if not folder.is_dir():
        raise InputError(f"{folder}: no folder; expected one of images, or a list of files")
    return names_of(list_images(folder))


def _write_report(run: Path) -> None:
    # What draws pictures takes a while to import.
    from dd_sfm.viz.report.run_report import write_run_report

    write_run_report(run, title=read_frames(run).source)
