"""Every default of the tool, as frozen dataclasses; YAML overrides them and ``--set`` overrides YAML.

Lengths called ``_px`` are in pixels of the source video unless the comment says *working pixels*: those of
the image that the network sees, where the field of view is about ``describe.working_height_px`` high.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from dd_sfm.errors import ConfigError

ConfigT = TypeVar("ConfigT")


@dataclass(frozen=True)
class FramesConfig:
    """Which frames of the video are used."""

    every: int = 1
    """Use every N-th frame."""
    start: int = 0
    """First source frame."""
    end: int | None = None
    """One past the last source frame; null: to the end."""
    max_frames: int | None = None
    """Thin evenly to at most this many frames; null: no limit."""
    min_sharpness: float = 0.4
    """Drop a frame whose sharpness is below this share of its neighbours' median (0: keep all)."""
    min_motion_px: float = 0.3
    """Drop a frame that moved less than this (median flow, working pixels) since the last kept one (0: keep all)."""
    format: Literal["png", "jpg"] = "png"
    """How frames are stored; jpg is written at quality 97."""


@dataclass(frozen=True)
class MasksConfig:
    """Which pixels of a frame are used."""

    erode_px: int = 15
    """Shrink the field of view by this many pixels per 1000 of its height."""
    highlight_level: int = 245
    """A pixel is blown out when all channels reach this level (0 to 255)."""
    highlight_grow_px: int = 6
    """Grow blown-out areas by this many pixels per 1000 of the field of view's height."""


@dataclass(frozen=True)
class CameraConfig:
    """What is assumed of the camera when no calibration is given."""

    field_of_view_deg: float = 75.0
    """Assumed angle across the height of the visible field."""


@dataclass(frozen=True)
class DescribeConfig:
    """The learned descriptor."""

    weights: str = "compact"
    """Name of shipped weights or path of a .safetensors file."""
    working_height_px: int = 500
    """Frames are resized so that the field of view is this high when the network sees them."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the network; auto: bfloat16 where the machine has it in hardware."""


@dataclass(frozen=True)
class PairsConfig:
    """Which frames are matched with which."""

    scheme: Literal["window", "adaptive"] = "window"
    """window: reference frames against fixed offsets; adaptive: the paper's probing with hysteresis."""
    reference_every: int = 4
    """A reference frame (whose points are searched in other frames) every N frames."""
    offsets: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16, 24)
    """window: distances to the frames that a reference is matched with, on both sides."""
    probe_every: int = 5
    """adaptive: beyond the window every N-th frame is probed."""
    probe_points: int = 200
    """adaptive: query points of a probe."""
    min_inlier_ratio: float = 0.35
    """adaptive: go on while this share of the points comes back and agrees with its neighbours."""
    loop_candidates: int = 3
    """Frames outside the window matched because they look alike, per reference (0: none)."""
    loop_min_similarity: float = 0.9
    """Least cosine similarity of the pooled descriptors of a loop candidate."""


@dataclass(frozen=True)
class MatchConfig:
    """How query points are chosen and matched."""

    query: Literal["corners", "grid", "sift"] = "corners"
    """corners: the best corner of every cell; grid: cell centres; sift: SIFT's detector."""
    query_spacing_px: int = 5
    """Side of a query cell in working pixels: smaller gives more points."""
    max_queries: int = 7000
    """Most query points of a reference frame."""
    max_cycle_px: float = 6.0
    """A match's back-match returns within this many working pixels."""
    min_similarity: float = 0.5
    """Least cosine similarity of a match."""
    max_anchors: int = 3
    """A track is anchored anew in at most this many reference frames: each time it slides a little."""
    search: Literal["auto", "exhaustive", "coarse"] = "auto"
    """coarse: every 4th cell first, then around the best; auto: exhaustive on a GPU, coarse on a CPU."""
    max_neighbour_px: float = 5.0
    """A match lies within this many working pixels of where its neighbours' motion puts it."""
    min_support: float = 0.4
    """Least share of a match's neighbours that move alike."""
    subpixel: bool = True
    """Refine matches by aligning image patches."""
    patch_radius_px: int = 12
    """Half the side of these patches in working pixels."""
    min_ncc: float = 0.6
    """Least normalised correlation of the aligned patches."""
    chunk_queries: int = 512
    """Queries per block of the response; memory only."""
    chunk_cells: int = 8192
    """Target cells per block of the response; memory only."""


