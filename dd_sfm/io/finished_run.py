"""A finished run, opened for reading: its poses, points, frames, masks, figures and settings."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config
from dd_sfm.errors import InputError
from dd_sfm.io.clouds import read_cloud
from dd_sfm.io.colmap_database import log_kept
from dd_sfm.io.colmap_source import Reconstruction, read_reconstruction
from dd_sfm.io.images import read_image, read_mask
from dd_sfm.io.instrument_masks import without_instruments
from dd_sfm.io.known_poses import run_metric
from dd_sfm.io.run_config import read_config
from dd_sfm.io.run_folder import (
    CONFIG,
    FRAMES,
    METRICS,
    STAGES,
    load_frames,
    read_frame_records,
    read_frames,
    read_metrics,
    readable,
)
from dd_sfm.io.scene import Scene, open_scene
from dd_sfm.io.trajectory import located_poses
from dd_sfm.notes import Note
from dd_sfm.structures import FrameRecord, PointCloud

REQUIRED = (FRAMES, METRICS, CONFIG, "points.ply", "sparse/0")
"""What every finished run has."""


@dataclass(frozen=True)
class RunFrame:
    """A frame that a run used.

    ``index``: its zero-based number in the source, by which everything of a run is found; ``sharpness``: mean response
    of a Laplacian of Gaussian relative to brightness, in per cent; ``registered``: whether it has a pose in the first
    model; ``source``: the file it is from, "" for a video.
    """

    index: int
    time_s: float
    path: Path
    mask_path: Path
    sharpness: float
    registered: bool
    source: str = ""


@dataclass(frozen=True)
class Observations:
    """Where points are seen: one row an observation, sorted by point, then by frame.

    ``point`` (O,) int64 is the row of the point among the model's points; ``frame`` (O,) int64 the number of the source
    frame; ``xy`` (O, 2) float64 source pixels with the centre of the first pixel at (0, 0).
    """

    point: NDArray[np.int64]
    frame: NDArray[np.int64]
    xy: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.point)


class Masks:
    """The masks of a run, read when they are asked for: ``masks[index]`` is (H, W) bool, true where usable."""

    def __init__(self, frames: tuple[RunFrame, ...], where: Path) -> None:
        self._paths = {frame.index: frame.mask_path for frame in frames}
        self._where = where

    def __getitem__(self, index: int) -> NDArray[np.bool_]:
        return read_mask(_of_frame(self._paths, index, self._where))

    def __contains__(self, index: object) -> bool:
        return index in self._paths

    def __iter__(self) -> Iterator[int]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


@dataclass(frozen=True)
class RunModel:
    """One of the models of a run: where a video falls apart there is more than one, each in a world of its own."""

    folder: Path

    @cached_property
    def _scene(self) -> Scene:
        with log_kept():
            return open_scene(self.folder)

    @cached_property
    def camera(self) -> PinholeCamera:
        """The camera of all frames, without distortion; pixels have their centres at integers.

        The focal length is that of the model; ``is_guess`` and ``focal_sigma`` tell, as those of the run's frames do,
        how well it is known.
        """
        known = read_frames(self.folder.parents[1]).camera
        return replace(self._scene.model.camera, is_guess=known.is_guess, focal_sigma=known.focal_sigma)

    @cached_property
    def poses(self) -> dict[int, NDArray[np.float64]]:
        """``cam_from_world`` (3, 4) float64 = [R | t] by the number of the source frame, ascending."""
        scene = self._scene
        return {scene.images[k].number: scene.model.cam_from_world[k] for k in scene.registered}

    @cached_property
    def all_poses(self) -> dict[int, NDArray[np.float64]]:
        """:attr:`poses`, and those of frames between key frames, which ``trajectory.csv`` has; without it no more."""
        located = located_poses(self.folder.parents[1], self.folder)
        return dict(sorted({**located, **self.poses}.items()))

    @property
    def xyz(self) -> NDArray[np.float64]:
        """The points (P, 3) float64 in the unit of the model, which is an arbitrary one."""
        return self._scene.model.xyz

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """The points' colours (P, 3)."""
        return self._scene.model.rgb

    @property
    def error_px(self) -> NDArray[np.float64]:
        """Mean reprojection error of every point (P,) in source pixels."""
        return self._scene.model.error_px

    @cached_property
    def observations(self) -> Observations:
        """Where the model's points are seen."""
        model = self._scene.model
        numbers = np.array([image.number for image in self._scene.images], np.int64)
        return Observations(model.point, numbers[model.frame], model.xy)

    def to_pycolmap(self) -> Reconstruction:
        """The model as a ``pycolmap.Reconstruction``.

        COLMAP's pixels have the centre of the first one at (0.5, 0.5); images are called as the files of the frames.
        """
        return read_reconstruction(self.folder)


