"""Reconstruct some frames of the demo clip, and write the points with the smallest expected errors to a PLY file.

Run as a script from the root of the repository, or cell by cell in an editor that knows ``# %%``.
"""

# %% Reconstruct; a second time this goes on from what is there
import sys
from pathlib import Path

import numpy as np

import dd_sfm

DEMO = Path(__file__).parents[1] / "demo_videos" / "sinus"
OUT = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/example")
config = dd_sfm.configure("preview", {"frames.every": 3, "frames.end": 36})
run = dd_sfm.reconstruct(
    DEMO / "clip.mp4", OUT / "run", config, calibration=DEMO / "calibration.txt", on_stage=print
)  # fmt: skip
print(f"{len(run.poses)} of {len(run.frames)} frames have a pose; {len(run.points)} points")

# %% Keep the better half of the points, by the error that is expected of each
points = run.points
assert points.uncertainty is not None
limit = np.median(points.uncertainty)
sure = points.where(points.uncertainty <= limit)
dd_sfm.write_cloud(OUT / "sure.ply", sure)
print(f"{len(sure)} points are expected to be within {100 * limit:.1f} % of their distance: {OUT / 'sure.ply'}")

# %% The clip is rendered, so that the true error of every point is known
evaluation = dd_sfm.evaluate_model(run, DEMO)
known = np.isfinite(evaluation.error)
better = known & (points.uncertainty <= limit)
for name, chosen in (("all points", known), ("the better half", better)):
    print(f"{name}: {np.median(evaluation.error[chosen]):.3f} {evaluation.error_unit} off (median)")
