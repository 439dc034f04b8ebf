"""Fitting every model, leaving out what no lens explains, and choosing between models by views that were held out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dd_sfm.calibration.fitting import Fit, View, covariance, fit
from dd_sfm.calibration.lens_models import Floats, LensModel, turning_radius
from dd_sfm.calibration.start import change_model, first_fit

MIN_VIEWS = 3
"""Fewest views that are fitted."""
FOLDS = 5
"""Parts that the views are held out in."""
VIEW_OUTLIER = 3.0
"""A view of so many times the usual residual is left out."""
CORNER_OUTLIER = 6.0
"""A corner of so many times the usual residual is left out."""
ROUNDS = 4
"""How often views and corners are left out and the rest is fitted again."""
CLEARLY = 2.0
"""Standard errors by which a model must be better than a simpler one to be chosen."""
MIRRORED = 0.03
"""Share of the field of view that may lie beyond a polynomial's turn."""


@dataclass(frozen=True)
class ModelFit:
    """A model fitted to what it explains.

    ``views``: the views fitted, without their outlying corners; ``held_out_px`` (V,): rms residual of each of these
    views, its pose alone fitted, by a lens of the other views; ``left_out``: frames of views left out;
    ``corners_left_out``: corners left out of the other views; ``covariance`` (P, P).
    """

    fit: Fit
    views: tuple[View, ...]
    held_out_px: Floats
    left_out: tuple[int, ...]
    corners_left_out: int
    covariance: Floats

    @property
    def deviations(self) -> Floats:
        """Standard deviations (P,) of the parameters."""
        return np.sqrt(np.maximum(np.diag(self.covariance), 0))

    @property
    def held_out_rms_px(self) -> float:
        """Root mean square residual of held-out views."""
        return float(np.sqrt((self.held_out_px**2).mean()))


def fit_models(
    views: Sequence[View], models: Sequence[LensModel], size: tuple[int, int], centre: tuple[float, float]
) -> list[ModelFit]:
    """Fit each model to the same views, and hold views out; models that cannot be fitted are missing.

    Views and corners are left out by the model that explains them best, so that models are compared on the same ones.
    """
    begun = begin_models(views, models, size, centre)
    if not begun:
        return []
    best = begun[0]
    cleaned, kept, left_out, corners = _without_outliers(best, views)
    result = []
    for one in sorted(begun, key=lambda f: models.index(f.model)):
        at_kept = cleaned if one is best else _refit(one, views, cleaned, kept)
        if at_kept is not None:
            held_out = _hold_out(at_kept, kept)
            result.append(ModelFit(at_kept, kept, held_out, left_out, corners, covariance(at_kept, kept)))
    return result


def begin_models(
    views: Sequence[View], models: Sequence[LensModel], size: tuple[int, int], centre: tuple[float, float]
) -> list[Fit]:
    """Fits of all models that show the board where it is seen, robust against outliers, the best one first."""
    start = first_fit(views, size, centre)
    begun = [f for f in (_changed(start, views, model, size) for model in models) if f is not None]
    return sorted(begun, key=lambda f: float(np.median(f.view_median_px)))


def _changed(start: Fit, views: Sequence[View], model: LensModel, size: tuple[int, int]) -> Fit | None:
    try:
        found = change_model(start, views, model, size)
    except (ArithmeticError, np.linalg.LinAlgError):
        return None
    return found if (found.params[:2] > 0).all() and np.isfinite(found.rms_px) else None


def _refit(one: Fit, views: Sequence[View], cleaned: Fit, kept: Sequence[View]) -> Fit | None:
    """A model at the views that another one kept."""
    places = {view.frame: k for k, view in enumerate(views)}
    poses = one.poses[[places[view.frame] for view in kept]]
    found = fit(replace(one, poses=poses), kept)
    return found if (found.params[:2] > 0).all() else None


