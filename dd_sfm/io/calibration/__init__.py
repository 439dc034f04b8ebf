"""Calibrations as the tools that make them write them: a reader for each family of files, one lens for all."""

from dd_sfm.io.calibration.read import Calibration, calibration_file, open_calibration, read_calibration

__all__ = ["Calibration", "calibration_file", "open_calibration", "read_calibration"]
