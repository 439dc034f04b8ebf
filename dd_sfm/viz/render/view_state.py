"""The state of a viewer, without a window: colours, filters, clip box, current camera and picked points."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from dd_sfm.cameras import camera_centres
from dd_sfm.errors import UsageError
from dd_sfm.structures import FloatArray
from dd_sfm.viz.render.cloud_view import CloudView
from dd_sfm.viz.render.colours import RUN_RGB, ColourScale, colour_scale
from dd_sfm.viz.render.measure import KINDS, Measured, measure
from dd_sfm.viz.render.viewpoints import bulk_points, viewing_axes

COLOURS = ("photo", "error", "tracks", "uncertainty", "frame", "run")
SURFACES = ("points", "mesh", "both")
CLIP_SIDES = ("left", "right", "top", "bottom", "near", "far")
KEPT_SHARES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5, 0.3)
"""Steps of the filters by error and uncertainty: shares of the points that pass, the best ones first."""
MIN_TRACK_LENGTHS = (0, 3, 4, 5, 7, 10, 15, 20, 30)
"""Steps of the filter by track length."""
CLIP_STEP = 0.05
"""Share of the extent that a step of the clip box cuts off."""


@dataclass
class ViewState:
    """The state of a view of one or two clouds in common coordinates.

    ``mm_per_unit``: length of a scene unit, None when unknown; ``scale_error``: half of such scales are wrong by a
    smaller share of them, 0 when unknown; ``scale_picks``: the two picked points whose known distance set it;
    ``side_by_side``: draw two clouds beside each other; ``only``: index of the only cloud shown, None for all;
    ``cameras``, ``thumbnails``: draw the cameras, and pictures in them; ``camera``: index of the first cloud's camera
    that the view looks through, None for a free view; ``side``: index of the side of the clip box that keys move;
    ``clip`` (6,): share of the clouds' extent that is cut off at each of :data:`CLIP_SIDES`, as the mean camera sees
    them; ``picks``: cloud and point index of picked points, and ``kind`` (:data:`dd_sfm.viz.render.measure.KINDS`) what
    is measured between them; ``surface``: one of :data:`SURFACES`, which of points and meshes are shown. ``scales``:
    the colour scale, the same for all clouds, of each colouring that has one.
    """

    clouds: tuple[CloudView, ...]
    mm_per_unit: float | None = None
    scale_error: float = 0.0
    scale_picks: tuple[tuple[int, int], ...] = ()
    colour: str = "photo"
    point_size: float = 1.0
    max_error_px: float = np.inf
    max_uncertainty: float = np.inf
    min_track: int = 0
    side_by_side: bool = False
    only: int | None = None
    cameras: bool = True
    thumbnails: bool = True
    camera: int | None = None
    side: int = 0
    clip: NDArray[np.float64] = field(default_factory=lambda: np.zeros(6))
    picks: list[tuple[int, int]] = field(default_factory=list)
    kind: str = "distance"
    surface: str = "points"

    def __post_init__(self) -> None:
        self.axes = viewing_axes(self.clouds[0].cam_from_world)
        self._turned = [cloud.xyz @ self.axes.T for cloud in self.clouds]
        core = np.concatenate([bulk_points(turned) for turned in self._turned])
        self.low, self.high = core.min(0), core.max(0)
        self.scales = {name: self._find_scale(name) for name in self.available_colours if name not in ("photo", "run")}

    @property
    def available_colours(self) -> list[str]:
        """The colourings whose values are known."""
        is_known = {
            "photo": True,
            "error": any(np.isfinite(c.error_px).any() for c in self.clouds),
            "tracks": any(c.track_length.any() for c in self.clouds),
            "uncertainty": any(np.isfinite(c.uncertainty).any() for c in self.clouds),
            "frame": any(np.isfinite(c.first_frame).any() for c in self.clouds),
            "run": len(self.clouds) > 1,
        }
        return [name for name in COLOURS if is_known[name]]

    def set_colour(self, name: str) -> None:
        """Colour by ``name``.

        Raises:
            UsageError: If there is no such colouring, or the clouds do not have its values.
        """
        if name not in COLOURS:
            raise UsageError(f"--colour {name}: unknown; expected one of {', '.join(COLOURS)}")
        if name not in self.available_colours:
            raise UsageError(
                f"--colour {name}: {self.clouds[0].source} has no such values; expected one of "
                f"{', '.join(self.available_colours)}"
            )
        self.colour = name

    def _values(self, name: str, k: int) -> FloatArray:
        """Values (P,) of a cloud that a colouring or filter goes by; NaN where unknown."""
        cloud = self.clouds[k]
        if name == "tracks":
            return np.where(cloud.track_length > 0, cloud.track_length, np.nan)
        return {"error": cloud.error_px, "frame": cloud.first_frame}.get(name, cloud.uncertainty)

    def values(self, name: str) -> FloatArray:
        """All known values (N,) that a colouring or filter goes by: "error", "uncertainty", "tracks" or "frame"."""
        values = np.concatenate([self._values(name, k) for k in range(len(self.clouds))])
        return values[np.isfinite(values)]

    def _find_scale(self, name: str) -> ColourScale:
        values = self.values(name)
        if name == "tracks":
            return colour_scale("views of a point", values, "viridis")
        if name == "frame":
            return colour_scale("first frame that sees a point", values, "viridis", clipped_pct=0.0)
        return colour_scale("reprojection error [px]" if name == "error" else "expected relative error", values)

    @property
    def scale(self) -> ColourScale | None:
        """The colour scale, the same for all clouds; None for photo and run."""
        return self.scales.get(self.colour)

    def colours(self, k: int) -> NDArray[np.uint8]:
        """Colours (P, 3) of all points of a cloud."""
        if self.scale is not None:
            return self.scale.rgb(self._values(self.colour, k))
        cloud = self.clouds[k]
        return cloud.rgb if self.colour == "photo" else np.broadcast_to(np.array(RUN_RGB[k], np.uint8), cloud.rgb.shape)

    def visible(self, k: int) -> NDArray[np.bool_]:
        """Which points (P,) of a cloud pass the filters and the clip box; unknown values pass."""
        cloud = self.clouds[k]
        if self.only not in (None, k):
            return np.zeros(len(cloud.xyz), bool)
        keep = ~(cloud.error_px > self.max_error_px) & ~(cloud.uncertainty > self.max_uncertainty)
        if self.min_track:
            keep &= (cloud.track_length >= self.min_track) | (cloud.track_length == 0)
        if self.clip.any():
            extent = self.high - self.low
            low, high = self.low + self.clip[::2] * extent, self.high - self.clip[1::2] * extent
            # A side that cuts off nothing does not cut off strays outside the extent either.
            low = np.where(self.clip[::2] > 0, low, -np.inf)
            high = np.where(self.clip[1::2] > 0, high, np.inf)
            keep &= ((self._turned[k] >= low) & (self._turned[k] <= high)).all(1)
        return keep

    def offset(self, k: int) -> FloatArray:
        """Translation (3,) that moves a cloud beside the first one."""
        if not self.side_by_side:
            return np.zeros(3)
        return k * 1.1 * float(self.high[0] - self.low[0]) * self.axes[0]

    def next_colour(self, step: int = 1) -> str:
        """Go to the next colouring, or with -1 to the previous one."""
        known = self.available_colours
        self.colour = known[(known.index(self.colour) + step) % len(known)]
        if self.scale is None:
            return f"colour: {self.colour}"
        ends = "violet to yellow" if self.scale.name == "viridis" else "blue to red"
        return f"colour: {self.colour} ({self.scale.label} {self.scale.low:.3g} to {self.scale.high:.3g}, {ends})"

    def step_filter(self, name: str, step: int = 1) -> str:
        """Make the filter by error or uncertainty stricter, or looser with -1."""
        values = self.values(name)
        if not len(values):
            return f"{name}: not known"
        limits = [np.inf, *(float(np.quantile(values, share)) for share in KEPT_SHARES[1:])]
        attribute = "max_error_px" if name == "error" else "max_uncertainty"
        now = getattr(self, attribute)
        limit = _next(limits, now, -step)
        setattr(self, attribute, limit)
        unit = " px" if name == "error" else ""
        return f"{name}: all" if np.isinf(limit) else f"{name}: up to {limit:.3g}{unit} ({self.counts()})"

    def step_track(self, step: int = 1) -> str:
        """Require more views of a point, or fewer with -1."""
        self.min_track = int(_next(MIN_TRACK_LENGTHS, self.min_track, step))
        return f"views: {self.min_track} or more ({self.counts()})" if self.min_track else "views: all"

    def step_size(self, step: int = 1) -> str:
        """Make points larger, or smaller with -1."""
        self.point_size = float(np.clip(self.point_size * 1.25**step, 0.25, 10.0))
        return f"point size: {self.point_size:.2f}"

    def next_side(self, step: int = 1) -> str:
        """Choose the next side of the clip box for :meth:`step_clip`, or with -1 the previous one."""
        self.side = (self.side + step) % len(CLIP_SIDES)
        return f"clip box: {CLIP_SIDES[self.side]} side, {self.clip[self.side]:.0%} cut off"

    def step_clip(self, step: int = 1) -> str:
        """Move the chosen side of the clip box inwards, or outwards with -1; opposite sides never meet."""
        room = 1 - CLIP_STEP - self.clip[self.side ^ 1]
        self.clip[self.side] = min(max(round(self.clip[self.side] + step * CLIP_STEP, 6), 0.0), room)
        return f"clip box: {CLIP_SIDES[self.side]} side, {self.clip[self.side]:.0%} cut off ({self.counts()})"

    def next_camera(self, step: int = 1) -> str:
        """Look through the next camera; past the last comes the first."""
        count = len(self.clouds[0].images)
        if not count:
            return "camera: none, this is a cloud only"
        start = -1 if step > 0 else 0
        self.camera = ((start if self.camera is None else self.camera) + step) % count
        return f"camera: frame {self.clouds[0].frame_numbers[self.camera]} ({self.camera + 1} of {count})"

    def next_only(self) -> str:
        """Both clouds, the first alone, the second alone."""
        choices: list[int | None] = [None, *range(len(self.clouds))] if len(self.clouds) > 1 else [None]
        self.only = choices[(choices.index(self.only) + 1) % len(choices)]
        return "shown: " + ("all" if self.only is None else self.clouds[self.only].label)

    def toggle(self, name: str) -> str:
        """Switch ``side_by_side``, ``cameras`` or ``thumbnails``."""
        setattr(self, name, not getattr(self, name))
        if name == "side_by_side":
            return "runs: " + ("side by side" if self.side_by_side else "overlaid")
        return f"{name}: {'on' if getattr(self, name) else 'off'}"

    def reset(self) -> str:
        """Reset all filters, the clip box and picked points."""
        self.max_error_px = self.max_uncertainty = np.inf
        self.min_track, self.only, self.side = 0, None, 0
        self.clip[:] = 0
        self.picks.clear()
        return f"filters: none ({self.counts()})"

    def counts(self) -> str:
        """How many points of each cloud are visible, in words."""
        return ", ".join(f"{int(self.visible(k).sum()):,} of {len(c.xyz):,}" for k, c in enumerate(self.clouds))

    @property
    def point_words(self) -> str:
        """What :meth:`counts` counts, in words: points, or the vertices of a mesh."""
        return " and ".join(dict.fromkeys(cloud.point_word for cloud in self.clouds))

    def pick(self, cloud: int, point: int) -> str:
        """Pick a point; the second one gives a distance, and a third one starts again unless a path is measured."""
        if self.kind == "distance" and len(self.picks) >= 2:
            self.picks.clear()
        self.picks.append((cloud, point))
        xyz = ", ".join(f"{v:.4g}" for v in self.clouds[cloud].xyz[point])
        text = f"point {len(self.picks)}: {self.clouds[cloud].label} {point} at ({xyz})"
        found = self.measured()
        return text if found is None else f"{text}; {found.kind} {self.length_text(found)}"

    @property
    def is_known_length(self) -> bool:
        """Whether what is measured is the distance that the scale was set by, which has no error of its own."""
        return self.kind == "distance" and len(self.picks) == 2 and {*self.picks} == {*self.scale_picks}

    def length_text(self, found: Measured) -> str:
        """A measurement in words, in mm where the scale is known, whose own error is then in the ±."""
        if self.is_known_length:
            found = replace(found, error=np.nan)
        return found.text(self.mm_per_unit, self.scale_error)

    def measured(self) -> Measured | None:
        """What is measured between the picked points, as if the clouds were overlaid; None while they are too few."""
        xyz = np.array([self.clouds[k].xyz[point] for k, point in self.picks]).reshape(-1, 3)
        return measure(self.kind, xyz, np.array([self.clouds[k].error[point] for k, point in self.picks]))

    def next_kind(self, step: int = 1) -> str:
        """Measure the next kind, a distance, a path or an area; picked points are forgotten."""
        self.kind = KINDS[(KINDS.index(self.kind) + step) % len(KINDS)]
        self.picks.clear()
        return f"measured: {self.kind}"

    def mark_radius(self) -> float:
        """Radius of the ball at a picked point."""
        return 0.006 * float(np.linalg.norm(self.high - self.low))

    def frustum_depth(self) -> float:
        """Length of the frustums in scene units, small beside their distance from the cloud, so as not to cover it."""
        cloud = self.clouds[0]
        centres = camera_centres(cloud.cam_from_world)
        if not len(centres):
            return 0.0
        distance = float(
            np.median(np.linalg.norm(cloud.xyz[:: max(1, len(cloud.xyz) // 2000)] - centres.mean(0), axis=1))
        )
        return 0.04 * distance


def _next(values: Sequence[float], now: float, step: int) -> float:
    """The closest of ``values`` above ``now``, or below it with a negative step; the extreme one if there is none."""
    beyond = [v for v in values if (v > now if step > 0 else v < now)]
    if not beyond:
        return max(values) if step > 0 else min(values)
    return min(beyond) if step > 0 else max(beyond)
