"""Three sentences on a run: what was reconstructed, how good it is, and what to do better next time."""

from dataclasses import dataclass

from dd_sfm.notes import NoteCode
from dd_sfm.viz.report.advice import Advice, advice, percent
from dd_sfm.viz.report.facts import Facts

MOST_ADVICE = 3
"""Pieces of advice in the sentence; the others follow below it."""
NOTHING_TO_DO = "Nothing: no figure of this run asks for another recording."


@dataclass(frozen=True)
class Summary:
    """``what``, ``good`` and ``better``: a sentence each; ``further``: advice that had no room in the last one."""

    what: str
    good: str
    better: str
    further: tuple[Advice, ...] = ()


def summarise(facts: Facts) -> Summary:
    """Write the three sentences."""
    found = advice(facts)
    better = NOTHING_TO_DO
    if found:
        texts = [one.text for one in found[:MOST_ADVICE]]
        better = _sentence("; ".join(texts))
    return Summary(_what(facts), _how_good(facts), better, tuple(found[MOST_ADVICE:]))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _what(facts: Facts) -> str:
    """Frames, time span, points and extent."""
    points = int(facts.number("points") or 0)
    span = _span(facts)
    when = f", {span}," if span else ""
    kind = "key frames" if NoteCode.KEY_FRAMES in facts.codes else "frames"
    text = f"{facts.registered:,} of {facts.used:,} {kind}{when} became a model of {points:,} points"
    models = facts.metrics.get("models")
    if isinstance(models, list) and len(models) > 1:
        text = text.replace("a model", f"the largest of {len(models)} models, one")
    if facts.extent is not None:
        text += f", {facts.extent:.3g} {facts.unit} long"
        if facts.unit == "scene units":
            text += ", as one camera alone does not tell the scale"
    return _sentence(text)


def _span(facts: Facts) -> str:
    """The time of the first model in the source; of images without times, and of several sources, nothing."""
    details = facts.metrics.get("model_details") if facts.sources == 1 else None
    first = details[0] if isinstance(details, list) and details and isinstance(details[0], dict) else {}
    seconds = first.get("seconds")
    if not isinstance(seconds, list) or len(seconds) != 2 or not all(isinstance(s, int | float) for s in seconds):
        return ""
    start, end = map(float, seconds)
    return f"from {_time(start)} to {_time(end)} of the video" if end > start else ""


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d} min"


def _how_good(facts: Facts) -> str:
    """Reprojection error, expected errors, poses and coverage."""
    parts = [text for text in (_error(facts), _expected(facts), _poses(facts), _measured(facts)) if text]
    text = _sentence(", ".join(parts[:-1]) + (", and " if len(parts) > 1 else "") + parts[-1])
    if any(code.doubts_camera for code in facts.codes):
        text = text[:-1] + "; all of this holds only as far as the camera is right."
    return text


def _error(facts: Facts) -> str:
    error = facts.number("median_reprojection_error_px")
    return "" if error is None else f"points reproject {error:.2f} px from where they were seen in the median"


def _expected(facts: Facts) -> str:
    uncertainty = facts.number("median_uncertainty")
    if uncertainty is None:
        return ""
    text = f"half of them are expected to lie within {percent(uncertainty)} of the viewing distance of their true place"
    distance = facts.coverage("distance_median")
    if facts.extent and distance:
        text += f" ({percent(uncertainty * distance / facts.extent)} of the model's length)"
    return text


def _poses(facts: Facts) -> str:
    middle, least = facts.number("pose_confidence_median"), facts.number("pose_confidence_least")
    if middle is None or least is None:
        return "poses were not checked"
    return f"poses have a confidence of {middle:.2f} in the median and {least:.2f} at least"


def _measured(facts: Facts) -> str:
    share = facts.coverage("measured_share")
    if share is None:
        return "what of the surface in view has points is not known"
    names = {"in_view": "in it", "at_edge": "at its edge", "out_of_view": "out of view"}
    counts = {where: int(facts.coverage(f"holes_{kind}") or 0) for kind, where in names.items()}
    holes = [f"{number} {where}" for where, number in counts.items() if number]
    said = f"holes: {', '.join(holes)}" if holes else "no holes wider than a tenth of the viewing distance"
    return f"{percent(share)} of the surface in view has points ({said})"
