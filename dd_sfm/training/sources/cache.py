"""Prepared sources kept on disk, each under a name made from all that it depends on."""

import hashlib
import io
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import OutputError
from dd_sfm.io.arrays import read_arrays, write_arrays
from dd_sfm.io.atomic import make_folder, write_bytes
from dd_sfm.training.sources.frames import WorkingFrames

logger = logging.getLogger(__name__)

FORMAT = 3
"""Raised when what is prepared changes."""


class Cache:
    """A folder of prepared sources; without a folder nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def key(self, files: Sequence[Path], arrays: Sequence[NDArray[Any]], settings: Sequence[Any]) -> str:
        """A name made from files (by size and time of change), arrays (by content) and settings."""
        if self.folder is None:
            return ""
        digest = hashlib.sha256(json.dumps([FORMAT, list(settings)]).encode())
        for path in files:
            state = path.stat()
            digest.update(f"{path.resolve()} {state.st_size} {state.st_mtime_ns}\n".encode())
        for array in arrays:
            digest.update(f"{array.shape} {array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:32]

    def load(self, key: str) -> dict[str, Any] | None:
        """What was saved under a name; None when there is none, or it is damaged."""
        if self.folder is None:
            return None
        path = self.folder / f"{key}.npz"
        try:
            arrays = read_arrays(path)
            return {**arrays, "frames": _unpack(arrays)}
        except FileNotFoundError:
            return None
        except (OSError, EOFError, ValueError, KeyError, IndexError, BadZipFile) as error:
            logger.info("%s: damaged (%s); prepared again", path, error)
            return None

    def save(self, key: str, content: dict[str, Any]) -> None:
        """Keep arrays, and ``frames`` among them.

        Raises:
            OutputError: If the folder cannot be written.
        """
        if self.folder is None:
            return
        arrays = {name: value for name, value in content.items() if name != "frames"}
        buffer = io.BytesIO()
        write_arrays(buffer, {**arrays, **_pack(content["frames"])})
        make_folder(self.folder)
        try:
            write_bytes(self.folder / f"{key}.npz", buffer.getvalue())
        except OutputError as error:
            # A training that could go on without it must not fail for want of it.
            logger.warning("%s; going on without", error)


def _pack(frames: WorkingFrames) -> dict[str, Any]:
    return {
        "frames_name": np.array(frames.name),
        "frames_numbers": np.array(frames.numbers, np.int64),
        "frames_shape": np.array(frames.shape),
        "frames_masks": frames.masks,
        "frames_bytes": np.concatenate([h.ravel() for h in frames.stored]),
        "frames_ends": np.cumsum([h.size for h in frames.stored]),
        "frames_compressed": np.array(frames.stored[0].ndim == 1),
    }


def _unpack(arrays: dict[str, Any]) -> WorkingFrames:
    height, width = (int(v) for v in arrays["frames_shape"])
    held = np.split(arrays["frames_bytes"], arrays["frames_ends"][:-1])
    if not arrays["frames_compressed"]:
        held = [h.reshape(height, width, 3) for h in held]
    numbers = tuple(int(n) for n in arrays["frames_numbers"])
    return WorkingFrames(str(arrays["frames_name"]), numbers, tuple(held), arrays["frames_masks"], (height, width))
