"""Bundle adjustment of a model by COLMAP's Ceres solver."""

import logging

import numpy as np

from dd_sfm.io.colmap import pycolmap
from dd_sfm.io.colmap_database import silence
from dd_sfm.io.colmap_model import image_names
from dd_sfm.io.colmap_reconstruction import to_reconstruction, with_geometry_of
from dd_sfm.sfm.point_selection import select_points
from dd_sfm.structures import FrameSet, Model

logger = logging.getLogger(__name__)

CONVERGED = 1e-5
"""Relative change of the cost below which poses do not change. COLMAP never stops early by itself."""
NEARLY_CONVERGED = 1e-4
"""The same where poses are adjusted again with new points."""
MOST_FRAMES = 300
"""From so many frames on points are thinned: what the solver needs, some 4 MB a frame, then grows no further..."""
FEWEST_OBSERVATIONS = 60
"""...unless a frame has no more than these."""


def bundle_adjust(
    model: Model,
    frames: FrameSet,
    *,
    refine_focal: bool,
    scale_px: float,
    threads: int,
    tolerance: float = CONVERGED,
) -> Model:
    """Refine poses and points together; intrinsics stay fixed unless the focal length was a guess.

    Args:
        model: What to refine; give it a well-spread subset when it is large. Of a path of more than
            :data:`MOST_FRAMES` frames only a part of the points is used.
        frames: Names of the images.
        refine_focal: Whether the focal length moves too.
        scale_px: Residual at which the Cauchy loss turns down an observation.
        threads: CPU threads.
        tolerance: Relative change of the cost at which it ends.

    Returns:
        The points used, with new poses and, if asked for, focal length.
    """
    model = thinned(model)
    options = _options(refine_focal=refine_focal, scale_px=scale_px, threads=threads, tolerance=tolerance)
    return _solve(model, frames, options)[0]


def thinned(model: Model) -> Model:
    """As many points as paths of :data:`MOST_FRAMES` frames have, and all that frames see which are left with few."""
    every = -(-len(model.cam_from_world) // MOST_FRAMES)
    if every == 1:
        return model
    keep = np.arange(len(model.xyz)) % every == 0
    left = np.bincount(model.frame[keep[model.point]], minlength=int(model.frame.max(initial=0)) + 1)
    keep[model.point[left[model.frame] < FEWEST_OBSERVATIONS]] = True
    logger.info("adjust: %d of %d points, as the path has %d frames", keep.sum(), len(keep), len(model.cam_from_world))
    return select_points(model, keep)


def bundle_adjust_counted(
    model: Model, frames: FrameSet, *, refine_focal: bool, scale_px: float, threads: int
) -> tuple[Model, int]:
    """:func:`bundle_adjust`, and how many steps Ceres tried."""
    return _solve(model, frames, _options(refine_focal=refine_focal, scale_px=scale_px, threads=threads))


def _solve(model: Model, frames: FrameSet, options: pycolmap.BundleAdjustmentOptions) -> tuple[Model, int]:
    silence()
    reconstruction = to_reconstruction(model, image_names(frames))
    adjuster = pycolmap.create_default_bundle_adjuster(options, _all_images(reconstruction), reconstruction)
    # The default adjuster is Ceres'; its annotation names the base class.
    solved = adjuster.solve().ceres_summary  # type: ignore[attr-defined]
    steps = solved.num_successful_steps + solved.num_unsuccessful_steps
    return with_geometry_of(model, reconstruction), int(steps)


def _options(
    *, refine_focal: bool, scale_px: float, threads: int, tolerance: float = CONVERGED
) -> pycolmap.BundleAdjustmentOptions:
    options = pycolmap.BundleAdjustmentOptions()
    options.refine_focal_length = refine_focal
    options.refine_principal_point = options.refine_extra_params = False
    options.ceres.loss_function_type = pycolmap.LossFunctionType.CAUCHY
    options.ceres.loss_function_scale = scale_px
    options.ceres.use_gpu = False
    options.ceres.solver_options.num_threads = threads
    options.ceres.solver_options.max_num_iterations = 50
    options.ceres.solver_options.function_tolerance = tolerance
    options.print_summary = False
    return options


def _all_images(reconstruction: pycolmap.Reconstruction) -> pycolmap.BundleAdjustmentConfig:
    """All registered images; the one in the middle holds position and rotation of the whole.

    The size of the whole is left to the damping of the steps: were it held by a second camera, that one would have
    fewer unknowns than the others, for which Ceres has no code of fixed size.
    """
    config = pycolmap.BundleAdjustmentConfig()
    images = sorted(reconstruction.reg_image_ids())
    for image in images:
        config.add_image(image)
    if images:
        config.set_constant_rig_from_world_pose(reconstruction.images[images[len(images) // 2]].frame_id)
    return config
