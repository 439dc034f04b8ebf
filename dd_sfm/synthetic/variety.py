"""Other scopes: the lens, light, sensor, compression and tissue of a rendered clip, drawn by its seed."""

from dataclasses import replace
from typing import get_args

import numpy as np

from dd_sfm.synthetic.cameras import lens_of_angle, lens_text
from dd_sfm.synthetic.settings import LensSettings, LightSettings, Organ, SynthSettings, TissueSettings

STREAM = 0x5C09E
"""Keeps these draws apart from those of the scene, which the same seed decides."""
PINHOLE, DISTORTED, FISHEYE = 0.5, 0.75, 1.0
"""Cumulative shares of the kinds of lens."""


def vary(settings: SynthSettings, variety: float) -> SynthSettings:
    """Settings of another scope at the same scene.

    How far a clip is from the given settings differs from seed to seed, evenly between nothing and ``variety``.

    Args:
        settings: The standard clip; its seed decides.
        variety: 0 leaves all as it is; 1 is the range of the scopes in use.
    """
    if variety == 0:
        return settings
    rng = np.random.default_rng([STREAM, get_args(Organ).index(settings.organ), settings.seed])
    amount = variety * float(rng.uniform(0, 1))
    varied = replace(
        settings,
        tissue=_tissue(settings.tissue, rng, amount),
        light=_light(settings.light, rng, amount),
        lens=_sensor(settings.lens, rng, amount),
        crf=int(np.clip(settings.crf + round(18 * amount * float(rng.uniform(0, 1))), 0, 51)),
        path=replace(settings.path, tremor=settings.path.tremor * _factor(rng, 0.5 * amount)),
    )
    if rng.random() < 0.3 * amount:
        varied = replace(varied, effects=replace(varied.effects, debris=int(rng.integers(5, 40))))
    return _with_lens(varied, rng, amount)


def _factor(rng: np.random.Generator, spread: float) -> float:
    """A factor around 1 whose logarithm lies within ``spread``."""
    return float(np.exp(rng.uniform(-1, 1) * spread))


def _tissue(tissue: TissueSettings, rng: np.random.Generator, amount: float) -> TissueSettings:
    return replace(
        tissue,
        vessels=tissue.vessels * _factor(rng, 0.6 * amount),
        coverage=float(np.clip(tissue.coverage * _factor(rng, 0.6 * amount), 0, 1)),
        mottle=tissue.mottle * _factor(rng, 0.8 * amount),
        patches=tissue.patches * _factor(rng, 0.5 * amount),
        relief=tissue.relief * _factor(rng, 0.4 * amount),
        blood=tissue.blood * _factor(rng, 0.3 * amount),
    )


def _light(light: LightSettings, rng: np.random.Generator, amount: float) -> LightSettings:
    return replace(
        light,
        offset=light.offset * _factor(rng, 0.7 * amount),
        ambient=light.ambient * _factor(rng, 1.0 * amount),
        highlights=light.highlights * _factor(rng, 0.9 * amount),
        # Darker more often than brighter: recesses are where matching fails.
        exposure=float(np.clip(light.exposure + amount * float(rng.uniform(-0.18, 0.08)), 0.05, 0.9)),
    )


def _sensor(lens: LensSettings, rng: np.random.Generator, amount: float) -> LensSettings:
    return replace(
        lens,
        sharpen=lens.sharpen * _factor(rng, 1.0 * amount),
        grain=lens.grain * _factor(rng, 0.8 * amount),
        defocus_px960=lens.defocus_px960 * _factor(rng, 0.8 * amount),
        motion_blur=float(np.clip(lens.motion_blur * _factor(rng, 1.0 * amount), 0, 1)),
        chromatic_px960=lens.chromatic_px960 * _factor(rng, 1.0 * amount),
    )


def _with_lens(settings: SynthSettings, rng: np.random.Generator, amount: float) -> SynthSettings:
    """Another angle, distortion or a fisheye, in a round field or in one that the picture cuts off."""
    kind, wide, bend, cut = rng.uniform(0, 1, 4).tolist()
    circle = settings.lens.circle
    if cut < 0.35:
        circle *= 1 + 0.5 * amount * cut / 0.35
    size = settings.width, settings.height
    if kind < PINHOLE:
        fov, distortion, fisheye = 78 + amount * (40 * wide - 15), 0.0, False
    elif kind < DISTORTED:
        fov, distortion, fisheye = 80 + 30 * amount * wide, -0.04 - 0.1 * amount * bend, False
    else:
        fov, distortion, fisheye = 100 + 50 * amount * wide, 0.05 * (2 * bend - 1) * amount, True
    camera = lens_of_angle(fov, (distortion, 0.0), size, circle, fisheye=fisheye)
    return replace(
        settings, lens=replace(settings.lens, camera=lens_text(camera), circle=circle, distortion=(0.0, 0.0))
    )
