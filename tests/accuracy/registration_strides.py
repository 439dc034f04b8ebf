"""Registration against stride: reconstruct every N-th frame of clips from several first frames; count wrong frames.

    python tests/accuracy/registration_strides.py --work /tmp/strides --clip sinus=VIDEO,CALIBRATION,MASK,REFERENCE

REFERENCE is a folder of a rendered clip, a JHU sequence, or the run of the same video at full rate, as `dd-sfm evaluate
model --reference` takes them; MASK may be empty. A frame is wrong that is further than 2 % of the reference's path from
it after a robust alignment of its model: of the similarities that two frames give, the one that brings most frames that
near, refined with these. Each configuration is a line of strides.jsonl in --work; a repeated call does what is missing.
Poses are those of the finished models, in sparse/.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from itertools import permutations, product
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dd_sfm.cameras import camera_centres
from dd_sfm.errors import DDSfMError
from dd_sfm.evaluation.model.pose_reference import open_pose_reference
from dd_sfm.io import colmap_model
from dd_sfm.io.run_folder import load_frames, read_poses
from dd_sfm.pipeline.run import run
from dd_sfm.pipeline.stage_work import RunRequest
from dd_sfm.presets import configure

WRONG = 0.02
"""Share of the path."""
COLOURS = {"learned": "#c8553d", "sift": "#2b6a99"}


@dataclass(frozen=True)
class Clip:
    """A video and what belongs to it; the first frame number of ``reference`` is that of the video's first frame."""

    name: str
    video: Path
    calibration: str
    mask: Path | None
    reference: Path


@dataclass(frozen=True)
class Outcome:
    """What became of the frames of a configuration; ``off``: error by frame as a share of the path."""

    clip: str
    stride: int
    start: int
    features: str
    frames: int
    right: int
    wrong: int
    models: list[int]
    off: dict[int, float]
    confidence: dict[int, float]
    notes: list[str]


def aligned_errors(centres, rotations, reference, reference_rotations, within):
    """Distances (N,) of camera centres (N, 3) from a reference, after the similarity that most frames agree with.

    Args:
        centres: Of a model.
        rotations: cam_from_world (N, 3, 3) of it.
        reference: Centres of the reference.
        reference_rotations: Those of the reference.
        within: Distance of frames that agree.
    """
    best, errors = (-1, 0.0), np.full(len(centres), np.inf)
    for i, j in permutations(range(len(centres)), 2):
        turn = reference_rotations[i].T @ rotations[i]
        length = np.linalg.norm(centres[j] - centres[i])
        if length > 0:
            scale = np.linalg.norm(reference[j] - reference[i]) / length
            found = np.linalg.norm(scale * (centres - centres[i]) @ turn.T + reference[i] - reference, axis=1)
            worth = int((found < within).sum()), -float(np.minimum(found, within).sum())
            if worth > best:
                best, errors = worth, found
    for _ in range(5):
        near = errors < within
        if near.sum() < 3:
            break
        again = _refined(centres, rotations, reference, reference_rotations, near)
        if (again < within).sum() < near.sum():
            break
        errors = again
    return errors


def _refined(centres, rotations, reference, reference_rotations, near):
    """The same by the least squares of some frames; the rotation is the mean of theirs."""
    u, _, vt = np.linalg.svd(np.einsum("nji,njk->ik", reference_rotations[near], rotations[near]))
    turned = centres @ (u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt).T
    a, b = turned[near] - turned[near].mean(0), reference[near] - reference[near].mean(0)
    scale = (a * b).sum() / (a * a).sum()
    return np.linalg.norm(scale * (turned - turned[near].mean(0)) + reference[near].mean(0) - reference, axis=1)


def measure(clip, stride, start, features, work):
    """Reconstruct one configuration and compare its models with the reference."""
    out = work / f"{clip.name}_{stride}_{start}_{features}"
    config = configure("preview", {"frames.every": stride, "frames.start": start, "features": features})
    metrics = run(RunRequest(clip.video, out, config, clip.calibration, clip.mask, last="densify"))
    frames, found, finished = load_frames(out), read_poses(out), finished_poses(out)
    numbers = {k: frame.index for k, frame in enumerate(frames.frames)}
    off = errors_by_frame(finished, clip.reference)
    trust = {numbers[k]: value for model in found.confidence for k, value in model.items()}
    right = sum(value < WRONG for value in off.values())
    return Outcome(
        clip.name, stride, start, features, len(frames), right, len(off) - right,
        [len(poses) for poses in finished], off, trust, metrics["degradations"],
    )  # fmt: skip


