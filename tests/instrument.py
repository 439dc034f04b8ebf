"""A surgical instrument drawn into frames, with the exact area that it covers: a metal shaft that ends in a jaw."""

from dataclasses import dataclass

import cv2
import numpy as np

BRUSHED = cv2.GaussianBlur(np.random.default_rng(5).normal(0, 1, (1024, 256)).astype(np.float32), (0, 0), 1.2)
"""Texture of the metal, along and across the shaft."""


@dataclass(frozen=True)
class Place:
    """``tip``: of the jaw, in pixels; ``angle_deg``: of the shaft, from the tip outwards; ``width``: of the shaft."""

    tip: tuple[float, float]
    angle_deg: float
    width: float
    opening_deg: float = 14.0


def place_at(k, count, motion, size, width):
    """Where the instrument is in frame ``k``: it enters from the lower right corner.

    ``motion``: "rest": fixed to the picture; "mixed": for a third of the clip at rest, then swung with a jitter, then
    slowly drawn back.
    """
    unit = min(size)
    tip, angle, opening = np.array([0.47 * size[0], 0.58 * size[1]]), 33.0, 14.0
    if motion == "mixed":
        swing = np.clip((k / count - 1 / 3) * 3, 0, 1)
        back = np.clip((k / count - 2 / 3) * 3, 0, 1)
        jitter = np.random.default_rng(100 + k).normal(0, 0.006, 2) if 0 < swing < 1 else np.zeros(2)
        tip = tip + unit * (np.array([0.16 * np.sin(3.4 * swing) + 0.08 * back, -0.2 * swing + 0.05 * back]) + jitter)
        angle, opening = 33 - 14 * swing + 4 * back, 14 + 8 * np.sin(5 * swing)
    return Place((float(tip[0]), float(tip[1])), angle, width, opening)


def draw(image, place, light=0.0):
    """An RGB image (H, W, 3) uint8 with the instrument, and the area (H, W) bool that it covers.

    ``light`` shifts the highlight along the shaft, as a moving light does.
    """
    height, width = image.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    along, across = _turned(x - place.tip[0], y - place.tip[1], place.angle_deg)
    jaw, half = 0.9 * place.width, 0.5 * place.width * (1 + 0.0008 * np.maximum(along, 0))
    inside = np.minimum(half - np.abs(across), along - jaw)
    side = np.clip(across / half, -1, 1)
    for sign in (-1, 1):
        # A finger turns about the end of the shaft and gets thinner to its tip.
        u, v = _turned(along - jaw, across, sign * place.opening_deg)
        finger = np.minimum(half * (0.2 + 0.25 * np.clip(1 + u / jaw, 0, 1)) - np.abs(v - 0.22 * sign * half), u + jaw)
        finger = np.minimum(finger, 0.3 * place.width - u)
        side = np.where(finger > np.maximum(inside, 0), np.clip((v - 0.22 * sign * half) / (0.45 * half), -1, 1), side)
        inside = np.maximum(inside, finger)
    covered = np.clip(inside + 0.5, 0, 1)
    metal = _metal(along, side, jaw, place.width, light)
    mixed = image * (1 - covered[..., None]) + metal * covered[..., None]
    return np.clip(mixed, 0, 255).astype(np.uint8), covered > 0


def _turned(x, y, angle_deg):
    cosine, sine = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return cosine * x + sine * y, -sine * x + cosine * y


def _metal(along, side, jaw, width, light):
    """Colours (H, W, 3) of a cylinder lit from the camera, with brushed metal, rings and a joint."""
    grey = 35 + 105 * np.sqrt(1 - 0.95 * side**2)
    grey += 95 * np.exp(-(((side + 0.35) / 0.13) ** 2)) * (0.75 + 0.25 * np.sin(along / width + light))
    grey -= 45 * (np.abs(np.mod(along - jaw, 2.2 * width) - 4) < 0.04 * width)
    grey -= 60 * (np.abs(along - jaw) < 0.05 * width)
    fine = cv2.remap(
        BRUSHED,
        np.mod(side * 60 + 128, 255).astype(np.float32),
        np.mod(along * (60 / width) + 512, 1023).astype(np.float32),
        cv2.INTER_LINEAR,
    )
    grey = (grey + 14 * fine) * np.clip(1.15 - 0.0006 * np.maximum(along, 0), 0.5, 1.15)
    return np.stack([0.98 * grey, grey, 1.04 * grey], -1)
