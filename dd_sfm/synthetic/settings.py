"""Parameters of rendered clips. Lengths are in mm unless the name says otherwise; ``px960`` means at 960x540."""

from dataclasses import dataclass, field, replace
from typing import Literal

from dd_sfm.config_checks import SHARE, Range, check_ranges
from dd_sfm.errors import ConfigError

Organ = Literal["sinus", "colon", "bladder"]
Difficulty = Literal["easy", "real", "hard"]


@dataclass(frozen=True)
class TissueSettings:
    """What the surface looks like."""

    vessels: float = 0.75
    """Strength of vessels; 0 for none."""
    trees: int = 0
    """Forking trees of thin vessels on a tile, as in a bladder; 0 for winding vessels."""
    capillaries: float = 0.06
    coverage: float = 0.35
    """Share of the surface where vessels show."""
    mottle: float = 0.01
    """Fine variation of colour."""
    patches: float = 0.22
    """Slow variation between pale and red."""
    relief: float = 0.018
    """Slope of the wet surface's fine relief."""
    texture_mm: float = 20.0
    """Period of vessels and relief."""
    blood: float = 0.85
    """Mean amount of blood: redness."""


@dataclass(frozen=True)
class LightSettings:
    """The scope's own light."""

    offset: float = 1.0
    """Distance of the lights from the optical axis."""
    ambient: float = 0.035
    """Light scattered back by the cavity, relative to direct light."""
    highlights: float = 1.0
    """Strength of reflections on the wet surface."""
    exposure: float = 0.40
    """Mean grey level that the automatic exposure aims at, 0 to 1."""
    exposure_speed: float = 0.12
    """Share of the way that the exposure goes each frame."""


@dataclass(frozen=True)
class LensSettings:
    """The scope's optics and sensor."""

    field_of_view_deg: float = 78.0
    """Angle across the height of the image."""
    circle: float = 0.97
    """Diameter of the visible field, relative to the height of the image."""
    sharpen: float = 0.9
    grain: float = 1.4
    """Standard deviation of the sensor's noise in grey levels, before sharpening."""
    defocus_px960: float = 0.8
    """Blur of a near wall."""
    focus: float = 7.0
    """Nearest distance in focus."""
    motion_blur: float = 0.35
    """Share of the time between frames that the shutter is open."""
    chromatic_px960: float = 0.5
    """Shift between red and blue at the rim."""
    distortion: tuple[float, float] = (0.0, 0.0)
    """Radial coefficients k1, k2 of OpenCV's model; 0 for a pinhole camera."""
    camera: str = ""
    """In place of field_of_view_deg and distortion a camera model and its parameters at the clip's size, as in COLMAP's
    cameras.txt: OPENCV_FISHEYE 300 300 480 270 0 0 0 0."""


@dataclass(frozen=True)
class PathSettings:
    """How the scope moves."""

    speed: float = 0.0
    """Distance a frame; 0 for what suits the organ."""
    tremor: float = 1.0
    """Strength of the hand's tremor; 1 is common."""
    clearance: float = 2.2
    """Least distance to any wall."""
    loop: bool = False
    """Return to the start."""
    returns: int = 0
    """So often on its way the scope turns back for a while: a quarter of the distance gone is backwards."""
    length: float = 0.0
    """Least length of the way through a colon; 0 for the usual one."""


@dataclass(frozen=True)
class EffectSettings:
    """What real videos break structure from motion with; off in the standard clips."""

    deformation: float = 0.0
    """Amplitude of slow movement of the tissue."""
    debris: int = 0
    """Floating particles."""
    smoke: float = 0.0
    """Strength of a moment of smoke in the middle of the clip: share of the tissue's light that thick wisps take."""
    blur_px960: float = 0.0
    """Blur of a moment, two thirds into the clip."""
    tool: float = 0.0
    """Share of the clip, around its middle, in which an instrument is in the picture; 1 for all of it."""


@dataclass(frozen=True)
class SynthSettings:
    """A rendered clip; everything random in it comes from ``seed``."""

    organ: Organ = "sinus"
    frames: int = 75
    width: int = 960
    height: int = 540
    seed: int = 0
    fps: float = 25.0
    depth_every: int = 5
    """Depth is kept for every N-th frame."""
    difficulty: Difficulty = "real"
    crf: int = 16
    """H.264 quality; lower is better and larger."""
    tissue: TissueSettings = field(default_factory=TissueSettings)
    light: LightSettings = field(default_factory=LightSettings)
    lens: LensSettings = field(default_factory=LensSettings)
    path: PathSettings = field(default_factory=PathSettings)
    effects: EffectSettings = field(default_factory=EffectSettings)


