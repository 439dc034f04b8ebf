"""What breaks reconstructions: tissue that moves, debris, smoke, an instrument; by the learned descriptor and by SIFT.

    python tests/accuracy/disturbances.py --work /tmp/disturbances --figure disturbances.png

For each organ and strength it renders a clip, of the same scene and path, compares the learned descriptor and tuned
SIFT by `dd-sfm compare --reference`, and counts the frames of the finished models, and those of them that are wrong:
further than 2 % of the path from the truth, as registration_strides.py tells them. Told: a note says that the tissue
moves, that few depths agree, or that poses are off. A repeated call does what is missing.
"""

import argparse
import json
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from registration_strides import COLOURS, WRONG, errors_by_frame, finished_poses

from dd_sfm.notes import NoteCode
from dd_sfm.sfm.rigidity import ResidualGrowth

STRENGTHS = {
    "deformation": (0.3, 0.6, 1.0),
    "debris": (30, 100, 300),
    "smoke": (0.4, 0.7, 0.9),
    "tool": (0.3, 0.6, 1.0),
}
UNITS = {"deformation": "mm", "debris": "particles", "smoke": "strength", "tool": "share of the clip"}
PANELS = {"right": "right frames", "ate_mm": "camera error, rms [mm]", "error_mm": "error of points, median [mm]"}
COLUMNS = (
    "organ", "kind", "strength", "features", "registered", "right", "wrong", "points", "ate_mm", "error_mm",
    "error_p90_mm", "told",
)  # fmt: skip


def command(*words):
    """Run a command of the tool; its messages are shown."""
    return subprocess.run([sys.executable, "-m", "dd_sfm", *map(str, words)], check=False).returncode


def measure(organ, kind, strength, given):
    """Render a clip and reconstruct it; a line of figures a method."""
    clip, out = given.work / f"{organ}_{kind}_{strength}", given.work / f"{organ}_{kind}_{strength}_runs"
    if not (clip / "scene.yaml").is_file():
        effect = () if kind == "none" else (f"--{kind}", strength)
        scene = ("--organ", organ, "--seed", given.seed, "--frames", given.frames, "--size", given.size)
        command("synth", "-o", clip, *scene, *effect, "--set", "depth_every=3", "--quiet", "--overwrite")
    code = command(
        "compare", clip / "clip.mp4", "-o", out, "--calibration", clip / "calibration.txt", "--mask", clip / "mask.png",
        "--reference", clip, "--no-default-sift", "--quality", given.quality, "--quiet",
    )  # fmt: skip
    lines = [figures(out / run, clip, code) for run in ("learned", "sift")]
    for run in ("learned", "sift"):
        shutil.rmtree(out / run / "descriptors", ignore_errors=True)
    return [{"organ": organ, "kind": kind, "strength": strength, **line} for line in lines]


def figures(run, clip, code):
    """What became of a run; of a failed one only that it registered nothing."""
    line = {"features": run.name, "exit_code": code, "registered": 0, "right": 0, "wrong": 0}
    if not (run / "metrics.json").is_file():
        return line
    metrics = json.loads((run / "metrics.json").read_text())
    off = errors_by_frame(finished_poses(run), clip)
    right = sum(value < WRONG for value in off.values())
    line |= {"registered": len(off), "right": right, "wrong": len(off) - right, "points": metrics["points"]}
    growth = ResidualGrowth.read(metrics)
    few = NoteCode.FEW_DEPTHS_AGREE.value in metrics["degradation_codes"]
    line |= {"said": metrics["degradations"], "told": few or (growth is not None and growth.is_large)}
    report = run.parent / "report.json"
    if code == 0 and report.is_file():
        shown = json.loads(report.read_text())["runs"][run.name]
        line |= {"error_mm": shown["true_error_median_mm"], "error_p90_mm": shown["true_error_p90_mm"]}
        line["ate_mm"] = shown["truth"]["trajectory"]["ate_rms"]
    return line


def draw(lines, path):
    """A column for each kind and organ; against its strength what :data:`PANELS` names."""
    kinds = [kind for kind in STRENGTHS if any(line["kind"] == kind for line in lines)]
    columns = list(product(kinds, sorted({line["organ"] for line in lines})))
    figure = Figure(figsize=(2.3 * len(columns) + 0.8, 6.0), layout="constrained")
    panels = figure.subplots(len(PANELS), len(columns), sharey="row", squeeze=False)
    for column, (kind, organ) in enumerate(columns):
        for features, colour in COLOURS.items():
            some = [line for line in lines if line["organ"] == organ and line["features"] == features]
            some = sorted((line for line in some if line["kind"] in ("none", kind)), key=lambda line: line["strength"])
            for axes, key in zip(panels[:, column], PANELS, strict=True):
                values = [line.get(key, np.nan) for line in some]
                axes.plot([line["strength"] for line in some], values, "o-", color=colour, label=features)
        panels[0, column].set(title=f"{kind}, {organ}", ylim=(0, None))
        panels[-1, column].set(xlabel=UNITS[kind])
        for axes in panels[:, column]:
            axes.grid(alpha=0.25)
    for axes, label in zip(panels[:, 0], PANELS.values(), strict=True):
        axes.set(ylabel=label)
    for axes in panels[1:].ravel():
        axes.set(yscale="log")
    panels[0, 0].legend(frameon=False, loc="lower left")
    figure.savefig(path, dpi=110)


def table(lines):
    """Print a row for every clip and method."""
    print("| " + " | ".join(COLUMNS) + " |")
    print("| " + " | ".join("---" for _ in COLUMNS) + " |")
    for line in lines:
        cells = [line.get(key, "") for key in COLUMNS]
        print("| " + " | ".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |")


def main():
    """Measure what is missing, then print and draw all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--organs", nargs="+", default=["sinus", "colon"])
    parser.add_argument("--kinds", nargs="+", default=list(STRENGTHS), choices=list(STRENGTHS))
    parser.add_argument("--seed", type=int, default=501)
    parser.add_argument("--frames", type=int, default=45)
    parser.add_argument("--size", default="480x270")
    parser.add_argument("--quality", default="preview")
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    record = given.work / "disturbances.jsonl"
    lines = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    done = {(line["organ"], line["kind"], line["strength"]) for line in lines}
    wanted = [(organ, kind, s) for organ in given.organs for kind in given.kinds for s in STRENGTHS[kind]]
    for organ, kind, strength in [*product(given.organs, ["none"], [0.0]), *wanted]:
        if (organ, kind, strength) in done:
            continue
        found = measure(organ, kind, strength, given)
        lines += found
        with record.open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in found)
    table(lines)
    if given.figure:
        draw(lines, given.figure)


if __name__ == "__main__":
    main()
