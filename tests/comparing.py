"""Run folders of a comparison, made of the plane's model: what a comparison finds in them is known."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
from conftest import texture
from plane import CAMERA, FRAMES, plane_model, to_own_world, write_run

from dd_sfm.evaluation.comparison.result import Entry
from dd_sfm.io.run_folder import write_matches
from dd_sfm.sfm.geometry import model_rays, reprojection_errors_px
from dd_sfm.structures import MatchResult, Model, Tracks

LABELS = {"learned": "learned", "sift": "SIFT, tuned", "sift_default": "SIFT, COLMAP's defaults"}


def thinned(model: Model, every: int, noise_px: float = 0.0, frames: range | None = None) -> Model:
    """Every N-th point, seen with noise, and only by some frames."""
    chosen = np.zeros(len(model.xyz), bool)
    chosen[::every] = True
    rows = chosen[model.point] & np.isin(model.frame, list(frames or range(FRAMES)))
    rows &= (np.bincount(model.point[rows], minlength=len(chosen)) >= 2)[model.point]
    kept, point = np.unique(model.point[rows], return_inverse=True)
    noise = np.random.default_rng(1).normal(0, noise_px, (rows.sum(), 2)) if noise_px else 0.0
    poses = {f: p for f, p in model.cam_from_world.items() if f in (frames or range(FRAMES))}
    made = Model(
        model.camera, poses, model.xyz[kept], model.rgb[kept], model.error_px[kept], point, model.frame[rows],
        model.xy[rows] + noise,
    )  # fmt: skip
    error = reprojection_errors_px(model_rays(made), made.xyz)
    return replace(made, error_px=np.bincount(point, weights=error) / np.bincount(point))


def coloured(model: Model) -> Model:
    """Reddish points, as tissue has them."""
    grey = np.random.default_rng(2).integers(60, 200, len(model.xyz))
    return replace(model, rgb=np.stack([grey, grey // 2, grey // 2], 1).astype(np.uint8))


def write_comparison_run(folder: Path, model: Model | None, *, features: str, seconds: float = 10.0) -> Path:
    """frames.json, metrics.json, frames, and the model when there is one."""
    (folder / "frames").mkdir(parents=True)
    records = [{"index": k, "time_s": k / 25, "kept": True, "reason": ""} for k in range(FRAMES)]
    records.append({"index": FRAMES, "time_s": FRAMES / 25, "kept": False, "reason": "blurred"})
    camera = {"width": CAMERA.width, "height": CAMERA.height, "camera": asdict(CAMERA)}
    content = camera | {"field_of_view_px": CAMERA.height, "frames": records}
    (folder / "frames.json").write_text(json.dumps(content))
    for k in range(FRAMES):
        cv2.imwrite(str(folder / "frames" / f"{k:08d}.png"), texture(CAMERA.height, CAMERA.width, seed=k))
    if model is None:
        return folder
    score = np.ones(len(model.point), np.float32)
    tracks = Tracks(
        model.point,
        model.frame,
        model.xy.astype(np.float32),
        score,
        np.r_[True, np.diff(model.point) > 0][: len(score)],
    )
    write_matches(folder, MatchResult(tracks, []))
    write_run(folder / "sparse" / "0", model)
    stages = {"frames": 2.0, "describe": 0.0, "match": seconds, "map": 1.0, "densify": 0.5, "total": 3.5 + seconds}
    metrics = {
        "features": features, "mapper": "global", "pairs_tried": 40, "pairs_verified": 38, "seconds": stages,
        "peak_rss_mb": 512.0, "peak_gpu_mb": 0.0, "degradations": [], "degradation_codes": [],
    }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def entry(folder: Path, failure: str = "") -> Entry:
    """The entry of a run folder named after its run."""
    return Entry(folder.name, LABELS[folder.name], folder, failure)


def usual_runs(folder: Path) -> list[Entry]:
    """A dense learned run, and a sparser SIFT run with noise in a world of its own."""
    full = coloured(plane_model())
    learned = write_comparison_run(folder / "learned", thinned(full, 1, 0.2), features="learned")
    sift = write_comparison_run(folder / "sift", to_own_world(thinned(full, 10, 0.6)), features="sift")
    return [entry(learned), entry(sift)]
