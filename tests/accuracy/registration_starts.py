"""Register runs on rendered clips to the clips' meshes from random starts, and compare with the truth.

    python tests/accuracy/registration_starts.py --clip sinus=RUN,MESH,REFERENCE --starts 20

RUN is a run on a clip of ``dd-sfm synth``, MESH its ``mesh.ply``, REFERENCE the clip's folder. The run is brought to
its true place by the true cameras, then moved, turned and scaled at random, and registered there. With ``--search``
its own place and scale are kept, and the whole surface is searched. A result is right when half of the points lie
within 5 % of the cloud's radius of their true places. Finished starts are kept in ``--work`` and not done again.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from dd_sfm.api import evaluate_model
from dd_sfm.io.surfaces import read_surface
from dd_sfm.registration.certainty import DECIDED_SHARE
from dd_sfm.registration.moving import moved, open_moving
from dd_sfm.registration.register import Settings, register
from dd_sfm.registration.target import make_target
from dd_sfm.sfm.geometry import Similarity

IDENTITY = Similarity(1.0, np.eye(3), np.zeros(3))


def true_place(run, reference):
    """The transform from a run to the truth by their cameras."""
    found = evaluate_model(run, reference).figures["alignment"]
    return Similarity(found["scale"], np.array(found["rotation"]), np.array(found["shift"]))


def disturbance(rng, centre, shift, degrees, growth):
    """A transform that moves by up to ``shift``, turns by up to ``degrees`` and scales by up to ``growth``."""
    axis, way = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    rotation = Rotation.from_rotvec(np.radians(degrees * rng.uniform()) * axis).as_matrix()
    scale = float(growth ** rng.uniform(-1, 1))
    return Similarity(scale, rotation, centre + shift * rng.uniform() * way - scale * rotation @ centre)


def part_of(rng, cloud, share):
    """The points nearest to one of them, taken at random: of a small part a surface has much that looks like it."""
    if share >= 1:
        return cloud
    away = np.linalg.norm(cloud.xyz - cloud.xyz[rng.integers(len(cloud.xyz))], axis=1)
    return cloud.where(away <= np.quantile(away, share))


def measure(cloud, truth, target, name, number, given):
    """One registration as a row of figures."""
    rng = np.random.default_rng(number)
    cloud = part_of(rng, cloud, given.part)
    placed = moved(cloud, truth)
    if given.search:
        source, off, settings = cloud, truth, Settings(seed=number)
    else:
        off = disturbance(rng, placed.centre, given.shift, given.degrees, given.growth)
        source, settings = moved(placed, off), Settings(start=IDENTITY, seed=number)
    begun = time.monotonic()
    found = register(source, target, settings)
    started = settings.start.points(source.xyz) if settings.start else np.full((1, 3), np.nan)
    error = np.linalg.norm(found.xyz - placed.xyz, axis=1)
    return {
        "clip": name, "start": number, "search": given.search, "part": given.part, "radius": placed.radius,
        "before": float(np.median(np.linalg.norm(started - placed.xyz, axis=1))),
        "error": float(np.median(error)), "residual_median": float(np.median(found.residual)),
        "residual_p90": float(np.percentile(found.residual, 90)),
        "scale": found.similarity.scale * (1 / off.scale if given.search else off.scale),
        "right": bool(np.median(error) < DECIDED_SHARE * placed.radius), "ambiguous": found.ambiguous,
        "ended_here": found.agreeing, "seconds": time.monotonic() - begun, "reasons": list(found.reasons),
    }  # fmt: skip


def table(rows):
    """Print a line for every clip."""
    print(
        "| clip | part | starts | before | target error, median / worst | residual, median / 90 % | scale off by | ",
        end="",
    )
    print("right | verdict agrees |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for key in dict.fromkeys((row["clip"], row["search"], row["part"]) for row in rows):
        some = [row for row in rows if (row["clip"], row["search"], row["part"]) == key]
        error, before, median, p90, scale = (
            np.array([row[name] for row in some])
            for name in ("error", "before", "residual_median", "residual_p90", "scale")
        )
        right = sum(row["right"] for row in some)
        agrees = sum(row["right"] != row["ambiguous"] for row in some)
        start = "searched" if key[1] else f"{before.min():.1f} to {before.max():.1f} mm"
        print(
            f"| {key[0]} | {key[2]:g} | {len(some)} | {start} | {np.median(error):.2f} / {error.max():.2f} mm | "
            f"{np.median(median):.2f} / {np.median(p90):.2f} mm | {100 * np.abs(scale - 1).max():.1f} % | "
            f"{right} of {len(some)} | {agrees} of {len(some)} |"
        )


def main():
    """Measure what is missing, then print all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--clip", action="append", default=[], help="NAME=RUN,MESH,REFERENCE")
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--shift", type=float, default=15.0)
    parser.add_argument("--degrees", type=float, default=25.0)
    parser.add_argument("--growth", type=float, default=1.2)
    parser.add_argument("--part", type=float, default=1.0, help="share of the cloud, around a random point")
    parser.add_argument("--search", action="store_true", help="without a start, from the run's own place and scale")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    lines = given.work / "starts.jsonl"
    rows = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    done = {(row["clip"], row["start"], row["search"], row["part"]) for row in rows}
    for name, _, rest in (clip.partition("=") for clip in given.clip):
        run, mesh, reference = map(Path, rest.split(","))
        missing = [k for k in range(given.starts) if (name, k, given.search, given.part) not in done]
        if not missing:
            continue
        cloud, truth, target = open_moving(run), true_place(run, reference), make_target(read_surface(mesh))
        for number in missing:
            rows.append(measure(cloud, truth, target, name, number, given))
            with lines.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    table(rows)


if __name__ == "__main__":
    main()
