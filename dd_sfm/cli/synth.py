"""dd-sfm synth."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.console import make_progress, make_say
from dd_sfm.cli.expand_options import expand_options
from dd_sfm.errors import ConfigError

if TYPE_CHECKING:
    from dd_sfm.synthetic.settings import SynthSettings

SCENE, LENS = "Scene", "Lens"


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
    smoke: Annotated[float | None, typer.Option(min=0, max=1, help="A moment of smoke.", rich_help_panel=SCENE)] = None
    tool: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of the clip with an instrument in it.", rich_help_panel=SCENE),
    ] = None
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
            "effects.deformation": self.deformation,
            "effects.debris": self.debris,
            "effects.smoke": self.smoke,
            "effects.tool": self.tool,
            "effects.blur_px960": self.blur,
        }
        return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True)
class LensOptions:
    """What it is seen by."""

    fov: Annotated[
        float | None,
        typer.Option(
            help="Angle across the round field in degrees, distortion counted in.",
            rich_help_panel=LENS,
            show_default="78, without distortion",
        ),
    ] = None
    fisheye: Annotated[
        bool, typer.Option("--fisheye", help="OpenCV's fisheye lens; --fov up to 170.", rich_help_panel=LENS)
    ] = False
    distortion: Annotated[
        str | None,
        typer.Option(
            help="k1 or k1,k2 of OpenCV's lens; scopes have about -0.2. Least with the default lens: -0.219.",
            rich_help_panel=LENS,
            show_default=False,
        ),
    ] = None
    calibration: Annotated[
        str | None,
        typer.Option(
            help="A lens that reconstruct's --calibration takes, in place of the others.",
            rich_help_panel=LENS,
            show_default=False,
        ),
    ] = None

    def apply(self, settings: "SynthSettings") -> "SynthSettings":
        """Settings with the lens of the options that were given.

        Raises:
            ConfigError: If they do not go together, or there is no such lens.
        """
        from dd_sfm.synthetic import cameras

        size, circle = (settings.width, settings.height), settings.lens.circle
        distortion = _parse_distortion(self.distortion)
        if self.calibration is not None:
            if self.fov is not None or self.fisheye or self.distortion is not None:
                raise ConfigError("--calibration: expected without --fov, --fisheye and --distortion, which it tells")
            camera = cameras.lens_text(cameras.calibrated_lens(self.calibration, size))
        elif self.fov is not None:
            lens = cameras.lens_of_angle(self.fov, distortion or (0.0, 0.0), size, circle, fisheye=self.fisheye)
            camera = cameras.lens_text(lens)
        elif self.fisheye:
            raise ConfigError("--fisheye: no angle; expected --fov DEGREES with it, such as 140")
        else:
            distortion = distortion or settings.lens.distortion
            return replace(settings, lens=replace(settings.lens, distortion=distortion))
        return replace(settings, lens=replace(settings.lens, camera=camera, distortion=(0.0, 0.0)))


@expand_options
def synth(
    *,
    out: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.", show_default=False)],
    scene: SceneOptions,
    lens: LensOptions,
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

    Example: dd-sfm synth -o clips/colon --organ colon --frames 90 --seed 3 --fisheye --fov 140
    """
    from dd_sfm.synthetic.clip import write_clip
    from dd_sfm.synthetic.settings import check_settings

    settings = _settings(config, overrides, scene.settings())
    check_settings(settings)
    settings = lens.apply(settings)
    say, progress = make_say(messages.quiet), make_progress(messages.quiet)
    figures = write_clip(settings, out, jobs=jobs, overwrite=overwrite, progress=progress, say=say)
    say(f"clip: {out / 'clip.mp4'}, {figures['frames']} frames, mesh of {figures['vertices']:,} vertices")
    if not figures["points"]:
        say("no COLMAP model: it has no such lens. truth.npz and calibration.txt hold it")


def _parse_size(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    parts = re.fullmatch(r"(\d+)x(\d+)", text)
    if parts is None:
        raise ConfigError(f"--size {text}: expected WIDTHxHEIGHT, such as 960x540")
    return int(parts[1]), int(parts[2])


def _parse_distortion(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        k1, k2 = map(float, (text if "," in text else f"{text},0").split(","))
    except ValueError:
        raise ConfigError(f"--distortion {text}: expected k1 or k1,k2, such as -0.3,0.08") from None
    return k1, k2


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