def _without_outliers(found: Fit, views: Sequence[View]) -> tuple[Fit, tuple[View, ...], tuple[int, ...], int]:
    """Fit again without views, then without corners, that stand out; at least the fewest views stay."""
    kept, left_out, corners = list(views), [], 0
    for _ in range(ROUNDS):
        by_view = found.view_median_px
        out = (by_view > VIEW_OUTLIER * float(np.median(by_view))) & (by_view > 0.1)
        if not out.any() or (~out).sum() < MIN_VIEWS:
            break
        left_out += [view.frame for view, is_out in zip(kept, out, strict=True) if is_out]
        kept = [view for view, is_out in zip(kept, out, strict=True) if not is_out]
        found = fit(replace(found, poses=found.poses[~out]), kept, robust_px=3 * found.median_px)
    found = fit(found, kept, robust_px=3 * found.median_px)
    for _ in range(ROUNDS):
        inner = [_inliers(r, found) for r in found.residuals]
        if all(i.all() for i in inner):
            break
        corners += sum(int((~i).sum()) for i in inner)
        kept = [View(v.frame, v.points[i], v.xy[i]) for v, i in zip(kept, inner, strict=True)]
        found = fit(found, kept, robust_px=3 * found.median_px)
    return fit(found, kept), tuple(kept), tuple(sorted(left_out)), corners


def _inliers(residuals: Floats, found: Fit) -> NDArray[np.bool_]:
    length = np.linalg.norm(residuals, axis=1)
    # The median length of normal residuals is 1.18 standard deviations of one coordinate.
    usual = found.median_px / 1.1774
    inner = (length < CORNER_OUTLIER * usual) | (length < 0.05)
    # A view that loses most of its corners is no better for the rest.
    return inner if inner.sum() >= max(8, 0.6 * len(inner)) else np.ones_like(inner)


def _hold_out(found: Fit, views: Sequence[View]) -> Floats:
    """Residuals (V,) of every view by the lens of the views of other folds."""
    folds = min(FOLDS, len(views))
    part = np.arange(len(views)) % folds
    result = np.zeros(len(views))
    nothing = np.zeros(len(found.params), bool)
    for fold in range(folds):
        rest = np.flatnonzero(part != fold).tolist()
        lens = fit(replace(found, poses=found.poses[rest]), [views[k] for k in rest])
        for k in np.flatnonzero(part == fold).tolist():
            posed = fit(replace(lens, poses=found.poses[k : k + 1]), [views[k]], free=nothing)
            result[k] = posed.rms_px
    return result


def choose_model(fits: Sequence[ModelFit], field: NDArray[np.bool_]) -> ModelFit:
    """The simplest model that no other one clearly beats on held-out views.

    Of models that are about as good, one whose polynomial rises over all of the field of view goes before one that
    turns back within it: that would mirror the rim.

    Args:
        fits: Of the same views, the simplest first.
        field: The field of view (H, W).
    """
    best = min(fits, key=lambda f: f.held_out_rms_px)
    equal = [f for f in fits if not _clearly_better(best, f, 0.01)]
    near = [f for f in fits if not _clearly_better(best, f, 0.1)]
    whole = [f for f in equal + near if beyond_turn(f, field) < MIRRORED]
    return (whole or equal)[0]


def _clearly_better(one: ModelFit, other: ModelFit, margin: float) -> bool:
    """Whether a model's held-out residuals are smaller by more than a share and than chance; by view, on a log scale.

    Both models see the same corners of each view, so that views are compared in pairs.
    """
    gain = np.log(np.maximum(other.held_out_px, 1e-6)) - np.log(np.maximum(one.held_out_px, 1e-6))
    return bool(gain.mean() > max(CLEARLY * gain.std(ddof=1) / np.sqrt(len(gain)), margin))


def beyond_turn(found: ModelFit, field: NDArray[np.bool_]) -> float:
    """Share of the field of view (H, W) that lies beyond where the polynomial of a fit turns back."""
    _, radius = turning_radius(found.fit.model, found.fit.params[4:])
    if not np.isfinite(radius):
        return 0.0
    pixels = np.argwhere(field)[::7, ::-1]
    params = found.fit.params
    return float((np.linalg.norm((pixels - params[2:4]) / params[:2], axis=1) > radius).mean())
