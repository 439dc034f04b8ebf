"""Clips that ``dd-sfm train`` renders for ``synth:ORGAN[:SEED]``, kept for the next time."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from dd_sfm.errors import ConfigError, OutputError
from dd_sfm.io.lock import in_turn

if TYPE_CHECKING:
    from dd_sfm.progress import Progress
    from dd_sfm.synthetic.settings import SynthSettings
    from dd_sfm.training.config import TrainConfig
    from dd_sfm.training.sources.spec import RenderedScene


def default_clips_folder() -> Path:
    """Where rendered clips are kept unless the settings name a cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dd-sfm"


def render_scene(
    scene: "RenderedScene",
    settings: "TrainConfig",
    progress: "Progress",
    say: Callable[[str], None],
    *,
    write: bool = True,
) -> Path:
    """Folder of a rendered clip, made when it is not there yet.

    Args:
        scene: What to render.
        settings: Size, length and difficulty, and the cache folder.
        progress: Shows the frames.
        say: Says that something is rendered.
        write: Whether this process renders; another one does it otherwise.

    Raises:
        ConfigError: If there is no such organ, or the clip cannot be rendered.
    """
    from dd_sfm.synthetic.clip import write_clip
    from dd_sfm.synthetic.settings import check_settings

    clip = _settings(scene, settings)
    check_settings(clip)
    folder = _folder(clip, settings)

    def render(turn: int) -> None:
        say(f"rendering {folder.name} ...")
        write_clip(clip, folder, jobs=None, overwrite=True, progress=progress)

    if write:
        _render_once(folder, render)
    return folder


@dataclass(frozen=True)
class StreamRenderer:
    """Renders the scenes from a first one on, seed by seed, with one core and without a word.

    In a process of its own: libraries that have threads do not survive in a process that was forked, as those that
    prepare pairs are.
    """

    first: "RenderedScene"
    settings: "TrainConfig"

    def __call__(self, scene: int) -> Path:
        """The folder of a scene.

        Raises:
            OutputError: If it cannot be rendered.
        """
        clip = _settings(replace(self.first, seed=self.first.seed + scene), self.settings)
        folder = _folder(clip, self.settings)
        _render_once(folder, lambda turn: _render_in_process(clip, folder, turn))
        return folder


def _render_once(folder: Path, make: Callable[[int], None]) -> None:
    """Make a clip that is not there yet, in turn with other processes; ``make`` is given the turn."""
    from dd_sfm.synthetic.clip import is_complete

    if is_complete(folder):
        return
    with in_turn(folder.parent) as turn:
        # Another process may have made it meanwhile.
        if not is_complete(folder):
            make(turn)


def _settings(scene: "RenderedScene", settings: "TrainConfig") -> "SynthSettings":
    from dd_sfm.synthetic.settings import Organ, preset

    if scene.organ not in get_args(Organ):
        raise ConfigError(f"synth:{scene.organ}: unknown organ; expected one of {', '.join(get_args(Organ))}")
    render = settings.render
    return replace(
        preset(scene.organ, render.difficulty),  # type: ignore[arg-type]
        frames=render.frames,
        width=render.width,
        height=render.height,
        seed=scene.seed,
    )


def _folder(clip: "SynthSettings", settings: "TrainConfig") -> Path:
    name = f"{clip.organ}-{clip.seed}-{clip.difficulty}-{clip.frames}x{clip.width}x{clip.height}"
    return (settings.cache or default_clips_folder()) / "synth" / _key(clip) / name


def _render_in_process(clip: "SynthSettings", folder: Path, turn: int) -> None:
    """Render a clip that is the preset of its organ and difficulty in all but size, length and seed.

    It goes on to its end, and keeps its ``turn`` till then, also where the process that asked for it ends.
    """
    command = [
        sys.executable, "-m", "dd_sfm", "synth", "-o", folder, "--organ", clip.organ, "--difficulty", clip.difficulty,
        "--seed", clip.seed, "--frames", clip.frames, "--size", f"{clip.width}x{clip.height}", "--jobs", 1,
        "--overwrite", "--quiet",
    ]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, pass_fds=[turn])
    if done.returncode:
        reason = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise OutputError(f"{folder}: the next scene was not rendered: {reason[-1].removeprefix('dd-sfm: ')}")


def _key(clip: "SynthSettings") -> str:
    """A name made from all that the look of a clip depends on."""
    from dd_sfm.config import dump_config
    from dd_sfm.synthetic.render import RENDERER_VERSION

    return hashlib.sha256(json.dumps([RENDERER_VERSION, dump_config(clip)]).encode()).hexdigest()[:16]
