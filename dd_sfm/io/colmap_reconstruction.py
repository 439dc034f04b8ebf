"""A model in arrays as COLMAP's object in memory, and back."""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dd_sfm.io.colmap import pycolmap
from dd_sfm.io.colmap_database import colmap_camera
from dd_sfm.ops.coordinates import to_colmap
from dd_sfm.structures import Model


def to_reconstruction(model: Model, names: Sequence[str]) -> pycolmap.Reconstruction:
    """Build COLMAP's object: image ids are frame positions + 1, point ids are indices + 1.

    Args:
        model: Poses, points and observations; two or more of these in the same frame belong to different points.
        names: Name of the image of every frame position.
    """
    reconstruction = pycolmap.Reconstruction()
    reconstruction.add_camera_with_trivial_rig(colmap_camera(model.camera))
    # Observations are sorted by point already.
    order = np.argsort(model.frame, kind="stable")
    frame, xy = model.frame[order], to_colmap(model.xy[order].astype(np.float64))
    index_in_image = np.empty(len(order), np.int64)
    index_in_image[order] = np.arange(len(order)) - np.searchsorted(frame, frame, side="left")
    for position, pose in sorted(model.cam_from_world.items()):
        start, end = np.searchsorted(frame, (position, position + 1))
        image = pycolmap.Image(
            name=names[position], keypoints=xy[start:end].reshape(-1, 2), camera_id=1, image_id=position + 1
        )
        reconstruction.add_image_with_trivial_frame(image, pycolmap.Rigid3d(pose))
    images, indices = (model.frame + 1).tolist(), index_in_image.tolist()
    ends = np.cumsum(np.bincount(model.point, minlength=len(model.xyz))).tolist()
    start = 0
    for xyz, rgb, end in zip(model.xyz, model.rgb, ends, strict=True):
        track = pycolmap.Track()
        # Calls with plain numbers are several times faster than TrackElement objects; deque only makes them.
        deque(map(track.add_element, images[start:end], indices[start:end]), maxlen=0)
        reconstruction.add_point3D(xyz, track, rgb)
        start = end
    return reconstruction


def with_geometry_of(model: Model, reconstruction: pycolmap.Reconstruction) -> Model:
    """The model with the poses, the points and the focal length of what :func:`to_reconstruction` made of it."""
    poses = {
        position: np.asarray(reconstruction.images[position + 1].cam_from_world().matrix(), np.float64)
        for position in model.cam_from_world
    }
    xyz = np.empty(model.xyz.shape, np.float64)
    for number, point in reconstruction.points3D.items():
        xyz[number - 1] = point.xyz
    fx, fy = reconstruction.cameras[1].params[:2]
    return replace(model, camera=replace(model.camera, fx=float(fx), fy=float(fy)), cam_from_world=poses, xyz=xyz)
