"""Opens training sources: tells the kind of a path, expands folders, and sets each source's share of the pairs."""

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
from dd_sfm.training.sources.frames import WorkingFrames
from dd_sfm.training.sources.pair_sample import PairSource
from dd_sfm.training.sources.posed import open_posed
from dd_sfm.training.sources.rendered import RenderedSource, open_rendered
from dd_sfm.training.sources.scene_stream import SceneStream, SceneStreamWarps
from dd_sfm.training.sources.spec import DataPath, RenderScene
from dd_sfm.training.sources.unposed import FindFieldOfView, open_unposed
from dd_sfm.training.sources.warp import WarpSource

logger = logging.getLogger(__name__)

SUPPORTED_SOURCES = (
    "a JHU sequence (motion.yaml), a COLMAP model with images or run folder (sparse/0), a rendered clip (truth.npz), "
    "a folder of these or of images, a video, an image, or synth:ORGAN[:SEED[+]]"
)
MIN_POINTS = 16
"""Fewest common points of a pair that is trained on."""


@dataclass(frozen=True)
class OpenedSource:
    """A prepared source. ``kind``: posed, rendered or unposed; ``pairs``: draws pairs of frames, or warps of one."""

    data: DataPath
    kind: str
    frames: WorkingFrames
    pairs: PairSource
    note: str = ""

    @property
    def name(self) -> str:
        """Its name in logs and records."""
        if self.data.stream is not None:
            return self.data.stream_name
        span = self.data.label.removeprefix(str(self.data.path))
        return f"{self.frames.name}{span}"


def source_kind(path: Path) -> str | None:
    """The kind of source at a path: posed, rendered, unposed, or None."""
    if path.is_file():
        return "unposed"
    if (path / "truth.npz").is_file():
        return "rendered"
    if (path / "motion.yaml").is_file():
        return "posed"
    if find_model_folder(path) is not None:
        return "posed"
    if path.is_dir() and any(p.suffix.lower() in SUFFIXES for p in path.iterdir()):
        return "unposed"
    return None


def expand_folders(data: DataPath) -> list[DataPath]:
    """A source itself, or the sources in the folders below it (a patient's sequences; all patients').

    Raises:
        InputError: If there is none.
    """
    if not data.path.exists():
        raise InputError(f"{data.path}: not found; expected {SUPPORTED_SOURCES}")
    kind = source_kind(data.path)
    if kind != "posed" and has_frames(data.path):
        raise InputError(
            f"{data.path}: a run without a model; expected a finished one. Finish it with dd-sfm reconstruct, or give "
            f"{data.path / 'frames'} to learn from its frames alone"
        )
    if kind:
        return [data]
    for pattern in ("*/", "*/*/"):
        found = [p for p in sorted(data.path.glob(pattern)) if source_kind(p) in ("posed", "rendered")]
        if found:
            if data.last is not None:
                raise InputError(
                    f"{data.label}: a folder of {len(found)} sources takes no range; expected one of the sources"
                )
            return [DataPath(p, weight=data.weight, part=data.part / len(found)) for p in found]
    raise InputError(f"{data.path}: unknown kind of source; expected {SUPPORTED_SOURCES}")


def open_source(data: DataPath, config: TrainConfig, find_field_of_view: FindFieldOfView) -> OpenedSource:
    """Open one source (see :func:`expand_folders`).

    Raises:
        InputError: If it cannot be used.
    """
    cache = Cache(config.cache)
    kind = source_kind(data.path)
    if kind == "rendered":
        rendered = open_rendered(data, config)
        if data.stream is None:
            return OpenedSource(data, kind, rendered.frames, rendered)
        stream = SceneStream(rendered, _OpenStreamScene(data, data.stream, config), config.render.every)
        return OpenedSource(data, kind, rendered.frames, stream, f"and a new scene every {config.render.every} pairs")
    if kind == "posed":
        posed = open_posed(data, config, find_field_of_view, cache)
        return OpenedSource(data, kind, posed.frames, posed, posed.note)
    frames = open_unposed(data, config, find_field_of_view, cache)
    return OpenedSource(data, "unposed", frames, WarpSource(frames), "no poses: learned from through warps")


@dataclass(frozen=True)
class _OpenStreamScene:
    """Renders and opens any scene of a stream, of which ``data`` is the first."""

    data: DataPath
    stream: RenderScene
    config: TrainConfig

    def __call__(self, scene: int) -> RenderedSource:
        return open_rendered(replace(self.data, path=self.stream(scene), stream=None), self.config)


def open_sources(
    data: Sequence[DataPath], config: TrainConfig, find_field_of_view: FindFieldOfView, role: str = "train on"
) -> list[OpenedSource]:
    """Open sources, check that each gives pairs, and log them; ``role`` says in the log what they are for.

    Raises:
        InputError: If one cannot be used, or gives no usable pair.
    """
    opened = []
    for part in (p for d in data for p in expand_folders(d)):
        source = open_source(part, config, find_field_of_view)
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


def sampling_shares(opened: Sequence[OpenedSource], mix: tuple[float, float, float]) -> list[tuple[PairSource, float]]:
    """Set the share of pairs that is drawn from each source.

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
    return SceneStreamWarps(source.pairs) if isinstance(source.pairs, SceneStream) else WarpSource(source.frames)


def _parts(group: Sequence[OpenedSource]) -> list[float]:
    """Shares that sum to 1 when all weights are 1."""
    entries = sum(s.data.part for s in group)
    return [s.data.weight * s.data.part / entries for s in group]
