"""dd-sfm evaluate matching."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.console import has_tables, make_progress, make_say, print_warnings
from dd_sfm.cli.evaluation_files import check_made_by, write_rounded_json
from dd_sfm.cli.evaluation_tables import matching_table
from dd_sfm.cli.expand_options import expand_options
from dd_sfm.cli.output_checks import check_outside_runs
from dd_sfm.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dd_sfm.config import Config
    from dd_sfm.evaluation.matching.accuracy import DescriptorMatcher
    from dd_sfm.evaluation.matching.measure import MatchingResult, Method
    from dd_sfm.evaluation.matching.reference import View
    from dd_sfm.evaluation.matching.with_patches import PatchRefinedMatcher

THRESHOLDS_PX = "1,2,4,8,12"
MATCHING = "dd-sfm evaluate matching"


@dataclass(frozen=True)
class MatchingOptions:
    """What is measured: methods, frame gaps, thresholds and the number of pairs."""

    against: Annotated[str, typer.Option(help="Also measure these: sift, flow.")] = ""
    align: Annotated[
        bool, typer.Option("--align", help="Also measure places refined by patches, as a reconstruction's are.")
    ] = False
    windows: Annotated[
        bool, typer.Option("--windows", help="Also measure places refined by windows of descriptors.")
    ] = False
    gaps: Annotated[str, typer.Option(help="Frame gaps.")] = "1,4,12,30"
    thresholds: Annotated[
        str | None,
        typer.Option(help="Errors up to which a point counts as found, in source pixels.", show_default=THRESHOLDS_PX),
    ] = None
    preset: Annotated[
        str | None, typer.Option(help="paper: 3, 6, 12 px of the image that the network sees.", show_default=False)
    ] = None
    pairs: Annotated[int, typer.Option(min=1, help="Most pairs of frames a gap.")] = 8


@expand_options
def matching(
    *,
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA",
            help="JHU sequences, rendered clips, runs or COLMAP models with images (binary or text): FOLDER or "
            "FOLDER:FIRST-LAST.",
            show_default=False,
        ),
    ],
    weights: o.Weights = None,
    options: MatchingOptions,
    out: Annotated[Path | None, typer.Option("--output", "-o", help="JSON file to write.", show_default=False)] = None,
    configuration: o.ConfigOptions,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that this command did not write.")
    ] = False,
    messages: o.MessageOptions,
) -> None:
    """Measure how far from its true place a point is found in frames further and further away.

    Prints the share of points found within each threshold, per gap between the frames; warns where the weights record
    that they were trained on a source of that name.

    Example: dd-sfm evaluate matching demo_videos/sinus --against sift,flow -o matching.json
    """
    from dd_sfm.evaluation.matching.measure import matching_json, measure_matching

    settings = o.resolve_config(configuration, {"describe.weights": weights})
    thresholds_px, is_paper = _thresholds(options.thresholds, options.preset), options.preset is not None
    gaps = o.parse_integers("--gaps", options.gaps)
    if out is not None:
        check_outside_runs(out)
        check_made_by(out, MATCHING, overwrite)
    results = measure_matching(
        data,
        _methods(options.against, settings, align=options.align, windows=options.windows),
        working_height_px=settings.describe.working_height_px,
        gaps=gaps,
        thresholds_px=thresholds_px,
        in_working_px=is_paper,
        pairs_per_gap=options.pairs,
        progress=make_progress(messages.quiet),
    )
    warnings = _training_warnings(settings.describe.weights, data) + _missing_gaps(results, data, gaps)
    unit = "working" if is_paper else "source"
    if has_tables(messages.quiet):
        matching_table(results, thresholds_px, unit)
    print_warnings(warnings)
    if out is not None:
        made_with = {"weights": settings.describe.weights, "working_height_px": settings.describe.working_height_px}
        thresholds = {"thresholds": thresholds_px, "threshold_unit": f"{unit} px"}
        figures = {"warnings": warnings, "results": matching_json(results)}
        write_rounded_json(out, {"made_by": MATCHING, **made_with, **thresholds, **figures})
        make_say(messages.quiet)(f"written: {out}")


def _training_warnings(weights: str, data: list[str]) -> list[str]:
    """Warnings of sources that the weights may have been trained on, by what they record of their training."""
    from dd_sfm.features.weights import read_training_sources
    from dd_sfm.training.leakage import find_in_training_record
    from dd_sfm.training.sources.spec import DataPath

    trained_on = read_training_sources(weights)
    found = {text: find_in_training_record(DataPath.parse(text), trained_on) for text in data}
    return [
        f"{text}: {weights} was trained on '{name}', by its own record: if these are the same frames, the figures are "
        "better than on others"
        for text, name in found.items()
        if name is not None
    ]


def _missing_gaps(results: "list[MatchingResult]", data: list[str], gaps: tuple[int, ...]) -> list[str]:
    """Warnings of gaps at which a source has no pair of frames with common points."""
    found = {(r.data, r.row.gap) for r in results}
    missing = [(text, gap) for text in data for gap in dict.fromkeys(gaps) if (text, gap) not in found]
    return [f"{text}: no pair with common points at gap {gap}" for text, gap in missing]


def _thresholds(text: str | None, preset: str | None) -> tuple[float, ...]:
    from dd_sfm.evaluation.matching.measure import PAPER_THRESHOLDS

    if preset is None:
        return o.parse_lengths("--thresholds", text or THRESHOLDS_PX)
    if text is not None:
        raise ConfigError("--thresholds: given together with --preset, which sets them; leave out one of the two")
    if preset != "paper":
        raise ConfigError(f"--preset {preset}: unknown; expected paper")
    return PAPER_THRESHOLDS


def _methods(against: str, settings: "Config", *, align: bool, windows: bool) -> "list[Method]":
    """The learned descriptor and what it is measured against."""
    from dd_sfm.evaluation.matching.accuracy import DescriptorMatcher, PointMatcher, network_matcher
    from dd_sfm.evaluation.matching.baselines import flow_matcher, sift_matcher
    from dd_sfm.evaluation.matching.measure import Method
    from dd_sfm.evaluation.matching.with_windows import WindowRefinedMatcher
    from dd_sfm.features.describe import use_bfloat16
    from dd_sfm.features.weights import load_weights
    from dd_sfm.runtime import cpu_threads, resolve_device

    names = [name.strip() for name in against.split(",") if name.strip()]
    for name in names:
        if name not in ("sift", "flow"):
            raise ConfigError(f"--against {name}: unknown; expected sift or flow, or both as sift,flow")
    import torch

    torch.set_num_threads(cpu_threads(settings.runtime))
    on = resolve_device(settings.runtime)
    network = load_weights(settings.describe.weights, on)
    bfloat16 = use_bfloat16(settings, on)

    def rows(name: str, plain: DescriptorMatcher) -> dict[str, PointMatcher]:
        refined: dict[str, PointMatcher] = {}
        if align:
            refined[f"{name}, aligned"] = _aligned(plain, settings, bfloat16)
        if windows:
            refined[f"{name}, windows"] = WindowRefinedMatcher(plain)
        return {name: plain, **refined}

    known = {
        "sift": Method(lambda: rows("sift", sift_matcher())),
        "flow": Method(lambda: {"flow": flow_matcher}),
    }
    weights = settings.describe.weights
    learned = Method(lambda: rows(weights, network_matcher(network, on, bfloat16=bfloat16)))
    return [learned, *(known[name] for name in dict.fromkeys(names))]


def _aligned(plain: "DescriptorMatcher", settings: "Config", bfloat16: bool) -> "PatchRefinedMatcher":
    """The same matcher with patches aligned, among the query points of a reconstruction."""
    from dd_sfm.evaluation.matching.with_patches import PatchRefinedMatcher
    from dd_sfm.features.queries import query_points
    from dd_sfm.ops.working import WorkingFrame

    def queries(view: "View") -> "NDArray[Any]":
        return query_points(WorkingFrame(view.image, view.mask), settings.match)

    return PatchRefinedMatcher(plain, queries, settings.match, bfloat16=bfloat16)
