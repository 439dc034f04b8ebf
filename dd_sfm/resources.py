"""Where shipped weights, configurations and the demo clip lie: in the installed wheel, or in a source checkout."""

from pathlib import Path

PACKAGE = Path(__file__).parent


def _folder(installed: str, checkout: str) -> Path:
    inside = PACKAGE / installed
    return inside if inside.is_dir() else PACKAGE.parent / checkout


def models_folder() -> Path:
    """The folder with one folder per shipped set of weights."""
    return _folder("_models", "models")


def configs_folder() -> Path:
    """The folder with the shipped YAML configurations."""
    return _folder("_configs", "configs")


def demo_folder() -> Path:
    """The folder with the demo clip, its calibration and the true positions of its camera."""
    return _folder("_demo", "demo_videos/sinus")
