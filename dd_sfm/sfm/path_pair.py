"""Poses of frames and of a measured path at the same times, for any offset between their clocks."""

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation, RotationSpline

from dd_sfm.io.camera_paths import CameraPath
from dd_sfm.sfm.path_matching import LARGEST_GAP, Reading, near_stamps, poses_at
from dd_sfm.structures import FloatArray

MOST_SAMPLES = 1500
SLOW_S = 0.15
"""Frames that are further apart do not tell the motion between them: the path is interpolated at them, not they at it.
"""


class PathPair:
    """Poses of registered frames and of a path at the same times, for any offset of the times.

    Args:
        world_from_cam: Poses (F, 3, 4) of the frames.
        path: The path.
        reading: How its stamps are read, of the same frames.
    """

    def __init__(self, world_from_cam: FloatArray, path: CameraPath, reading: Reading) -> None:
        known = np.isfinite(reading.wanted)
        # Of frames with one time, as some recorders repeat it, the first is taken.
        order = np.flatnonzero(known)[np.unique(reading.wanted[known], return_index=True)[1]]
        self._frames, self._stamps, self._path = world_from_cam[order], reading.wanted[order], path
        self.is_exact = reading.is_exact
        step = float(np.median(np.diff(self._stamps))) if len(order) > 1 else 0.0
        self.step = step
        path_step = float(np.median(np.diff(path.stamps))) if len(path.stamps) > 1 else 0.0
        self._at_frames = self.is_exact or len(order) < 4 or step > SLOW_S
        if self._at_frames:
            self.step = max(step, path_step)
        else:
            self._places = CubicSpline(self._stamps, self._frames[:, :, 3])
            self._turns = RotationSpline(self._stamps, Rotation.from_matrix(self._frames[:, :, :3]))

    def rows(self, offset: float) -> NDArray[np.int64]:
        """Which frames, or poses of the path, have a counterpart with an offset; at most :data:`MOST_SAMPLES`."""
        if self._at_frames:
            rows = np.flatnonzero(near_stamps(self._path, self._stamps + offset, is_exact=self.is_exact))
        else:
            at = self._path.stamps - offset
            after = np.clip(np.searchsorted(self._stamps, at), 1, len(self._stamps) - 1)
            inside = (at >= self._stamps[0]) & (at <= self._stamps[-1])
            rows = np.flatnonzero(inside & (self._stamps[after] - self._stamps[after - 1] <= LARGEST_GAP * self.step))
        every = -(-len(rows) // MOST_SAMPLES)
        return rows[:: max(1, every)]

    def at(self, rows: NDArray[np.int64], offset: float) -> tuple[FloatArray, FloatArray]:
        """Poses world_from_cam and world_from_sensor (K, 3, 4) at such rows."""
        if self._at_frames:
            wanted = self._stamps[rows] + offset
            if self.is_exact:
                return self._frames[rows], self._path.world_from_sensor[np.searchsorted(self._path.stamps, wanted)]
            return self._frames[rows], poses_at(self._path, wanted)
        stamps = self._path.stamps[rows] - offset
        turned = self._turns(stamps).as_matrix()
        cameras = np.concatenate([turned, self._places(stamps)[:, :, None]], -1)
        return cameras, self._path.world_from_sensor[rows]
