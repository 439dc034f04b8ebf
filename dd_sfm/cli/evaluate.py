"""dd-sfm evaluate: model, matching and realism."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dd_sfm.cli import options as o
from dd_sfm.cli.output_file import check_not_of_run
from dd_sfm.cli.realism import realism
from dd_sfm.cli.show import make_progress, make_say
from dd_sfm.cli.show_evaluation import evaluation_table, matching_table
from dd_sfm.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dd_sfm.config import Config
    from dd_sfm.evaluation.matching.accuracy import DescriptorMatcher
    from dd_sfm.evaluation.matching.matchers import MatchingResult, Method
    from dd_sfm.evaluation.matching.reference import View
    from dd_sfm.evaluation.matching.with_patches import AlignedMatcher
    from dd_sfm.evaluation.model.evaluate import Evaluation

TH = "1,2,4,8,12"
MATCHING = "dd-sfm evaluate matching"

evaluate = typer.Typer(
    no_args_is_help=True, help="Measure a model or matching against a reference, or rendered clips against real ones."
)


@evaluate.command()
def model(
    run: Annotated[Path, typer.Argument(help="Run folder or COLMAP model folder.", show_default=False)],
    reference: Annotated[
        Path,
        typer.Option(
            "--reference", help="Rendered clip (truth.npz), JHU sequence, COLMAP model or run.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder to write to; the run, or the model's folder, when left out."),
    ] = None,
    best: Annotated[
        str, typer.Option(help="Numbers of best points to measure on their own, by their expected error.")
    ] = "1000,5000,20000",
    gaps: Annotated[str, typer.Option(help="Frame gaps of relative pose errors.")] = "1,4,12,30",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that this command did not write.")
    ] = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Measure the poses and points of a model against the truth or a reference model.

    The model is aligned by its cameras; every observation with true depth is then compared with its true place. A
    reference that seems to be of another video is named in a warning; the exit code stays 0.

    Example: dd-sfm evaluate model runs/demo --reference demo_videos/sinus

    Writes evaluation.json, and into evaluation/: cloud.png, trajectory.png, errors.png, trajectory.tum (the aligned
    cameras), reference.tum (those of the reference).
    """
    from dd_sfm.evaluation.model.evaluate import MADE_BY, evaluate_model
    from dd_sfm.io.lock import locked_if_run

    counts, distances = o.numbers("--best", best), o.numbers("--gaps", gaps)
    target, say = out or _own_place(run), make_say(quiet)
    with locked_if_run(target):
        if out is not None or target.is_dir():
            _check_target(target / "evaluation.json", MADE_BY, overwrite)
            _check_pictures(target, MADE_BY, overwrite)
        evaluation = evaluate_model(run, reference, best=counts, gaps=distances)
        replaced = _other_reference(target / "evaluation.json", reference)
        _write(target, evaluation)
    if not quiet:
        evaluation_table(evaluation.figures)
    if quiet or not sys.stdout.isatty():
        # The table that shows them too goes elsewhere.
        _warn(evaluation.figures["warnings"])
    if replaced:
        say(f"replaced: the evaluation against {replaced}; -o FOLDER keeps one of each")
    say(f"written: {target / 'evaluation.json'}, {target / 'evaluation'}")


