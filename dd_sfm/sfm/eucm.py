"""The lens that is estimated from a clip: COLMAP's EUCM, the enhanced unified camera model.

Two numbers beside the focal length span what endoscopes have (Khomutenko et al., IEEE RA-L 2016): a pinhole is alpha
0, a stereographic fisheye alpha 1/2 and beta 1, an orthographic one alpha 1 and beta 1, barrel distortion lies between.
Near the axis distortion is that of RADIAL with k1 = -alpha beta / 2, and it never folds back.

A lens is a vector (5,): the logarithm of the focal length in pixels, alpha, beta, and the principal point cx, cy (pixel
centres at integers). With x = X / Z, y = Y / Z and r their length, a point lands at f s x + cx, where
s = 1 / (1 + alpha (sqrt(1 + beta r^2) - 1)).
"""

import numpy as np

from dd_sfm.structures import FloatArray

PARAMETERS = 5
FOCAL, ALPHA, BETA, CX, CY = range(PARAMETERS)


def lens_vector(focal_px: float, alpha: float, beta: float, centre: tuple[float, float]) -> FloatArray:
    """The vector (5,) of a lens."""
    return np.array([np.log(focal_px), alpha, beta, *centre])


def project(lens: FloatArray, points_cam: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Project points and say how that changes.

    Args:
        lens: Its vector (5,).
        points_cam: Points (N, 3) in the camera's axes, in front of it.

    Returns:
        Pixels (N, 2), their derivatives by the points (N, 2, 3) and by the lens (N, 2, 5).
    """
    depth = points_cam[:, 2]
    flat = points_cam[:, :2] / depth[:, None]
    squared = (flat**2).sum(1)
    focal, alpha, beta = float(np.exp(lens[FOCAL])), lens[ALPHA], lens[BETA]
    length = np.sqrt(1 + beta * squared)
    factor = 1 / (1 + alpha * (length - 1))
    by_squared = -alpha * beta / (2 * length) * factor**2
    by_flat = 2 * focal * by_squared[:, None, None] * flat[:, :, None] * flat[:, None, :]
    by_flat[:, 0, 0] += focal * factor
    by_flat[:, 1, 1] += focal * factor
    by_point = np.empty((len(depth), 2, 3))
    by_point[:, :, :2] = by_flat / depth[:, None, None]
    by_point[:, :, 2] = -np.einsum("nij,nj->ni", by_flat, flat) / depth[:, None]
    by_lens = np.zeros((len(depth), 2, PARAMETERS))
    bent = focal * factor[:, None] * flat
    by_lens[:, :, FOCAL] = bent
    by_lens[:, :, ALPHA] = -bent * (factor * (length - 1))[:, None]
    by_lens[:, :, BETA] = -bent * (factor * alpha * squared / (2 * length))[:, None]
    by_lens[:, 0, CX] = by_lens[:, 1, CY] = 1
    return bent + lens[[CX, CY]], by_point, by_lens


def normalise(lens: FloatArray, xy: FloatArray) -> FloatArray:
    """Where pixels (N, 2) look in the plane at depth 1 (N, 2); NaN where they look sideways or nowhere."""
    bent = (np.asarray(xy, np.float64) - lens[[CX, CY]]) / np.exp(lens[FOCAL])
    depth = _depth(lens, (bent**2).sum(1))
    return np.asarray(bent / np.where(depth > 0, depth, np.nan)[:, None])


def field_angle_deg(lens: FloatArray, radius_px: float) -> float:
    """The full angle in degrees of a field of view of this radius; NaN where the lens cannot show it."""
    radius = radius_px / float(np.exp(lens[FOCAL]))
    return float(2 * np.degrees(np.arctan2(radius, _depth(lens, np.array([radius**2]))[0])))


def _depth(lens: FloatArray, squared: FloatArray) -> FloatArray:
    """Depth (N,) of the rays that pass places of these squared radii (N,), in focal lengths; NaN without any."""
    alpha, beta = lens[ALPHA], lens[BETA]
    inside = 1 - (2 * alpha - 1) * beta * squared
    root = np.sqrt(np.where(inside >= 0, inside, np.nan))
    return np.asarray((1 - beta * alpha**2 * squared) / (alpha * root + 1 - alpha))
