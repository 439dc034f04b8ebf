"""What is known of a run, as far as the sentences at the top of its report need it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dd_sfm.io.run_folder import ExtractedFrames
from dd_sfm.notes import NoteCode
from dd_sfm.structures import DropReason


@dataclass(frozen=True)
class Facts:
    """Figures of a run, None where an older version did not write them.

    ``metrics``: content of metrics.json; ``sources``: how many videos or folders; ``dropped``: frames left out, by
    reason; ``extent``: of the cloud along its longest side, in ``unit``; ``codes``: of the run's notes;
    ``width``: of a frame in pixels.
    """

    metrics: Mapping[str, Any]
    sources: int = 1
    dropped: Mapping[DropReason, int] = field(default_factory=dict)
    extent: float | None = None
    codes: frozenset[NoteCode] = frozenset()
    width: int | None = None
    unit: str = "scene units"

    def number(self, name: str) -> float | None:
        """A figure; None where it is missing or no number."""
        value = self.metrics.get(name)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def coverage(self, name: str) -> float | None:
        """A figure of the coverage; None where it is missing or no number."""
        found = self.metrics.get("coverage")
        value = found.get(name) if isinstance(found, Mapping) else None
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    @property
    def holes(self) -> Sequence[Mapping[str, Any]]:
        """The holes, the largest one first."""
        found = self.metrics.get("coverage")
        holes = found.get("holes") if isinstance(found, Mapping) else None
        return [hole for hole in holes if isinstance(hole, Mapping)] if isinstance(holes, list) else []

    @property
    def used(self) -> int:
        """Frames that were used."""
        return int(self.number("frames_used") or 0)

    @property
    def registered(self) -> int:
        """Frames with a pose in the first model."""
        return int(self.number("frames_registered") or 0)

    @property
    def judged(self) -> int:
        """Frames that were looked at, without those that were only thinned out."""
        return max(1, int((self.number("frames_chosen") or 0) - (self.number("frames_thinned") or 0)))

    @property
    def unsure_poses(self) -> list[str]:
        """Names of frames whose pose is to be looked at twice."""
        known = self.metrics.get("pose_confidence")
        items = known.items() if isinstance(known, Mapping) else ()
        return [_shown(str(name)) for name, value in items if isinstance(value, int | float) and value < UNSURE_POSE]


UNSURE_POSE = 0.7
"""A confidence below which a pose is to be looked at twice."""


def _shown(name: str) -> str:
    """A frame's name as a user counts: of one source its number."""
    return str(int(name)) if name.isdecimal() else name


def facts_of(metrics: Mapping[str, Any], frames: ExtractedFrames, *, extent: float | None) -> Facts:
    """The facts of a run by its figures and frames; see :class:`Facts`."""
    dropped = {reason: frames.count(reason) for reason in DropReason}
    known = {code.value: code for code in NoteCode}
    codes = metrics.get("degradation_codes")
    texts = [code for code in codes if isinstance(code, str)] if isinstance(codes, list) else []
    found = frozenset(known[code] for code in texts if code in known)
    unit = metrics.get("unit")
    facts = Facts(metrics, max(1, len(frames.sources)), dropped, extent, found, frames.camera.width)
    return replace(facts, unit=unit) if isinstance(unit, str) and unit else facts
