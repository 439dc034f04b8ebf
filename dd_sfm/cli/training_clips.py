"""Clips that ``dd-sfm train`` renders for ``synth:ORGAN[:SEED]``, cached for the next training."""

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
from dd_sfm.io.lock import wait_for_lock

if TYPE_CHECKING:
    from dd_sfm.progress import Progress
    from dd_sfm.synthetic.settings import SynthSettings
    from dd_sfm.training.config import TrainConfig
    from dd_sfm.training.sources.spec import RenderedScene


def default_clips_folder() -> Path:
    """Folder of rendered clips unless the settings name a cache.

    Raises:
        ConfigError: If the user has no home folder, as one of a container may not.
    """
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache) / "dd-sfm"
    try:
        return Path.home() / ".cache" / "dd-sfm"
    except RuntimeError:
        raise ConfigError(
            "no home folder to keep rendered clips in; set XDG_CACHE_HOME to a folder, or name one with --cache"
        ) from None


def render_scene(
    scene: "RenderedScene",
    settings: "TrainConfig",
    progress: "Progress",
    say: Callable[[str], None],
    *,
    write: bool = True,
) -> Path:
    """Render a clip unless it is cached, and return its folder.

    Args:
        scene: What to render.
        settings: Size, length and difficulty, and the cache folder.
        progress: Shows the frames.
        say: Prints which clip is rendered.
        write: Whether this process renders; if not, another one does.

    Raises:
        ConfigError: If there is no such organ, or the clip cannot be rendered.
    """
    from dd_sfm.synthetic.clip import write_clip
    from dd_sfm.synthetic.settings import check_settings

    clip = _settings(scene, settings)
    check_settings(clip)
    folder = _folder(clip, settings)

    def render(lock: int) -> None:
        say(f"rendering {folder.name} ...")
        write_clip(clip, folder, jobs=None, overwrite=True, progress=progress)

    if write:
        _render_once(folder, render)
    return folder


@dataclass(frozen=True)
class StreamRenderer:
    """Renders the scenes of a stream, seed by seed from the first one on, on one core.

    Each in a process of its own: the processes that prepare pairs are forked, in which libraries with threads fail.
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
        _render_once(folder, lambda lock: _render_in_process(clip, folder, lock))
        return folder


def _render_once(folder: Path, make: Callable[[int], None]) -> None:
    """Call ``make`` unless the clip exists, under a lock that other processes wait for; it is given the lock."""
    from dd_sfm.synthetic.clip import is_complete

    if is_complete(folder):
        return
    with wait_for_lock(folder.parent) as lock:
        # Another process may have rendered it while this one waited.
        if not is_complete(folder):
            make(lock)


def _settings(scene: "RenderedScene", settings: "TrainConfig") -> "SynthSettings":
    from dd_sfm.synthetic.settings import Organ, preset
    from dd_sfm.synthetic.variety import vary

    if scene.organ not in get_args(Organ):
        raise ConfigError(f"synth:{scene.organ}: unknown organ; expected one of {', '.join(get_args(Organ))}")
    render = settings.render
    usual = replace(
        preset(scene.organ, render.difficulty),  # type: ignore[arg-type]
        frames=render.frames,
        width=render.width,
        height=render.height,
        seed=scene.seed,
    )
    return vary(usual, render.variety)


def _folder(clip: "SynthSettings", settings: "TrainConfig") -> Path:
    name = f"{clip.organ}-{clip.seed}-{clip.difficulty}-{clip.frames}x{clip.width}x{clip.height}"
    return (settings.cache or default_clips_folder()) / "synth" / _key(clip) / name


def _render_in_process(clip: "SynthSettings", folder: Path, lock: int) -> None:
    """Render a clip by ``dd-sfm synth``: the preset of organ and difficulty, and what differs from it.

    The process keeps ``lock`` and renders to the end, even if this process ends before.
    """
    command = [
        sys.executable, "-m", "dd_sfm", "synth", "-o", folder, "--organ", clip.organ, "--difficulty", clip.difficulty,
        "--seed", clip.seed, "--frames", clip.frames, "--size", f"{clip.width}x{clip.height}", "--jobs", 1,
        "--overwrite", "--quiet", *(part for text in _differences(clip) for part in ("--set", text)),
    ]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, pass_fds=[lock])
    if done.returncode:
        reason = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise OutputError(f"{folder}: the next scene was not rendered: {reason[-1].removeprefix('dd-sfm: ')}")


def _differences(clip: "SynthSettings") -> list[str]:
    """The settings of parts (tissue, light, lens, ...) that differ from the preset, as ``key=value``."""
    from dd_sfm.config import dump_config
    from dd_sfm.synthetic.settings import preset

    usual, found = dump_config(preset(clip.organ, clip.difficulty)), []
    for name, values in dump_config(clip).items():
        if isinstance(values, dict):
            found += [f"{name}.{key}={json.dumps(v)}" for key, v in values.items() if v != usual[name][key]]
    return [*found, f"crf={clip.crf}"]


def _key(clip: "SynthSettings") -> str:
    """A hash of everything that the content of a clip depends on."""
    from dd_sfm.config import dump_config
    from dd_sfm.synthetic.render import RENDERER_VERSION

    content = dump_config(clip)
    if not clip.lens.camera:
        # Clips from before there was such a key are the same.
        del content["lens"]["camera"]
    if not clip.effects.tool:
        del content["effects"]["tool"]
    return hashlib.sha256(json.dumps([RENDERER_VERSION, content]).encode()).hexdigest()[:16]
