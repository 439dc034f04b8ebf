"""When the page of a run is due: imported with the interface, and so without what draws pictures."""

from collections.abc import Callable
from typing import Any

from dd_sfm.io.run_folder import REPORT
from dd_sfm.io.several_sources import source_paths
from dd_sfm.pipeline.stage_work import RunRequest
from dd_sfm.pipeline.stages import STAGES
from dd_sfm.progress import Progress, begin_stage


def report_on(
    request: RunRequest, metrics: dict[str, Any], progress: Progress, say: Callable[[str], None]
) -> dict[str, Any]:
    """Write the page of a run, unless the run is not finished, or nothing was done since the page was written.

    Args:
        request: What the run was asked to do.
        metrics: Its figures; empty for one that stopped before the last stage.
        progress: Is told that the page begins.
        say: Given a line when the page is drawn.

    Returns:
        The figures.
    """
    if not metrics or (len(metrics["stages_kept"]) == len(STAGES) and (request.out / REPORT).is_file()):
        return metrics
    from dd_sfm.viz.report.run_report import write_run_report

    say("report ...")
    begin_stage(progress, "report")
    write_run_report(request.out, title=", ".join(path.name for path in source_paths(request.source)))
    return metrics
