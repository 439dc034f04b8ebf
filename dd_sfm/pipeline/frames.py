"""Stage: frames. From a video or a folder of images to the frames, masks and camera of a run."""

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import PinholeCamera
from dd_sfm.config import Config, FramesConfig
from dd_sfm.errors import InputError
from dd_sfm.io.atomic import write_json
from dd_sfm.io.calibration import read_calibration
from dd_sfm.io.colmap_camera import Undistortion, undistortion
from dd_sfm.io.images import write_image, write_mask
from dd_sfm.io.scene import THINNED
from dd_sfm.io.video import SourceInfo, iter_frames, open_source, video_hint
from dd_sfm.pipeline.masks import erode_mask, find_field_of_view, frame_mask, mask_height, read_user_mask
from dd_sfm.progress import Progress
from dd_sfm.structures import Frame, FrameSet

logger = logging.getLogger(__name__)

NEIGHBOURS = 7
"""Frames on each side whose sharpness a frame is compared with."""
VIEW_ANGLES_DEG = 50, 150
"""Fields of view that endoscopes have, across the larger side."""
CENTRE_AWAY = 0.25
"""A principal point further from the centre of the field of view, as a share of its width, is doubted."""
MAX_DROPS_IN_A_ROW = 3
"""A longer blurred stretch keeps every fourth frame, so that the path is not cut."""


@dataclass(frozen=True)
class FrameRecord:
    """What became of a source frame."""

    index: int
    time_s: float
    sharpness: float
    kept: bool
    reason: str = ""
    source: str = ""


def check_source(source: Path, config: Config, calibration: str | None, mask: Path | None) -> None:
    """Find out what cannot be used before anything of an earlier run is replaced.

    Raises:
        InputError: If the source cannot be opened or has too few frames, or calibration or mask do not fit it.
    """
    info = open_source(source)
    _numbers(info, config.frames)
    if calibration:
        read_calibration(calibration, width=info.width, height=info.height)
    if mask is not None:
        read_user_mask(mask, info.width, info.height)


def extract_frames(
    source: Path, out: Path, config: Config, *, calibration: str | None, mask: Path | None, progress: Progress
) -> FrameSet:
    """Choose, undistort and write the frames of a run, their masks and ``frames.json``.

    Args:
        source: A video or a folder of images.
        out: The run folder.
        config: Which frames, masks and camera.
        calibration: See :func:`dd_sfm.io.calibration.read_calibration`; None: a guess from the field of view.
        mask: The user's mask; None: found from the frames.
        progress: Shows decoding.

    Raises:
        InputError: If the source, the mask or the calibration cannot be used, or fewer than 3 frames remain.
    """
    info = open_source(source)
    known = read_calibration(calibration, width=info.width, height=info.height) if calibration else None
    numbers = _numbers(info, config.frames)
    samples = _samples(info, numbers)
    if mask is not None:
        field_of_view = read_user_mask(mask, info.width, info.height)
    else:
        field_of_view = find_field_of_view(samples, str(source))
    height = mask_height(field_of_view)
    if known is not None:
        lens = undistortion(known)
    else:
        lens = Undistortion(guess_camera(field_of_view, config.camera.field_of_view_deg), None)
    field_of_view = lens.apply(field_of_view.astype(np.uint8), nearest=True) > 0
    notes = _view_notes(lens.camera, field_of_view) if known is not None else []
    usable = erode_mask(field_of_view, config.masks)
    sharpness = _sharpness_pass(info, numbers, field_of_view, height, config, progress)
    in_source = info.frame_count
    if len(sharpness) < len(numbers):
        # What the container promises is not there: the last frame decoded is the last one known.
        in_source = numbers[len(sharpness) - 1] + 1 if sharpness else 0
        notes.append(f"the video ends early: {len(sharpness)} of {len(numbers)} frames could be decoded")
        logger.warning("%s: %s", source, notes[-1])
    dropped = _blurred(sharpness, config.frames)
    numbers = numbers[: len(sharpness)]
    chosen = _thin([n for n in numbers if n not in dropped], config.frames.max_frames, numbers, dropped)
    writer = _Writer(out, config, lens, usable, height)
    for number, image in progress(iter_frames(info, _range(chosen)), total=len(_range(chosen)), label="write frames"):
        if number in dropped:
            continue
        reason = writer.offer(number, image)
        if reason:
            dropped[number] = reason
    records = [
        FrameRecord(
            index=n,
            time_s=round(n / info.fps, 4),
            sharpness=round(s, 4),
            kept=n not in dropped,
            reason=dropped.get(n, ""),
            source=info.names[n] if info.names else "",
        )
        for n, s in zip(numbers, sharpness, strict=True)
    ]
    _require_three(source, records)
    notes += _drop_notes(records, config.frames)
    write_mask(out / "field_of_view.png", usable)
    _write_json(out, replace(info, frame_count=in_source), records, lens, height, notes)
    return load_frames(out, config)


