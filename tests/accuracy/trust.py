"""Whether the expected errors of points hold on clips that nothing was fitted to: true over expected, by fifths.

    python tests/accuracy/trust.py --work /tmp/trust --figure trust.png

It renders a clip for each organ and seed, reconstructs it, and evaluates it against its truth. The surest fifth comes
first; the last column is the share of points more than three times as wrong as expected. A repeated call does what is
missing.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from matplotlib.figure import Figure

CLIPS = {
    "sinus": (811, 812, 813, 814),
    "colon": (815, 816, 817, 818),
    "bladder": (819, 820, 821, 822),
}
COLOURS = {"sinus": "#c0392b", "colon": "#2e8b57", "bladder": "#2b6a99"}
BAND = 0.75, 1.33
"""True over expected errors that count as right."""


def command(*words):
    """Run a command of the tool; its messages are shown."""
    return subprocess.run([sys.executable, "-m", "dd_sfm", *map(str, words)], check=False).returncode


def measure(organ, seed, quality, given):
    """The calibration of a clip's points; None where there is no reconstruction."""
    clip, run = given.work / f"{organ}_{seed}", given.work / f"run_{organ}_{seed}_{quality}"
    if not (clip / "scene.yaml").is_file():
        scene = ("--organ", organ, "--seed", seed, "--frames", given.frames, "--size", given.size)
        command("synth", "-o", clip, *scene, "--set", "depth_every=4", "--overwrite", "--quiet")
    if not (run / "evaluation.json").is_file():
        lens = ("--calibration", clip / "calibration.txt")
        command("reconstruct", clip / "clip.mp4", "-o", run, *lens, "--quality", quality, "--quiet")
        shutil.rmtree(run / "descriptors", ignore_errors=True)
        command("evaluate", "model", run, "--reference", clip, "--quiet")
    if not (run / "evaluation.json").is_file():
        return None
    found = json.loads((run / "evaluation.json").read_text())["calibration"]
    return [row["actual_over_predicted"] for row in found["bins"]], found["gross_share"]


def draw(lines, path):
    """True over expected errors by fifths, a line a clip."""
    figure = Figure(figsize=(5.6, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.axhspan(*BAND, color="0.88")
    axes.axhline(1, color="0.6", linewidth=0.8)
    for (organ, _), (fifths, _) in lines.items():
        axes.plot(range(len(fifths)), fifths, "o-", markersize=3.5, linewidth=1.1, color=COLOURS[organ])
    for organ, colour in COLOURS.items():
        axes.plot([], [], color=colour, label=organ)
    axes.set(yscale="log", ylabel="true over expected error (medians)")
    axes.minorticks_off()
    axes.set_yticks([0.5, 0.75, 1, 1.33, 2, 4], labels=["0.5", "0.75", "1", "1.33", "2", "4"])
    axes.set_xticks(range(5), labels=["surest\nfifth", "2", "3", "4", "least\nsure"])
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main():
    """Measure what is missing, then print and draw all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--organs", nargs="+", default=list(CLIPS), choices=list(CLIPS))
    parser.add_argument("--seeds", nargs="+", type=int, help="some of those of the organs")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--quality", default="preview")
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    wanted = [(organ, seed) for organ in given.organs for seed in CLIPS[organ]]
    lines = {}
    for organ, seed in wanted:
        if given.seeds and seed not in given.seeds:
            continue
        found = measure(organ, seed, given.quality, given)
        if found is not None:
            lines[organ, seed] = found
            print(f"| {organ} {seed} | " + " | ".join(f"{x:.2f}" for x in found[0]) + f" | {100 * found[1]:.0f} % |")
    every = [x for fifths, _ in lines.values() for x in fifths]
    right = sum(BAND[0] <= x <= BAND[1] for x in every)
    print(f"{right} of {len(every)} fifths are between {BAND[0]} and {BAND[1]}")
    if given.figure:
        draw(lines, given.figure)


if __name__ == "__main__":
    main()
