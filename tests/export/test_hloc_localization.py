"""Frames that a run has not seen are localised by its conversion to hloc, in the way of hloc's own code."""

from pathlib import Path

import h5py
import numpy as np
import pycolmap
import pytest
from scipy.spatial.transform import Rotation

import dd_sfm
from dd_sfm.cameras import camera_centres
from dd_sfm.export.convert import convert

DEMO = Path(__file__).parents[2] / "demo_videos" / "sinus"
HELD_OUT = [3, 9, 15, 21, 27, 32]
"""Between the frames of the run, which are the even ones up to 28, and beyond them."""
RETRIEVED = 8


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The run's conversion, and the frames held out as queries."""
    folder = tmp_path_factory.mktemp("localized")
    config = dd_sfm.configure("preview", {"frames.every": 2, "frames.end": 30, "dense.enabled": False})
    calibration = DEMO / "calibration.txt"
    run = dd_sfm.reconstruct(DEMO / "clip.mp4", folder / "run", config, calibration=calibration)
    convert(run.path, folder / "hloc", "hloc")
    pictures = dd_sfm.read_frames(DEMO / "clip.mp4", HELD_OUT)
    queries = {f"query/{n:08d}.png": picture for n, picture in zip(HELD_OUT, pictures, strict=True)}
    dd_sfm.write_hloc_queries(run, queries, folder / "queries", calibration=calibration)
    return folder


def retrieved(folder, name):
    """As hloc's pairs_from_retrieval: the images of the model that look most like a query."""
    with h5py.File(folder / "hloc" / "global.h5") as known, h5py.File(folder / "queries" / "global.h5") as asked:
        names = sorted(known)
        alike = np.stack([known[n]["global_descriptor"][()] for n in names]) @ asked[name]["global_descriptor"][()]
    return [names[k] for k in np.argsort(-alike)[:RETRIEVED]]


def mutual_nearest(first, second):
    """As hloc's NN-mutual: of each column of ``first`` that of ``second``, or -1."""
    similarity = first.T.astype(np.float32) @ second.astype(np.float32)
    there, back = similarity.argmax(1), similarity.argmax(0)
    return np.where(back[there] == np.arange(len(there)), there, -1)


def localised(folder, name, model):
    """As hloc's localize_sfm: points by the numbers of keypoints, then COLMAP's robust pose. The pose, its inliers."""
    lines = (folder / "queries" / "queries.txt").read_text().splitlines()
    kind, width, height, *params = next(line.split()[1:] for line in lines if line.split()[0] == name)
    camera = pycolmap.Camera(model=kind, width=int(width), height=int(height), params=list(map(float, params)))
    places, points = [], []
    with h5py.File(folder / "queries" / "features.h5") as asked, h5py.File(folder / "hloc" / "features.h5") as known:
        keypoints, descriptors = asked[name]["keypoints"][()] + 0.5, asked[name]["descriptors"][()]
        for other in retrieved(folder, name):
            seen = model.find_image_with_name(other).points2D
            for here, there in enumerate(mutual_nearest(descriptors, known[other]["descriptors"][()])):
                if there >= 0 and seen[int(there)].has_point3D():
                    places.append(keypoints[here])
                    points.append(model.points3D[seen[int(there)].point3D_id].xyz)
    options = {"ransac": {"max_error": 12}}
    found = pycolmap.estimate_and_refine_absolute_pose(np.array(places), np.array(points), camera, options)
    return found["cam_from_world"].matrix(), found["num_inliers"] / len(places)


def to_truth(model, truth):
    """Rotation, scale and shift that bring the model's cameras onto the true ones."""
    poses = {int(Path(image.name).stem): image.cam_from_world().matrix() for image in model.images.values()}
    turns = [truth["R"][n] @ pose[:, :3] for n, pose in poses.items()]
    rotation = Rotation.from_matrix(turns).mean().as_matrix()
    own = camera_centres(np.stack(list(poses.values()))) @ rotation.T
    real = truth["c"][list(poses)]
    scale = ((own - own.mean(0)) * (real - real.mean(0))).sum() / ((own - own.mean(0)) ** 2).sum()
    return rotation, scale, real.mean(0) - scale * own.mean(0)


@pytest.mark.slow
@pytest.mark.parametrize("number", HELD_OUT)
def test_a_frame_that_was_held_out_is_localised(converted, number):
    """Bounds are twice the largest of what was measured: 0.051 mm and 0.13 degrees; the tissue is 20 mm away."""
    model, truth = pycolmap.Reconstruction(str(converted / "hloc" / "sfm")), np.load(DEMO / "truth.npz")
    rotation, scale, shift = to_truth(model, truth)
    pose, inliers = localised(converted, f"query/{number:08d}.png", model)
    centre = scale * rotation @ camera_centres(pose[None])[0] + shift
    turned = Rotation.from_matrix(truth["R"][number] @ pose[:, :3] @ rotation.T).magnitude()
    assert np.linalg.norm(centre - truth["c"][number]) < 0.1
    assert np.degrees(turned) < 0.26
    assert inliers > 0.8
