"""A finished calibration."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dd_sfm.calibration.board import Board
from dd_sfm.calibration.lens_models import camera_matrix
from dd_sfm.calibration.model_choice import ModelFit
from dd_sfm.calibration.verdict import Measures, Verdict
from dd_sfm.io.lens import LENS_MODELS, Lens
from dd_sfm.io.opencv_file import opencv_yaml
from dd_sfm.notes import Note
from dd_sfm.ops.coordinates import to_colmap


@dataclass(frozen=True)
class Counts:
    """Frames of the source, read, searched for the board, that showed it, of these blurred, and chosen to be fitted."""

    total: int
    read: int
    searched: int
    found: int
    blurred: int
    chosen: int


@dataclass(frozen=True)
class BoardCalibration:
    """A lens fitted to views of a board, and how good it is.

    ``chosen`` is one of ``tried``, the fits of all models; ``field_of_view`` (H, W) bool; ``example_frame``: the number
    of a frame that shows the board large; ``notes``: what was less well with the source. Parameters have OpenCV's
    pixels, whose centres are at integers.
    """

    source: str
    board: Board
    counts: Counts
    chosen: ModelFit
    tried: tuple[ModelFit, ...]
    field_of_view: NDArray[np.bool_]
    measures: Measures
    verdict: Verdict
    example_frame: int
    notes: tuple[Note, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames."""
        return self.field_of_view.shape[1], self.field_of_view.shape[0]

    @property
    def params(self) -> dict[str, float]:
        """Parameters by name: fx, fy, cx, cy and OpenCV's coefficients."""
        return dict(zip(self.chosen.fit.model.parameters, map(float, self.chosen.fit.params), strict=True))

    @property
    def lens(self) -> Lens:
        """The lens that was fitted."""
        model, (fx, fy, cx, cy, *distortion) = self.chosen.fit.model, map(float, self.chosen.fit.params)
        unused = (0.0,) * (len(LENS_MODELS[model.colmap]) - 4 - len(distortion))
        return Lens(model.colmap, (fx, fy, to_colmap(cx), to_colmap(cy), *distortion, *unused), *self.size)

    @property
    def deviations(self) -> dict[str, float]:
        """Standard deviations by name of parameter."""
        return dict(zip(self.chosen.fit.model.parameters, map(float, self.chosen.deviations), strict=True))

    def yaml(self) -> str:
        """The calibration as OpenCV's FileStorage holds it, which ``--calibration`` reads."""
        found, (width, height) = self.chosen, self.size
        model = found.fit.model
        return opencv_yaml(
            {
                "image_width": width,
                "image_height": height,
                "board_width": self.board.columns,
                "board_height": self.board.rows,
                **({"square_size": self.board.square_mm} if self.board.square_mm else {}),
                "board": self.board.name,
                "fisheye_model": int(model.is_fisheye),
                "distortion_model": "equidistant" if model.is_fisheye else "plumb_bob",
                "camera_matrix": camera_matrix(found.fit.params),
                "distortion_coefficients": found.fit.params[None, 4:],
                "parameter_names": " ".join(model.parameters),
                "parameter_std_deviations": found.deviations[None],
                "nr_of_frames": len(found.views),
                "avg_reprojection_error": found.fit.rms_px,
                "held_out_reprojection_error": found.held_out_rms_px,
                "verdict": self.verdict.grade,
            }
        )

    def as_json(self) -> dict[str, Any]:
        """All figures, for a JSON file."""
        return {
            "source": self.source,
            "board": self.board.__dict__,
            "width": self.size[0],
            "height": self.size[1],
            "model": self.chosen.fit.model.colmap,
            "params": self.params,
            "standard_deviations": self.deviations,
            "rms_px": self.chosen.fit.rms_px,
            "held_out_rms_px": self.chosen.held_out_rms_px,
            "frames": self.counts.__dict__,
            "views": [
                {"frame": view.frame, "corners": len(view.xy), "rms_px": float(error)}
                for view, error in zip(self.chosen.views, self.chosen.fit.view_rms_px, strict=True)
            ],
            "views_left_out": list(self.chosen.left_out),
            "corners_left_out": self.chosen.corners_left_out,
            "models": [
                {"model": f.fit.model.name, "rms_px": f.fit.rms_px, "held_out_rms_px": f.held_out_rms_px}
                for f in self.tried
            ],
            "notes": [note.as_json() for note in self.notes],
            "measures": self.measures.__dict__,
            "verdict": {
                "grade": self.verdict.grade, "reasons": list(self.verdict.reasons), "advice": list(self.verdict.advice)
            },
        }  # fmt: skip
