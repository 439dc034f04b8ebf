"""Weights as safetensors that know their architecture."""

import difflib
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from dd_sfm.documents import parse_json, regular
from dd_sfm.errors import WeightsError, listed, reason_of
from dd_sfm.features.networks import ARCHITECTURES, build_network
from dd_sfm.io.atomic import write_bytes
from dd_sfm.io.shortage import raise_if_short
from dd_sfm.resources import models_folder

FORMAT = "1"
CHECKSUM = "crc32"
"""Of the tensors, among the metadata: the format itself has none."""
Shapes = dict[str, tuple[int, ...]]
"""Of tensors, by name."""


def list_weights() -> list[str]:
    """Names of the shipped weights."""
    return sorted(p.parent.name for p in models_folder().glob("*/weights.safetensors"))


def find_weights(name_or_path: str) -> Path:
    """The file of shipped weights or of the user's own.

    Raises:
        WeightsError: If neither exists.
    """
    shipped = models_folder() / name_or_path / "weights.safetensors"
    path = Path(name_or_path)
    if name_or_path in list_weights():
        return shipped
    if path.is_dir():
        path = path / "weights.safetensors"
    if path.is_file():
        return path
    names = list_weights()
    close = difflib.get_close_matches(name_or_path, names, n=1)
    hint = (
        f"did you mean '{close[0]}'?" if close else f"expected a file or one of: {', '.join(names) or 'none shipped'}"
    )
    raise WeightsError(f"--weights {name_or_path}: not found; {hint}")


def save_weights(
    path: Path,
    network: nn.Module,
    architecture: str,
    options: dict[str, Any],
    *,
    extra: dict[str, str] | None = None,
    half: bool = True,
) -> None:
    """Write a network's weights with what is needed to build it.

    Args:
        path: The .safetensors file.
        network: The network.
        architecture: Its name in ``dd_sfm.features.networks.ARCHITECTURES``.
        options: Its constructor's arguments.
        extra: More metadata.
        half: Store floating-point weights as float16.
    """
    tensors = {}
    for name, value in network.state_dict().items():
        value = value.detach().cpu().contiguous()
        tensors[name] = value.half() if half and value.is_floating_point() else value
    metadata = {"format": FORMAT, "architecture": architecture, "options": json.dumps(options), **(extra or {})}
    metadata[CHECKSUM] = _checksum(tensors)
    write_bytes(path, save(tensors, metadata))


def read_architecture(name_or_path: str) -> tuple[str, dict[str, Any]]:
    """Architecture and constructor's arguments of weights.

    Raises:
        WeightsError: If the file is missing, corrupt, or of an unknown architecture.
    """
    path = find_weights(name_or_path)
    metadata, _ = _read_header(path)
    try:
        return metadata["architecture"], dict(parse_json(metadata.get("options", "{}")))
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{path}: options of {metadata['architecture']} cannot be used ({error})") from error


def read_training_sources(name_or_path: str) -> list[str]:
    """Sources that weights record as their training's, each NAME or NAME:FIRST-LAST; none where none is recorded.

    Raises:
        WeightsError: If the file is missing, corrupt, or of an unknown architecture.
    """
    metadata, _ = _read_header(find_weights(name_or_path))
    try:
        return [str(name) for name in parse_json(metadata.get("training", "{}"))["data"]]
    except (ValueError, KeyError, TypeError):
        return []


def load_weights(name_or_path: str, device: torch.device) -> nn.Module:
    """A network in evaluation mode on a device.

    Raises:
        WeightsError: If the file is missing, corrupt, of an unknown architecture, or does not hold exactly the
            architecture's tensors.
    """
    path = find_weights(name_or_path)
    # First without memory for it.
    _build(path, torch.device("meta"))
    network = _build(path, torch.device("cpu"))
    with _open(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        expected = (file.metadata() or {}).get(CHECKSUM)
    # Weights from before there was one have none.
    if expected is not None and expected != _checksum(tensors):
        raise WeightsError(
            f"{path}: damaged (the checksum is not that of what it holds); expected weights as dd-sfm train wrote "
            "them. Copy or train them again"
        )
    network.load_state_dict(tensors)
    return network.to(device).eval()


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """CRC-32 of the bytes of tensors, one after the other by their names."""
    total = 0
    for name in sorted(tensors):
        total = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes(), total)
    return f"{total:08x}"


def check_weights(name_or_path: str) -> None:
    """See that weights can be loaded, by the header of the file alone.

    Raises:
        WeightsError: As :func:`load_weights` does.
    """
    _build(find_weights(name_or_path), torch.device("meta"))


def _build(path: Path, device: torch.device) -> nn.Module:
    """A network with random weights for a file that holds exactly its tensors."""
    metadata, shapes = _read_header(path)
    architecture = metadata["architecture"]
    try:
        # A new network draws random weights, which are then replaced: the caller's random numbers are not to change.
        with torch.random.fork_rng(devices=[]), device:
            network = build_network(architecture, **_options(metadata, shapes))
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise WeightsError(f"{path}: options of {architecture} cannot be used ({error})") from error
    _check_tensors(path, architecture, {name: tuple(t.shape) for name, t in network.state_dict().items()}, shapes)
    return network


def _options(metadata: dict[str, str], shapes: Shapes) -> dict[str, Any]:
    """The arguments of a network's constructor; none of them can be more than its tensors, or the sides of one."""
    options = dict(parse_json(metadata.get("options", "{}")))
    most = max(len(shapes), *(side for shape in shapes.values() for side in shape), 1)
    for name, value in options.items():
        if isinstance(value, int) and not 0 <= value <= most:
            raise ValueError(f"{name} is {value}, and no tensor has more than {most} rows")
    return options


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    try:
        with safe_open(regular(path), framework="pt") as file:
            yield file
    except (SafetensorError, OSError, ValueError) as error:
        raise_if_short(str(path), error)
        raise WeightsError(
            f"{path}: not a readable safetensors file ({reason_of(error)}); expected weights by dd-sfm train"
        ) from error


def _read_header(path: Path) -> tuple[dict[str, str], Shapes]:
    """Metadata, in which the architecture is a known one, and the shapes of the tensors."""
    with _open(path) as file:
        metadata = file.metadata() or {}
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    architecture = metadata.get("architecture", "")
    if architecture not in ARCHITECTURES:
        raise WeightsError(
            f"{path}: architecture '{architecture or 'not stated'}'; expected one of {', '.join(ARCHITECTURES)}"
        )
    return metadata, shapes


def _check_tensors(
    path: Path, architecture: str, wanted: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]
) -> None:
    missing, unexpected = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    wrong = [n for n in wanted.keys() & found.keys() if wanted[n] != found[n]]
    if not (missing or unexpected or wrong):
        return
    problems = [
        f"{len(names)} {kind} ({listed(names, 3)})"
        for kind, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", sorted(wrong)))
        if names
    ]
    raise WeightsError(f"{path}: not weights of this {architecture}: tensors {'; '.join(problems)}")
