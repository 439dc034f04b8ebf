"""dd-sfm synth."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, cast

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.show import make_progress, make_say

SCENE = "Scene"


def synth(
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.", show_default=False)],
    organ: Annotated[str, typer.Option(help="sinus, colon or bladder.", rich_help_panel=SCENE)] = "sinus",
    frames: Annotated[int, typer.Option(help="Number of frames.", rich_help_panel=SCENE)] = 75,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT.", rich_help_panel=SCENE)] = "960x540",
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random choice.", rich_help_panel=SCENE)] = 0,
    difficulty: Annotated[
        str, typer.Option(help="easy, real or hard: texture, noise and motion.", rich_help_panel=SCENE)
    ] = "real",
    loop: Annotated[bool, typer.Option("--loop", help="Return to the start.", rich_help_panel=SCENE)] = False,
    deformation: Annotated[
        float, typer.Option(min=0, help="Slow movement of the tissue in mm.", rich_help_panel=SCENE)
    ] = 0.0,
    debris: Annotated[int, typer.Option(min=0, help="Floating particles.", rich_help_panel=SCENE)] = 0,
    distortion: Annotated[
        float, typer.Option(help="Radial distortion k1; scopes have about -0.2.", rich_help_panel=SCENE)
    ] = 0.0,
    smoke: Annotated[float, typer.Option(min=0, max=1, help="A moment of smoke.", rich_help_panel=SCENE)] = 0.0,
    blur: Annotated[
        float, typer.Option(min=0, help="A moment of blur, in pixels at 960x540.", rich_help_panel=SCENE)
    ] = 0.0,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; one a core if left out.")] = None,
    config: o.ConfigFile = None,
    overrides: o.Overrides = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier clip.")] = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Render a clip of endoscopy with exact truth: poses, depth, surface.

    Writes clip.mp4, mask.png, masks/, truth.npz, mesh.ply, calibration.txt, sparse/0 (COLMAP model of the true
    cameras) and scene.yaml. The same settings and seed give the same clip.

    Example: dd-sfm synth -o clips/colon --organ colon --frames 90 --seed 3
    """
    from dd_sfm.config import load_config
    from dd_sfm.errors import ConfigError
    from dd_sfm.synthetic.clip import write_clip
    from dd_sfm.synthetic.settings import Difficulty, Organ, SynthSettings, preset

    _choose("--organ", organ, ("sinus", "colon", "bladder"))
    _choose("--difficulty", difficulty, ("easy", "real", "hard"))
    parts = re.fullmatch(r"(\d+)x(\d+)", size)
    if parts is None:
        raise ConfigError(f"--size {size}: expected WIDTHxHEIGHT, such as 960x540")
    base = preset(cast(Organ, organ), cast(Difficulty, difficulty))
    base = replace(
        base,
        frames=frames,
        width=int(parts[1]),
        height=int(parts[2]),
        seed=seed,
        path=replace(base.path, loop=loop),
        lens=replace(base.lens, distortion=(distortion, 0.0)),
        effects=replace(base.effects, deformation=deformation, debris=debris, smoke=smoke, blur_px960=blur),
    )
    settings = load_config(SynthSettings, o.find_config(config) if config else None, overrides or (), base=base)
    say = make_say(quiet)
    say("scene ...")
    figures = write_clip(settings, out, jobs=jobs, overwrite=overwrite, progress=make_progress(quiet))
    say(f"clip: {out / 'clip.mp4'}, {figures['frames']} frames, mesh of {figures['vertices']:,} vertices")


def _choose(option: str, value: str, known: tuple[str, ...]) -> None:
    from dd_sfm.errors import ConfigError

    if value not in known:
        raise ConfigError(f"{option} {value}: expected one of {', '.join(known)}")
