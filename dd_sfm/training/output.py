"""The output folder of a training: its files, and checks that it may be written to."""

import logging
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import yaml

from dd_sfm import __version__
from dd_sfm.config import dump_config
from dd_sfm.documents import parse_yaml, regular
from dd_sfm.errors import OutputError
from dd_sfm.io.atomic import make_folder, write_text
from dd_sfm.io.links import check_no_links
from dd_sfm.io.lock import LOCK, locked
from dd_sfm.training.checkpoint import CHECKPOINT
from dd_sfm.training.config import TrainConfig
from dd_sfm.training.distributed import ProcessGroup
from dd_sfm.training.history import HISTORY
from dd_sfm.training.sources.spec import DataPath

logger = logging.getLogger(__name__)

WEIGHTS, LAST, SETTINGS, ADAPTATION = "weights.safetensors", "last.safetensors", "training.yaml", "adaptation.json"
TRAINING_FILES = (CHECKPOINT, HISTORY, WEIGHTS, LAST, SETTINGS, ADAPTATION)
DISPLAY_PATTERNS = ("display/*.jpg", "tensorboard/events.out.tfevents.*")


@contextmanager
def held_by(group: ProcessGroup, out: Path) -> Iterator[None]:
    """Hold a training's folder, made where it is missing, for one training; only the main process does.

    Raises:
        OutputError: If another process writes to it, or it cannot be written.
    """
    if not group.is_main:
        yield
        return
    make_folder(out)
    with locked(out, keep=False):
        yield


def clear_output(out: Path) -> None:
    """Remove what an earlier training wrote; nothing else."""
    for path in [
        *(out / name for name in TRAINING_FILES),
        *(p for pattern in DISPLAY_PATTERNS for p in out.glob(pattern)),
    ]:
        path.unlink(missing_ok=True)


def check_output(out: Path, *, overwrite: bool = False) -> None:
    """Check that a folder may be written to; with ``overwrite`` it may hold anything.

    Raises:
        OutputError: If it is a file, or holds other files, a link in the place of a folder, or weights that no training
            here has made.
    """
    if out.is_file():
        raise OutputError(f"{out}: is a file; expected a folder to write to. Choose another with -o")
    check_no_links(out, (pattern.partition("/")[0] for pattern in DISPLAY_PATTERNS))
    if not overwrite and out.is_dir():
        known = (LOCK, *TRAINING_FILES, *(pattern.partition("/")[0] for pattern in DISPLAY_PATTERNS))
        # What a killed process was writing counts as the file.
        others = sorted(p.name for p in out.iterdir() if p.name.removesuffix(".partial") not in known)
        if others and not any((out / n).exists() for n in TRAINING_FILES):
            raise OutputError(
                f"{out}: holds other files ({others[0]}); expected a new folder, or one of an earlier training. Choose "
                "another with -o, or write beside them with --overwrite"
            )
    unknown = [n for n in (WEIGHTS, LAST) if (out / n).exists()]
    if unknown and not overwrite and not any((out / n).exists() for n in (SETTINGS, CHECKPOINT)):
        raise OutputError(
            f"{out}: holds {unknown[0]} but no training; expected a new folder or one of an earlier training. "
            "Choose another with -o, or replace it with --overwrite"
        )


def create_output(
    out: Path, config: TrainConfig, data: Sequence[DataPath], validation: Sequence[DataPath], group: ProcessGroup
) -> None:
    """Make the folder and record settings and sources in training.yaml; only the main process does.

    Raises:
        OutputError: If it cannot be written.
    """
    if group.is_main:
        make_folder(out)
        sources = [_source_text(d) for d in data]
        if (out / CHECKPOINT).exists() and recorded_sources(out) not in ([], sources):
            logger.info("the sources changed since the checkpoint: %s", ", ".join(recorded_sources(out)))
        content = {
            "data": sources,
            "validation": [_source_text(d) for d in validation],
            "processes": group.world_size,
            "config": dump_config(config),
            "versions": {
                "dd-sfm": __version__,
                "python": platform.python_version(),
                "torch": metadata.version("torch"),
            },
        }
        write_text(out / SETTINGS, yaml.safe_dump(content, sort_keys=False))
    group.wait()


def recorded_sources(out: Path) -> list[str]:
    """The sources that training.yaml records; empty if it cannot be read."""
    try:
        return [str(d) for d in parse_yaml(regular(out / SETTINGS).read_text())["data"]]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return []


def check_same_run(out: Path, data: DataPath) -> None:
    """Check that an adaptation in a folder, if there is one, is of the same run.

    Raises:
        OutputError: If it is of another one.
    """
    earlier = recorded_sources(out)
    if (out / CHECKPOINT).exists() and earlier and earlier[0] != _source_text(data):
        raise OutputError(
            f"{out}: holds a training on {earlier[0]}; expected one on {_source_text(data)}. Choose another with "
            "-o, or start over with --overwrite"
        )


def _source_text(data: DataPath) -> str:
    """Range and weight after the full path: two runs of one name are told apart."""
    return (
        str(data.path.resolve())
        + data.label.removeprefix(str(data.path))
        + ("" if data.weight == 1 else f"@{data.weight:g}")
    )
