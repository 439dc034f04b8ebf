"""When the page of a run is due: imported with the interface, and so without what draws pictures."""

from collections.abc import Callable

from dd_sfm.io.run_folder import REPORT
from dd_sfm.io.several_sources import source_paths
from dd_sfm.pipeline.stage_work import RunRequest
from dd_sfm.progress import Progress, begin_stage


def report_on(request: RunRequest, progress: Progress, say: Callable[[str], None]) -> None:
    """Write the page of a finished run, unless it is there: a run removes one that no longer shows it.

    Args:
        request: What the run was asked to do.
        progress: Is told that the page begins.
        say: Given a line when the page is drawn.
    """
    if (request.out / REPORT).is_file():
        return
    from dd_sfm.viz.report.run_report import write_run_report

    say("report ...")
    begin_stage(progress, "report")
    write_run_report(request.out, title=", ".join(path.name for path in source_paths(request.source)))
