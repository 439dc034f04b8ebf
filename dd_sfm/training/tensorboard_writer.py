"""Writes the curves of a training for TensorBoard, where it is installed, and pictures as files."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.io.images import write_image
from dd_sfm.training.validation import Validation

logger = logging.getLogger(__name__)


class TensorBoardWriter:
    """Writes scalars and pictures; without TensorBoard pictures only.

    Args:
        out: The training's folder; pictures go to ``display``, TensorBoard's files to ``tensorboard``.
        enabled: Whether TensorBoard is wanted.
    """

    def __init__(self, out: Path, *, enabled: bool) -> None:
        self.out = out
        self._writer: Any = None
        if not enabled:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            logger.info("TensorBoard is not installed: no curves (pip install tensorboard)")
            return
        self._writer = SummaryWriter(str(out / "tensorboard"))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add points to curves."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

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
        folder.mkdir(exist_ok=True)
        write_image(folder / f"{step:08d}_{number}_{re.sub(r'[^A-Za-z0-9.+-]', '_', name)}.jpg", image)
        if self._writer is not None:
            self._writer.add_image(f"response/{number} {name}", image, step, dataformats="HWC")

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()
