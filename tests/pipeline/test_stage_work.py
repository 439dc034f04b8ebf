"""What the stages add to what a feature method finds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from plane import CAMERA, FRAMES, plane_model

from dd_sfm.config import Config
from dd_sfm.features.method import Job
from dd_sfm.io.clouds import read_cloud
from dd_sfm.mvs.uncertainty import with_focal_sigma
from dd_sfm.pipeline import stage_work
from dd_sfm.pipeline.stage_work import STAGE_WORK, RunRequest, Work
from dd_sfm.progress import silent
from dd_sfm.structures import FinishedModel, Frame, FrameSet


class ModelsFromFiles:
    """A method whose models are read from files of COLMAP's, as those of SIFT are."""

    def points(self, job, tracks, found):
        model = plane_model(4.0)
        assert model.camera.focal_sigma == 0
        yield FinishedModel(model, np.full(len(model.xyz), 0.01))


def test_an_uncertain_focal_length_makes_points_of_every_method_uncertain(tmp_path, monkeypatch):
    monkeypatch.setattr(stage_work, "feature_method", lambda name: ModelsFromFiles())
    for name in ("read_matches", "read_poses"):
        monkeypatch.setattr(stage_work, name, lambda out: type("Found", (), {"tracks": None}))
    monkeypatch.setattr(stage_work, "has_frames_between", lambda out: False)
    for sigma in (0.0, 0.1):
        names = [Path(f"{k:08d}.png") for k in range(FRAMES)]
        camera = replace(CAMERA, focal_sigma=sigma)
        frames = FrameSet(tuple(Frame(k, name, name, k / 25) for k, name in enumerate(names)), camera, 120)
        monkeypatch.setattr(stage_work, "load_frames", lambda out, frames=frames: frames)
        work = Work(RunRequest(tmp_path, tmp_path, Config()), torch.device("cpu"), silent)
        assert isinstance(work.job(), Job)
        STAGE_WORK["densify"](work)
        uncertainty = read_cloud(tmp_path / "points.ply").uncertainty
        assert np.allclose(uncertainty, with_focal_sigma(np.array([0.01]), sigma)[0], rtol=1e-3)
