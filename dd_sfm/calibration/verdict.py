"""Whether a calibration can be trusted, in words, and what to film better."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from dd_sfm.calibration.certainty import projection_deviation
from dd_sfm.calibration.model_choice import MIRRORED, ModelFit, beyond_turn
from dd_sfm.calibration.views import cells_of

Grade = Literal["good", "usable", "not to be trusted"]


@dataclass(frozen=True)
class Measures:
    """What a verdict is made of.

    ``views``: fitted; ``rms_px1000``: rms residual, ``rim_px1000``: standard deviation of the projection that 95 % of
    the field of view stay below, both in pixels of a picture whose field of view is 1000 wide; ``held_out_ratio``: rms
    residual of held-out views over that of fitted ones; ``focal_pct``: standard deviation of the focal length;
    ``rim_reached``: radius within which 99 % of the corners lie, over that of the field of view; ``covered``: share of
    the field's cells that had a corner; ``tilted``: views whose board leans by 20 degrees or more; ``filled``: median
    share of the field that a board takes; ``edge_px``: median width of edges; ``mirrored``: share of the field beyond
    the polynomial's turn; ``focal_ratio``: fx / fy.
    """

    views: int
    rms_px1000: float
    rim_px1000: float
    held_out_ratio: float
    focal_pct: float
    rim_reached: float
    covered: float
    tilted: int
    filled: float
    edge_px: float
    mirrored: float
    focal_ratio: float


@dataclass(frozen=True)
class Verdict:
    """A grade, why it is no better, and what to do about it; whole clauses without full stops."""

    grade: Grade
    reasons: tuple[str, ...]
    advice: tuple[str, ...]

    @property
    def text(self) -> str:
        """The verdict in one line."""
        return f"{self.grade}: {'; '.join(self.reasons)}" if self.reasons else self.grade


@dataclass(frozen=True)
class _Rule:
    """Two limits of a measure: worse than ``usable`` is not good, worse than ``bad`` is not to be trusted."""

    measure: str
    usable: float
    bad: float
    reason: str
    advice: str
    is_least: bool = False


STEADY = "hold board and scope still while it is filmed, with more light, so that edges are sharp"
MORE = "film the board from more sides"
RIM = "move the board into the rim of the field of view, all the way round"
TILT = "tilt the board by 20 to 45 degrees to each side"
RULES = (
    _Rule("views", 10, 5, "{:.0f} different views of the board", MORE, is_least=True),
    _Rule("tilted", 4, 1, "{:.0f} views with the board tilted by 20 degrees or more", TILT, is_least=True),
    _Rule("rms_px1000", 1.2, 4.0, "corners lie {:.1f} px (of a field 1000 px wide) beside their places",
          f"check that the board is flat and --board is right, and {STEADY}"),
    _Rule("held_out_ratio", 1.4, 3.0, "views that were held out fit {:.1f} times worse", MORE),
    _Rule("focal_pct", 0.4, 2.0, "the focal length is uncertain by {:.1f} %", TILT),
    _Rule("rim_px1000", 1.0, 6.0, "places near the rim are uncertain by {:.1f} px (of a field 1000 px wide)", RIM),
    _Rule("rim_reached", 0.65, 0.35, "corners reach out to {:.0%} of the field of view's radius alone", RIM,
          is_least=True),
    _Rule("covered", 0.5, 0.15, "corners were in {:.0%} of the field of view", RIM, is_least=True),
    _Rule("filled", 0.08, 0.0, "the board takes {:.0%} of the field of view",
          "bring the board closer, or take a larger one", is_least=True),
    _Rule("edge_px", 5.0, 30.0, "edges of the board are {:.1f} px wide", STEADY),
    _Rule("mirrored", MIRRORED, 0.15, "the polynomial turns back before the rim, {:.0%} of the field of view beyond",
          f"{RIM}, or try --model fisheye"),
)  # fmt: skip
"""What is asked of a calibration."""


def judge(measures: Measures) -> Verdict:
    """The verdict by all rules; the worst one decides the grade."""
    grades: list[Grade] = ["good", "usable", "not to be trusted"]
    worst, reasons, advice = 0, [], []
    for rule in RULES:
        value = float(getattr(measures, rule.measure))
        sign = -1 if rule.is_least else 1
        level = (sign * value > sign * rule.usable) + (sign * value > sign * rule.bad)
        if np.isnan(value):
            level = 2
        if level:
            worst = max(worst, level)
            reasons.append((-level, rule.reason.format(value)))
            advice.append(rule.advice)
    if abs(measures.focal_ratio - 1) > max(0.01, 4 * measures.focal_pct / 100):
        reasons.append((0, f"pixels are not square, fx : fy = {measures.focal_ratio:.3f}, which is taken into account"))
    ordered = tuple(text for _, text in sorted(reasons, key=lambda r: r[0]))
    return Verdict(grades[worst], ordered, tuple(dict.fromkeys(advice)))


def measure(found: ModelFit, field: NDArray[np.bool_], edge_px: float) -> Measures:
    """Measure a fit within its field of view (H, W)."""
    fit = found.fit
    height, width = field.shape
    pixels = np.argwhere(field)[::7, ::-1]
    centre = fit.params[2:4]
    wide = float(np.ptp(pixels, axis=0).max() + 1)
    corners = np.concatenate([view.xy for view in found.views])
    rim = float(np.percentile(np.linalg.norm(pixels - centre, axis=1), 99))
    # Cells that the field fills by less than half are rim and no place for a corner.
    cells, counts = np.unique(cells_of(np.argwhere(field)[:, ::-1].astype(float), (width, height)), return_counts=True)
    whole = set(cells[counts > 0.5 * counts.max()].tolist())
    seen = set(cells_of(corners, (width, height)).tolist())
    areas = [cv2.contourArea(cv2.convexHull(view.xy.astype(np.float32))) for view in found.views]
    _, deviation = projection_deviation(fit.model, fit.params, found.covariance, field)
    fx, fy = fit.params[:2]
    return Measures(
        views=len(found.views),
        rms_px1000=1000 * fit.rms_px / wide,
        rim_px1000=1000 * float(np.percentile(deviation, 95)) / wide if len(deviation) else float("nan"),
        held_out_ratio=found.held_out_rms_px / max(fit.rms_px, 1e-6),
        focal_pct=100 * float((found.deviations[:2] / fit.params[:2]).max()),
        rim_reached=float(np.percentile(np.linalg.norm(corners - centre, axis=1), 99)) / rim,
        covered=len(seen & whole) / max(1, len(whole)),
        tilted=int((tilts_deg(found) >= 20).sum()),
        filled=float(np.median(areas)) / float(field.sum()),
        edge_px=edge_px,
        mirrored=beyond_turn(found, field),
        focal_ratio=float(fx / fy),
    )


def tilts_deg(found: ModelFit) -> NDArray[np.float64]:
    """Angles (V,) between the board's normal and the direction in which its middle is seen, in degrees."""
    tilts = []
    for pose in found.fit.poses:
        normal = cv2.Rodrigues(pose[:3])[0][:, 2]
        cosine = abs(normal @ pose[3:]) / np.linalg.norm(pose[3:])
        tilts.append(np.degrees(np.arccos(np.clip(cosine, 0, 1))))
    return np.array(tilts)
