"""dd-sfm demo."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.console import make_say
from dd_sfm.cli.expand_options import expand_options
from dd_sfm.cli.reconstruct import ReconstructOptions, run_stages
from dd_sfm.resources import demo_folder


@expand_options
def demo(
    *,
    out: o.Out,
    quality: Annotated[str, typer.Option(help="preview, standard or extreme: density for time.")] = "preview",
    device: o.Device = None,
    overwrite: o.Overwrite = False,
    messages: o.MessageOptions,
) -> None:
    """Reconstruct the clip that comes with dd-sfm: a rendered nasal cavity of 75 frames. Fetches nothing.

    The run folder is that of reconstruct, and the same holds: repeat the command to go on after a break.

    Example: dd-sfm demo -o demo
    """
    clip, calibration, positions = (demo_folder() / name for name in ("clip.mp4", "calibration.txt", "positions.tum"))
    options = ReconstructOptions(calibration=str(calibration), quality=quality)
    configuration = o.ConfigOptions(device=device)
    run_stages([clip], out, options, configuration, "densify", overwrite=overwrite, quiet=messages.quiet)
    say = make_say(messages.quiet)
    for line in next_steps(clip, calibration, positions, out):
        say(line)


def next_steps(clip: Path, calibration: Path, positions: Path, out: Path) -> list[str]:
    """Lines on what to do with the demo's result, as commands that can be copied."""
    known = f"--calibration {_word(calibration)}"
    steps = (
        ("turn it, filter it, measure in it", f"view {_word(out)}"),
        ("a picture, without a display", f"view {_word(out)} --screenshot {_word(f'{out}.png')}"),
        (
            "a mesh in mm, by the true positions of the camera",
            f"mesh {_word(out)} -o {_word(f'{out}_mm.ply')} --scale {_word(f'tum:{positions}@mm')}",
        ),
        ("many times as many points, in twice the time", f"demo -o {_word(f'{out}_standard')} --quality standard"),
        ("the same frames by SIFT, beside it", f"compare {_word(clip)} -o {_word(f'{out}_compared')} {known}"),
        ("what to expect of a video of yours, and what helps", "reconstruct --help"),
    )
    return ["what to try next:", *(line for what, words in steps for line in (f"# {what}", f"dd-sfm {words}"))]


def _word(path: Path | str) -> str:
    return shlex.quote(str(path))
