"""dd-sfm: extremely dense structure from motion for endoscopic video."""

__version__ = "0.2.0"