def _numbers(info: SourceInfo, config: FramesConfig) -> range:
    """The source numbers that ``--start``, ``--end`` and ``--every`` choose."""
    count = info.frame_count
    end = count if config.end is None else min(config.end, count)
    numbers = range(config.start, end, max(1, config.every))
    if len(numbers) >= 3:
        return numbers
    if info.names and count < 3:
        raise InputError(
            f"{info.path}: a folder with {count} image{'s' * (count > 1)} ({', '.join(info.names)}); expected a video "
            f"file or a folder of at least 3 frames{video_hint(info.path)}"
        )
    if count < 3:
        raise InputError(f"{info.path}: {count} frame{'s' * (count > 1)}; expected at least 3")
    has = f"{info.path}: has {count} frames, 0 to {count - 1}"
    if config.start >= count:
        raise InputError(f"{has}; --start {config.start} is past the last one. Choose a smaller --start")
    asked = f"--start {config.start} --end {end} --every {config.every}"
    raise InputError(
        f"{has}; {asked} leaves {len(numbers)} of them; expected at least 3. Choose a wider range or a smaller --every"
    )


def _samples(info: SourceInfo, numbers: range, count: int = 16) -> list[NDArray[Any]]:
    """Frames spread over the range; seeking where the container allows it."""
    spread = [numbers[int(i)] for i in np.linspace(0, len(numbers) - 1, min(count, len(numbers)))]
    if info.names:
        return [image for n in spread for _, image in iter_frames(info, range(n, n + 1))]
    capture = cv2.VideoCapture(str(info.path))
    found = []
    try:
        for number in spread:
            capture.set(cv2.CAP_PROP_POS_FRAMES, number)
            ok, image = capture.read()
            if ok:
                found.append(np.ascontiguousarray(image[..., ::-1]))
    finally:
        capture.release()
    if len(found) < 3:
        found = [image for _, image in iter_frames(info, numbers[:count])]
    if not found:
        raise InputError(f"{info.path}: no frame of the chosen range can be decoded; expected at least 3")
    return found


def _field_extent(field_of_view: NDArray[np.bool_]) -> tuple[int, tuple[float, float]]:
    """The larger side of the field's bounding box, and its centre (x, y), in pixels."""
    rows, columns = np.flatnonzero(field_of_view.any(1)), np.flatnonzero(field_of_view.any(0))
    size = int(max(rows[-1] - rows[0], columns[-1] - columns[0])) + 1
    return size, (float(columns[0] + columns[-1]) / 2, float(rows[0] + rows[-1]) / 2)


def guess_camera(field_of_view: NDArray[np.bool_], angle_deg: float) -> PinholeCamera:
    """A pinhole camera whose field of view spans an angle: f = (d / 2) / tan(angle / 2).

    d is the larger side of the field's bounding box, which for a circle clipped above and below is its diameter.
    """
    size, centre = _field_extent(field_of_view)
    focal = float(size / 2 / np.tan(np.radians(angle_deg) / 2))
    height, width = field_of_view.shape
    return PinholeCamera(width, height, focal, focal, *centre, is_guess=True)


