"""dd-sfm reconstruct, and the stages on their own."""

import inspect
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.show import make_progress, make_say, summary


def reconstruct(
    source: o.Source,
    out: o.Out,
    calibration: o.Calibration = None,
    mask: o.Mask = None,
    every: o.Every = None,
    start: o.Start = None,
    end: o.End = None,
    max_frames: o.MaxFrames = None,
    weights: o.Weights = None,
    quality: o.Quality = None,
    features: o.Features = None,
    seed: o.Seed = None,
    config: o.ConfigFile = None,
    overrides: o.Overrides = None,
    device: o.Device = None,
    overwrite: o.Overwrite = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
    last: Annotated[str, typer.Option(hidden=True)] = "densify",
) -> None:
    """Turn an endoscopic video into a point cloud and a COLMAP model.

    Finished stages are kept: repeat the command to go on after a break, or with another setting to redo only what
    depends on it.

    Example: dd-sfm reconstruct nose.mp4 -o runs/nose --calibration 666.2,666.2,919.5,542.1

    Writes OUT/points.ply (coloured cloud), OUT/sparse/0 (opens in COLMAP), OUT/metrics.json, and what leads there.
    """
    # Torch and COLMAP take seconds to import: only when there is work, so that --help stays quick.
    from dd_sfm.pipeline.results import made
    from dd_sfm.pipeline.run import RunRequest, run

    flags = {
        "frames.every": every,
        "frames.start": start,
        "frames.end": end,
        "frames.max_frames": max_frames,
        "describe.weights": weights,
        "features": features,
        "runtime.seed": seed,
        "runtime.device": device,
    }
    settings = o.resolve_config(config, overrides, flags, quality)
    request = RunRequest(source, out, settings, calibration, mask, overwrite, last)
    say = make_say(quiet)
    metrics = run(request, make_progress(quiet), say)
    if metrics and not quiet:
        summary(metrics, str(out))
    say(f"written: {made(out, last)}; {_next_step(last, out)}")


def _next_step(last: str, out: Path) -> str:
    """What to do with a run that was done up to a stage."""
    if last == "densify":
        return f"look at it: dd-sfm view {shlex.quote(str(out))}"
    command = {"frames": "extract"}.get(last, last)
    later = {"match": "map or reconstruct", "map": "reconstruct"}.get(last, "match, map or reconstruct")
    return f"to go on, repeat the command with {later} in place of {command}"


def _stage(last: str, doc: str) -> Callable[..., None]:
    """A command that runs the stages up to one of them; its options are those of ``reconstruct``."""

    def command(**values: Any) -> None:
        reconstruct(**values, last=last)

    signature = inspect.signature(reconstruct)
    kept = [p for name, p in signature.parameters.items() if name != "last"]
    described: Any = command
    described.__signature__ = signature.replace(parameters=kept)
    described.__annotations__ = {k: v for k, v in reconstruct.__annotations__.items() if k != "last"}
    described.__doc__ = doc
    return command


extract = _stage(
    "frames",
    """Choose and write the frames of a run, their masks and camera.

    Drops blurred and motionless frames, finds the field of view, masks highlights, undoes distortion.

    Example: dd-sfm extract colon.mp4 -o runs/colon --every 2
    """,
)
match = _stage(
    "match",
    """Extract, describe and match frames, up to the tracks.

    Example: dd-sfm match colon.mp4 -o runs/colon --set match.query_spacing_px=5
    """,
)
map_ = _stage(
    "map",
    """Extract, describe, match and map frames, up to the poses.

    Example: dd-sfm map colon.mp4 -o runs/colon --set map.ladder=[incremental]
    """,
)
