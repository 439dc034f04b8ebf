"""Match two frames of the demo clip and draw the matches.

Run as a script from the root of the repository, or cell by cell in an editor that knows ``# %%``.
"""

# %% Two frames, a quarter of a second apart
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import dd_sfm

CLIP = Path(__file__).parents[1] / "demo_videos" / "sinus" / "clip.mp4"
PICTURE = Path(sys.argv[1] if len(sys.argv) > 1 else "matches.png")
image0, image1 = dd_sfm.read_frames(CLIP, [0, 6])

# %% Match them as a reconstruction does
descriptor = dd_sfm.load_descriptor("compact-rendered")
matches = dd_sfm.match_images(image0, image1, descriptor=descriptor)
motion_px = np.linalg.norm(matches.xy1 - matches.xy0, axis=1)
print(f"{len(matches)} matches that moved by {np.median(motion_px):.1f} px (median)")

# %% Draw every 60th of them, and how far each point has moved
first, last = int(matches.xy0[:, 0].min()) - 20, int(matches.xy0[:, 0].max()) + 20
shown0, shown1 = image0[:, first:last], image1[:, first:last]
width = last - first
figure = Figure(figsize=(13, 4.2), layout="constrained")
pair, flow = figure.subplots(1, 2, width_ratios=[2, 1.1])
pair.imshow(np.hstack([shown0, shown1]))
places0, places1 = matches.xy0[::60] - [first, 0], matches.xy1[::60] - [first - width, 0]
for k, (start, end) in enumerate(zip(places0, places1, strict=True)):
    pair.plot(*zip(start, end, strict=True), linewidth=0.6, marker=".", markersize=4, color=f"C{k % 10}")
pair.set_title(f"every 60th of {len(matches)} matches")
flow.imshow(shown0)
places = flow.scatter(
    matches.xy0[:, 0] - first, matches.xy0[:, 1], s=2, c=motion_px, vmax=np.percentile(motion_px, 98)
)  # fmt: skip
flow.set_title("motion to the second frame")
figure.colorbar(places, ax=flow, label="px", shrink=0.8)
for axes in (pair, flow):
    axes.set_axis_off()
figure.savefig(PICTURE, dpi=120)
print(f"written: {PICTURE}")
