"""A camera with its lens, of any of COLMAP's models: where rays land in the picture, and which ray a pixel shows."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from dd_sfm.cameras import Floats, Numbers, PinholeCamera
from dd_sfm.errors import InputError, ShapeError
from dd_sfm.io.colmap import pycolmap
from dd_sfm.ops import own_lenses
from dd_sfm.ops.coordinates import from_colmap, to_colmap
from dd_sfm.ops.fisheye import FISHEYE_DISTORTIONS


def _parameter_names() -> dict[str, tuple[str, ...]]:
    names = [name for name in pycolmap.CameraModelId.__members__ if name != "INVALID"]
    infos = {name: pycolmap.Camera.create_from_model_name(0, name, 1.0, 1, 1).params_info for name in names}
    return {name: tuple(part.strip() for part in info.split(",")) for name, info in infos.items()}


COLMAP_MODELS = _parameter_names()
"""The camera models of the COLMAP that is installed, and the names of their parameters."""
LENS_MODELS = COLMAP_MODELS | {name: names for name, (names, _) in own_lenses.OWN_LENSES.items()}
"""The same, and those that calibration tools have and COLMAP does not."""

WITH_TWO_FOCALS = {
    "SIMPLE_PINHOLE": "PINHOLE", "SIMPLE_RADIAL": "OPENCV", "RADIAL": "OPENCV", "SIMPLE_FISHEYE": "FISHEYE",
    "SIMPLE_RADIAL_FISHEYE": "OPENCV_FISHEYE", "RADIAL_FISHEYE": "OPENCV_FISHEYE", "SIMPLE_DIVISION": "DIVISION",
}  # fmt: skip
"""Models of one focal length, and the one of two that holds their distortion as it is."""

BEYOND_THE_PLANE = ("SIMPLE_DIVISION", "DIVISION", "EUCM", *own_lenses.BEHIND_THE_PLANE, *FISHEYE_DISTORTIONS)
"""Models that also have pixels for rays at and behind the camera's plane."""

STEPS_PER_DEG, AZIMUTHS = 10, 72
"""Of the grid of rays on which the end of the field is looked for."""
CONVERGED, ROUNDS = 1e-10, 30
"""A pixel's ray is found when its error, in focal lengths, is below this; and after how many rounds it has none."""


