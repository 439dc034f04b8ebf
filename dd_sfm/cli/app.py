"""The dd-sfm command: collects the commands and turns errors into one line and an exit code."""

import atexit
import gc
import os
import signal
import sys
import traceback
from typing import Annotated, Any

# Decoder warnings about odd streams would stand between our own lines; must be set before OpenCV opens a file.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import typer
from typer.core import TyperGroup

from dd_sfm import __version__
from dd_sfm.cli.batch import batch
from dd_sfm.cli.bench import bench
from dd_sfm.cli.calibrate import calibrate
from dd_sfm.cli.compare import compare
from dd_sfm.cli.convert import convert
from dd_sfm.cli.demo import demo
from dd_sfm.cli.doctor import doctor
from dd_sfm.cli.evaluate import evaluate
from dd_sfm.cli.heap import address_space_warning, give_back_large_blocks
from dd_sfm.cli.localize import localize
from dd_sfm.cli.merge import merge
from dd_sfm.cli.mesh import mesh
from dd_sfm.cli.overlay import overlay
from dd_sfm.cli.reconstruct import extract, map_, match, reconstruct
from dd_sfm.cli.register import register
from dd_sfm.cli.reporter import is_read, reporting
from dd_sfm.cli.signals import interrupted_by_sigterm
from dd_sfm.cli.synth import synth
from dd_sfm.cli.train import train
from dd_sfm.cli.view import view
from dd_sfm.errors import DDSfMError, StoppedError, UsageError, one_line, stoppable
from dd_sfm.io.shortage import shortage

LESS_MEMORY = {
    "synth": "render less at once: --jobs 1, a smaller --size",
    "train": "let less be in memory: --workers 0, fewer sources, smaller augment.crop and working_height_px",
    "calibrate": "look at fewer pictures: --every 3",
    "convert": "export a smaller run",
    "localize": "place fewer frames: --every, --end",
    "merge": "merge smaller runs",
    "register": "register a smaller cloud or surface",
    "mesh": "mesh a smaller cloud",
    "overlay": "draw a smaller run",
    "view": "look at a smaller cloud",
    "evaluate": "evaluate a smaller run",
    "batch": "do fewer videos at once: --workers 1",
}
"""What helps a command that is not a reconstruction where memory is short."""
UNREAD = 128 + signal.SIGPIPE
"""Exit code where whoever reads what the command prints has gone."""
MEANWHILE = (
    "expected a file or folder that can be used and stays while the command works. See that it is there and repeat the "
    "command, or run it with --debug to see what it was for"
)


SEEN_WITHOUT = "If it happens without one, too, run again with --debug and report what it shows"


class _Commands(TyperGroup):
    """What is wrong with options, and Ctrl-C, become a line of ours: Typer prints the usage, or ends without a word."""

    def main(self, *arguments: Any, **named: Any) -> Any:
        try:
            code = super().main(*arguments, **named | {"standalone_mode": False})
        except Exception as error:
            text = usage_text(error)
            if text is None:
                raise
            raise UsageError(text) from error
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        with stoppable(lambda: "stopped; repeat the command to start again"), interrupted_by_sigterm():
            try:
                return super().invoke(ctx)
            except BrokenPipeError as error:
                # Click would end without a word, whichever pipe it is.
                if is_read(sys.stdout) and is_read(sys.stderr):
                    raise RuntimeError(f"{error} to another process") from error
                sys.exit(UNREAD)


app = typer.Typer(
    name="dd-sfm",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Extremely dense structure from motion for endoscopic video. Not for clinical use.",
)


def _version(value: bool) -> None:
    if value:
        print(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Extremely dense structure from motion for endoscopic video. Not for clinical use."""


app.command()(reconstruct)
app.command()(demo)
app.command()(compare)
app.command()(batch)
app.command(name="extract")(extract)
app.command(name="match")(match)
app.command(name="map")(map_)
app.command()(train)
app.command()(synth)
app.add_typer(evaluate, name="evaluate")
app.command()(bench)
app.command()(calibrate)
app.command()(convert)
app.command()(view)
app.command()(overlay)
app.command()(mesh)
app.command()(localize)
app.command()(merge)
app.command()(register)
app.command()(doctor)


def usage_text(error: Exception) -> str | None:
    """One line for what Typer finds wrong with the command line; None for any other error.

    A command that needs another word after it shows its help instead.
    """
    # By what they have and their names, not by their class: some versions of Typer hold Click within, others import it.
    context, say = getattr(error, "ctx", None), getattr(error, "format_message", None)
    if say is None:
        return None
    if type(error).__name__ == "NoArgsIsHelpError":
        print(str(say()).strip(), file=sys.stderr)
        raise SystemExit(2) from error
    found = " ".join(str(say()).split()) or "these words are no command"
    found = found[0].lower() + found[1:].replace("Input should be", "expected")
    command = context.command_path if context else "dd-sfm"
    return f"{found if found.endswith('?') else found.rstrip('.') + '.'} See {command} --help"


def explain(error: BaseException, command: str = "") -> tuple[str, int]:
    """One line for an error of a command, and the exit code."""
    if isinstance(error, DDSfMError):
        return one_line(error), error.exit_code
    less = LESS_MEMORY.get(command)
    short = shortage(error, "") if less is None else shortage(error, "", f"free memory or raise its limit, or {less}")
    if short is not None:
        return one_line(short), short.exit_code
    if isinstance(error, OSError) and error.filename and error.strerror:
        return one_line(f"{error.filename}: {error.strerror}; {MEANWHILE}"), 1
    first = (str(error).strip().splitlines() or [""])[0]
    if address_space_warning():
        seems = f"not enough memory, as it seems ({type(error).__name__}: {one_line(first)})"
        return f"{seems}; raise the limit (ulimit -v). {SEEN_WITHOUT}", 1
    return f"unexpected {type(error).__name__}: {one_line(first)} (run again with --debug and report what it shows)", 1


def main() -> None:
    """Entry point of the ``dd-sfm`` script."""
    give_back_large_blocks()
    # As it ends, Python searches all objects for cycles, several times: seconds, in which nothing would be said.
    atexit.register(gc.freeze)
    with reporting(sys.argv[1:]) as report:
        limit_warning = address_space_warning()
        if limit_warning:
            report.warn(limit_warning)
        try:
            app()
        except SystemExit as end:
            # A text as code is printed by Python, which then ends with 1.
            report.end(end.code if isinstance(end.code, int) else int(end.code is not None))
            raise
        except Exception as error:
            stopped = error if isinstance(error, StoppedError) else None
            text, code = explain(error, next(iter(sys.argv[1:]), ""))
            text += ", without --overwrite" if stopped and stopped.resumes and "--overwrite" in sys.argv else ""
            if "--debug" in sys.argv and stopped is None:
                report.rest()
                traceback.print_exception(error)
            report.end(code, text)
            sys.exit(code)
