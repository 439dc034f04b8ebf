"""Rendered scenes without end: a new one every so many pairs, made while training where pairs are prepared."""

import logging
import threading
from collections.abc import Callable

import numpy as np

from dd_sfm.training.sources.frames import WorkingFrames
from dd_sfm.training.sources.pair import PairSample, PairSource
from dd_sfm.training.sources.rendered import RenderedSource
from dd_sfm.training.sources.warp import WarpSource

logger = logging.getLogger(__name__)


class EndlessSource:
    """Pair N is of scene N // ``every``, whichever process draws it, so that a training that is resumed draws the same.

    Each process opens the scenes that it needs, and has the next one made by a thread meanwhile.

    Args:
        first: Scene 0.
        make: Makes any scene by its number; called by several processes at once, and by a thread.
        every: Pairs of a scene.
    """

    def __init__(self, first: RenderedSource, make: Callable[[int], RenderedSource], every: int) -> None:
        self.first, self.make, self.every = first, make, every
        self._scene, self._source = 0, first
        self._ahead: _Ahead | None = None

    @property
    def frames(self) -> WorkingFrames:
        """The frames of the first scene."""
        return self.first.frames

    def draw(self, rng: np.random.Generator, gap: int | None = None) -> PairSample:
        """A pair of the first scene; :meth:`at` gives the source of a pair of training."""
        return self.first.draw(rng, gap)

    def at(self, number: int) -> RenderedSource:
        """The scene of a pair."""
        scene = number // self.every
        if scene != self._scene:
            ahead = self._ahead
            self._source = (ahead.result() if ahead and ahead.scene == scene else None) or self.make(scene)
            self._scene = scene
        if self._ahead is None or self._ahead.scene != scene + 1:
            self._ahead = _Ahead(self.make, scene + 1)
        return self._source


class EndlessWarps:
    """Warps of the frames of the scenes of an :class:`EndlessSource`."""

    def __init__(self, source: EndlessSource) -> None:
        self.source = source

    def draw(self, rng: np.random.Generator, gap: int | None = None) -> PairSample:
        """A warped frame of the first scene."""
        return WarpSource(self.source.frames).draw(rng, gap)

    def at(self, number: int) -> WarpSource:
        """Warps of the scene of a pair."""
        return WarpSource(self.source.at(number).frames)


def source_at(source: PairSource, number: int) -> PairSource:
    """What pair ``number`` is drawn from."""
    return source.at(number) if isinstance(source, EndlessSource | EndlessWarps) else source


class _Ahead:
    """A scene in the making, by a thread that holds up nobody's end."""

    def __init__(self, make: Callable[[int], RenderedSource], scene: int) -> None:
        self.scene = scene
        self._make = make
        self._made: RenderedSource | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self._made = self._make(self.scene)
        except Exception as error:
            # Tried again when the scene is needed, which may be long after: the disk may have room again.
            logger.info("scene %d, ahead of time: %s", self.scene, error)

    def result(self) -> RenderedSource | None:
        """The scene, once it is there; None when it could not be made."""
        self._thread.join()
        return self._made
