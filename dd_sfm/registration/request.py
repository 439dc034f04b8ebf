"""A registration as users ask for it: by files and figures."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dd_sfm.errors import ConfigError
from dd_sfm.io.surfaces import read_surface
from dd_sfm.progress import Progress, silent
from dd_sfm.registration.inputs import read_pairs, read_start, start_by_pairs, start_of, with_scale
from dd_sfm.registration.known_scale import check_unit
from dd_sfm.registration.moving import open_moving
from dd_sfm.registration.register import Registration, Settings, register
from dd_sfm.registration.target import make_target


@dataclass(frozen=True)
class RegistrationRequest:
    """What is to be registered.

    ``source``: run or model folder, or PLY file; ``surface``: a mesh; ``settings``: all else, its start comes from
    ``pairs``, a file of picked points, or ``initial``, a transform (4, 4) or a file of one.
    """

    source: str | Path
    surface: str | Path
    settings: Settings
    pairs: str | Path | None = None
    initial: str | Path | NDArray[np.float64] | None = None


def run_registration(request: RegistrationRequest, progress: Progress = silent) -> Registration:
    """Read what is asked for, and register it.

    Raises:
        ConfigError: If two starts are given.
        InputError: If something cannot be read.
        ReconstructionError: If no start leads to the surface.
    """
    if request.pairs is not None and request.initial is not None:
        raise ConfigError("--pairs and --initial: both given; expected one start. Leave one out")
    check_unit(request.settings.unit)
    start = None
    if request.pairs is not None:
        start = start_by_pairs(*read_pairs(Path(request.pairs)), str(request.pairs))
    elif isinstance(request.initial, str | Path):
        start = read_start(Path(request.initial))
    elif request.initial is not None:
        start = start_of(request.initial, "initial")
    surface, cloud = read_surface(Path(request.surface)), open_moving(Path(request.source))
    scale = request.settings.scale
    if start is not None and scale is not None:
        start = with_scale(start, scale, cloud.centre)
    return register(cloud, make_target(surface), replace(request.settings, start=start), progress)