@evaluate.command()
def matching(
    data: Annotated[
        list[str],
        typer.Argument(
            help="JHU sequences, rendered clips, runs or COLMAP models with images (binary or text): FOLDER or "
            "FOLDER:FIRST-LAST.",
            show_default=False,
        ),
    ],
    weights: o.Weights = None,
    against: Annotated[str, typer.Option(help="Also measure these: sift, flow.")] = "",
    align: Annotated[
        bool, typer.Option("--align", help="Also measure places refined by patches, as a reconstruction's are.")
    ] = False,
    windows: Annotated[
        bool, typer.Option("--windows", help="Also measure places refined by windows of descriptors.")
    ] = False,
    gaps: Annotated[str, typer.Option(help="Frame gaps.")] = "1,4,12,30",
    thresholds: Annotated[
        str | None, typer.Option(help="Errors up to which a point counts as found, in source pixels.", show_default=TH)
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="paper: 3, 6, 12 px of the image that the network sees.", show_default=False)
    ] = None,
    pairs: Annotated[int, typer.Option(min=1, help="Most pairs of frames a gap.")] = 8,
    out: Annotated[Path | None, typer.Option("--output", "-o", help="JSON file to write.", show_default=False)] = None,
    config: o.ConfigFile = None,
    overrides: o.Overrides = None,
    device: o.Device = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that this command did not write.")
    ] = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Measure how far from its true place a point is found in frames further and further away.

    Prints the share of points found within each threshold, per gap between the frames; warns where the weights record
    that they were trained on a source of that name.

    Example: dd-sfm evaluate matching demo_videos/sinus --against sift,flow -o matching.json
    """
    from dd_sfm.evaluation.matching.matchers import matching_json, measure_matching

    settings = o.resolve_config(config, overrides, {"describe.weights": weights, "runtime.device": device})
    limits, distances, in_working_px = _thresholds(thresholds, preset), o.numbers("--gaps", gaps), preset is not None
    if out is not None:
        check_not_of_run(out)
        _check_target(out, MATCHING, overwrite)
    results = measure_matching(
        data,
        _methods(against, settings, align=align, windows=windows),
        working_height_px=settings.describe.working_height_px,
        gaps=distances,
        thresholds_px=limits,
        in_working_px=in_working_px,
        pairs_per_gap=pairs,
        progress=make_progress(quiet),
    )
    warnings = _trained_on(settings.describe.weights, data) + _without_pairs(results, data, distances)
    unit = "working" if in_working_px else "source"
    if not quiet:
        matching_table(results, limits, unit)
    _warn(warnings)
    if out is not None:
        _write_json(
            out,
            {
                "made_by": MATCHING,
                "weights": settings.describe.weights,
                "working_height_px": settings.describe.working_height_px,
                "thresholds": limits,
                "threshold_unit": f"{unit} px",
                "warnings": warnings,
                "results": matching_json(results),
            },
        )
        make_say(quiet)(f"written: {out}")


evaluate.command()(realism)


def _trained_on(weights: str, data: list[str]) -> list[str]:
    """Warnings of sources that the weights may have seen in training."""
    from dd_sfm.features.weights import read_training_sources
    from dd_sfm.training.guard import named_in_training
    from dd_sfm.training.sources.spec import DataPath

    trained_on = read_training_sources(weights)
    found = {text: named_in_training(DataPath.parse(text), trained_on) for text in data}
    return [
        f"{text}: {weights} was trained on '{name}', by its own record: if these are the same frames, the figures are "
        "better than on others"
        for text, name in found.items()
        if name is not None
    ]


def _without_pairs(results: "list[MatchingResult]", data: list[str], gaps: tuple[int, ...]) -> list[str]:
    found = {(r.data, r.row.gap) for r in results}
    missing = [(text, gap) for text in data for gap in dict.fromkeys(gaps) if (text, gap) not in found]
    return [f"{text}: no pair with common points at gap {gap}" for text, gap in missing]


def _warn(warnings: list[str]) -> None:
    """Not even --quiet hides them."""
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _thresholds(text: str | None, preset: str | None) -> tuple[float, ...]:
    from dd_sfm.evaluation.matching.matchers import PAPER_THRESHOLDS

    if preset is None:
        return o.lengths("--thresholds", text or TH)
    if text is not None:
        raise ConfigError("--thresholds: given together with --preset, which sets them; leave out one of the two")
    if preset != "paper":
        raise ConfigError(f"--preset {preset}: unknown; expected paper")
    return PAPER_THRESHOLDS


def _methods(against: str, settings: "Config", *, align: bool, windows: bool) -> "list[Method]":
    """The learned descriptor and what it is measured against."""
    from dd_sfm.evaluation.matching.accuracy import DescriptorMatcher, PointMatcher, network_matcher
    from dd_sfm.evaluation.matching.baselines import flow_matcher, sift_matcher
    from dd_sfm.evaluation.matching.matchers import Method
    from dd_sfm.evaluation.matching.with_windows import WindowMatcher
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
            refined[f"{name}, windows"] = WindowMatcher(plain)
        return {name: plain, **refined}

    known = {
        "sift": Method(lambda: rows("sift", sift_matcher())),
        "flow": Method(lambda: {"flow": flow_matcher}),
    }
    weights = settings.describe.weights
    learned = Method(lambda: rows(weights, network_matcher(network, on, bfloat16=bfloat16)))
    return [learned, *(known[name] for name in dict.fromkeys(names))]


def _aligned(plain: "DescriptorMatcher", settings: "Config", bfloat16: bool) -> "AlignedMatcher":
    """The same matcher with patches aligned, among the query points of a reconstruction."""
    from dd_sfm.evaluation.matching.with_patches import AlignedMatcher
    from dd_sfm.features.queries import query_points
    from dd_sfm.io.working import WorkingFrame

    def queries(view: "View") -> "NDArray[Any]":
        return query_points(WorkingFrame(view.image, view.mask), settings.match)

    return AlignedMatcher(plain, queries, settings.match, bfloat16=bfloat16)


def _own_place(model: Path) -> Path:
    """Where the figures of a model go: into the run whose first model it is, and to itself outside runs."""
    from dd_sfm.io.scene import find_model_folder, run_around

    folder = find_model_folder(model)
    run = run_around(model, folder) if folder else None
    if folder is None or run is None:
        return model
    if folder.resolve() != (run / "sparse" / "0").resolve():
        raise ConfigError(
            f"{model}: a further model of {run}, which holds figures of its first; choose a folder with -o"
        )
    return run


def _check_target(path: Path, made_by: str, overwrite: bool) -> None:
    """Nothing but what the same command wrote is replaced without being told."""
    if overwrite or not path.exists():
        return
    try:
        ours = json.loads(path.read_text()).get("made_by") == made_by
    except (OSError, ValueError, AttributeError):
        ours = False
    if not ours:
        raise _not_ours(path, made_by)


def _not_ours(path: Path, made_by: str) -> OutputError:
    return OutputError(f"{path}: exists and is not from {made_by}; choose another place with -o, or --overwrite")


def _check_pictures(target: Path, made_by: str, overwrite: bool) -> None:
    """The same for pictures: they are this command's where its evaluation.json is beside their folder."""
    from dd_sfm.io.run_layout import EVALUATION

    if overwrite or (target / "evaluation.json").exists():
        return
    for path in (target / "evaluation" / name for name in EVALUATION):
        if path.exists():
            raise _not_ours(path, made_by)


def _other_reference(path: Path, reference: Path) -> str:
    """What an earlier evaluation was made against, if that was something else; "" otherwise."""
    try:
        before = str(json.loads(path.read_text())["reference"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return before if Path(before).resolve() != reference.resolve() else ""


def _write_json(path: Path, content: Any) -> None:
    from dd_sfm.io.atomic import output_error, write_json

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(path, error) from error
    write_json(path, _rounded(content))


def _write(target: Path, evaluation: "Evaluation") -> None:
    from dd_sfm.io.atomic import output_error, write_text
    from dd_sfm.io.tum import tum_text
    from dd_sfm.viz.render.figures import write_figures

    folder = target / "evaluation"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
    path = evaluation.trajectory
    # First, as by it the pictures are known as ours: after a break they may be replaced.
    _write_json(target / "evaluation.json", evaluation.figures)
    write_figures(folder, evaluation)
    for name, poses in (("trajectory.tum", path.estimate), ("reference.tum", path.reference)):
        write_text(folder / name, tum_text(path.frames.tolist(), poses, evaluation.time_s))


def _rounded(value: Any) -> Any:
    """Floats at six significant digits: beyond that they say nothing."""
    if isinstance(value, dict):
        return {k: v if k == "alignment" else _rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