def finished_poses(folder):
    """cam_from_world (3, 4) by frame number of every model of a run of one video."""
    numbers = sorted(int(model.name) for model in (folder / "sparse").iterdir())
    models = [colmap_model.read_poses(folder / "sparse" / str(number)) for number in numbers]
    return [{int(Path(name).stem): pose for name, pose in poses.items()} for poses in models]


def errors_by_frame(models, reference):
    """Errors of frames, as shares of the reference's path, each model aligned by itself."""
    known = open_pose_reference(reference).cam_from_world
    known = {number - min(known): pose for number, pose in known.items()}
    path = np.linalg.norm(np.diff(camera_centres(np.stack([known[k] for k in sorted(known)])), axis=0), axis=1).sum()
    off = {}
    for poses in models:
        used = [k for k in sorted(poses) if k in known]
        if len(used) >= 3:
            ours, theirs = np.stack([poses[k] for k in used]), np.stack([known[k] for k in used])
            errors = aligned_errors(
                camera_centres(ours), ours[:, :, :3], camera_centres(theirs), theirs[:, :, :3], WRONG * path
            )
            off |= {k: float(error / path) for k, error in zip(used, errors, strict=True)}
    return off


def draw(outcomes, path):
    """Draw shares of right frames against stride, and the number of wrong ones, clip by clip."""
    clips = sorted({o["clip"] for o in outcomes})
    figure = Figure(figsize=(3.2 * len(clips), 4.2), layout="constrained")
    panels = figure.subplots(2, len(clips), sharex=True, sharey="row", squeeze=False)
    for column, clip in enumerate(clips):
        for features, colour in COLOURS.items():
            some = [o for o in outcomes if o["clip"] == clip and o["features"] == features]
            strides = sorted({o["stride"] for o in some})
            frames, right, wrong = (
                np.array([sum(o[key] for o in some if o["stride"] == stride) for stride in strides], float)
                for key in ("frames", "right", "wrong")
            )
            if strides:
                panels[0, column].plot(strides, 100 * right / frames, "o-", color=colour, label=features)
                panels[1, column].plot(strides, 100 * wrong / frames, "o-", color=colour)
        panels[0, column].set(title=clip, ylim=(0, 105))
        panels[1, column].set(xlabel="every N-th frame")
        for axes in panels[:, column]:
            axes.grid(alpha=0.25)
    panels[0, 0].set(ylabel="registered rightly [%]")
    panels[1, 0].set(ylabel="wrongly [%]")
    drawn = [features for features in COLOURS if any(o["features"] == features for o in outcomes)]
    lines = [Line2D([], [], color=COLOURS[features], marker="o", label=features) for features in drawn]
    panels[0, 0].legend(handles=lines, frameon=False, loc="lower left")
    figure.savefig(path, dpi=120)


def table(outcomes):
    """Print a line for every clip, stride and method."""
    print("| clip | every | features | first frames | frames | right | wrong |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for key in sorted({(o["clip"], o["stride"], o["features"]) for o in outcomes}):
        some = [o for o in outcomes if (o["clip"], o["stride"], o["features"]) == key]
        frames, right, wrong = (sum(o[name] for o in some) for name in ("frames", "right", "wrong"))
        print(f"| {key[0]} | {key[1]} | {key[2]} | {len(some)} | {frames} | {right} | {wrong} |")


def main():
    """Measure what is missing, then print and draw all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--clip", action="append", default=[], help="NAME=VIDEO,CALIBRATION,MASK or nothing,REFERENCE")
    parser.add_argument("--strides", type=int, nargs="+", default=[4, 6, 8, 10, 12, 14])
    parser.add_argument("--starts", type=int, default=4, help="first frames of each stride, evenly within it")
    parser.add_argument("--features", nargs="+", default=["learned"], choices=list(COLOURS))
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    lines = given.work / "strides.jsonl"
    outcomes = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    done = {(o["clip"], o["stride"], o["start"], o["features"]) for o in outcomes}
    for clip, stride, features in product(map(clip_of, given.clip), given.strides, given.features):
        for start in sorted({k * stride // given.starts for k in range(given.starts)}):
            if (clip.name, stride, start, features) in done:
                continue
            try:
                outcomes.append(asdict(measure(clip, stride, start, features, given.work)))
            except DDSfMError as error:
                print(f"{clip.name} {stride} {start} {features}: {error}", file=sys.stderr)
                continue
            with lines.open("a") as file:
                file.write(json.dumps(outcomes[-1]) + "\n")
    table(outcomes)
    if given.figure:
        draw(outcomes, given.figure)


def clip_of(text):
    """A clip as the command line names it; a calibration may hold commas."""
    name, _, rest = text.partition("=")
    video, *calibration, mask, reference = rest.split(",")
    return Clip(name, Path(video), ",".join(calibration), Path(mask) if mask else None, Path(reference))


if __name__ == "__main__":
    main()
