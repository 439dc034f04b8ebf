"""What the page draws of a state: arrays, without a browser or a server."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dd_sfm.structures import FloatArray
from dd_sfm.viz.render.cloud_view import CloudView
from dd_sfm.viz.render.view_state import ViewState

MAX_POINTS = 1_000_000
"""Points that are drawn at once unless stated: 15 MB to send, which a graphics card draws at the screen's own rate."""
UNSURE = 0.7
"""Poses of less confidence deserve a second look (docs/reconstruct.md)."""
POINTS, CAMERAS, MARKS, SURFACE, FRAME = "points", "cameras", "marks", "surface", "frame"
"""Parts of the page that are drawn anew when the state changes."""
SURE_RGB, UNSURE_RGB = (70, 110, 160), (214, 60, 60)


@dataclass(frozen=True)
class Points:
    """Points to draw: ``xyz`` (N, 3) float32, ``rgb`` (N, 3) uint8, and of how many that pass the filters."""

    xyz: NDArray[np.float32]
    rgb: NDArray[np.uint8]
    passing: int

    @property
    def is_thinned(self) -> bool:
        """Whether fewer are drawn than pass."""
        return len(self.xyz) < self.passing


class Drawn:
    """Chooses and colours the points of a state that are drawn.

    Args:
        state: What to show.
        max_points: At most so many points are drawn of all clouds together. Of more that pass the filters as many are
            drawn, at random but the same ones every time.
    """

    def __init__(self, state: ViewState, max_points: int = MAX_POINTS) -> None:
        self.state, self.max_points = state, max_points
        rng = np.random.default_rng(0)
        self._rank = [rng.permutation(len(cloud.xyz)) for cloud in state.clouds]

    def points(self) -> list[Points]:
        """What is drawn of every cloud, moved beside the first one where they are shown side by side."""
        passing = [np.flatnonzero(self.state.visible(k)) for k in range(len(self.state.clouds))]
        total, found = sum(map(len, passing)), []
        for k, index in enumerate(passing):
            drawn = self._thinned(k, index, total)
            xyz = (self.state.clouds[k].xyz[drawn] + self.state.offset(k)).astype(np.float32)
            found.append(Points(xyz, self.state.colours(k)[drawn], len(index)))
        return found

    def _thinned(self, k: int, index: NDArray[np.int64], total: int) -> NDArray[np.int64]:
        """Those of the indices that are drawn, ascending, where so many points of all clouds pass the filters."""
        if total <= self.max_points:
            return index
        room = self.max_points * len(index) // total
        if not room:
            return index[:0]
        return index[np.sort(np.argpartition(self._rank[k][index], room - 1)[:room])]

    @cached_property
    def spacing(self) -> float:
        """A diameter of the points that closes the surface of the first cloud, in scene units."""
        return float(np.median(self.state.clouds[0].spacing))

    @cached_property
    def extent(self) -> float:
        """Diagonal of the clouds in scene units."""
        return float(np.linalg.norm(self.state.high - self.state.low)) or 1.0


def thinning_note(points: list[Points], max_points: int) -> str:
    """That fewer points are drawn than pass the filters, in words; empty where all are."""
    if not any(part.is_thinned for part in points):
        return ""
    drawn, passing = sum(len(part.xyz) for part in points), sum(part.passing for part in points)
    return (
        f"{drawn:,} of {passing:,} points are drawn, chosen at random (--max-points {max_points}); counts and "
        "measurements are of all"
    )


def unsure_frames(cloud: CloudView) -> list[int]:
    """Numbers of the frames whose poses deserve a second look, the least sure first."""
    return sorted((n for n, value in cloud.confidence.items() if value < UNSURE), key=lambda n: cloud.confidence[n])


def confidence_rgb(cloud: CloudView, number: int) -> tuple[int, int, int]:
    """Colour of a frame's camera: red where its pose is unsure, grey where that is not known."""
    if number not in cloud.confidence:
        return (150, 150, 150)
    return UNSURE_RGB if cloud.confidence[number] < UNSURE else SURE_RGB


def shown_frames(cloud: CloudView) -> list[int]:
    """Numbers of the frames that can be stepped through: all with a pose, those between key frames too."""
    return sorted({*cloud.frame_numbers, *(cloud.between if cloud.images else ())})


def pose_of(cloud: CloudView, number: int) -> FloatArray:
    """The pose cam_from_world (3, 4) of a frame in :func:`shown_frames`."""
    found = cloud.poses_by_frame.get(number)
    return np.asarray(cloud.between[number] if found is None else found)