def _view_notes(camera: PinholeCamera, field_of_view: NDArray[np.bool_]) -> list[str]:
    """A calibration whose field of view or centre no endoscope has is that of another camera, or of other frames."""
    size, centre = _field_extent(field_of_view)
    away = float(np.hypot(camera.cx - centre[0], camera.cy - centre[1])) / size
    notes = []
    if away > CENTRE_AWAY:
        notes.append(
            f"calibration: the principal point ({camera.cx:.0f}, {camera.cy:.0f}) lies {100 * away:.0f} % of the field "
            f"of view's width from its centre ({centre[0]:.0f}, {centre[1]:.0f}); endoscopes have it within some 15 %. "
            "Is it of these frames, neither cropped nor resized? Shape and angles are only as good as that"
        )
    angle = float(2 * np.degrees(np.arctan(size / 2 / camera.fx)))
    low, high = VIEW_ANGLES_DEG
    if not low <= angle <= high:
        notes.append(
            f"calibration: a focal length of {camera.fx:.0f} px means a field of view of {angle:.0f} degrees, "
            f"endoscopes have {low} to {high}. Is it of this scope, at this size of frames? Shape and angles are only "
            "as good as that"
        )
    return notes


def _drop_notes(records: list[FrameRecord], config: FramesConfig) -> list[str]:
    notes = []
    still = f"as they moved by less than {config.min_motion_px:g} working pixels (frames.min_motion_px)"
    for word, why in (("blurred", "as blurred"), ("no motion", still)):
        count = sum(r.reason.startswith(word) for r in records)
        if count:
            frames = f"{count} of {len(records)} frames"
            notes.append(f"{frames} left out {why}; frames.json says which")
    return notes


def _small_grey(image: NDArray[Any], scale: float) -> NDArray[Any]:
    size = (max(16, round(image.shape[1] * scale)), max(16, round(image.shape[0] * scale)))
    return cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)


def sharpness_of(image: NDArray[Any], field_of_view: NDArray[np.bool_], scale: float) -> float:
    """Mean response of a Laplacian of Gaussian relative to brightness, at working size.

    Relative to brightness, since exposure changes; clipped, since a highlight's edge outshines all tissue.
    """
    grey = _small_grey(image, scale).astype(np.float32)
    mask = cv2.resize(field_of_view.astype(np.uint8), grey.shape[::-1], interpolation=cv2.INTER_NEAREST)
    inside = cv2.erode(mask, np.ones((9, 9), np.uint8)) > 0
    if not inside.any():
        return 0.0
    response = np.abs(cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), 1.2), cv2.CV_32F)) / (grey + 16.0)
    return float(np.minimum(response, 0.1)[inside].mean() * 100)


def _sharpness_pass(
    info: SourceInfo,
    numbers: range,
    field_of_view: NDArray[np.bool_],
    height: int,
    config: Config,
    progress: Progress,
) -> list[float]:
    scale = min(1.0, config.describe.working_height_px / max(1, height))
    frames = progress(iter_frames(info, numbers), total=len(numbers), label="read frames")
    return [sharpness_of(image, field_of_view, scale) for _, image in frames]


def _blurred(sharpness: list[float], config: FramesConfig) -> dict[int, str]:
    """Source numbers of frames much less sharp than their neighbours, with the reason."""
    numbers = range(config.start, config.start + len(sharpness) * max(1, config.every), max(1, config.every))
    values = np.array(sharpness)
    dropped: dict[int, str] = {}
    in_a_row = 0
    for k, number in enumerate(numbers):
        near = np.delete(values[max(0, k - NEIGHBOURS) : k + NEIGHBOURS + 1], min(k, NEIGHBOURS))
        usual = float(np.median(near)) if len(near) else 0.0
        if values[k] < config.min_sharpness * usual and in_a_row < MAX_DROPS_IN_A_ROW:
            dropped[number] = f"blurred: sharpness {values[k]:.3f}, neighbours {usual:.3f}"
            in_a_row += 1
        else:
            in_a_row = 0
    return dropped


def _thin(candidates: list[int], most: int | None, numbers: range, dropped: dict[int, str]) -> list[int]:
    """At most ``most`` candidates, evenly; the others are entered into ``dropped``."""
    if most is None or len(candidates) <= most:
        return candidates
    chosen = {candidates[int(i)] for i in np.linspace(0, len(candidates) - 1, most)}
    dropped.update({n: THINNED for n in candidates if n not in chosen})
    return sorted(chosen)


def _range(numbers: list[int]) -> range:
    """The smallest range that holds evenly or unevenly spaced numbers; others in it are skipped by the caller."""
    if not numbers:
        return range(0)
    steps = np.diff(numbers)
    step = int(np.gcd.reduce(steps)) if len(steps) else 1
    return range(numbers[0], numbers[-1] + 1, step)


