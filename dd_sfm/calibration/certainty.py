"""How sure a fitted lens is at every place of the picture, in pixels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.calibration.lens_models import Floats, LensModel, angles_of, project

STEP = 24
"""Places along the longer side of the picture."""


def projection_deviation(
    model: LensModel, params: Floats, covariance: Floats, field: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Standard deviation of where rays are projected, over the field of view.

    A shift of the principal point is nearly the same as a turn of the camera, which every reconstruction takes up: the
    turn that explains most of a change over the field of view is left out.

    Args:
        model: The lens model.
        params: Its parameters (P,).
        covariance: Theirs (P, P).
        field: The field of view (H, W).

    Returns:
        Places (N, 2) in pixels on a grid over the field, and deviations (N,) in pixels along one axis.
    """
    spacing = max(field.shape) / STEP
    rows, columns = (np.arange(spacing / 2, n, spacing) for n in field.shape)
    x, y = np.meshgrid(columns, rows)
    inside = field[y.astype(int), x.astype(int)]
    places = np.stack([x[inside], y[inside]], 1)
    rays, known = rays_of(model, params, places)
    places, rays = places[known], rays[known]
    if not len(places):
        return places, np.zeros(0)
    # At a pose without turn and far from the origin, turning the camera turns the rays.
    _, by_pose, by_params = project(model, params, np.array([1e-9, 0, 0, 0, 0, 0]), rays)
    a, turn = by_params.reshape(-1, len(params)), by_pose[:, :, :3].reshape(-1, 3)
    left = a - turn @ np.linalg.lstsq(turn, a, rcond=None)[0]
    variance = np.einsum("ij,jk,ik->i", left, covariance, left).reshape(-1, 2)
    return places, np.sqrt(np.maximum(variance.mean(1), 0))


def rays_of(model: LensModel, params: Floats, places: Floats) -> tuple[Floats, NDArray[Any]]:
    """Unit rays (N, 3) that pixels (N, 2) show, radial distortion alone, and whether the model shows one there (N,)."""
    angle = angles_of(model, params, places)
    known = np.isfinite(angle) & (angle < np.radians(89))
    flat = (places - params[2:4]) / params[:2]
    unit = flat / np.maximum(np.linalg.norm(flat, axis=1), 1e-12)[:, None]
    safe = np.where(known, angle, 0)
    return np.column_stack([unit * np.sin(safe)[:, None], np.cos(safe)]), known
