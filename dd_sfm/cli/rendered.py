"""Clips that ``dd-sfm train`` renders for ``synth:ORGAN[:SEED]``, kept for the next time."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from dd_sfm.errors import ConfigError

if TYPE_CHECKING:
    from dd_sfm.progress import Progress
    from dd_sfm.synthetic.settings import SynthSettings
    from dd_sfm.training.config import TrainConfig
    from dd_sfm.training.sources.spec import RenderedScene


def clips_folder() -> Path:
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
    from dataclasses import replace

    from dd_sfm.synthetic.clip import is_complete, write_clip
    from dd_sfm.synthetic.settings import Organ, check_settings, preset

    if scene.organ not in get_args(Organ):
        raise ConfigError(f"synth:{scene.organ}: unknown; expected synth: with one of {', '.join(get_args(Organ))}")
    render = settings.render
    clip = replace(
        preset(scene.organ, render.difficulty),  # type: ignore[arg-type]
        frames=render.frames,
        width=render.width,
        height=render.height,
        seed=scene.seed,
    )
    check_settings(clip)
    name = f"{scene.organ}-{scene.seed}-{render.difficulty}-{render.frames}x{render.width}x{render.height}"
    folder = (settings.cache or clips_folder()) / "synth" / _key(clip) / name
    if write and not is_complete(folder):
        say(f"rendering {name} ...")
        write_clip(clip, folder, jobs=None, overwrite=True, progress=progress)
    return folder


def _key(clip: "SynthSettings") -> str:
    """A name made from all that the look of a clip depends on."""
    from dd_sfm.config import dump_config
    from dd_sfm.synthetic.render import RENDERER_VERSION

    return hashlib.sha256(json.dumps([RENDERER_VERSION, dump_config(clip)]).encode()).hexdigest()[:16]