class _Writer:
    """Writes frames and masks, leaving out those that show no motion since the last one written."""

    def __init__(self, out: Path, config: Config, lens: Undistortion, usable: NDArray[np.bool_], height: int) -> None:
        self.config, self.lens, self.usable = config, lens, usable
        self.frames, self.masks = out / "frames", out / "masks"
        for folder in (self.frames, self.masks):
            folder.mkdir(parents=True, exist_ok=True)
        # Half the working size is enough to see motion, and four times faster.
        self.scale = min(1.0, config.describe.working_height_px / max(1, height)) / 2
        self.last: NDArray[Any] | None = None
        small = (max(16, round(usable.shape[1] * self.scale)), max(16, round(usable.shape[0] * self.scale)))
        self.inside = cv2.resize(usable.astype(np.uint8), small, interpolation=cv2.INTER_NEAREST) > 0
        preset = cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST
        self.flow = cv2.DISOpticalFlow_create(preset)  # type: ignore[attr-defined]

    def offer(self, number: int, image: NDArray[Any]) -> str:
        """Write a frame, or return the reason why not."""
        image = self.lens.apply(image)
        grey = _small_grey(image, self.scale)
        if self.last is not None and self.config.frames.min_motion_px > 0:
            flow = self.flow.calc(self.last, grey, None)
            motion = float(np.median(np.linalg.norm(flow[self.inside], axis=1)) * 2) if self.inside.any() else 0.0
            if motion < self.config.frames.min_motion_px:
                return f"no motion: {motion:.2f} working px since the last frame kept"
        self.last = grey
        name = f"{number:08d}.{self.config.frames.format}"
        write_image(self.frames / name, image)
        write_mask(self.masks / f"{name}.png", frame_mask(image, self.usable, self.config.masks))
        return ""


def _require_three(source: Path, records: list[FrameRecord]) -> None:
    kept = sum(r.kept for r in records)
    if kept >= 3:
        return
    blurred = sum(r.reason.startswith("blurred") for r in records)
    still = sum(r.reason.startswith("no motion") for r in records)
    hint = "--set frames.min_motion_px=0" if still >= blurred else "--set frames.min_sharpness=0"
    raise InputError(
        f"{source}: {kept} usable frames of {len(records)} ({blurred} too blurred, {still} without motion); "
        f"expected at least 3. Try {hint}"
    )


def _write_json(
    out: Path, info: SourceInfo, records: list[FrameRecord], lens: Undistortion, height: int, notes: list[str]
) -> None:
    content = {
        "source": info.path.name,
        "width": info.width,
        "height": info.height,
        "fps": info.fps,
        "frames_in_source": info.frame_count,
        "camera": asdict(lens.camera),
        "undistorted": {"model": lens.lens.model, "params": lens.lens.params} if lens.lens else None,
        "field_of_view_px": height,
        "notes": notes,
        "frames": [asdict(r) for r in records],
    }
    write_json(out / "frames.json", content)


def load_frames(out: Path, config: Config) -> FrameSet:
    """The frames of a run, from its ``frames.json``.

    Raises:
        InputError: If it is missing or damaged.
    """
    path = out / "frames.json"
    try:
        content = json.loads(path.read_text())
        camera = PinholeCamera(**content["camera"])
        frames = tuple(_frames(out, content["frames"], config.frames.format))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: missing or damaged ({error}); run the frames stage again with --overwrite"
        ) from error
    return FrameSet(frames, camera, int(content["field_of_view_px"]))


def frame_notes(out: Path) -> list[str]:
    """What went less well while frames were extracted."""
    return list(json.loads((out / "frames.json").read_text())["notes"])


def frame_counts(out: Path) -> tuple[int, int, int]:
    """How many frames the source has, how many of them start, end and every chose, and max_frames thinned out."""
    content = json.loads((out / "frames.json").read_text())
    chosen = len(content["frames"])
    thinned = sum(record["reason"] == THINNED for record in content["frames"])
    # Runs of older versions noted only the chosen ones.
    return int(content.get("frames_in_source", chosen)), chosen, thinned


def _frames(out: Path, records: list[dict[str, Any]], suffix: str) -> Iterator[Frame]:
    for record in records:
        if record["kept"]:
            name = f"{record['index']:08d}.{suffix}"
            yield Frame(record["index"], out / "frames" / name, out / "masks" / f"{name}.png", record["time_s"])
