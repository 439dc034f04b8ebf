"""Clips that several tests use, and the command line as a function."""

import gc
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
FIGURE_SCALE = 1 / 3


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "gpu" in item.keywords and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def pytest_collection_finish() -> None:
    """Keep what was imported out of garbage collections: every stage of every run makes one, each of a tenth second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def coarse_figures() -> Iterator[None]:
    """Figures at a share of their resolution, as most of the time of a report goes into drawing them."""
    from matplotlib.figure import Figure

    fine = Figure.savefig

    def coarse(figure: Figure, *arguments: Any, dpi: float, **options: Any) -> None:
        fine(figure, *arguments, dpi=dpi * FIGURE_SCALE, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", coarse)
        yield


@pytest.fixture
def shared_data() -> Path:
    """Real and rendered clips beside the project; tests that need them are skipped elsewhere."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the measuring data beside the project (../shared/data)")
    return SHARED / "data"


@pytest.fixture(scope="session")
def rendered_scene():
    """Nine frames of a rendered colon, for clips of any size: building the organ takes most of a small clip's time."""
    from tiny_clip import TINY

    from dd_sfm.synthetic.render import make_scene

    return make_scene(replace(TINY, frames=9))


@pytest.fixture(scope="session")
def tiny_scene(rendered_scene):
    """Its first three frames."""
    from tiny_clip import TINY

    path = rendered_scene.path
    first = replace(path, rotation=path.rotation[:3], centre=path.centre[:3])
    return replace(rendered_scene, settings=TINY, path=first, exposure=rendered_scene.exposure[:3])


def texture(height: int = 200, width: int = 260, seed: int = 0) -> np.ndarray:
    """A reddish texture (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    grey = cv2.GaussianBlur(rng.random((height, width)).astype(np.float32), (0, 0), 2.0)
    grey = (grey - grey.min()) / np.ptp(grey)
    return (np.stack([0.4 + 0.5 * grey, 0.2 + 0.4 * grey, 0.2 + 0.3 * grey], -1) * 255).astype(np.uint8)


def circle_mask(height: int = 120, width: int = 160, radius: int = 52) -> np.ndarray:
    """A round field of view (H, W) bool."""
    rows, columns = np.mgrid[:height, :width]
    return np.hypot(rows - height / 2, columns - width / 2) < radius


def moving_frames(count: int = 12, step: float = 2.0) -> list[np.ndarray]:
    """A texture that moves behind a round field of view, RGB."""
    picture, mask = texture(), circle_mask()
    frames = []
    for k in range(count):
        shift = np.float32([[1, 0, -step * k], [0, 1, -0.5 * step * k]])
        frames.append(cv2.warpAffine(picture, shift, (160, 120), borderMode=cv2.BORDER_WRAP) * mask[..., None])
    return frames


def write_video(path: Path, frames: list[np.ndarray]) -> Path:
    """Frames as motion JPEG."""
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (width, height))
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return path


@pytest.fixture
def tiny_clip(tmp_path: Path) -> Path:
    """Twelve frames of 160 x 120."""
    return write_video(tmp_path / "clip.avi", moving_frames())


@dataclass(frozen=True)
class Ran:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


@pytest.fixture
def dd_sfm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """The command line: arguments in, exit code and output out."""
    from dd_sfm.cli import shows
    from dd_sfm.cli.app import main

    # However slow the machine, what is told is what there is to say.
    for interval in ("LINE_INTERVAL_S", "SILENCE_S", "FIRST_S", "JSON_SILENCE_S"):
        monkeypatch.setattr(shows, interval, float("inf"))

    def call(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["dd-sfm", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return call
