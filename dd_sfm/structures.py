"""What crosses from one stage to the next: frozen dataclasses with checked shapes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from itertools import pairwise, starmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dd_sfm.cameras import PinholeCamera
from dd_sfm.errors import ShapeError
from dd_sfm.notes import Note
from dd_sfm.ops.coordinates import resize_xy

# NumPy's stubs do not follow precision through most operations; shapes and kinds are checked at run time.
FloatArray = NDArray[Any]
IntArray = NDArray[Any]


def _check(ok: bool, message: str) -> None:
    if not ok:
        raise ShapeError(message)


@dataclass(frozen=True)
class Frame:
    """A frame on disk.

    ``index``: the zero-based number in the source; several sources are counted one after the other; ``time_s``: of its
    own source, its number where no time is known; ``piece``: counts on at each source and each cut, over which the view
    does not follow.
    """

    index: int
    path: Path
    mask_path: Path
    time_s: float
    piece: int = 0

    @property
    def label(self) -> str:
        """What a user is told of it: its number, of several sources its name."""
        stem = self.path.stem
        return str(self.index) if stem.isdecimal() else stem

    @property
    def source(self) -> str:
        """The name of its source among several, as its files begin; "" where there is one source."""
        return self.path.stem.rpartition("_")[0]


class DropReason(StrEnum):
    """Why a source frame is not used; the values are written to ``frames.json``."""

    BLANK = "blank"
    """Of one colour: black, blue, white."""
    OTHER_FIELD = "other_field"
    """A picture of another outline than most frames have: a menu, the room, another zoom."""
    MASKED = "masked"
    """The user's mask leaves next to nothing of it."""
    FEATURELESS = "featureless"
    """Of one smooth shade, with nothing in it to match: the lens on the wall, or far out of focus."""
    OBSCURED = "obscured"
    """Water or bubbles before the scene: unusual sharpness for the clip, and no frame nearby shows the same."""
    BLURRED = "blurred"
    NO_MOTION = "no_motion"
    UNDECODABLE = "undecodable"
    OTHER_SIZE = "other_size"
    THINNED = "thinned"
    """Nothing is wrong with the frame: ``frames.max_frames`` left it out."""
    BETWEEN_KEYS = "between_keys"
    """Nor with this one: it shows little that the key frames before and after it do not."""

    @property
    def is_thinning(self) -> bool:
        """Whether nothing is wrong with the frame: fewer are enough, or wanted."""
        return self in (DropReason.THINNED, DropReason.BETWEEN_KEYS)


@dataclass(frozen=True)
class FrameRecord:
    """What became of a source frame.

    ``index``: zero-based number in the source; several sources are counted one after the other; ``time_s``: None where
    no time is known, as of images in a folder; ``dropped``: why it is not used, None for a frame that is; ``detail``:
    the measurement behind that, for a reader; ``source``: name of its file, for a folder of images or one of several
    sources; ``stem``: name of its files in the run without ending, "" for that of its index; ``piece``: see
    :class:`Frame`.
    """

    index: int
    time_s: float | None
    sharpness: float
    dropped: DropReason | None = None
    detail: str = ""
    source: str = ""
    stem: str = ""
    piece: int = 0

    @property
    def name(self) -> str:
        """The name of its files in the run, without ending."""
        return self.stem or f"{self.index:08d}"

    @property
    def label(self) -> str:
        """The name of its source among several, as its files begin; "" where there is one source."""
        return self.stem.rpartition("_")[0]

    @property
    def seconds(self) -> float:
        """Its time; its number where no time is known."""
        return float(self.index) if self.time_s is None else self.time_s

    @property
    def kept(self) -> bool:
        """Whether the frame is used."""
        return self.dropped is None


@dataclass(frozen=True)
class FrameSet:
    """The frames of a run, in temporal order, all of one size, seen by one (undistorted) camera."""

    frames: tuple[Frame, ...]
    camera: PinholeCamera
    field_of_view_px: int
    """Height of the visible field in pixels of the frames; where a wide lens draws it out, less than all of it."""

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def pieces(self) -> tuple[range, ...]:
        """The positions of the frames of each piece: over its end the view does not follow."""
        starts = [k for k, frame in enumerate(self.frames) if k == 0 or frame.piece != self.frames[k - 1].piece]
        return tuple(starmap(range, pairwise([*starts, len(self.frames)])))