@dataclass(frozen=True)
class MapConfig:
    """The mapper that finds the poses."""

    ladder: tuple[Literal["global", "incremental", "relaxed"], ...] = ("global", "incremental", "relaxed")
    """Mappers tried in this order; the first result that holds up is taken."""
    tracks_per_frame: int = 1000
    """Tracks given to the mapper, per frame, well spread and longest first."""
    min_registered: float = 0.95
    """A result holds up when it registers this share of the frames in one model..."""
    max_scale_jump: float = 2.0
    """...and the camera's step relative to the scene's depth never jumps by this factor against its matches."""
    verify_max_error_px: float = 4.0
    """Geometric verification: largest epipolar error."""
    min_inliers: int = 20
    """Geometric verification: fewest inliers of a pair."""
    focal_bounds: tuple[float, float] = (0.6, 1.8)
    """Without calibration the focal length may move between these factors of the guess."""


@dataclass(frozen=True)
class DensifyConfig:
    """Triangulation of all tracks with the poses found."""

    max_reprojection_px: float = 2.5
    """Observations further than this from their point's projection are dropped."""
    min_views: int = 3
    """Fewest views of a point."""
    passes: int = 2
    """How often a track's unused observations are tried as a further point."""
    min_angle_deg: float = 1.5
    """Least angle between two of a point's rays."""
    bundle_adjust: bool = True
    """Refine poses and points together at the end."""
    adjust_points_per_frame: int = 600
    """Points of a frame that take part in that refinement."""


@dataclass(frozen=True)
class DenseConfig:
    """Depth of every pixel of reference frames, with the poses found."""

    enabled: bool = True
    """Off: only tracks become points."""
    every: int = 3
    """Every N-th frame is a reference."""
    spacing_px: float = 4.0
    """Source pixels between those whose depth is searched, at least one working pixel: smaller gives more points."""
    max_uncertainty: float = 0.016
    """Largest expected error of a depth, relative to it."""
    min_votes: int = 4
    """Least agreement: each of 8 neighbouring references gives one vote within 2 % of the depth, two within 1 %."""
    min_correlation: float = 0.6
    """Least correlation of a patch in a view that counts as an observation."""
    merge_px: float = 1.0
    """Points nearer to each other than about so many source pixels become one."""
    gap_px: float = 6.0
    """A place with no point within so many *working pixels* is a gap, which less sure depths may fill, and tracks..."""
    max_gap_uncertainty: float = 0.1
    """...of at most this expected relative error."""
    adjust_spacing_px: int = 8
    """*Working pixels* between the depths that poses are adjusted with, before the search proper."""
    adjust_rounds: int = 2
    """How often poses are adjusted with dense points, before the search proper."""
    adjust_points: int = 400
    """Dense points of each reference that take part in adjusting the poses (0: poses stay as the tracks gave them)."""


@dataclass(frozen=True)
class SiftConfig:
    """COLMAP's SIFT, to compare with."""

    preset: Literal["tuned", "strong", "default"] = "tuned"
    """tuned: peak threshold 0.002, first octave 0; strong: and affine shape, domain size pooling; default: COLMAP's."""
    pairs: Literal["sequential", "window", "both"] = "sequential"
    """sequential: every frame with the ``overlap`` after it; window: the pairs of the learned descriptor; or both."""
    overlap: int = 10
    """sequential: how many frames after it a frame is matched with."""


@dataclass(frozen=True)
class RuntimeConfig:
    """Where and how the work is done."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: CUDA when there is a device, else the CPU."""
    threads: int | None = None
    """CPU threads; null: as many as this process may use."""
    seed: int = 0
    """Seed of every random choice."""


