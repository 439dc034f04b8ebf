"""dd-sfm: extremely dense structure from motion for endoscopic video.

The Python interface is in :mod:`dd_sfm.api`; its functions can be had from here, as ``dd_sfm.reconstruct``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dd_sfm.api import Board as Board
    from dd_sfm.api import BoardCalibration as BoardCalibration
    from dd_sfm.api import Comparison as Comparison
    from dd_sfm.api import Config as Config
    from dd_sfm.api import ConfigError as ConfigError
    from dd_sfm.api import Conversion as Conversion
    from dd_sfm.api import DDSfMError as DDSfMError
    from dd_sfm.api import Descriptor as Descriptor
    from dd_sfm.api import DescriptorMap as DescriptorMap
    from dd_sfm.api import DeviceError as DeviceError
    from dd_sfm.api import Evaluation as Evaluation
    from dd_sfm.api import ImageMatches as ImageMatches
    from dd_sfm.api import InputError as InputError
    from dd_sfm.api import MasksConfig as MasksConfig
    from dd_sfm.api import MatchConfig as MatchConfig
    from dd_sfm.api import Mesh as Mesh
    from dd_sfm.api import MetricScale as MetricScale
    from dd_sfm.api import Note as Note
    from dd_sfm.api import NoteCode as NoteCode
    from dd_sfm.api import Observations as Observations
    from dd_sfm.api import OutputError as OutputError
    from dd_sfm.api import PinholeCamera as PinholeCamera
    from dd_sfm.api import PointCloud as PointCloud
    from dd_sfm.api import Progress as Progress
    from dd_sfm.api import ReconstructionError as ReconstructionError
    from dd_sfm.api import Registration as Registration
    from dd_sfm.api import Run as Run
    from dd_sfm.api import RunFrame as RunFrame
    from dd_sfm.api import RunModel as RunModel
    from dd_sfm.api import ShapeError as ShapeError
    from dd_sfm.api import StoppedError as StoppedError
    from dd_sfm.api import WeightsError as WeightsError
    from dd_sfm.api import calibrate as calibrate
    from dd_sfm.api import compare as compare
    from dd_sfm.api import configure as configure
    from dd_sfm.api import convert as convert
    from dd_sfm.api import describe as describe
    from dd_sfm.api import evaluate_model as evaluate_model
    from dd_sfm.api import find_scale as find_scale
    from dd_sfm.api import load_descriptor as load_descriptor
    from dd_sfm.api import localize as localize
    from dd_sfm.api import match_images as match_images
    from dd_sfm.api import merge as merge
    from dd_sfm.api import mesh as mesh
    from dd_sfm.api import open_run as open_run
    from dd_sfm.api import read_frames as read_frames
    from dd_sfm.api import reconstruct as reconstruct
    from dd_sfm.api import register as register
    from dd_sfm.api import run_stages as run_stages
    from dd_sfm.api import write_cloud as write_cloud
    from dd_sfm.api import write_hloc_queries as write_hloc_queries
    from dd_sfm.api import write_mesh as write_mesh

__version__ = "0.2.0"
__all__ = (
    "Board",
    "BoardCalibration",
    "Comparison",
    "Config",
    "ConfigError",
    "Conversion",
    "DDSfMError",
    "Descriptor",
    "DescriptorMap",
    "DeviceError",
    "Evaluation",
    "ImageMatches",
    "InputError",
    "MasksConfig",
    "MatchConfig",
    "Mesh",
    "MetricScale",
    "Note",
    "NoteCode",
    "Observations",
    "OutputError",
    "PinholeCamera",
    "PointCloud",
    "Progress",
    "ReconstructionError",
    "Registration",
    "Run",
    "RunFrame",
    "RunModel",
    "ShapeError",
    "StoppedError",
    "WeightsError",
    "calibrate",
    "compare",
    "configure",
    "convert",
    "describe",
    "evaluate_model",
    "find_scale",
    "load_descriptor",
    "localize",
    "match_images",
    "merge",
    "mesh",
    "open_run",
    "read_frames",
    "reconstruct",
    "register",
    "run_stages",
    "write_cloud",
    "write_hloc_queries",
    "write_mesh",
)


def __getattr__(name: str) -> Any:
    # Torch and COLMAP take seconds to import: only once something of the interface is asked for.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dd_sfm import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
