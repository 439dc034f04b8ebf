"""Checkpoints of a training: written atomically, and loaded only into the network they were made for."""

import io
import pickle
import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import torch

from dd_sfm.documents import regular
from dd_sfm.errors import OutputError, WeightsError
from dd_sfm.io.atomic import write_bytes
from dd_sfm.io.shortage import shortage

CHECKPOINT = "checkpoint.pt"
HINT = "choose another output folder, or start over with --overwrite"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a state, replacing the last one only when the new one is complete.

    Raises:
        OutputError: If it cannot be written; the last one is then still there.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    try:
        write_bytes(path, buffer.getvalue())
    except OutputError as error:
        kept = "the last good checkpoint is kept" if path.exists() else "there is no checkpoint yet"
        raise OutputError(f"{error}; {kept}") from error


def load_checkpoint(path: Path, device: torch.device, architecture: str, options: dict[str, Any]) -> dict[str, Any]:
    """Read a state.

    Raises:
        WeightsError: If it is damaged, or of another network.
    """
    _check_whole(path)
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        found = state.get("architecture", architecture), state.get("options", options)
        missing = {"network", "average", "optimiser", "step"} - state.keys()
    except (RuntimeError, KeyError, EOFError, ValueError, AttributeError, OSError, pickle.UnpicklingError) as error:
        if shortage(error, ""):
            # It is told as what it is: the checkpoint may well be good.
            raise
        raise WeightsError(f"{path}: not a checkpoint ({type(error).__name__}); {HINT}") from error
    if missing:
        raise WeightsError(f"{path}: not a checkpoint ({', '.join(sorted(missing))} missing); {HINT}")
    if found != (architecture, options):
        raise WeightsError(
            f"{path}: a checkpoint of {network_name(*found)}; the settings ask for "
            f"{network_name(architecture, options)}. Set the same, or {HINT}"
        )
    return state


def _check_whole(path: Path) -> None:
    """Compare what a checkpoint holds with its checksums, which PyTorch writes and does not look at.

    Raises:
        WeightsError: If it is damaged, or no checkpoint.
    """
    try:
        with ZipFile(regular(path)) as archive:
            reason = archive.testzip()
    except (BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, zlib.error) as error:
        raise WeightsError(f"{path}: damaged, or not a checkpoint ({error}); {HINT}") from error
    if reason is not None:
        raise WeightsError(f"{path}: damaged (its {reason} is not as it was written); {HINT}")


def wrong_network(path: Path, architecture: str, error: Exception) -> WeightsError:
    """The error for a checkpoint whose tensors do not fit the network."""
    return WeightsError(f"{path}: not a checkpoint of this {architecture} ({type(error).__name__}); {HINT}")


def network_name(architecture: str, options: dict[str, Any]) -> str:
    """An architecture with its options, for messages."""
    return " ".join([architecture, *(f"{k}={v}" for k, v in options.items())])
