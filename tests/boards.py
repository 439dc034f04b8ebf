"""Pictures of checkerboards and ChArUco boards through known lenses, rendered ray by ray."""

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class TrueLens:
    """A lens by OpenCV's numbers, pixel centres at integers; five or fewer ``distortion`` coefficients."""

    width: int
    height: int
    matrix: tuple[float, float, float, float]
    distortion: tuple[float, ...] = ()
    is_fisheye: bool = False
    circle: float | None = None
    """Radius of the round field of view in pixels, around the principal point; None: the whole frame."""

    def rays(self, oversampling: int = 2) -> np.ndarray:
        """Unit directions (H, W, S, 3) of places spread over every pixel; NaN where nothing is seen."""
        offsets = (np.arange(oversampling) + 0.5) / oversampling - 0.5
        y, x = np.mgrid[: self.height, : self.width].astype(float)
        dy, dx = (o.ravel() for o in np.meshgrid(offsets, offsets, indexing="ij"))
        fx, fy, cx, cy = self.matrix
        flat = np.stack([(x[..., None] + dx - cx) / fx, (y[..., None] + dy - cy) / fy], -1)
        radius = np.linalg.norm(flat, axis=-1)
        angles = np.linspace(0, np.radians(89 if self.is_fisheye else 75), 4000)
        table = self._radial(angles)
        end = int(np.argmax(np.diff(table) <= 0)) or len(table) - 1
        angle = np.interp(radius, table[: end + 1], angles[: end + 1], right=np.nan)
        unit = flat / np.maximum(radius, 1e-12)[..., None]
        return np.concatenate([unit * np.sin(angle)[..., None], np.cos(angle)[..., None]], -1)

    def _radial(self, angle: np.ndarray) -> np.ndarray:
        """Distorted radii at unit focal length."""
        k = [*self.distortion, 0, 0, 0, 0, 0][:5]
        if self.is_fisheye:
            return angle * (1 + k[0] * angle**2 + k[1] * angle**4 + k[2] * angle**6 + k[3] * angle**8)
        r = np.tan(angle)
        return r * (1 + k[0] * r**2 + k[1] * r**4 + k[4] * r**6)


def checkerboard(squares: tuple[int, int], scale: int = 1) -> np.ndarray:
    """Grey levels of a board with a white margin of a square."""
    pattern = np.full((squares[1] + 2, squares[0] + 2), 225, np.uint8)
    pattern[1:-1, 1:-1][np.indices((squares[1], squares[0])).sum(0) % 2 == 0] = 30
    return np.kron(pattern, np.ones((scale, scale), np.uint8))


class BoardCamera:
    """Takes pictures of a board through a lens."""

    def __init__(self, lens: TrueLens, board: np.ndarray, pixels_per_square: int = 1) -> None:
        """``board`` has a margin of one square around its squares."""
        self.lens, self.board, self.per_square = lens, board, pixels_per_square
        self.rays = lens.rays()

    def picture(
        self, angles: tuple[float, float, float], centre: tuple[float, float, float], *,
        blur: float = 0.7, noise: float = 2.0, seed: int = 0,
    ) -> np.ndarray:  # fmt: skip
        """RGB picture of the board, its middle at ``centre`` (in squares), turned by a rotation vector."""
        rotation = cv2.Rodrigues(np.array(angles, float))[0]
        normal = rotation[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = (np.array(centre) @ normal) / (self.rays @ normal)
            hit = (distance[..., None] * self.rays - centre) @ rotation[:, :2]
        size = np.array(self.board.shape[::-1])
        cell = hit * self.per_square + size / 2
        seen = (distance > 0) & np.isfinite(cell).all(-1) & (cell >= 0).all(-1) & (cell < size).all(-1)
        index = np.where(seen[..., None], cell, 0).astype(int)
        grey = np.where(seen, self.board[index[..., 1], index[..., 0]], 95.0).mean(-1)
        grey = cv2.GaussianBlur(grey, (0, 0), blur) if blur else grey
        grey = grey + np.random.default_rng(seed).normal(0, noise, grey.shape)
        if self.lens.circle is not None:
            y, x = np.mgrid[: self.lens.height, : self.lens.width]
            grey[np.hypot(x - self.lens.matrix[2], y - self.lens.matrix[3]) > self.lens.circle] = 2
        return np.repeat(np.clip(np.round(grey), 0, 255).astype(np.uint8)[..., None], 3, -1)
