"""From paths to sources: what a path is, the folders below it, and each source's share of the pairs."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dd_sfm.errors import InputError
from dd_sfm.io.images import SUFFIXES
from dd_sfm.io.run_folder import has_frames
from dd_sfm.io.scene import find_model_folder
from dd_sfm.training.config import TrainConfig
from dd_sfm.training.sources.cache import Cache
from dd_sfm.training.sources.endless import EndlessSource, EndlessWarps
from dd_sfm.training.sources.frames import WorkingFrames
from dd_sfm.training.sources.pair import PairSource
from dd_sfm.training.sources.pictures import FindField, open_pictures
from dd_sfm.training.sources.posed import open_posed
from dd_sfm.training.sources.rendered import RenderedSource, open_rendered
from dd_sfm.training.sources.spec import DataPath, Series
from dd_sfm.training.sources.warp import WarpSource

logger = logging.getLogger(__name__)

KINDS = (
    "a JHU sequence (motion.yaml), a COLMAP model with images or run folder (sparse/0), a rendered clip (truth.npz), "
    "a folder of these or of images, a video, an image, or synth:ORGAN[:SEED[+]]"
)
MIN_POINTS = 16
"""A pair with fewer common points teaches nothing."""


@dataclass(frozen=True)
class OpenedSource:
    """A source that is ready. ``kind``: posed, rendered or pictures; ``pairs``: of the reconstruction, or warps."""

    data: DataPath
    kind: str
    frames: WorkingFrames
    pairs: PairSource
    note: str = ""

    @property
    def name(self) -> str:
        """How its figures are named."""
        if self.data.series is not None:
            return self.data.series_name
        span = self.data.label.removeprefix(str(self.data.path))
        return f"{self.frames.name}{span}"


def kind_of(path: Path) -> str | None:
    """What a path is: posed, rendered, pictures, or None."""
    if path.is_file():
        return "pictures"
    if (path / "truth.npz").is_file():
        return "rendered"
    if (path / "motion.yaml").is_file():
        return "posed"
    if find_model_folder(path) is not None:
        return "posed"
    if path.is_dir() and any(p.suffix.lower() in SUFFIXES for p in path.iterdir()):
        return "pictures"
    return None


def expand(data: DataPath) -> list[DataPath]:
    """A source itself, or the sources in the folders below it (a patient's sequences; all patients').

    Raises:
        InputError: If there is none.
    """
    if not data.path.exists():
        raise InputError(f"{data.path}: not found; expected {KINDS}")
    kind = kind_of(data.path)
    if kind != "posed" and has_frames(data.path):
        raise InputError(
            f"{data.path}: a run without a model; expected a finished one. Finish it with dd-sfm reconstruct, or give "
            f"{data.path / 'frames'} to learn from its frames alone"
        )
    if kind:
        return [data]
    for pattern in ("*/", "*/*/"):
        found = [p for p in sorted(data.path.glob(pattern)) if kind_of(p) in ("posed", "rendered")]
        if found:
            if data.last is not None:
                raise InputError(
                    f"{data.label}: a folder of {len(found)} sources takes no range; expected one of the sources"
                )
            return [DataPath(p, weight=data.weight, part=data.part / len(found)) for p in found]
    raise InputError(f"{data.path}: unknown kind of source; expected {KINDS}")


def open_source(data: DataPath, config: TrainConfig, find_field: FindField) -> OpenedSource:
    """Open one source (see :func:`expand`).

    Raises:
        InputError: If it cannot be used.
    """
    cache = Cache(config.cache)
    kind = kind_of(data.path)
    if kind == "rendered":
        rendered = open_rendered(data, config)
        if data.series is None:
            return OpenedSource(data, kind, rendered.frames, rendered)
        endless = EndlessSource(rendered, _LaterScenes(data, data.series, config), config.render.every)
        return OpenedSource(data, kind, rendered.frames, endless, f"and a new scene every {config.render.every} pairs")
    if kind == "posed":
        posed = open_posed(data, config, find_field, cache)
        return OpenedSource(data, kind, posed.frames, posed, posed.note)
    frames = open_pictures(data, config, find_field, cache)
    return OpenedSource(data, "pictures", frames, WarpSource(frames), "no poses: learned from through warps")


@dataclass(frozen=True)
class _LaterScenes:
    """Opens any scene of a series, of which ``data`` is the first."""

    data: DataPath
    series: Series
    config: TrainConfig

    def __call__(self, scene: int) -> RenderedSource:
        return open_rendered(replace(self.data, path=self.series(scene), series=None), self.config)


def open_sources(
    data: Sequence[DataPath], config: TrainConfig, find_field: FindField, role: str = "train on"
) -> list[OpenedSource]:
    """Open sources, see that each gives pairs, and say what they are; ``role``: what they are for.

    Raises:
        InputError: If one cannot be used, or gives no usable pair.
    """
    opened = []
    for part in (p for d in data for p in expand(d)):
        source = open_source(part, config, find_field)
        _check_pairs(source)
        numbers = source.frames.numbers
        note = f"; {source.note}" if source.note else ""
        logger.info("%s %s: %d frames, %d to %d%s", role, source.name, len(numbers), numbers[0], numbers[-1], note)
        opened.append(source)
    return opened


def _check_pairs(source: OpenedSource) -> None:
    rng = np.random.default_rng(0)
    most = 0
    for _ in range(40):
        most = max(most, len(source.pairs.draw(rng).xy0))
        if most >= MIN_POINTS:
            return
    raise InputError(
        f"{source.data.label}: no usable pair in 40 draws (at most {most} common points); expected frames that share "
        f"{MIN_POINTS} points. Is the range too short, or the reconstruction too sparse?"
    )


def weigh(opened: Sequence[OpenedSource], mix: tuple[float, float, float]) -> list[tuple[PairSource, float]]:
    """Sources of pairs with their shares.

    The mix is shared evenly among the entries of a kind, then a weight multiplies an entry's share; warps are made of
    the frames of all.

    Raises:
        InputError: If the mix leaves nothing.
    """
    weighted: list[tuple[PairSource, float]] = []
    for kind, share in (("posed", mix[0]), ("rendered", mix[1])):
        group = [s for s in opened if s.kind == kind]
        weighted += [(s.pairs, share * part) for s, part in zip(group, _parts(group), strict=True)]
    weighted += [(_warps(s), mix[2] * part) for s, part in zip(opened, _parts(opened), strict=True)]
    weighted = [(source, share) for source, share in weighted if share > 0]
    if not weighted:
        raise InputError("mix: the kinds of sources given have no share of the pairs; expected one above 0")
    return weighted


def _warps(source: OpenedSource) -> PairSource:
    return EndlessWarps(source.pairs) if isinstance(source.pairs, EndlessSource) else WarpSource(source.frames)


def _parts(group: Sequence[OpenedSource]) -> list[float]:
    """Shares that sum to 1 when all weights are 1."""
    entries = sum(s.data.part for s in group)
    return [s.data.weight * s.data.part / entries for s in group]
