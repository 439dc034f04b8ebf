"""Say in one sentence what the figures of a comparison support, whichever side wins."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dd_sfm.evaluation.comparison.result import Column

EQUAL_SHARE = 0.02
"""Figures that differ by no more than this share count as equal: repeated runs differ by as much."""
EQUAL_SHARE_POSES = 0.1
"""The same for camera errors, which vary more."""
EQUAL_SHARE_FRAMES = 0.05
"""Camera errors are compared where the numbers of registered frames differ by no more than this share."""


def verdict(learned: "Column", sift: "Column") -> str:
    """Judge by registered frames, points, and error at equal number of points; with a reference also by cameras.

    With ground truth the error is the true one of the points, and completeness counts too. Without it only the
    reprojection error is known, and the sentence says so.
    """
    if learned.model is None and sift.model is None:
        return f"Neither the learned descriptor nor {sift.label} found a model."
    if sift.model is None:
        return f"SIFT found no model; the learned descriptor {_alone(learned.figures)}."
    if learned.model is None:
        return f"The learned descriptor found no model; SIFT {_alone(sift.figures)}."
    ours, theirs = learned.figures, sift.figures
    criteria = [
        _frames(ours, theirs),
        _points(ours, theirs),
        _error(ours, theirs),
        *_surface(ours, theirs),
        *_poses(ours, theirs),
    ]
    wins, losses = (sum(sign == s for sign, _ in criteria) for s in (1, -1))
    if wins and not losses:
        head = "The learned descriptor wins: it"
    elif losses and not wins:
        head = "SIFT wins: the learned descriptor"
    else:
        head = ("Neither wins outright" if wins else "Both do equally well") + ": the learned descriptor"
    return f"{head} {'; '.join(text for _, text in criteria)}."


def _alone(figures: dict[str, Any]) -> str:
    return f"registers {figures['frames_registered']} frames and gives {figures['points']:,} points"


def _frames(ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[int, str]:
    a, b = ours["frames_registered"], theirs["frames_registered"]
    if a == b:
        return 0, f"registers {a} frames, as SIFT does"
    return (1 if a > b else -1), f"registers {a} frames, SIFT {b}"


def _points(ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[int, str]:
    a, b = ours["points"], theirs["points"]
    sign = _compare(b, a)
    if sign == 0:
        return 0, f"gives as many points as SIFT ({a:,} against {b:,})"
    times = f"{a / b:.1f}" if a < 10 * b else f"{a / b:.0f}"
    return sign, f"gives {times} times as many points as SIFT ({a:,} against {b:,})"


def _error(ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[int, str]:
    a, b = ours["best"], theirs["best"]
    key, unit, name = "reprojection_{}_px", "px", "median reprojection error"
    if "true_error_median_mm" in a and "true_error_median_mm" in b:
        key, unit, name = "true_error_{}_mm", "mm", "median true error"
    median, tail = key.format("median"), key.format("p90")
    signs = [_compare(a[k], b[k]) for k in (median, tail)]
    word = {1: "a lower", 0: "the same", -1: "a higher"}[signs[0]]
    return (
        # A lower median with a heavier tail is no clear win.
        max(-1, min(1, sum(signs))),
        f"has {word} {name} among the best {a['points']:,} points of each ({a[median]:.3g} against {b[median]:.3g} "
        f"{unit}; 90 % are below {a[tail]:.3g} against {b[tail]:.3g})",
    )


def _surface(ours: dict[str, Any], theirs: dict[str, Any]) -> list[tuple[int, str]]:
    """Completeness of the true surface, where both sides have it."""
    shares = [(f["truth"] or {}).get("surface") or {} for f in (ours, theirs)]
    a, b = (s.get("completeness_1mm") for s in shares)
    if a is None or b is None:
        return []
    sign = _compare(b, a)
    return [(sign, f"has a point within 1 mm of {100 * a:.0f} % of the visible surface, SIFT of {100 * b:.0f} %")]


def _poses(ours: dict[str, Any], theirs: dict[str, Any]) -> list[tuple[int, str]]:
    """Errors of the cameras, where there is a reference."""
    shares = [((f["truth"] or {}).get("trajectory") or {}).get("ate_rms_pct_path") for f in (ours, theirs)]
    a, b = shares
    if a is None or b is None:
        return []
    text = f"has cameras {a:.2g} % of the path off, SIFT {b:.2g} %"
    if _compare(ours["frames_registered"], theirs["frames_registered"], EQUAL_SHARE_FRAMES):
        # Fewer frames align better, as each run is aligned to its own part of the path only.
        return [(0, f"{text}, each over the frames that it registers")]
    return [(_compare(a, b, EQUAL_SHARE_POSES), text)]


def _compare(first: float, second: float, equal_share: float = EQUAL_SHARE) -> int:
    """1 when the first value is smaller by more than chance, -1 when it is larger, else 0."""
    if abs(first - second) <= equal_share * max(abs(first), abs(second)):
        return 0
    return 1 if first < second else -1
