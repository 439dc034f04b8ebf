"""Camera paths as the text of the TUM RGB-D benchmark, which evo reads."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from dd_sfm.cameras import camera_centres
from dd_sfm.structures import FloatArray


def running_times(time_s: Mapping[int, float]) -> dict[int, float]:
    """Times by frame that never go back: those of each further source follow the last one before it.

    Args:
        time_s: By frame number, ascending over several sources, each of which has times of its own.
    """
    found: dict[int, float] = {}
    offset, before, step = 0.0, -float("inf"), 0.0
    for frame in sorted(time_s):
        if time_s[frame] < before:
            offset += before + step - time_s[frame]
        elif np.isfinite(before):
            step = time_s[frame] - before
        before = time_s[frame]
        found[frame] = before + offset
    return found


def tum_text(frames: Sequence[int], cam_from_world: FloatArray, time_s: Mapping[int, float]) -> str:
    """Poses as the TUM benchmark's text: time, camera centre, orientation (world_from_cam, xyzw) a line.

    Args:
        frames: Frame numbers (N,).
        cam_from_world: Poses (N, 3, 4).
        time_s: Times by frame; a frame that is not listed goes by its number.
    """
    centres = camera_centres(cam_from_world)
    quaternions = Rotation.from_matrix(cam_from_world[:, :, :3]).inv().as_quat()
    lines = []
    for frame, centre, quaternion in zip(frames, centres, quaternions, strict=True):
        values = " ".join(f"{v:.9g}" for v in (*centre, *quaternion))
        lines.append(f"{time_s.get(int(frame), float(frame)):.6f} {values}\n")
    return "".join(lines)
