"""Values in the files of a run, checked as they are read: anyone may have written or changed them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera
from dd_sfm.documents import file_name, finite, shown, whole
from dd_sfm.io.lens import Lens
from dd_sfm.structures import DropReason, FrameRecord

MOST_FRAMES = 100_000_000


def record_json(record: FrameRecord) -> dict[str, Any]:
    """What became of a frame as ``frames.json`` holds it."""
    return {
        "index": record.index,
        "time_s": record.time_s,
        "sharpness": record.sharpness,
        "kept": record.kept,
        "dropped": record.dropped.value if record.dropped else None,
        "reason": record.detail,
        "source": record.source,
        **({"name": record.stem} if record.stem else {}),
        "piece": record.piece,
    }


def records_of(content: Mapping[str, Any]) -> tuple[FrameRecord, ...]:
    """What ``frames.json`` tells of the frames of the source, by their numbers."""
    return tuple(sorted((_record(record) for record in content["frames"]), key=lambda record: record.index))


def lens_of(content: Mapping[str, Any]) -> Lens | None:
    """The lens whose distortion was undone; None where there was none."""
    lens = content.get("undistorted")
    if not lens:
        return None
    size = whole(content["width"], 1), whole(content["height"], 1)
    return Lens(str(lens["model"]), tuple(map(finite, lens["params"])), *size)


def camera_of(values: Mapping[str, Any]) -> PinholeCamera:
    """A camera of a size, with a focal length."""
    camera = PinholeCamera(**values)
    size = whole(camera.width, 1), whole(camera.height, 1)
    fx, fy, cx, cy, sigma = (
        finite(value) for value in (camera.fx, camera.fy, camera.cx, camera.cy, camera.focal_sigma)
    )
    if min(fx, fy) <= 0:
        raise ValueError(f"a focal length of {min(fx, fy):g}")
    return PinholeCamera(*size, fx, fy, cx, cy, bool(camera.is_guess), sigma)


def one_of(known: Sequence[str], value: Any) -> str:
    """A text that is one of those known."""
    if value not in known:
        raise ValueError(f"{shown(value)}, which is none of {', '.join(known)}")
    return str(value)


def texts(values: Any) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{shown(values)}, which is no list of names")
    return tuple(values)


def finite_or_none(value: Any) -> float | None:
    """A finite number, or none."""
    return None if value is None else finite(value)


def _record(record: Mapping[str, Any]) -> FrameRecord:
    detail = str(record.get("reason", ""))
    dropped = None
    if not record["kept"]:
        dropped = DropReason(record["dropped"]) if record.get("dropped") else _reason_of_older_version(detail)
    return FrameRecord(
        whole(record["index"]),
        finite_or_none(record["time_s"]),
        finite(record.get("sharpness") or 0.0),
        dropped,
        detail,
        str(record.get("source", "")),
        file_name(str(record["name"])) if record.get("name") else "",
        whole(record.get("piece", 0)),
    )


def _reason_of_older_version(detail: str) -> DropReason:
    """Older versions stored only a sentence."""
    known = {"blurred": DropReason.BLURRED, "no motion": DropReason.NO_MOTION}
    return known.get(detail.partition(":")[0], DropReason.THINNED)


def pose_of(values: Any) -> NDArray[np.float64]:
    """A pose (3, 4) of finite numbers."""
    pose = np.array(values, np.float64)
    if pose.shape != (3, 4) or not np.isfinite(pose).all():
        raise ValueError(f"a pose of the shape {pose.shape}, or of values that are not finite")
    return pose


def stage_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of ``stages.json``: fingerprint, whether it is done, and seconds."""
    values = dict(entry)
    return values | {"seconds": finite(values.get("seconds", 0.0))}


def check_tracks(arrays: Mapping[str, NDArray[Any]]) -> None:
    """See that arrays are those of tracks, in whole and in finite numbers.

    Raises:
        ValueError: If they are not.
    """
    for name, kinds in {"track": "iu", "frame": "iu", "xy": "f", "score": "f", "anchor": "b", "pairs": "iu"}.items():
        if arrays[name].dtype.kind not in kinds or not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} holds {arrays[name].dtype} values, or such that are not finite")
    if (arrays["frame"] < 0).any() or (arrays["frame"] > MOST_FRAMES).any():
        raise ValueError("frames that no video has")


def point_figures_of(values: Any) -> list[dict[str, Any]]:
    """Figures of the points of each model, of at least one.

    Raises:
        ValueError: If they are not, or a figure is a text or no finite number.
    """
    figures = [dict(one) for one in values]
    if not figures:
        raise ValueError("no model")
    for one in figures:
        whole(one["frames_registered"])
        for value in one.values():
            if not isinstance(value, dict | list | bool):
                finite_or_none(value)
    return figures
