"""An endless stream of rendered scenes: a new one every ``every`` pairs, rendered while training."""

import logging
import threading
from collections.abc import Callable

import numpy as np

from dd_sfm.training.sources.frames import WorkingFrames
from dd_sfm.training.sources.pair_sample import PairSample, PairSource
from dd_sfm.training.sources.rendered import RenderedSource
from dd_sfm.training.sources.warp import WarpSource

logger = logging.getLogger(__name__)


class SceneStream:
    """Draws pair N from scene N // ``every`` in every process, so that a resumed training draws the same pairs.

    Each process opens the scenes it needs, and a thread prefetches the next one.

    Args:
        first: Scene 0.
        open_scene: Renders and opens a scene by its number; called by several processes at once, and by a thread.
        every: Number of pairs drawn from each scene.
    """

    def __init__(self, first: RenderedSource, open_scene: Callable[[int], RenderedSource], every: int) -> None:
        self.first, self.open_scene, self.every = first, open_scene, every
        self._scene, self._source = 0, first
        self._prefetched: _PrefetchedScene | None = None

    @property
    def frames(self) -> WorkingFrames:
        """The frames of the first scene."""
        return self.first.frames

    def draw(self, rng: np.random.Generator, gap: int | None = None) -> PairSample:
        """A pair of the first scene; :meth:`at` gives the source of a pair of training."""
        return self.first.draw(rng, gap)

    def at(self, number: int) -> RenderedSource:
        """The source of the scene that a pair is drawn from."""
        scene = number // self.every
        if scene != self._scene:
            prefetched = self._prefetched
            self._source = (
                prefetched.result() if prefetched and prefetched.scene == scene else None
            ) or self.open_scene(scene)
            self._scene = scene
        if self._prefetched is None or self._prefetched.scene != scene + 1:
            self._prefetched = _PrefetchedScene(self.open_scene, scene + 1)
        return self._source


class SceneStreamWarps:
    """Random warps of the frames of a :class:`SceneStream`."""

    def __init__(self, source: SceneStream) -> None:
        self.source = source

    def draw(self, rng: np.random.Generator, gap: int | None = None) -> PairSample:
        """A warped frame of the first scene."""
        return WarpSource(self.source.frames).draw(rng, gap)

    def at(self, number: int) -> WarpSource:
        """Warps of the scene that a pair is drawn from."""
        return WarpSource(self.source.at(number).frames)


def source_at(source: PairSource, number: int) -> PairSource:
    """The source that pair ``number`` is drawn from."""
    return source.at(number) if isinstance(source, SceneStream | SceneStreamWarps) else source


class _PrefetchedScene:
    """A scene that a daemon thread renders and opens prefetched of its use."""

    def __init__(self, open_scene: Callable[[int], RenderedSource], scene: int) -> None:
        self.scene = scene
        self._open_scene = open_scene
        self._opened: RenderedSource | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self._opened = self._open_scene(self.scene)
        except Exception as error:
            # Tried again when the scene is needed: by then the disk may have room again.
            logger.info("scene %d, prefetched of time: %s", self.scene, error)

    def result(self) -> RenderedSource | None:
        """Wait for the scene; None if it could not be rendered or opened."""
        self._thread.join()
        return self._opened