STRENGTH = Range(0, 10)
RANGES = {
    "seed": Range(0),
    "fps": Range(0.1, 1000),
    "depth_every": Range(1),
    "crf": Range(0, 51),
    "tissue.vessels": STRENGTH,
    "tissue.trees": Range(0, 100),
    "tissue.capillaries": STRENGTH,
    "tissue.coverage": SHARE,
    "tissue.mottle": STRENGTH,
    "tissue.patches": STRENGTH,
    "tissue.relief": SHARE,
    "tissue.texture_mm": Range(1, 1000),
    "tissue.blood": Range(0, 3),
    "light.offset": Range(0, 5),
    "light.ambient": STRENGTH,
    "light.highlights": STRENGTH,
    "light.exposure": Range(0.01, 0.99),
    "light.exposure_speed": SHARE,
    "lens.field_of_view_deg": Range(20, 140),
    "lens.circle": Range(0.2, 3),
    "lens.sharpen": STRENGTH,
    "lens.grain": Range(0, 100),
    "lens.defocus_px960": Range(0, 20),
    "lens.focus": Range(0, 1000),
    "lens.motion_blur": SHARE,
    "lens.chromatic_px960": Range(0, 20),
    "lens.distortion": Range(-2, 2),
    "path.speed": Range(0),
    "path.tremor": Range(0, 100),
    "path.clearance": Range(0, 100, above=True),
    "path.returns": Range(0, 1000),
    "path.length": Range(0, 2000),
    "effects.deformation": Range(0, 5),
    "effects.debris": Range(0, 10000),
    "effects.smoke": SHARE,
    "effects.blur_px960": Range(0, 50),
    "effects.tool": SHARE,
}
"""By key what it may be, but for frames and size; of a list every number."""


def check_settings(settings: SynthSettings) -> None:
    """Refuse what cannot be rendered.

    Raises:
        ConfigError: With the value found and what was expected.
    """
    s = settings
    if s.frames < 3:
        raise ConfigError(f"--frames {s.frames}: expected 3 or more")
    if min(s.width, s.height) < 96 or s.width % 2 or s.height % 2 or max(s.width, s.height) > 4096:
        raise ConfigError(f"--size {s.width}x{s.height}: expected even numbers from 96 to 4096")
    check_ranges(s, RANGES)
    if s.path.length and s.organ != "colon":
        raise ConfigError(f"path.length {s.path.length:g} mm: only a colon's length can be set; expected 0")
    most = max(200.0, 2 * s.path.length)
    if s.path.speed * s.frames > most:
        raise ConfigError(
            f"path.speed {s.path.speed} mm over {s.frames} frames leaves the organ; expected 0 (fitting) or "
            f"up to {most / s.frames:.2f}"
        )


def preset(organ: Organ, difficulty: Difficulty) -> SynthSettings:
    """The settings of an organ at a difficulty: how much texture there is, how fast and how noisy the clip is."""
    base = SynthSettings(organ=organ, difficulty=difficulty)
    tissue, light, lens, path = base.tissue, base.light, base.lens, base.path
    if organ == "colon":
        tissue = replace(tissue, texture_mm=44.0, blood=0.95, vessels=0.45, relief=0.015)
    if organ == "bladder":
        tissue = replace(
            tissue, texture_mm=44.0, blood=0.6, vessels=1.2, trees=4, coverage=0.95, capillaries=0.0, patches=0.18
        )
        light = replace(light, ambient=0.06)
        # Walls are far from the lamp: the sensor's gain is up.
        lens = replace(lens, grain=1.75, sharpen=1.0)
    if difficulty == "easy":
        tissue = replace(
            tissue, vessels=tissue.vessels * 1.4, coverage=max(0.75, tissue.coverage), mottle=tissue.mottle * 1.5
        )
        lens = replace(lens, grain=0.8, defocus_px960=0.4, motion_blur=0.15)
        path = replace(path, tremor=0.6)
    if difficulty == "hard":
        tissue = replace(tissue, vessels=tissue.vessels * 0.7, coverage=0.3, mottle=tissue.mottle * 0.6)
        lens = replace(lens, grain=2.4, defocus_px960=1.4, motion_blur=0.5)
        path = replace(path, tremor=1.6)
    return replace(base, tissue=tissue, light=light, lens=lens, path=path)
