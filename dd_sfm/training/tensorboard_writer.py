"""Writes the curves of a training for TensorBoard, where it is installed, and pictures as files."""

import logging
import os
import platform
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.io.atomic import make_folder, output_error
from dd_sfm.io.images import write_image
from dd_sfm.training.validation import Validation

logger = logging.getLogger(__name__)


class _EventFile:
    """TensorBoard's file of events. Its own writer works in a thread, whose errors come late and as a traceback.

    Raises:
        ImportError: If TensorBoard is not installed.
        OutputError: If it cannot be written, also later.
    """

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import summary  # isort: skip
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = Event, summary
        make_folder(folder, parents=False)
        self._path = folder / f"events.out.tfevents.{time.time():010.0f}.{platform.node()}.{os.getpid()}"
        try:
            self._file = self._path.open("ab", buffering=0)
        except OSError as error:
            raise output_error(self._path, error) from error
        self._records = RecordWriter(self._file)
        self._write(file_version="brain.Event:2")

    def scalar(self, step: int, name: str, value: float) -> None:
        """Add a point to a curve."""
        self._write(step=step, summary=self._summary.scalar(name, value))

    def image(self, step: int, name: str, image: NDArray[np.uint8]) -> None:
        """Add a picture (H, W, 3)."""
        self._write(step=step, summary=self._summary.image(name, image, dataformats="HWC"))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, **content: Any) -> None:
        try:
            self._records.write(self._event(wall_time=time.time(), **content).SerializeToString())
        except OSError as error:
            raise output_error(self._path, error) from error


class TensorBoardWriter:
    """Writes scalars and pictures; without TensorBoard pictures only.

    Args:
        out: The training's folder; pictures go to ``display``, TensorBoard's files to ``tensorboard``.
        enabled: Whether TensorBoard is wanted.
    """

    def __init__(self, out: Path, *, enabled: bool) -> None:
        self.out = out
        self._events: _EventFile | None = None
        if not enabled:
            return
        try:
            self._events = _EventFile(out / "tensorboard")
        except ImportError:
            logger.info("TensorBoard is not installed: no curves (pip install tensorboard)")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add points to curves."""
        if self._events is not None:
            for name, value in values.items():
                self._events.scalar(step, name, value)

    def validation(self, step: int, results: Mapping[str, Validation]) -> None:
        """Accuracy per source, and per gap."""
        for name, result in results.items():
            rows = {f"{name}/all": result.overall} | {f"{name}/gap {g}": a for g, a in result.by_gap.items() if g}
            for row, accuracy in rows.items():
                for threshold, share in zip(accuracy.thresholds_px, accuracy.pck, strict=True):
                    self.scalars(step, {f"pck {threshold:g} px/{row}": share})

    def picture(self, step: int, number: int, name: str, image: NDArray[np.uint8]) -> None:
        """Keep a picture (H, W, 3) of a source: the ``number`` tells sources of one name apart."""
        folder = self.out / "display"
        make_folder(folder, parents=False)
        write_image(folder / f"{step:08d}_{number}_{re.sub(r'[^A-Za-z0-9.+-]', '_', name)}.jpg", image)
        if self._events is not None:
            self._events.image(step, f"response/{number} {name}", image)

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self._events is not None:
            self._events.close()
