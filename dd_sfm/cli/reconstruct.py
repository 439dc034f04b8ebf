"""dd-sfm reconstruct, and the stages on their own."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.console import has_tables, make_progress, make_say, summary
from dd_sfm.cli.expand_options import expand_options
from dd_sfm.config import Config, RuntimeConfig
from dd_sfm.errors import OutputError, stoppable
from dd_sfm.progress import WithMore, begin_stage

if TYPE_CHECKING:
    from dd_sfm.api import Stage
    from dd_sfm.export.drawn_depth import DepthOf


POSES = "Known poses"


@dataclass(frozen=True, kw_only=True)
class ReconstructOptions(o.InputOptions):
    """Options of ``reconstruct`` and of its stages."""

    features: Annotated[str | None, typer.Option(help="learned or sift.", rich_help_panel=o.RUN)] = None
    seed: o.Seed = None
    deterministic: o.Deterministic = False
    poses: Annotated[
        str | None,
        typer.Option(
            metavar="FILE@UNIT",
            help="Measured poses: TUM, .csv, COLMAP model or JHU sequence; lengths in @mm, @cm or @m. Kept as they "
            "are, unless --poses-sigma says how exact they are.",
            rich_help_panel=POSES,
        ),
    ] = None
    poses_sigma: Annotated[
        str | None,
        typer.Option(
            metavar="MM,DEG",
            help="Standard deviations of the poses by axis: images mend them, and the model gets their coordinates.",
            rich_help_panel=POSES,
        ),
    ] = None
    hand_eye: Annotated[
        str | None,
        typer.Option(
            metavar="auto|none|estimate|FILE",
            help="The camera's pose in the axes of the sensor, as a 4x4 transform in mm; auto: estimated with "
            "--poses-sigma where the residuals show one.",
            rich_help_panel=POSES,
            show_default="auto",
        ),
    ] = None
    poses_offset: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS[,WITHIN]",
            help="Time of the poses at the beginning of the video, and how far around it is searched.",
            rich_help_panel=POSES,
            show_default="0, with --poses-sigma 0,0.5",
        ),
    ] = None

    def own_settings(self) -> dict[str, object]:
        """Settings that only a reconstruction has, by dotted key; None for an option that was left out."""
        offset = o.parse_numbers("--poses-offset", self.poses_offset, (1, 2), "12.5 or 0,0.5")
        return {
            "features": self.features,
            "runtime.seed": self.seed,
            "runtime.deterministic": self.deterministic or None,
            "poses.file": self.poses,
            "poses.sigma": o.parse_numbers("--poses-sigma", self.poses_sigma, (2,), "0.5,0.5"),
            "poses.hand_eye": self.hand_eye,
            "poses.offset_s": offset[0] if offset else None,
            "poses.within_s": None if not offset else offset[1] if len(offset) == 2 else 0.0,
        }


@expand_options
def reconstruct(
    *,
    sources: o.Sources,
    out: o.Out,
    options: ReconstructOptions,
    configuration: o.ConfigOptions,
    depth: Annotated[
        str,
        typer.Option(
            "--depth",
            metavar="none|references|all",
            help="Also write depth maps to OUT/depth: of every reference frame, or of every frame with a pose.",
            rich_help_panel=o.RUN,
        ),
    ] = "none",
    overwrite: o.Overwrite = False,
    messages: o.MessageOptions,
) -> None:
    """Turn an endoscopic video into a point cloud and a COLMAP model.

    Finished stages are kept: repeat the command to go on after a break, or with another setting to redo only what
    depends on it.

    Example: dd-sfm reconstruct nose.mp4 -o runs/nose --calibration 666.2,666.2,919.5,542.1

    Writes OUT/points.ply (coloured cloud), OUT/sparse/0 (opens in COLMAP), OUT/report.html, OUT/metrics.json, and what
    leads there.
    """
    from dd_sfm.export.drawn_depth import check_depth_of

    depth_of = None if depth == "none" else check_depth_of(depth, others=("none",))
    if depth_of is not None:
        _check_depth_place(out)
    settings = run_stages(
        sources, out, options, configuration, "densify", overwrite=overwrite, quiet=messages.quiet, depth_of=depth_of
    )
    if depth_of is not None:
        stopped = f"{out}: stopped in the depth maps; finished stages are kept. Repeat the command to go on"
        with stoppable(lambda: stopped, resumes=True):
            write_depth(out, depth_of, settings.runtime, quiet=messages.quiet)


def write_depth(out: Path, depth_of: "DepthOf", runtime: RuntimeConfig | None = None, *, quiet: bool) -> None:
    """Write the depth maps of a finished run, unless it has those of its model.

    Raises:
        OutputError: If the folder is a link, or holds what was converted there for another tool.
    """
    from dd_sfm.export.convert import convert
    from dd_sfm.export.depth import holds_depth
    from dd_sfm.io.checksums import model_sums
    from dd_sfm.io.run_layout import DEPTH, locked_if_run
    from dd_sfm.ops.compiled import using_threads
    from dd_sfm.runtime import cpu_threads

    say, progress, folder = make_say(quiet), make_progress(quiet), out / DEPTH
    _check_depth_place(out)
    with locked_if_run(out), using_threads(cpu_threads(runtime or RuntimeConfig())):
        if holds_depth(folder, depth_of, model_sums(out)):
            say(f"nothing to do: depth maps written before: {folder}")
            return
        begin_stage(progress, "depth")
        done = convert(out, folder, "depth", depth_of=depth_of, overwrite=True, in_run=True, progress=progress)
    for note in done.notes:
        say(f"note: {note}")
    say(f"written: depth maps: {done.path}")


def _check_depth_place(out: Path) -> None:
    """See that depth maps may be written into a run, before the run is made."""
    from dd_sfm.documents import read_json
    from dd_sfm.export.depth import MADE_BY, MARKER
    from dd_sfm.io.links import check_is_no_link
    from dd_sfm.io.run_layout import DEPTH

    folder = out / DEPTH
    check_is_no_link(out, folder)
    try:
        record = dict(read_json(folder / MARKER))
    except (OSError, ValueError, TypeError):
        return
    target = record.get("target")
    if record.get("made_by") == MADE_BY and target != "depth":
        raise OutputError(
            f"{folder}: holds what was converted --to {target}; expected depth maps of this command, or nothing. Move "
            "it elsewhere"
        )
    # A run with measured poses has a unit, in which its depth maps are.
    if record.get("scale", 1.0) != 1.0:
        raise OutputError(
            f"{folder}: holds depth maps in {record.get('unit')}; expected those of this command, in the unit of the "
            "reconstruction, or nothing. Move them elsewhere"
        )


def run_stages(
    sources: list[Path],
    out: Path,
    options: ReconstructOptions,
    configuration: o.ConfigOptions,
    last: "Stage",
    *,
    overwrite: bool,
    quiet: bool,
    depth_of: "DepthOf | None" = None,
) -> Config:
    """Run the stages up to the one called ``last``; returns their settings.

    ``depth_of``: the depth maps that are written afterwards.
    """
    # Torch and COLMAP take seconds to import: only when there is work, so that --help stays quick.
    from dd_sfm import api
    from dd_sfm.pipeline.expected_time import expected_depth
    from dd_sfm.pipeline.stage_summary import stage_notes, stage_summary

    settings = o.resolve_config(
        configuration,
        {**options.settings(), **options.own_settings()},
        options.quality,
    )
    say, told = make_say(quiet), list[str]()
    progress = make_progress(quiet)
    if depth_of is not None:
        progress = WithMore(progress, lambda: expected_depth(settings, out, every_frame=depth_of == "all"))

    def tell(line: str) -> None:
        told.append(line)
        say(line)

    metrics = api.run_stages(
        sources,
        out,
        settings,
        last=last,
        calibration=options.calibration,
        mask=options.mask,
        overwrite=overwrite,
        progress=progress,
        on_stage=tell,
    )
    if metrics and has_tables(quiet):
        summary(metrics, str(out))
    if last != "densify":
        for note in stage_notes(out, last):
            say(f"note: {note}")
    is_kept = told and not any(line.endswith("...") for line in told)
    done = "nothing to do: all stages done before," if is_kept else "written:"
    say(f"{done} {stage_summary(out, last)}; {_next_step(last, out)}")
    return settings


def _next_step(last: "Stage", out: Path) -> str:
    """What to do with a run that was done up to a stage."""
    if last == "densify":
        return f"look at it: dd-sfm view {shlex.quote(str(out))}"
    command = {"frames": "extract"}.get(last, last)
    later = {"match": "map or reconstruct", "map": "reconstruct"}.get(last, "match, map or reconstruct")
    return f"to go on, repeat the command with {later} in place of {command}"


def _stage(last: "Stage", doc: str) -> Callable[..., None]:
    """A command that runs the stages up to the one called ``last``; its options are those of ``reconstruct``."""

    def command(
        *,
        sources: o.Sources,
        out: o.Out,
        options: ReconstructOptions,
        configuration: o.ConfigOptions,
        overwrite: o.Overwrite = False,
        messages: o.MessageOptions,
    ) -> None:
        run_stages(sources, out, options, configuration, last, overwrite=overwrite, quiet=messages.quiet)

    command.__doc__ = doc
    return expand_options(command)


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

    Example: dd-sfm map colon.mp4 -o runs/colon --set map.mappers=[incremental]
    """,
)
