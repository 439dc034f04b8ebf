"""Camera paths as the text of the TUM RGB-D benchmark, which evo reads."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from scipy.spatial.transform import Rotation

from dd_sfm.cameras import camera_centres
from dd_sfm.errors import one_line
from dd_sfm.structures import FloatArray


def running_times(time_s: Mapping[int, float], source: Mapping[int, str]) -> dict[int, float]:
    """Times by frame that go on over several sources: each further one follows the last frame of the one before it.

    It begins as long after that frame as the one before lies from that one, within its own source.

    Args:
        time_s: By frame number, ascending over the sources, each of which has times of its own.
        source: By frame number, which source it is from.
    """
    numbers = sorted(time_s)
    steps = {b: time_s[b] - time_s[a] for a, b in pairwise(numbers) if source[a] == source[b]}
    offset, step = 0.0, next(iter(steps.values()), 1.0)
    found = {number: time_s[number] for number in numbers[:1]}
    for before, number in pairwise(numbers):
        if number not in steps:
            offset = found[before] + step - time_s[number]
        step = steps.get(number, step)
        found[number] = time_s[number] + offset
    return found


def tum_text(
    frames: Sequence[int], cam_from_world: FloatArray, time_s: Mapping[int, float], comments: Sequence[str] = ()
) -> str:
    """Poses as the TUM benchmark's text: time, camera centre, orientation (world_from_cam, xyzw) a line.

    Args:
        frames: Frame numbers (N,).
        cam_from_world: Poses (N, 3, 4).
        time_s: Times by frame; a frame that is not listed goes by its number.
        comments: Lines of the head.
    """
    centres = camera_centres(cam_from_world)
    quaternions = Rotation.from_matrix(cam_from_world[:, :, :3]).inv().as_quat()
    lines = [f"# {one_line(text)}\n" for text in comments]
    for frame, centre, quaternion in zip(frames, centres, quaternions, strict=True):
        values = " ".join(f"{v:.9g}" for v in (*centre, *quaternion))
        lines.append(f"{time_s.get(int(frame), float(frame)):.6f} {values}\n")
    return "".join(lines)
