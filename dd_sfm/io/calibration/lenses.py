"""The lenses that calibration tools know: as COLMAP's where COLMAP has the same."""

from collections.abc import Sequence
from dataclasses import dataclass

from dd_sfm.io.calibration.found import FoundLens, Size, bad
from dd_sfm.io.lens import Lens
from dd_sfm.ops.coordinates import to_colmap


@dataclass(frozen=True)
class Intrinsics:
    """Focal lengths, principal point with pixel centres at integers, skew, and the size of the pictures.

    ``where`` names the file in errors; ``size`` is that of the frames unless ``sized``.
    """

    where: str
    fx: float
    fy: float
    cx: float
    cy: float
    size: Size
    sized: bool
    skew: float = 0.0

    @property
    def params(self) -> tuple[float, float, float, float]:
        """Focal lengths and principal point as COLMAP counts pixels."""
        return self.fx, self.fy, to_colmap(self.cx), to_colmap(self.cy)

    def found(self, model: str, params: Sequence[float]) -> FoundLens:
        """A lens of COLMAP's."""
        return FoundLens(Lens(model, tuple(map(float, params)), *self.size), self.sized)


def pinhole(k: Intrinsics, coefficients: Sequence[float]) -> FoundLens:
    """OpenCV's normal lens: k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4, tx, ty, of which the last may be left out.

    Raises:
        InputError: For another number of them.
    """
    count = len(coefficients)
    if count not in (0, 1, 2, 4, 5, 8, 12, 14):
        raise bad(k.where, f"{count} distortion coefficients", "4, 5, 8, 12 or 14, as OpenCV writes them")
    values = (*map(float, coefficients), *[0.0] * (14 - count))
    if any(values[8:]) or k.skew:
        return k.found("TILTED_OPENCV", (*k.params, k.skew, *values))
    if not any(values):
        return k.found("PINHOLE", k.params)
    if not any(values[4:]):
        return k.found("OPENCV", k.params + values[:4])
    return k.found("FULL_OPENCV", k.params + values[:8])


def fisheye(k: Intrinsics, coefficients: Sequence[float]) -> FoundLens:
    """OpenCV's fisheye lens, Kannala and Brandt's equidistant one: k1 to k4 of the angle's odd powers.

    Raises:
        InputError: For more of them, or a skew.
    """
    if len(coefficients) > 4 and any(coefficients[4:]):
        raise bad(k.where, f"{len(coefficients)} coefficients of a fisheye lens", "at most 4")
    values = (*map(float, coefficients[:4]), *[0.0] * (4 - len(coefficients[:4])))
    if k.skew:
        raise bad(k.where, f"a fisheye lens with a skew of {k.skew:g}", "one without (CALIB_FIX_SKEW)")
    return k.found("OPENCV_FISHEYE", k.params + values)


def mei(k: Intrinsics, xi: float, coefficients: Sequence[float]) -> FoundLens:
    """Mei's lens (OpenCV's omnidir, Kalibr's omni): a sphere, seen from xi behind its centre; k1, k2, p1, p2.

    Without distortion it is an EUCM lens: x / (z + xi d) is x / (alpha d + (1 - alpha) z) times 1 - alpha.

    Raises:
        InputError: For more coefficients.
    """
    values = (*map(float, coefficients), *[0.0] * (5 - len(coefficients)))
    if len(values) > 5:
        raise bad(k.where, f"{len(coefficients)} distortion coefficients with xi", "k1, k2, p1, p2")
    if not any(values) and not k.skew and xi >= 0:
        fx, fy, cx, cy = k.params
        return k.found("EUCM", (fx / (1 + xi), fy / (1 + xi), cx, cy, xi / (1 + xi), 1.0))

    return k.found("MEI", (*k.params, k.skew, xi, *values))


def eucm(k: Intrinsics, alpha: float, beta: float) -> FoundLens:
    """The EUCM lens."""
    return k.found("EUCM", (*k.params, alpha, beta))


def double_sphere(k: Intrinsics, xi: float, alpha: float) -> FoundLens:
    """The lens of two spheres."""
    return k.found("DOUBLE_SPHERE", (*k.params, xi, alpha))


def field_of_view(k: Intrinsics, omega: float) -> FoundLens:
    """The FOV lens of Devernay and Faugeras."""
    return k.found("FOV", (*k.params, omega))