@dataclass(frozen=True)
class WorkingGrid:
    """The working image (a resized crop around the field of view) and the cells on it, the same for all frames.

    A working pixel p lies at source pixel ((p + origin + 0.5) / scale - 0.5); cell c at working pixel
    (c + 0.5) * stride - 0.5.
    """

    scale: float
    """Working pixels per source pixel."""
    origin: tuple[int, int]
    """(x, y) of the crop in the resized frame."""
    width: int
    height: int
    """Size of the crop in working pixels."""
    stride: int
    """Working pixels per cell."""

    def to_source(self, working: FloatArray) -> FloatArray:
        """Working pixels (..., 2) -> source pixels."""
        return resize_xy(working + np.asarray(self.origin, dtype=working.dtype), 1.0 / self.scale)

    def to_working(self, source: FloatArray) -> FloatArray:
        """Source pixels (..., 2) -> working pixels."""
        return resize_xy(source, self.scale) - np.asarray(self.origin, dtype=source.dtype)

    def camera(self, source: PinholeCamera) -> PinholeCamera:
        """The camera of the working image, of that of the source."""
        return source.scaled(self.scale).cropped(self.origin, (self.width, self.height))


@dataclass(frozen=True)
class DescriptorMap:
    """Unit-norm descriptors on a regular grid.

    ``descriptors`` (D, H, W) float16/32; ``usable`` (H, W) bool: inside the mask; ``grid`` places the cells.
    """

    descriptors: Tensor
    usable: Tensor
    grid: "WorkingGrid"

    def __post_init__(self) -> None:
        _check(self.descriptors.ndim == 3, f"descriptors {tuple(self.descriptors.shape)}; expected (D, H, W)")
        _check(
            self.usable.shape == self.descriptors.shape[1:],
            f"usable {tuple(self.usable.shape)}; expected {tuple(self.descriptors.shape[1:])}",
        )


@dataclass(frozen=True)
class Tracks:
    """Observations of scene points: one row an observation, sorted by track, then by frame.

    ``track`` (O,) int64 numbers the tracks 0..T-1; ``frame`` (O,) int64 is the *position* in the FrameSet (not the
    source number); ``xy`` (O, 2) float32 source pixels, centres at integers; ``score`` (O,) float32 in [0, 1];
    ``anchor`` (O,) bool marks the observation the others were measured against. A track has at most one
    observation in a frame. Longer tracks with higher scores reach the mapper first; a method without scores states 1.
    ``anchor`` is kept for the reader of ``tracks.npz``: no stage depends on it.
    """

    track: IntArray
    frame: IntArray
    xy: FloatArray
    score: FloatArray
    anchor: NDArray[np.bool_]

    def __post_init__(self) -> None:
        n = len(self.track)
        _check(self.frame.shape == (n,), f"frame {self.frame.shape}; expected ({n},)")
        _check(self.xy.shape == (n, 2), f"xy {self.xy.shape}; expected ({n}, 2)")
        _check(self.score.shape == (n,), f"score {self.score.shape}; expected ({n},)")
        _check(self.anchor.shape == (n,), f"anchor {self.anchor.shape}; expected ({n},)")
        if n:
            step, later = np.diff(self.track), np.diff(self.frame) > 0
            numbered = self.track[0] == 0 and bool(np.isin(step, (0, 1)).all())
            _check(numbered, "track: not numbered 0, 1, ... in ascending order; expected rows sorted by track")
            _check(bool((later | (step > 0)).all()), "frame: not ascending within a track; expected each frame once")

    def where(self, keep: NDArray[np.bool_]) -> "Tracks":
        """The observations for which ``keep`` (O,) is true; tracks that lose all are gone, and numbers close up."""
        numbers = np.unique(self.track[keep], return_inverse=True)[1].astype(np.int64)
        return Tracks(numbers, self.frame[keep], self.xy[keep], self.score[keep], self.anchor[keep])

    @property
    def count(self) -> int:
        """Number of tracks."""
        return int(self.track[-1]) + 1 if len(self.track) else 0


@dataclass(frozen=True)
class Model:
    """A reconstruction in arrays.

    ``cam_from_world`` maps the position of a frame in the FrameSet to a (3, 4) float64 pose [R | t].
    ``xyz`` (P, 3) float64, ``rgb`` (P, 3) uint8, ``error_px`` (P,) mean reprojection error in source pixels,
    of the observations where it is not zero by construction.
    Observations are rows of (``point`` (O,) index into xyz, ``frame`` (O,) position, ``xy`` (O, 2) source pixels,
    centres at integers), sorted by point, then by frame. There are many: int32 and float32 hold them.
    """

    camera: PinholeCamera
    cam_from_world: dict[int, FloatArray]
    xyz: FloatArray
    rgb: NDArray[np.uint8]
    error_px: FloatArray
    point: IntArray
    frame: IntArray
    xy: FloatArray

    def __post_init__(self) -> None:
        p, o = len(self.xyz), len(self.point)
        _check(self.xyz.shape == (p, 3), f"xyz {self.xyz.shape}; expected ({p}, 3)")
        _check(self.rgb.shape == (p, 3), f"rgb {self.rgb.shape}; expected ({p}, 3)")
        _check(self.error_px.shape == (p,), f"error_px {self.error_px.shape}; expected ({p},)")
        _check(self.frame.shape == (o,), f"frame {self.frame.shape}; expected ({o},)")
        _check(self.xy.shape == (o, 2), f"xy {self.xy.shape}; expected ({o}, 2)")