@dataclass(frozen=True)
class Run:
    """A finished run. Nothing is read before it is asked for, and everything only once, but images and masks.

    Frames are known by their zero-based number in the source. Pixels are (x, y) with centres at integers, at the size
    of the source; poses are ``cam_from_world``.
    """

    path: Path

    @cached_property
    def models(self) -> tuple[RunModel, ...]:
        """All models of the run, the largest one first; those after the first are what is apart from it."""
        found: list[RunModel] = []
        while (folder := self.path / "sparse" / str(len(found))).is_dir():
            found.append(RunModel(folder))
        return tuple(found)

    @property
    def camera(self) -> PinholeCamera:
        """The camera of all frames, as the first model has it; see :attr:`RunModel.camera`."""
        return self.models[0].camera

    @property
    def poses(self) -> dict[int, NDArray[np.float64]]:
        """``cam_from_world`` (3, 4) float64 = [R | t] by the number of the source frame, ascending."""
        return self.models[0].poses

    @property
    def all_poses(self) -> dict[int, NDArray[np.float64]]:
        """:attr:`poses`, and those of frames between key frames; see :attr:`RunModel.all_poses`."""
        return self.models[0].all_poses

    @property
    def observations(self) -> Observations:
        """Where the points are seen; rows of ``point`` count :attr:`points`."""
        return self.models[0].observations

    @cached_property
    def points(self) -> PointCloud:
        """The points with colour, normal, and what tells how far to trust them; ``points.where(mask)`` chooses some.

        ``triangulation_angle_deg`` and ``uncertainty`` are None in runs of older versions.
        """
        return read_cloud(self.path / "points.ply")

    @cached_property
    def _records(self) -> tuple[FrameRecord, ...]:
        return read_frame_records(self.path)

    @cached_property
    def frames(self) -> tuple[RunFrame, ...]:
        """The frames that were used, in the order of their numbers."""
        records, poses = {record.index: record for record in self._records}, self.poses
        return tuple(
            RunFrame(
                index=frame.index,
                time_s=frame.time_s,
                path=frame.path,
                mask_path=frame.mask_path,
                sharpness=records[frame.index].sharpness,
                registered=frame.index in poses,
                source=records[frame.index].source,
            )
            for frame in without_instruments(load_frames(self.path)).frames
        )

    @property
    def dropped(self) -> dict[int, str]:
        """Why a frame of the source was left out, by its number."""
        return {record.index: record.detail for record in self._records if not record.kept}

    def image(self, index: int) -> NDArray[np.uint8]:
        """A frame that was used, RGB (H, W, 3) uint8, with the distortion of the lens undone.

        Raises:
            InputError: If the run did not use that frame, or its file is missing.
        """
        return read_image(_of_frame({frame.index: frame.path for frame in self.frames}, index, self.path))

    @cached_property
    def masks(self) -> Masks:
        """The usable pixels of every frame that was used: ``masks[index]`` is (H, W) bool."""
        return Masks(self.frames, self.path)

    @cached_property
    def unit(self) -> str | None:
        """The unit of lengths, "mm", of a run with known poses; None where it is arbitrary."""
        metric = run_metric(self.path)
        return None if metric is None else metric.unit

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The figures of the run: what metrics.json holds."""
        return read_metrics(self.path)

    @property
    def notes(self) -> tuple[Note, ...]:
        """What went less well: a code, and a sentence."""
        texts = self.metrics.get("degradations", [])
        codes = self.metrics.get("degradation_codes", [])
        with readable(self.path / METRICS):
            if len(codes) != len(texts):
                # An older version, which wrote no codes.
                return tuple(Note.from_json(text) for text in texts)
            return tuple(Note.from_json({"code": code, "text": text}) for code, text in zip(codes, texts, strict=True))

    @cached_property
    def config(self) -> Config:
        """The settings that the run was made with."""
        return read_config(self.path)

    def to_pycolmap(self) -> Reconstruction:
        """The first model as a ``pycolmap.Reconstruction``; see :meth:`RunModel.to_pycolmap`."""
        return self.models[0].to_pycolmap()


def check_finished(run: Path) -> None:
    """See that a folder is that of a finished run.

    Raises:
        InputError: If it is missing, of something else, or of a run that is not finished.
    """
    if not run.is_dir():
        found = "is a file" if run.exists() else "not found"
        raise InputError(f"{run}: {found}; expected the folder of a run, made by dd-sfm reconstruct")
    missing = [name for name in REQUIRED if not (run / name).exists()]
    if not missing:
        return
    if not any((run / name).is_file() for name in (STAGES, FRAMES)):
        raise InputError(f"{run}: not the folder of a run; expected one made by dd-sfm reconstruct")
    raise InputError(
        f"{run}: the run is not finished: {', '.join(missing)} missing. Repeat dd-sfm reconstruct to go on with it"
    )


def _of_frame(paths: dict[int, Path], index: int, where: Path) -> Path:
    """The path of a frame.

    Raises:
        InputError: If there is no such frame.
    """
    if index not in paths:
        numbers = sorted(paths)
        span = f"one of {len(numbers)} from {numbers[0]} to {numbers[-1]}" if numbers else "none, as there are none"
        raise InputError(f"{where}: no frame {index!r} among those used; expected {span} (run.frames lists them)")
    return paths[index]


def run_path(run: Run | str | Path) -> Path:
    """The folder of a run, which may be given as one."""
    return run.path if isinstance(run, Run) else Path(run)
