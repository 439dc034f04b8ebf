"""Every default of the tool, as frozen dataclasses; YAML overrides them and ``--set`` overrides YAML.

Lengths called ``_px`` are in pixels of the source video unless the comment says *working pixels*: those of
the image that the network sees, where the field of view is about ``describe.working_height_px`` high.
"""

from dataclasses import dataclass, field
from typing import Literal

from dd_sfm.config_values import build_config as build_config
from dd_sfm.config_values import dump_config as dump_config
from dd_sfm.config_values import load_config as load_config

Mapper = Literal["global", "incremental", "relaxed"]
"""The mappers of ``dd_sfm.sfm.mappers``."""

LensKind = Literal[
    "unknown", "rigid-0", "rigid-30", "rigid-45", "rigid-70", "wide-rigid", "rhinoscope", "bronchoscope", "cystoscope",
    "ureteroscope", "duodenoscope", "gastroscope", "colonoscope", "capsule",
]  # fmt: skip
"""The lenses of ``dd_sfm.sfm.lens_priors``."""


@dataclass(frozen=True)
class FramesConfig:
    """Which frames of the video are used."""

    every: int | Literal["auto"] | None = None
    """Use every N-th frame; auto: key frames, chosen by motion and sharpness; null: auto from 401 frames on, else 1."""
    key_motion_px: float = 5.0
    """auto: key frames are so far apart (median flow, working pixels)."""
    start: int | str = 0
    """First source frame: its number, or a time as a text, such as "1:02:30", "62:30" or "12.5s"."""
    end: int | str | None = None
    """One past the last source frame, as a number or a time; null: to the end."""
    crop: tuple[int, int, int, int] | None = None
    """The part of the source's pictures that is used: x, y, width, height in pixels; null: all."""
    stereo: Literal["left", "right", "top", "bottom"] | None = None
    """Of the two pictures of a stereo endoscope beside or above each other (within the crop) the one that is used."""
    max_frames: int | None = None
    """Thin evenly to at most this many frames; null: no limit."""
    min_sharpness: float = 0.4
    """Drop a frame whose sharpness is below this share of its neighbours' median (0: keep all, useless ones too)."""
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
    instruments: bool = True
    """Leave out of the points what moves against the tissue and clearly looks unlike it."""


@dataclass(frozen=True)
class CameraConfig:
    """The camera: what is assumed without a calibration, and what of a calibrated picture the frames show."""

    estimate: bool = True
    """Estimate focal length and distortion from the clip."""
    lens: LensKind = "unknown"
    """What kind of lens it is: what is assumed of it before, and where the clip does not tell."""
    field_of_view_deg: float = 75.0
    """Angle across the larger side of the visible field that is assumed of an unknown lens."""
    calibration_crop: tuple[int, int, int, int] | None = None
    """x, y, width and height of the part of the calibrated picture that the frames show; None for all of it."""


@dataclass(frozen=True)
class DescribeConfig:
    """The learned descriptor."""

    weights: str = "compact-rendered"
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
    """A reference frame (whose points are searched in other frames) every N frames, and where no window reaches."""
    offsets: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16, 24)
    """window: distances to the frames that a reference is matched with, on both sides."""
    probe_every: int = 5
    """adaptive: beyond the window every N-th frame is probed."""
    probe_points: int = 200
    """adaptive: query points of a probe."""
    min_inlier_ratio: float = 0.35
    """adaptive: go on while this share of the points comes back and agrees with its neighbours."""
    loop_candidates: int = 3
    """Frames outside the window matched because they look alike, per reference (0: none, nor between models)."""
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

    mappers: tuple[Mapper, ...] = ("global", "incremental", "relaxed")
    """Mappers tried in this order; the first result that holds up is taken."""
    tracks_per_frame: int = 300
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
class PosesConfig:
    """Poses that a tracker, a robot or another reconstruction measured."""

    file: str | None = None
    """TUM file, table (.csv), COLMAP model or JHU sequence, as FILE@mm, FILE@cm or FILE@m; null: none are given."""
    sigma: tuple[float, float] | None = None
    """Standard deviations by axis, in mm and degrees, of poses that images mend; null: they are exact and are kept."""
    hand_eye: str = "auto"
    """Camera's pose in the sensor's axes: a file of a transform in mm; none: they are the same; estimate; auto: with a
    sigma estimated where the residuals show one, else none."""
    offset_s: float = 0.0
    """Time of the poses at the beginning of the video..."""
    within_s: float | None = None
    """...which is looked for up to so many seconds away; null: 0.5 with a sigma, else 0."""


@dataclass(frozen=True)
class TriangulationConfig:
    """Triangulation of all tracks with the poses found, and bundle adjustment of both."""

    max_reprojection_px: float = 2.5
    """Observations further than this from their point's projection are dropped."""
    min_views: int = 3
    """Fewest views of a point."""
    passes: int = 2
    """How often a track's unused observations are tried as a further point."""
    min_angle_deg: float = 1.5
    """Least angle between two of a point's rays."""
    bundle_adjust: bool = True
    """Refine poses and points of tracks together before the dense search."""
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
    """Largest expected error of a depth by itself, relative to it, before the points around count."""
    min_votes: int = 4
    """Least agreement: each of 8 neighbouring references gives one vote within 2 % of the depth, two within 1 %."""
    min_correlation: float = 0.6
    """Least correlation of a patch in a view that counts as an observation."""
    merge_px: float = 1.0
    """Points nearer to each other than about so many source pixels become one."""
    gap_px: float = 5.0
    """A place with no point within so many *working pixels* is a gap, which less sure depths may fill, and tracks..."""
    max_gap_uncertainty: float = 0.1
    """...of at most this expected relative error by itself."""
    adjust_spacing_px: int = 8
    """*Working pixels* between the depths that poses are adjusted with, before the search proper."""
    adjust_rounds: int = 4
    """How often poses are adjusted with dense points, before the search proper."""
    adjust_points: int = 600
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
    deterministic: bool = False
    """Whether poses are solved on one thread of the CPU, without limits of time: then a run repeats to the bit."""
    cache_gb: float | None = None
    """Most disk for descriptors; frames that do not fit are described again to be matched. null: no limit."""


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
    poses: PosesConfig = field(default_factory=PosesConfig)
    triangulation: TriangulationConfig = field(default_factory=TriangulationConfig)
    dense: DenseConfig = field(default_factory=DenseConfig)
    sift: SiftConfig = field(default_factory=SiftConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    features: str = "learned"
    """Which features: the learned dense descriptor or COLMAP's SIFT."""
