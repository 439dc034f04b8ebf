"""The process in which a batch works on a video: one command, which ends with its worker, and then a picture of it.

Arguments: process id of the worker, path of the picture to draw, and the command line of dd-sfm.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
PICTURE_PX = 320, 240


def end_with(parent: int) -> None:
    """Let this process be killed when the one that started it ends, however it does.

    Otherwise it would hold its run, and the worker's memory, while another one is to go on with that run.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It has ended before it could be waited for.
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Do the command; a picture that cannot be drawn is told, and leaves the code of exit alone."""
    parent, picture, *arguments = sys.argv[1:]
    end_with(int(parent))
    sys.argv = ["dd-sfm", *arguments]
    from dd_sfm.cli.app import main as dd_sfm

    try:
        dd_sfm()
    except SystemExit as end:
        if end.code:
            raise
    out = Path(next(a for a in arguments if a.startswith("--output=")).removeprefix("--output="))
    from dd_sfm.viz.report.video_picture import write_video_picture

    try:
        write_video_picture(Path(picture), out, PICTURE_PX)
    except Exception as error:
        print(f"no picture of {out}: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
