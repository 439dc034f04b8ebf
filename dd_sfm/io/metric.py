"""The unit of what is written, where it is known: a factor, the unit, and where that comes from."""

from dataclasses import dataclass, field
from typing import Any

UNITS = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
"""Units of length in mm."""
MEDIAN_SIGMA = 0.6745
"""Half of normally distributed errors are smaller than so many standard deviations."""


@dataclass(frozen=True)
class MetricScale:
    """``factor``: one unit of the reconstruction in ``unit``; ``origin``: where that comes from, in words; ``figures``:
    how well it is known, by name, ``scale_sigma`` its relative standard deviation; ``notes``: what to know of it.
    """  # fmt: skip

    factor: float
    unit: str
    origin: str
    figures: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def error(self) -> float:
        """Half of such scales are wrong by a smaller share of them; 0 where nothing is known of that."""
        sigma = self.figures.get("scale_sigma")
        return 0.0 if sigma is None else MEDIAN_SIGMA * float(sigma)

    @property
    def comments(self) -> tuple[str, ...]:
        """Lines for the heads of files that have room for them."""
        return (
            f"unit: {self.unit}",
            f"scale: {self.factor:.9g} {self.unit} a unit of the reconstruction"[:200],
            f"scale from: {self.origin}"[:200],
        )

    def as_json(self) -> dict[str, Any]:
        """The same for JSON."""
        return {"unit": self.unit, "scale": self.factor, "scale_from": self.origin, **self.figures}