@dataclass(frozen=True)
class MatchResult:
    """What matching found.

    ``tracks`` in source pixels; ``pairs`` of frame positions that were tried, which are only counted.
    """

    tracks: Tracks
    pairs: list[tuple[int, int]]
    notes: list[Note] = field(default_factory=list)


@dataclass(frozen=True)
class VerifiedPairs:
    """Geometric verification: pairs tried, pairs verified, and inlier matches in all of them."""

    tried: int
    verified: int
    matches: int


@dataclass(frozen=True)
class ModelScale:
    """How many units of the first model one unit of a model is; None where nothing tells.

    ``sigma``: standard deviation of the logarithm of ``scale``.
    """

    scale: float | None = None
    sigma: float | None = None


@dataclass(frozen=True)
class MapResult:
    """What mapping found.

    ``models``: per model the poses cam_from_world (3, 4) by frame position, largest first; ``cameras``: theirs,
    which differ from the given one only when that was a guess; ``mapper``: the one whose result was taken;
    ``seconds``: by step and mapper; ``instruments``: the share of what can be used of the frames that was found to
    show instruments; ``scales``: of the models, relative to the first; of fewer where the others were not compared;
    ``confidence``: per model in [0, 1] by frame position, empty where poses were not checked; ``left_out``: why a frame
    that the mapper had registered was taken out, by position; ``splits``: why a model was split, by the first frame
    after the split.
    """

    models: list[dict[int, FloatArray]]
    cameras: list[PinholeCamera]
    mapper: str
    pairs: VerifiedPairs
    seconds: dict[str, float]
    notes: list[Note] = field(default_factory=list)
    instruments: float = 0.0
    scales: list[ModelScale] = field(default_factory=list)
    confidence: list[dict[int, float]] = field(default_factory=list)
    left_out: dict[int, str] = field(default_factory=dict)
    splits: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FinishedModel:
    """A model with its final points.

    ``uncertainty`` (P,): relative error that half of such points stay below, as far as it is a point's own;
    ``pose_error`` (P,): standard deviation of the relative error that points near to one another share, as their poses
    are off; None where it is not known, or ``uncertainty`` includes it; ``figures``: counts of the steps that
    led to it, for ``metrics.json``.
    """

    model: Model
    uncertainty: FloatArray
    figures: Mapping[str, int | float | None] = field(default_factory=dict)
    pose_error: FloatArray | None = None


@dataclass(frozen=True)
class PointCloud:
    """Points with colour, normal (towards the cameras), and what tells how far to trust them.

    ``error_px`` (P,) mean reprojection error; ``track_length`` (P,) number of views; ``triangulation_angle_deg`` (P,)
    widest angle between two rays; ``uncertainty`` (P,) error relative to the distance that half of such points stay
    below. The last two are None where they are not known.
    """

    xyz: FloatArray
    rgb: NDArray[np.uint8]
    normals: FloatArray
    error_px: FloatArray
    track_length: IntArray
    triangulation_angle_deg: FloatArray | None = None
    uncertainty: FloatArray | None = None

    def __post_init__(self) -> None:
        n = len(self.xyz)
        for name, shape in (
            ("xyz", (n, 3)), ("rgb", (n, 3)), ("normals", (n, 3)), ("error_px", (n,)), ("track_length", (n,)),
            ("triangulation_angle_deg", (n,)), ("uncertainty", (n,)),
        ):  # fmt: skip
            value = getattr(self, name)
            _check(value is None or value.shape == shape, f"{name} {np.shape(value)}; expected {shape}")

    def __len__(self) -> int:
        return len(self.xyz)

    def where(self, keep: NDArray[np.bool_]) -> "PointCloud":
        """The points for which a mask (P,) bool is true, in the same order.

        Raises:
            ShapeError: If the mask is no boolean array of one value a point.
        """
        keep = np.asarray(keep)
        _check(
            keep.dtype == np.bool_ and keep.shape == (len(self),),
            f"mask {keep.shape} {keep.dtype}; expected ({len(self)},) bool",
        )
        columns: dict[str, Any] = {column.name: getattr(self, column.name) for column in fields(self)}
        return replace(self, **{name: value[keep] for name, value in columns.items() if value is not None})
