"""dd-sfm: extremely dense structure from motion for endoscopic video.

The Python interface is in :mod:`dd_sfm.api`; its functions can be had from here, as ``dd_sfm.reconstruct``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dd_sfm.api import Descriptor as Descriptor
    from dd_sfm.api import ImageMatches as ImageMatches
    from dd_sfm.api import Run as Run
    from dd_sfm.api import describe as describe
    from dd_sfm.api import load_descriptor as load_descriptor
    from dd_sfm.api import match_images as match_images
    from dd_sfm.api import open_run as open_run

__version__ = "0.2.0"
__all__ = (
    "Descriptor",
    "ImageMatches",
    "Run",
    "describe",
    "load_descriptor",
    "match_images",
    "open_run",
)


def __getattr__(name: str) -> Any:
    # Torch and COLMAP take seconds to import: only once something of the interface is asked for.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dd_sfm import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
