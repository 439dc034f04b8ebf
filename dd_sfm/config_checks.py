"""Which values of a configuration can be worked with."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, get_args

from dd_sfm.config import Config, Mapper
from dd_sfm.errors import ConfigError


@dataclass(frozen=True)
class Range:
    """Numbers from ``low``, itself left out when ``above``, up to ``high``."""

    low: float
    high: float = math.inf
    above: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number is one of them."""
        return (self.low < value if self.above else self.low <= value) and value <= self.high

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"above {self.low}" if self.above else f"{self.low} or more"
        return f"above {self.low}, at most {self.high}" if self.above else f"{self.low} to {self.high}"


POSITIVE, SHARE, CORRELATION = Range(0, above=True), Range(0, 1), Range(-1, 1)
TIME = re.compile(r"(?:(?:(\d+):(?=[0-5]?\d:))?(\d+):([0-5]?\d(?:\.\d*)?))|(\d+(?:\.\d*)?)s")
RANGES = {
    "frames.every": Range(1),
    "frames.key_motion_px": POSITIVE,
    "frames.start": Range(0),
    "frames.end": Range(1),
    "frames.max_frames": Range(3),
    "frames.min_sharpness": Range(0),
    "frames.min_motion_px": Range(0),
    "masks.erode_px": Range(0, 1000),
    "masks.highlight_level": Range(0, 256),
    "masks.highlight_grow_px": Range(0, 1000),
    "camera.field_of_view_deg": Range(1, 179),
    "describe.working_height_px": Range(64),
    "pairs.reference_every": Range(1),
    "pairs.offsets": Range(1),
    "pairs.probe_every": Range(1),
    "pairs.probe_points": Range(1),
    "pairs.min_inlier_ratio": SHARE,
    "pairs.loop_candidates": Range(0),
    "pairs.loop_min_similarity": CORRELATION,
    "match.query_spacing_px": Range(1),
    "match.max_queries": Range(1),
    "match.max_cycle_px": POSITIVE,
    "match.min_similarity": CORRELATION,
    "match.max_anchors": Range(1),
    "match.max_neighbour_px": POSITIVE,
    "match.min_support": SHARE,
    "match.patch_radius_px": Range(1),
    "match.min_ncc": CORRELATION,
    "match.chunk_queries": Range(1),
    "match.chunk_cells": Range(1),
    "map.tracks_per_frame": Range(1),
    "map.min_registered": SHARE,
    "map.max_scale_jump": Range(1),
    "map.verify_max_error_px": POSITIVE,
    "map.min_inliers": Range(1),
    "map.focal_bounds": POSITIVE,
    "poses.offset_s": Range(-1e12, 1e12),
    "poses.within_s": Range(0, 60),
    "triangulation.max_reprojection_px": POSITIVE,
    "triangulation.min_views": Range(2),
    "triangulation.passes": Range(1, 100),
    "triangulation.min_angle_deg": Range(0, 90),
    "triangulation.adjust_points_per_frame": Range(1),
    "dense.every": Range(1),
    "dense.spacing_px": POSITIVE,
    "dense.max_uncertainty": POSITIVE,
    "dense.min_votes": Range(0, 16),
    "dense.min_correlation": CORRELATION,
    "dense.merge_px": POSITIVE,
    "dense.gap_px": POSITIVE,
    "dense.max_gap_uncertainty": POSITIVE,
    "dense.adjust_spacing_px": Range(1),
    "dense.adjust_rounds": Range(0),
    "dense.adjust_points": Range(0),
    "sift.overlap": Range(1),
    "runtime.threads": Range(1),
    "runtime.seed": Range(0, 2**31 - 1),
    "runtime.cache_gb": Range(0),
}
"""By key what it may be; of a list every number."""


def check_ranges(config: Any, ranges: Mapping[str, Range]) -> None:
    """Refuse numbers of a dataclass and its sections out of their range; of a list every number counts, None is in any.

    Raises:
        ConfigError: With the dotted key, the value found and what was expected.
    """
    for key, expected in ranges.items():
        value: Any = reduce(getattr, key.split("."), config)
        if isinstance(value, tuple):
            if not value or not all(expected.holds(number) for number in value):
                raise ConfigError(f"{key} {list(value)}: expected numbers, each {expected}")
        elif value is not None and not isinstance(value, str) and not expected.holds(value):
            raise ConfigError(f"{key} {value}: expected {expected}")


def seconds_of(time: str) -> float | None:
    """The seconds of a time such as 1:02:30, 62:30.5 or 12.5s; None for what is no time."""
    found = TIME.fullmatch(time.strip())
    if found is None:
        return None
    hours, minutes, rest, alone = found.groups()
    if alone is not None:
        return float(alone)
    return 3600.0 * int(hours or 0) + 60.0 * int(minutes) + float(rest)


def check_config(config: Config) -> None:
    """Refuse values that cannot be worked with.

    Raises:
        ConfigError: With the key, the value found and what was expected.
    """
    check_ranges(config, RANGES)
    if not config.map.mappers:
        raise ConfigError(f"map.mappers []: expected one or more of {', '.join(get_args(Mapper))}")
    if config.poses.sigma is not None and not all(POSITIVE.holds(one) for one in config.poses.sigma):
        raise ConfigError(f"poses.sigma {list(config.poses.sigma)}: expected mm and degrees, each {POSITIVE}")
    crops = {"frames.crop": config.frames.crop, "camera.calibration_crop": config.camera.calibration_crop}
    for name, crop in crops.items():
        if crop is not None and (min(crop) < 0 or min(crop[2:]) < 1):
            raise ConfigError(f"{name} {list(crop)}: expected x, y, width, height, none below 0 and no size of 0")
    for key, value in (("frames.start", config.frames.start), ("frames.end", config.frames.end)):
        if isinstance(value, str) and seconds_of(value) is None:
            expected = "a frame number, or a time such as 1:02:30, 62:30 or 12.5s"
            raise ConfigError(f"{key} {value}: expected {expected}")
    low, high = config.map.focal_bounds
    if low > high:
        raise ConfigError(f"map.focal_bounds [{low}, {high}]: expected two numbers, the smaller first")
