"""dd-sfm synth."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.console import make_progress, make_say
from dd_sfm.cli.expand_options import expand_options
from dd_sfm.errors import ConfigError

if TYPE_CHECKING:
    from dd_sfm.synthetic.settings import SynthSettings

SCENE = "Scene"


@dataclass(frozen=True)
class SceneOptions:
    """What is rendered."""

    organ: Annotated[
        str | None, typer.Option(help="sinus, colon or bladder.", rich_help_panel=SCENE, show_default="sinus")
    ] = None
    frames: Annotated[int | None, typer.Option(rich_help_panel=SCENE, show_default="75", help="Number of frames.")] = (
        None
    )
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT.", rich_help_panel=SCENE, show_default="960x540")] = (
        None
    )
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of every random choice.", rich_help_panel=SCENE, show_default="0")
    ] = None
    difficulty: Annotated[
        str | None,
        typer.Option(help="easy, real or hard: texture, noise and motion.", rich_help_panel=SCENE, show_default="real"),
    ] = None
    loop: Annotated[bool, typer.Option("--loop", help="Return to the start.", rich_help_panel=SCENE)] = False
    deformation: Annotated[
        float | None, typer.Option(min=0, help="Slow movement of the tissue in mm.", rich_help_panel=SCENE)
    ] = None
    debris: Annotated[int | None, typer.Option(min=0, help="Floating particles.", rich_help_panel=SCENE)] = None
    distortion: Annotated[
        float | None,
        typer.Option(
            help="Radial distortion k1; scopes have about -0.2. Least with the default lens: -0.219.",
            rich_help_panel=SCENE,
        ),
    ] = None
    smoke: Annotated[float | None, typer.Option(min=0, max=1, help="A moment of smoke.", rich_help_panel=SCENE)] = None
    blur: Annotated[
        float | None, typer.Option(min=0, help="A moment of blur, in pixels at 960x540.", rich_help_panel=SCENE)
    ] = None

    def settings(self) -> dict[str, Any]:
        """The options that were given, by the key of :class:`dd_sfm.synthetic.settings.SynthSettings` they set."""
        width, height = _parse_size(self.size)
        values = {
            "organ": self.organ,
            "difficulty": self.difficulty,
            "frames": self.frames,
            "width": width,
            "height": height,
            "seed": self.seed,
            "path.loop": True if self.loop else None,
            "lens.distortion": None if self.distortion is None else [self.distortion, 0.0],
            "effects.deformation": self.deformation,
            "effects.debris": self.debris,
            "effects.smoke": self.smoke,
            "effects.blur_px960": self.blur,
        }
        return {key: value for key, value in values.items() if value is not None}


@expand_options
def synth(
    *,
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.", show_default=False)],
    scene: SceneOptions,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; one a core if left out.")] = None,
    config: o.ConfigFile = None,
    overrides: o.Overrides = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier clip.")] = False,
    messages: o.MessageOptions,
) -> None:
    """Render a clip of endoscopy with exact truth: poses, depth, surface.

    Writes clip.mp4, mask.png, masks/, truth.npz, mesh.ply, calibration.txt, sparse/0 (COLMAP model of the true
    cameras) and scene.yaml. The same settings and seed give the same clip.

    With --deformation poses and depth hold frame by frame, but correspondences between frames do not, and mesh.ply is
    the shape at rest: dd-sfm train and dd-sfm evaluate matching refuse such a clip.

    Example: dd-sfm synth -o clips/colon --organ colon --frames 90 --seed 3
    """
    from dd_sfm.synthetic.clip import write_clip
    from dd_sfm.synthetic.settings import check_settings

    settings = _settings(config, overrides, scene.settings())
    check_settings(settings)
    say, progress = make_say(messages.quiet), make_progress(messages.quiet)
    figures = write_clip(settings, out, jobs=jobs, overwrite=overwrite, progress=progress, say=say)
    say(f"clip: {out / 'clip.mp4'}, {figures['frames']} frames, mesh of {figures['vertices']:,} vertices")


def _parse_size(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    parts = re.fullmatch(r"(\d+)x(\d+)", text)
    if parts is None:
        raise ConfigError(f"--size {text}: expected WIDTHxHEIGHT, such as 960x540")
    return int(parts[1]), int(parts[2])


def _settings(config: str | None, overrides: list[str] | None, options: dict[str, Any]) -> "SynthSettings":
    """Merge the preset of organ and difficulty, the YAML file, ``--set`` and options; what comes later wins."""
    from dd_sfm.config import load_config
    from dd_sfm.synthetic.settings import Difficulty, Organ, SynthSettings, preset

    path = o.find_config(config) if config else None
    for name, known in (("organ", Organ), ("difficulty", Difficulty)):
        if options.get(name, get_args(known)[0]) not in get_args(known):
            raise ConfigError(f"--{name} {options[name]}: expected one of {', '.join(get_args(known))}")
    sets, given = overrides or [], o.given_options(options)
    # Read once for organ and difficulty, which decide what everything else starts from.
    wanted = load_config(SynthSettings, path, sets, options=given)
    return load_config(SynthSettings, path, sets, base=preset(wanted.organ, wanted.difficulty), options=given)
