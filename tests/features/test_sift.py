"""SIFT's column must be what COLMAP gives its own users."""

import json
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from conftest import circle_mask, write_video

from dd_sfm.config import Config, SiftConfig, load_config
from dd_sfm.errors import ReconstructionError
from dd_sfm.features.sift import extraction_options, sift_pairs
from dd_sfm.pipeline.run import run
from dd_sfm.pipeline.stage_work import RunRequest
from dd_sfm.progress import silent
from dd_sfm.sfm.pairs import window_pairs

DEMO = Path(__file__).parents[2] / "demo_videos" / "sinus"


def test_presets():
    own = pycolmap.FeatureExtractionOptions().sift
    options = {name: extraction_options(SiftConfig(preset=name), 1).sift for name in ("tuned", "strong", "default")}
    for name in ("peak_threshold", "first_octave", "domain_size_pooling", "estimate_affine_shape"):
        assert getattr(options["default"], name) == getattr(own, name)
    assert (options["tuned"].peak_threshold, options["tuned"].first_octave) == (0.002, 0)
    assert not options["tuned"].domain_size_pooling
    assert options["strong"].domain_size_pooling
    assert options["strong"].estimate_affine_shape
    assert options["strong"].peak_threshold == 0.002


def test_pairs():
    config = load_config(Config, None, ["sift.overlap=2"])
    assert sift_pairs([range(4)], config) == [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)]
    both = set(sift_pairs([range(30)], load_config(Config, None, ["sift.pairs=both"])))
    window = set(window_pairs([range(30)], config.pairs))
    assert set(sift_pairs([range(30)], load_config(Config, None, ["sift.pairs=window"]))) == window
    assert both == window | set(sift_pairs([range(30)], Config()))


def test_sequential_pairs_depend_on_no_setting_of_other_features():
    pieces = [range(40), range(40, 90)]
    found = [sift_pairs(pieces, load_config(Config, None, [f"pairs.reference_every={n}"])) for n in (1, 4, 7)]
    assert found[0] == found[1] == found[2]
    between = [(i, j) for i, j in found[0] if i < 40 <= j]
    assert 300 < len(between) <= 600


def plain_sift(frames: Path, masks: Path, camera: str, out: Path) -> pycolmap.Reconstruction:
    """What a user of pycolmap writes: tuned features, sequential pairs, global mapper, fixed intrinsics."""
    pycolmap.set_random_seed(0)
    reader = pycolmap.ImageReaderOptions()
    reader.camera_model, reader.camera_params, reader.mask_path = "PINHOLE", camera, str(masks)
    extraction, matching = pycolmap.FeatureExtractionOptions(), pycolmap.FeatureMatchingOptions()
    extraction.use_gpu = matching.use_gpu = False
    extraction.sift.peak_threshold, extraction.sift.first_octave = 0.002, 0
    pairing = pycolmap.SequentialPairingOptions()
    pairing.overlap, pairing.quadratic_overlap = 10, False
    database = out / "plain.db"
    pycolmap.extract_features(
        database, frames, camera_mode=pycolmap.CameraMode.SINGLE, reader_options=reader, extraction_options=extraction
    )
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = 0
    pycolmap.match_sequential(database, matching, pairing, verification)
    options = pycolmap.GlobalPipelineOptions()
    adjustment = options.mapper.bundle_adjustment
    adjustment.refine_focal_length = adjustment.refine_principal_point = adjustment.refine_extra_params = False
    return pycolmap.global_mapping(database, frames, out, options)[0]


def reprojection_errors(model: pycolmap.Reconstruction) -> np.ndarray:
    errors = []
    for image in model.images.values():
        seen = [(p.xy, model.points3D[p.point3D_id].xyz) for p in image.points2D if p.has_point3D()]
        errors += [np.linalg.norm(image.project_point(xyz) - xy) for xy, xyz in seen]
    return np.array(errors)


@pytest.mark.slow
def test_the_same_figures_as_a_plain_script(tmp_path):
    calibration = str(DEMO / "calibration.txt")
    config = load_config(Config, None, ["features=sift", "frames.end=24", "runtime.device=cpu"])
    metrics = run(RunRequest(DEMO / "clip.mp4", tmp_path / "run", config, calibration), silent, lambda _: None)
    values = ",".join((DEMO / "calibration.txt").read_text().split()[-4:])
    plain = plain_sift(tmp_path / "run" / "frames", tmp_path / "run" / "masks", values, tmp_path)
    errors = reprojection_errors(plain)
    assert metrics["mapper"] == "global"
    assert metrics["frames_registered"] == plain.num_reg_images() == 24
    assert metrics["points"] == pytest.approx(plain.num_points3D(), rel=0.02)
    assert metrics["observations"] == pytest.approx(len(errors), rel=0.02)
    assert metrics["mean_track_length"] == pytest.approx(len(errors) / plain.num_points3D(), rel=0.02)
    assert metrics["median_reprojection_error_px"] == pytest.approx(np.median(errors), rel=0.02)
    assert metrics["p90_reprojection_error_px"] == pytest.approx(np.percentile(errors, 90), rel=0.02)
    # And the model on disk is COLMAP's own: keypoints without a point are still there, colours are the picture's.
    written = pycolmap.Reconstruction(str(tmp_path / "run" / "sparse" / "0"))
    image = next(iter(written.images.values()))
    assert len(image.points2D) > image.num_points3D
    colours = np.array([p.color for p in written.points3D.values()])
    assert colours[:, 0].mean() > colours[:, 1].mean() + 10
    assert json.loads((tmp_path / "run" / "densify.json").read_text())[0]["points"] == metrics["points"]


def smooth_frames(count: int = 8) -> list[np.ndarray]:
    """A soft light that wanders behind a round field of view: nothing that SIFT could hold on to."""
    rows, columns = np.mgrid[:240, :320]
    frames = []
    for k in range(count):
        light = np.exp(-((columns - 100 - 8 * k) ** 2 + (rows - 120) ** 2) / 8000)
        tissue = np.stack([150 * light + 60, 90 * light + 40, 80 * light + 40], -1)
        frames.append((tissue * circle_mask(240, 320, 110)[..., None]).astype(np.uint8))
    return frames


@pytest.mark.parametrize("preset", ["tuned", "default"])
def test_nothing_to_match_is_one_clear_line(tmp_path, preset):
    clip = write_video(tmp_path / "smooth.avi", smooth_frames())
    config = load_config(
        Config, None, ["features=sift", f"sift.preset={preset}", "runtime.device=cpu", "frames.min_sharpness=0"]
    )
    with pytest.raises(ReconstructionError, match=r"no model from 8 frames \(0 of \d+ pairs verified, 0 matches\)"):
        run(RunRequest(clip, tmp_path / "run", config, "300,300,160,120"), silent, lambda _: None)
