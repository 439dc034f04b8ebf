"""The output folder of a training: what is in it, and that it is ours."""

import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import yaml

from dd_sfm import __version__
from dd_sfm.config import dump_config
from dd_sfm.errors import OutputError
from dd_sfm.io.atomic import output_error, write_text
from dd_sfm.training.checkpoint import CHECKPOINT
from dd_sfm.training.config import TrainConfig
from dd_sfm.training.distributed import Group
from dd_sfm.training.history import HISTORY
from dd_sfm.training.sources.spec import DataPath

WEIGHTS, LAST, SETTINGS, ADAPTATION = "weights.safetensors", "last.safetensors", "training.yaml", "adaptation.json"
OURS = (CHECKPOINT, HISTORY, WEIGHTS, LAST, SETTINGS, ADAPTATION)
PICTURES = ("display/*.jpg", "tensorboard/events.out.tfevents.*")


def clear_output(out: Path) -> None:
    """Remove what an earlier training wrote; nothing else."""
    for path in [*(out / name for name in OURS), *(p for pattern in PICTURES for p in out.glob(pattern))]:
        path.unlink(missing_ok=True)


def check_output(out: Path) -> None:
    """See that a folder may be written to, before anything is.

    Raises:
        OutputError: If it is a file, or holds weights that no training here has made.
    """
    if out.is_file():
        raise OutputError(f"{out}: is a file; expected a folder to write to. Choose another with -o")
    foreign = [n for n in (WEIGHTS, LAST) if (out / n).exists()]
    if foreign and not any((out / n).exists() for n in (SETTINGS, CHECKPOINT)):
        raise OutputError(
            f"{out}: holds {foreign[0]} but no training; expected a new folder or one of an earlier training. "
            "Choose another with -o, or replace it with --overwrite"
        )


def open_output(
    out: Path, config: TrainConfig, data: Sequence[DataPath], validation: Sequence[DataPath], group: Group
) -> None:
    """Make the folder and note what is trained there; the first process does.

    Raises:
        OutputError: If it cannot be written.
    """
    if group.leads:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(out, error) from error
        content = {
            "data": [_text(d) for d in data],
            "validation": [_text(d) for d in validation],
            "processes": group.world,
            "config": dump_config(config),
            "versions": {
                "dd-sfm": __version__,
                "python": platform.python_version(),
                "torch": metadata.version("torch"),
            },
        }
        write_text(out / SETTINGS, yaml.safe_dump(content, sort_keys=False))
    group.wait()


def _text(data: DataPath) -> str:
    return data.label + ("" if data.weight == 1 else f"@{data.weight:g}")