@dataclass(frozen=True)
class Lens:
    """A camera: ``model``, as a rule of COLMAP's, ``params`` in its order and COLMAP's pixels, and size.

    Pixels given and returned have their centres at integers, as everywhere in the package. A ray has a pixel only up
    to where the projection turns back (:attr:`field_limit_deg`): beyond, a polynomial would show the scene mirrored.

    Raises:
        ShapeError: If there is no such model, or it has another number of parameters.
    """

    model: str
    params: tuple[float, ...]
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.model not in LENS_MODELS:
            raise ShapeError(f"camera model {self.model}; expected one of {', '.join(LENS_MODELS)}")
        if len(self.params) != len(LENS_MODELS[self.model]):
            raise ShapeError(f"{len(self.params)} parameters; {self.model} has {', '.join(LENS_MODELS[self.model])}")

    @classmethod
    def of(cls, camera: PinholeCamera) -> "Lens":
        """A camera without distortion."""
        params = (*camera.focal, *to_colmap(camera.principal_point))
        return cls("PINHOLE", tuple(map(float, params)), *camera.size)

    @property
    def focal_and_centre(self) -> tuple[float, float, float, float]:
        """fx, fy, cx, cy (COLMAP's pixels)."""
        if self.model == "EQUIRECTANGULAR":
            return self.width / (2 * np.pi), self.height / np.pi, self.width / 2, self.height / 2
        if self.model in own_lenses.OWN_LENSES:
            fx, fy = own_lenses.focal_lengths(self.model, self.params)
            return fx, fy, *own_lenses.principal_point(self.model, self.params)
        focal = [self.params[i] for i in self._colmap.focal_length_idxs()]
        cx, cy = (self.params[i] for i in self._colmap.principal_point_idxs())
        return focal[0], focal[-1], cx, cy

    @property
    def pinhole(self) -> PinholeCamera:
        """The camera without the distortion, pixel centres at integers."""
        fx, fy, cx, cy = self.focal_and_centre
        return PinholeCamera(self.width, self.height, fx, fy, from_colmap(cx), from_colmap(cy))

    @property
    def has_distortion(self) -> bool:
        """Whether the model is another than a pinhole, whatever its parameters."""
        return self.model not in ("PINHOLE", "SIMPLE_PINHOLE")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.width, self.height

    @cached_property
    def field_limit_deg(self) -> float:
        """The largest angle off the axis up to which the projection does not turn back in any direction, in degrees.

        90 for models that cannot look behind the camera's plane, and 180 at most for others.
        """
        return float(np.degrees(self._limits.min()))

    def project(self, points_cam: Numbers) -> tuple[Floats, Floats]:
        """Project points (N, 3) in the camera's axes.

        Returns:
            Pixels (N, 2) float64, NaN for rays that the lens does not show, and depths (N,), which are negative
            behind the camera's plane.
        """
        points = np.asarray(points_cam, np.float64)
        if points.ndim != 2 or points.shape[1] != 3:
            raise ShapeError(f"points_cam {points.shape}; expected (N, 3)")
        if not self.has_distortion:
            return self.pinhole.project(points)
        xy = self.project_unlimited(points)
        radius = np.hypot(points[:, 0], points[:, 1])
        angle, azimuth = np.arctan2(radius, points[:, 2]), np.arctan2(points[:, 1], points[:, 0])
        xy[(angle >= self._limit_at(azimuth)) | ~np.isfinite(xy).all(1)] = np.nan
        return from_colmap(xy), points[:, 2].copy()

    def unproject(self, xy: Numbers) -> Floats:
        """The unit rays (N, 3) float64 that pixels (N, 2) show, in the camera's axes; NaN where they show none."""
        if not self.has_distortion:
            rays = self.pinhole.unproject(xy)
            return rays / np.linalg.norm(rays, axis=1, keepdims=True)
        if self.model == "EQUIRECTANGULAR":
            return np.asarray(self._colmap.cam_ray_from_img(to_colmap(np.asarray(xy, np.float64))), np.float64)
        fx, fy, cx, cy = self.focal_and_centre
        target = (to_colmap(np.asarray(xy, np.float64)) - (cx, cy)) / (fx, fy)
        return _rays(self._solve(target))

    def scaled(self, scale: float) -> "Lens":
        """The lens of pictures resized by ``scale``; sizes are rounded."""
        return self._moved((scale, scale), (0.0, 0.0), (round(self.width * scale), round(self.height * scale)))

    def resized(self, size: tuple[int, int]) -> "Lens":
        """The lens of pictures resized to (width, height), also of another shape."""
        return self._moved((size[0] / self.width, size[1] / self.height), (0.0, 0.0), size)

    def cropped(self, origin: tuple[float, float], size: tuple[int, int]) -> "Lens":
        """The lens of a part of its pictures.

        Args:
            origin: Pixel (x, y) that becomes (0, 0); it may lie outside the picture.
            size: Width and height of the part.

        Raises:
            InputError: For a model of whole panoramas, of which a part is none.
        """
        return self._moved((1.0, 1.0), origin, size)

    def _moved(self, scale: tuple[float, float], origin: tuple[float, float], size: tuple[int, int]) -> "Lens":
        if self.model == "EQUIRECTANGULAR":
            if origin != (0.0, 0.0):
                raise InputError("EQUIRECTANGULAR: a part of a panorama; expected the whole of it")
            return Lens(self.model, (float(size[0]), float(size[1])), *size)
        if self.model in own_lenses.OWN_LENSES:
            return Lens(self.model, own_lenses.moved(self.model, self.params, scale, origin), *size)
        lens = self if scale[0] == scale[1] else self._with_two_focals()
        params, camera = list(lens.params), lens._colmap
        focals, centre = camera.focal_length_idxs(), camera.principal_point_idxs()
        for i, factor in zip(focals, scale, strict=False):
            params[i] *= factor
        for i, factor, start in zip(centre, scale, origin, strict=True):
            params[i] = params[i] * factor - start
        return Lens(lens.model, tuple(params), *size)

    def _with_two_focals(self) -> "Lens":
        if self.model not in WITH_TWO_FOCALS:
            return self
        model = WITH_TWO_FOCALS[self.model]
        params = (*self.focal_and_centre, *self.params[3:])
        return replace(self, model=model, params=params + (0.0,) * (len(LENS_MODELS[model]) - len(params)))

    @cached_property
    def _colmap(self) -> pycolmap.Camera:
        return pycolmap.Camera(model=self.model, width=self.width, height=self.height, params=list(self.params))

    def project_unlimited(self, points: Floats) -> Floats:
        """Where the model's formula puts points (N, 3), in COLMAP's pixels, also beyond the end of the field."""
        if self.model in FISHEYE_DISTORTIONS:
            # COLMAP projects with these lenses only what is before the camera's plane.
            radius = np.hypot(points[:, 0], points[:, 1])
            angle = np.arctan2(radius, points[:, 2])
            flat = points[:, :2] * _over(angle, radius, 1.0)[:, None]
            fx, fy, cx, cy = self.focal_and_centre
            extra = [self.params[i] for i in self._colmap.extra_params_idxs()]
            return np.asarray(FISHEYE_DISTORTIONS[self.model](flat, extra) * (fx, fy) + (cx, cy))
        if self.model in own_lenses.OWN_LENSES:
            return own_lenses.OWN_LENSES[self.model][1](points, self.params)
        check = self.model not in BEYOND_THE_PLANE
        return np.array(self._colmap.img_from_cam(points, check_cheirality=check), np.float64).reshape(-1, 2)

    def _places(self, points: Floats) -> Floats:
        """The same in focal lengths from the centre."""
        fx, fy, cx, cy = self.focal_and_centre
        return (self.project_unlimited(points) - (cx, cy)) / (fx, fy)

    @cached_property
    def _limits(self) -> Floats:
        """The angle off the axis, in radians, at which the projection turns back, at ``AZIMUTHS`` directions."""
        if not self.has_distortion or self.model == "EQUIRECTANGULAR":
            return np.full(AZIMUTHS, np.pi / (1 if self.has_distortion else 2))
        top = 180 if self.model in BEYOND_THE_PLANE else 90
        # Half a step off whole degrees: at 90 some models have no value, though they do beside it.
        angle = np.radians((np.arange(top * STEPS_PER_DEG) + 0.5) / STEPS_PER_DEG)
        azimuth = _azimuths()
        with np.errstate(all="ignore"):
            rays = _rays(_polar(*np.meshgrid(angle, azimuth, indexing="ij")).reshape(-1, 2))
            places = self._places(rays).reshape(len(angle), AZIMUTHS, 2)
            outward, around = np.diff(places, axis=0), (np.roll(places, -1, 1) - np.roll(places, 1, 1))[:-1]
            # The Jacobian's sign: neighbouring rays land the same way round each other as they leave the camera.
            turns = ~(outward[..., 0] * around[..., 1] > outward[..., 1] * around[..., 0])
        first = np.where(turns.any(0), turns.argmax(0), len(angle))
        return np.asarray(np.append(angle, np.radians(top))[first])

    def _limit_at(self, azimuth: Floats) -> Floats:
        return np.interp(azimuth, _azimuths(), self._limits, period=2 * np.pi)

    @cached_property
    def _mean_radius(self) -> tuple[Floats, Floats]:
        """Angles off the axis, and how far from the centre, in focal lengths, they land on average."""
        angle = np.linspace(0, self._limits.max(), 2000)[:-1]
        azimuth = _azimuths()[:: AZIMUTHS // 8]
        places = self._places(_rays(_polar(*np.meshgrid(angle, azimuth, indexing="ij")).reshape(-1, 2)))
        return angle, np.hypot(*places.T).reshape(len(angle), -1).mean(1)

    def _solve(self, target: Floats) -> Floats:
        """Angle off the axis times direction (N, 2) of rays that land at places (N, 2); NaN where none does.

        Newton's method with the slopes of the lens's mean over all directions, from which tangential terms differ
        little: few rounds, of one projection each.
        """
        angles, radii = self._mean_radius
        end = int(np.argmax(radii)) + 1
        angles, radii = angles[:end], radii[:end]
        if len(angles) < 2 or not np.isfinite(radii).all():
            # A lens that turns back at once shows nothing.
            return np.full(target.shape, np.nan)
        radius = np.hypot(target[:, 0], target[:, 1])
        outward = _over(target, radius[:, None], 0.0) + (radius == 0)[:, None] * [1.0, 0.0]
        angle = np.interp(radius, radii, angles)
        slope = np.interp(radius, radii, np.gradient(angles, radii)), _over(angle, radius, 1.0)
        found, solved = outward * angle[:, None], np.zeros(len(target), bool)
        # What lies beyond the widest circle that rays reach has none, but for what tangential terms may add.
        left = np.flatnonzero(radius < radii[-1] * 1.05)
        for _ in range(ROUNDS):
            error = target[left] - self._places(_rays(found[left]))
            done = np.abs(error).max(1, initial=0) < CONVERGED
            solved[left[done]] = True
            left, error = left[~done], error[~done]
            if not len(left):
                break
            out, across = outward[left], outward[left][:, ::-1] * [-1.0, 1.0]
            found[left] += out * ((error * out).sum(1) * slope[0][left])[:, None]
            found[left] += across * ((error * across).sum(1) * slope[1][left])[:, None]
        beyond = np.hypot(*found.T) >= self._limit_at(np.arctan2(found[:, 1], found[:, 0]))
        found[~solved | beyond] = np.nan
        return found


def _over(numerator: Floats, denominator: Floats, otherwise: float) -> Floats:
    """The quotient, and another value where the denominator is 0."""
    out = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), otherwise)
    return np.asarray(np.divide(numerator, denominator, out=out, where=denominator > 0), np.float64)


def _azimuths() -> Floats:
    return np.linspace(0, 2 * np.pi, AZIMUTHS, endpoint=False, dtype=np.float64)


def _polar(angle: Floats, azimuth: Floats) -> Floats:
    return np.stack([angle * np.cos(azimuth), angle * np.sin(azimuth)], -1)


def _rays(flat: Floats) -> Floats:
    """Unit rays (N, 3) by angle off the axis times direction (N, 2)."""
    angle = np.hypot(flat[:, 0], flat[:, 1])
    return np.column_stack([flat * np.sinc(angle / np.pi)[:, None], np.cos(angle)])
