"""dd-sfm overlay."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.console import make_progress, make_say
from dd_sfm.cli.expand_options import expand_options
from dd_sfm.cli.output_checks import check_output_file

if TYPE_CHECKING:
    from dd_sfm.io.scene import Scene

ENDINGS = (".mp4", ".gif")


@dataclass(frozen=True)
class OverlayOptions:
    """How the video is drawn."""

    against: Annotated[
        Path | None, typer.Option(help="A second run of the same video, drawn to the right.", show_default=False)
    ] = None
    colour: Annotated[str, typer.Option(help="Of the points: depth, error or photo.")] = "depth"
    point_size: Annotated[
        float | None,
        typer.Option(
            min=0.5,
            max=20,
            help="Diameter of the points in pixels.",
            show_default="3, less in small frames and of dense clouds",
        ),
    ] = None
    every: Annotated[int, typer.Option(min=1, help="Take every N-th frame of the run.")] = 1
    fps: Annotated[
        float | None,
        typer.Option(min=0.1, max=100, help="Frames a second; when left out as in the source, at least 5."),
    ] = None
    size: Annotated[
        str | None,
        typer.Option(
            help="Largest size of a frame, WIDTHxHEIGHT; two stand side by side.", show_default="960x540, GIF 480x270"
        ),
    ] = None
    crop: Annotated[bool, typer.Option("--crop/--no-crop", help="Leave out what is around the field of view.")] = True
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of the model's images, when not beside it.")
    ] = None


@expand_options
def overlay(
    *,
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="Run folder, COLMAP model with images, or JHU sequence.", show_default=False
        ),
    ],
    out: Annotated[
        Path, typer.Option("--output", "-o", help="Video to write: .mp4 (H.264) or .gif.", show_default=False)
    ],
    options: OverlayOptions,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    messages: o.MessageOptions,
) -> None:
    """Draw the cloud over the frames of its video: what each frame sees of it, beside the plain frame.

    Points behind a nearer surface are left out. With --against two runs are drawn side by side.

    Example: dd-sfm overlay runs/learned -o clip.mp4 --against runs/sift
    """
    from dd_sfm.io.gif_writer import write_gif
    from dd_sfm.io.scene import open_scene
    from dd_sfm.io.video_writer import write_video
    from dd_sfm.viz.render.overlay import OverlaySettings, check_overlay, overlay_frames, overlay_images
    from dd_sfm.viz.render.same_video import renumber_images
    from dd_sfm.viz.render.viewpoints import parse_size
    from dd_sfm.viz.render.visibility import make_layers

    against, every, quiet = options.against, options.every, messages.quiet
    ending = out.suffix.lower()
    panel = parse_size(options.size or ("480x270" if ending == ".gif" else "960x540"))
    check_output_file(out, ENDINGS, overwrite=overwrite)
    settings = OverlaySettings(options.colour, panel, options.point_size, every, options.crop)
    scenes = [open_scene(run, options.images)]
    notes: list[str] = []
    if against:
        second, notes = renumber_images(open_scene(against), scenes[0])
        scenes.append(second)
    layers = make_layers(scenes)
    check_overlay(layers, settings)
    say = make_say(quiet)
    for note in [*notes, *_notes(scenes, run, against)]:
        say(f"note: {note}")
    rate = options.fps or source_rate(scenes[0], every)
    count = len(overlay_images(scenes[0], settings))
    frames = make_progress(quiet)(overlay_frames(layers, settings), total=count, label="overlay")
    written = write_gif(out, frames, fps=rate) if ending == ".gif" else write_video(out, frames, fps=rate, crf=20)
    registered = " and ".join(
        f"{len(s.registered)} registered in {layer.label}" for s, layer in zip(scenes, layers, strict=True)
    )
    say(f"written: {out} ({written} frames at {rate:.3g} a second; of all {len(scenes[0].images)}, {registered})")


def _notes(scenes: "list[Scene]", run: Path, against: Path | None) -> list[str]:
    """Notes on the pictures: distortion that is not drawn, and a second run that may be of another video."""
    from dd_sfm.viz.render.same_video import scenes_agree

    notes = [
        f"{scene.source}: the distortion of its {scene.lens} lens is not drawn: points are off"
        for scene in scenes
        if scene.lens
    ]
    same = scenes_agree(*scenes) if against else True
    if same is None:
        notes.append(
            f"it is unknown whether the cameras of {against} match those of {run}: too few are common, or all are at "
            "one place"
        )
    elif not same:
        notes.append(
            f"the cameras of {against} do not match those of {run}; one run failed, or they are of different videos"
        )
    return notes


def source_rate(scene: "Scene", every: int) -> float:
    """Frames a second at which every N-th of the run's frames shows the source at its own speed, within 5 and 60.

    15 where no time is known, as of images in a folder.
    """
    import numpy as np

    times = [image.time_s for image in scene.images if image.time_s is not None]
    steps = np.diff(times)
    step = float(np.median(steps)) * every if len(steps) else 0.0
    return float(np.clip(1 / step, 5, 60)) if step > 0 else 15.0