@dataclass(frozen=True)
class Config:
    """The configuration of a reconstruction."""

    frames: FramesConfig = field(default_factory=FramesConfig)
    masks: MasksConfig = field(default_factory=MasksConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)
    describe: DescribeConfig = field(default_factory=DescribeConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)
    match: MatchConfig = field(default_factory=MatchConfig)
    map: MapConfig = field(default_factory=MapConfig)
    densify: DensifyConfig = field(default_factory=DensifyConfig)
    dense: DenseConfig = field(default_factory=DenseConfig)
    sift: SiftConfig = field(default_factory=SiftConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    features: Literal["learned", "sift"] = "learned"
    """Which features: the learned dense descriptor or COLMAP's SIFT."""


def load_config(
    cls: type[ConfigT], path: Path | None = None, overrides: Sequence[str] = (), *, base: ConfigT | None = None
) -> ConfigT:
    """Build a configuration from defaults, a YAML file and ``key.path=value`` overrides, in that order.

    Args:
        cls: The dataclass to build; its defaults are the base.
        path: YAML file holding any subset of the keys; None for none.
        overrides: ``section.key=value`` texts; the value is parsed as YAML.
        base: What to start from instead of the defaults.

    Raises:
        ConfigError: For an unreadable file, an unknown key (with the nearest known one) or a wrong type.
    """
    values: dict[str, Any] = {}
    if path is not None:
        try:
            loaded = yaml.safe_load(path.read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read ({error}); expected a YAML file") from error
        except yaml.YAMLError as error:
            raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
        if loaded is not None and not isinstance(loaded, dict):
            raise ConfigError(f"{path}: found {type(loaded).__name__}; expected a mapping of sections")
        values = loaded or {}
    config = build_config(cls, values, where=str(path))
    if base is not None:
        config = build_config(cls, _merge(dump_config(base), values), where=str(path))
    for text in overrides:
        config = _override(config, text)
    return config


def build_config(cls: type[ConfigT], values: Mapping[str, Any], *, where: str) -> ConfigT:
    """Build ``cls`` from a nested mapping; ``where`` names its source in error messages."""
    return _build(cls, values, where, "")


def dump_config(config: Any) -> dict[str, Any]:
    """A configuration as plain nested dicts and lists, ready for YAML and JSON."""
    return _plain(dataclasses.asdict(config))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _build(cls: Any, values: Mapping[str, Any], where: str, prefix: str) -> Any:
    hints = typing.get_type_hints(cls)
    known = [f.name for f in dataclasses.fields(cls)]
    result = {}
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"{where}: unknown key '{prefix}{key}'; {_nearest(str(key), known)}")
        result[key] = _convert(hints[key], value, where, f"{prefix}{key}")
    return cls(**result)


def _nearest(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"


def _convert(kind: Any, value: Any, where: str, key: str) -> Any:
    """``value`` as the annotated type ``kind``, or ConfigError."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: '{key}' is a section; found {value!r}")
        return _build(kind, value, where, f"{key}.")
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, where, key)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool) != isinstance(arguments[0], bool):
            raise ConfigError(f"{where}: '{key}' is {value!r}; expected one of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        return _convert_tuple(arguments, value, where, key)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is float and number:
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise ConfigError(f"{where}: '{key}' is {value!r}; expected {kind.__name__}")


def _convert_tuple(arguments: tuple[Any, ...], value: Any, where: str, key: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{where}: '{key}' is {value!r}; expected a list")
    kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
    if len(kinds) != len(value):
        raise ConfigError(f"{where}: '{key}' has {len(value)} values; expected {len(kinds)}")
    return tuple(_convert(k, v, where, key) for k, v in zip(kinds, value, strict=True))


def _override(config: Any, text: str) -> Any:
    path, equals, value_text = text.partition("=")
    if not equals or not path.strip():
        raise ConfigError(f"--set {text}: expected key.path=value, such as match.query_spacing_px=4")
    try:
        value: Any = yaml.safe_load(value_text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text}: the value is not YAML") from error
    keys = path.strip().split(".")
    for key in reversed(keys):
        value = {key: value}
    # Only the named leaf is replaced: checked as a tree of its own, then merged into what is there.
    _build(type(config), value, f"--set {text}", "")
    return _build(type(config), _merge(dump_config(config), value), f"--set {text}", "")


def _merge(base: dict[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged
