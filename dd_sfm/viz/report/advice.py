"""What to do better at the next recording: plain rules, each with the figures that support it.

A rule says nothing unless the figures do: what they cannot tell, such as why a wall stayed bare, is left open.
"""

from collections.abc import Callable
from dataclasses import dataclass

from dd_sfm.notes import NoteCode
from dd_sfm.sfm.rigidity import ResidualGrowth
from dd_sfm.structures import DropReason
from dd_sfm.viz.report.facts import UNSURE_POSE, Facts
from dd_sfm.viz.report.note_rules import codes_of

LEAST_REGISTERED = 0.95
"""Share of the used frames that ought to have a pose in the first model."""
MOST_BLURRED, MOST_HIDDEN, MOST_DAMAGED = 0.1, 0.05, 0.0
"""Shares of the frames above which blurred, obscured or featureless, and damaged ones are worth a word."""
FEW_FRAMES = 15
LEAST_ANGLE_DEG, MOST_UNCERTAINTY = 3.0, 0.05
"""Where rays meet at a flatter angle, or half of the points are less certain (relative to distance), parallax lacks."""
MOST_ERROR_OF_WIDTH = 0.0015
"""Largest median reprojection error relative to the width of a frame: 1.4 px of 960."""
LEAST_MEASURED, MOST_OUT_OF_VIEW = 0.75, 0.05
"""Shares of the surface in view: with points at least, and of holes out of view at most."""
MOST_INSTRUMENTS = 0.1


@dataclass(frozen=True)
class Advice:
    """``code``: of the rule that gives it; ``do``: what to do; ``because``: the figures that say so."""

    code: str
    do: str
    because: str

    @property
    def text(self) -> str:
        """Both as part of a sentence."""
        return f"{self.do} ({self.because})"


def advice(facts: Facts) -> list[Advice]:
    """What the figures of a run ask for, the weightiest first; empty when they ask for nothing."""
    return [found for rule in RULES if (found := rule(facts)) is not None]


def percent(share: float) -> str:
    """A share in per cent with two digits at most."""
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number != 1 else f"1 {what.removesuffix('s')}"


def check_calibration(facts: Facts) -> Advice | None:
    """A calibration that does not look like one of this video."""
    codes = facts.codes & codes_of("check_calibration")
    if not codes:
        return None
    what = {
        NoteCode.CALIBRATION_FIELD_OF_VIEW: "an unusual angle of view",
        NoteCode.CALIBRATION_CENTRE: "a centre away from the middle of the picture",
        NoteCode.CALIBRATION_FOCAL_LENGTH: "another focal length than the clip itself suggests",
    }
    found = " and ".join(what[code] for code in sorted(codes))
    return Advice(
        "check_calibration", "check that the calibration is that of this scope, zoom and size", f"it has {found}"
    )


def calibrate(facts: Facts) -> Advice | None:
    """A camera that was assumed, or estimated from the clip."""
    origin = facts.metrics.get("camera_from")
    if origin not in ("assumed", "clip") and not facts.codes & codes_of("calibrate"):
        return None
    named = facts.metrics.get("lens") not in (None, "unknown")
    do = "calibrate the scope" if named else "calibrate the scope, or name its lens with --lens"
    if origin != "clip" and NoteCode.CAMERA_ESTIMATED not in facts.codes:
        return Advice("calibrate", do, "the angle of view was assumed, and a wrong one bends the whole model")
    focal, sigma = facts.number("lens_focal_length_px"), facts.number("lens_focal_sigma_px")
    known = f" to ±{percent(sigma / focal)}" if focal and sigma else ""
    return Advice("calibrate", do, f"the focal length was estimated from the clip{known}")


def calibrate_to_the_rim(facts: Facts) -> Advice | None:
    """A lens that is known for the middle of the picture alone."""
    if not facts.codes & codes_of("calibrate_to_the_rim"):
        return None
    because = "the lens is known for a part of the picture alone, and the rest is masked"
    return Advice("calibrate_to_the_rim", "calibrate with the board filmed up to the rim of the picture", because)


def one_half(facts: Facts) -> Advice | None:
    """Stereo pictures that were taken for those of one camera."""
    if not facts.codes & codes_of("one_half"):
        return None
    because = "both halves of the frames show nearly the same picture"
    return Advice("one_half", "use one half of the stereo pictures, by --stereo", because)


def keep_in_view(facts: Facts) -> Advice | None:
    """Frames that found no place in the first model."""
    lost = facts.used - facts.registered
    is_apart = bool(facts.codes & codes_of("keep_in_view"))
    if not is_apart and (facts.used == 0 or facts.registered >= LEAST_REGISTERED * facts.used):
        return None
    models = facts.metrics.get("models")
    apart = (
        f", and the video fell apart into {len(models)} models" if isinstance(models, list) and len(models) > 1 else ""
    )
    do = (
        "record without a break, or come back to tissue that was seen before"
        if NoteCode.PIECES_APART in facts.codes
        else "move more slowly where the view was lost, so that the same tissue stays in many frames"
    )
    return Advice("keep_in_view", do, f"{lost:,} of {facts.used:,} frames have no pose in the model{apart}")


def stay_near(facts: Facts) -> Advice | None:
    """Frames that hardly match any other, where none of them was lost."""
    if not facts.codes & codes_of("stay_near") or keep_in_view(facts) is not None:
        return None
    do = "move more slowly, so that the same tissue stays in many frames"
    return Advice("stay_near", do, "some frames have hardly any match")


def steady_path(facts: Facts) -> Advice | None:
    """Poses that did not hold up, or a scale that does not stay the same."""
    codes = facts.codes & codes_of("steady_path")
    what = {
        NoteCode.SCALE_JUMP: "the scale of the model changes along the path",
        NoteCode.MODEL_SPLIT: "the model had to be split where its parts contradict each other",
        NoteCode.FRAMES_TAKEN_OUT: "frames were taken out of the model, as their poses did not hold up",
    }
    if not codes:
        return None
    because = ", and ".join(text for code, text in what.items() if code in codes)
    do = "record that stretch again, more slowly and with the tissue at rest"
    if NoteCode.SCALE_JUMP in codes:
        do = f"do not trust sizes, and {do}"
    return Advice("steady_path", do, because)


def look_twice(facts: Facts) -> Advice | None:
    """Poses that the run itself doubts."""
    unsure = facts.unsure_poses
    if not unsure:
        return None
    least = min(facts.number("pose_confidence_least") or 0.0, UNSURE_POSE)
    which = unsure[0] if len(unsure) == 1 else f"from {unsure[0]} to {unsure[-1]}"
    because = f"the poses of {len(unsure):,} frames, {which}, have a confidence down to {least:.2f}"
    if len(unsure) == 1:
        because = f"the pose of frame {which} has a confidence of {least:.2f}"
    return Advice("look_twice", "do not measure where poses are in doubt, and record that stretch again", because)


def more_frames(facts: Facts) -> Advice | None:
    """A clip of few frames."""
    is_unconfirmed = bool(facts.codes & codes_of("more_frames"))
    if facts.used >= FEW_FRAMES and not is_unconfirmed:
        return None
    because = f"{_count(facts.used, 'frames')} used" + is_unconfirmed * ", and nothing confirms the poses"
    return Advice("more_frames", "use a longer piece, or more of its frames (--every)", because)


def move_sideways(facts: Facts) -> Advice | None:
    """Rays that meet at flat angles, or points that are far from certain though the camera is known."""
    angle, uncertainty = facts.number("median_triangulation_angle_deg"), facts.number("median_uncertainty")
    # Where the camera is not known, that is the larger part of what points are expected to be off.
    codes = facts.codes & codes_of("move_sideways")
    if calibrate(facts) is not None:
        uncertainty, codes = None, codes - {NoteCode.UNCERTAIN_POINTS}
    if angle is not None and angle < LEAST_ANGLE_DEG:
        because = f"the rays of a point meet at {angle:.1f} degrees in the median"
    elif uncertainty is not None and uncertainty > MOST_UNCERTAINTY:
        because = f"half of the points may be more than {percent(uncertainty)} of their distance off"
    elif codes:
        because = "frames hardly tell, or do not agree on, how far away things are"
    else:
        return None
    return Advice("move_sideways", "use a longer piece in which the tip also moves sideways", because)


def hold_still(facts: Facts) -> Advice | None:
    """Large errors, or such that grow with time. The tissue moved, or the camera is off: figures do not tell which."""
    error = facts.number("median_reprojection_error_px")
    named = ("residual_growth", "shared_residual_growth")
    growth = ResidualGrowth.read({name: facts.number(name) for name in named})
    if growth is not None and growth.is_large:
        because = growth.words
    elif facts.codes & codes_of("hold_still"):
        because = "matches of a few frames in a row fit better than those of all frames"
    elif error is not None and facts.width and error > MOST_ERROR_OF_WIDTH * facts.width:
        because = f"points reproject {error:.2g} px off in the median, in frames {facts.width} px wide"
    else:
        return None
    return Advice("hold_still", "choose a stretch in which the tissue holds still, and check the calibration", because)


def less_blur(facts: Facts) -> Advice | None:
    """Many blurred frames."""
    return _dropped(
        facts, (DropReason.BLURRED,), MOST_BLURRED, "less_blur",
        "move more slowly, or record with a shorter exposure", "were too blurred",
    )  # fmt: skip


def clear_view(facts: Facts) -> Advice | None:
    """Many frames in which water, bubbles or a smear hide the scene, or depths that other frames do not confirm."""
    hidden = _dropped(
        facts, (DropReason.OBSCURED,), MOST_HIDDEN, "clear_view",
        "rinse the lens and clear fluid and bubbles away", "showed something before the scene",
    )  # fmt: skip
    # Tissue that moves leaves depths unconfirmed as well, and has an advice of its own.
    if hidden is None and facts.codes & codes_of("clear_view") and hold_still(facts) is None:
        do = "choose a stretch without floating debris, or clear it away"
        return Advice("clear_view", do, "hardly any depth of one frame is confirmed by others")
    return hidden


def off_the_wall(facts: Facts) -> Advice | None:
    """Many frames with nothing in them."""
    return _dropped(
        facts, (DropReason.FEATURELESS,), MOST_HIDDEN, "off_the_wall",
        "keep the lens off the wall and in focus", "showed nothing to match",
    )  # fmt: skip


def sound_file(facts: Facts) -> Advice | None:
    """Frames that could not be decoded, or are not in the file."""
    codes = facts.codes & codes_of("sound_file")
    do = "copy the recording again from where it was made"
    if not facts.dropped.get(DropReason.UNDECODABLE) and codes:
        ends = NoteCode.VIDEO_ENDS_EARLY in codes
        return Advice("sound_file", do, "the file ends early" if ends else "frames are missing in the file")
    return _dropped(
        facts, (DropReason.UNDECODABLE,), MOST_DAMAGED, "sound_file", do, "could not be decoded",
    )  # fmt: skip


def _dropped(
    facts: Facts, reasons: tuple[DropReason, ...], most: float, code: str, do: str, what: str
) -> Advice | None:
    number = sum(facts.dropped.get(reason, 0) for reason in reasons)
    if number <= most * facts.judged:
        return None
    return Advice(code, do, f"{number:,} of {facts.judged:,} frames {what}")


def without_instruments(facts: Facts) -> Advice | None:
    """Instruments that hide much."""
    share = facts.number("instruments_share")
    if share is None or share <= MOST_INSTRUMENTS:
        return None
    return Advice(
        "without_instruments", "keep instruments out of the picture", f"they hid {percent(share)} of the field of view"
    )


def come_closer(facts: Facts) -> Advice | None:
    """Much of what was in view has no points."""
    share = facts.coverage("measured_share")
    if share is None or share >= LEAST_MEASURED:
        return None
    frame = next((hole.get("frame") for hole in facts.holes if hole.get("kind") != "out_of_view"), None)
    where = f"; the largest place without any is best seen in frame {frame}" if frame is not None else ""
    do = "go over the places without points once more, closer and from another side"
    return Advice("come_closer", do, f"{percent(share)} of the surface in view has points{where}")


def look_behind(facts: Facts) -> Advice | None:
    """Places that no frame had in view, between those that were."""
    share, number = facts.coverage("holes_out_of_view_share"), facts.coverage("holes_out_of_view")
    if share is None or share <= MOST_OUT_OF_VIEW:
        return None
    because = (
        f"{_count(int(number or 0), 'places')}, {percent(share)} of the surface in view, were in view of no two frames"
    )
    return Advice("look_behind", "turn the tip to what lies behind folds and rims", because)


RULES: tuple[Callable[[Facts], Advice | None], ...] = (
    hold_still,
    one_half,
    check_calibration,
    calibrate,
    calibrate_to_the_rim,
    keep_in_view,
    stay_near,
    steady_path,
    look_twice,
    more_frames,
    move_sideways,
    less_blur,
    clear_view,
    off_the_wall,
    without_instruments,
    come_closer,
    look_behind,
    sound_file,
)
"""The rules, in the order of their weight: what spoils the whole model comes before what leaves a part of it out."""
