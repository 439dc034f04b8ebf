"""What COLMAP found by itself: pairs in its database, and models finished for use with their points left as is."""

from pathlib import Path

from dd_sfm.io.colmap import pycolmap
from dd_sfm.io.colmap_database import silence
from dd_sfm.structures import VerifiedPairs


def database_pairs(path: Path, min_inliers: int) -> VerifiedPairs:
    """How geometric verification went in a database that COLMAP matched itself."""
    database = pycolmap.Database.open(path)
    try:
        inliers = [int(n) for n in database.read_two_view_geometry_num_inliers()[1]]
        return VerifiedPairs(
            tried=database.num_matched_image_pairs(),
            verified=sum(n >= min_inliers for n in inliers),
            matches=database.num_inlier_matches(),
        )
    finally:
        database.close()


def finish_models(found: Path, target: Path, images: Path, *, min_points: int) -> list[int]:
    """Colour the models under ``found`` and write them to ``target/0``, ``1``, ..., largest first, ties as found.

    The points, their observations and the poses stay COLMAP's. Images that see fewer than ``min_points`` points lose
    their pose: the global mapper gives one to every image, even on noise.

    Returns:
        Registered images of every model written; models of fewer than 3 are left out.
    """
    silence()
    folders = [path.parent for path in found.glob("*/images.bin") if path.parent.name.isdecimal()]
    models = [pycolmap.Reconstruction(str(folder)) for folder in sorted(folders, key=lambda folder: int(folder.name))]
    for model in models:
        lost = [i for i in model.reg_image_ids() if model.image(i).num_points3D < min_points]
        for image in lost:
            model.deregister_frame(model.image(image).frame_id)
    models = sorted((m for m in models if m.num_reg_images() >= 3), key=lambda m: -m.num_reg_images())
    for number, model in enumerate(models):
        model.extract_colors_for_all_images(str(images))
        model.update_point_3d_errors()
        folder = target / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        model.write_binary(str(folder))
    return [m.num_reg_images() for m in models]


def write_part(source: Path, target: Path, images: set[str]) -> None:
    """Write a model with only some of its images registered, and the points that these see."""
    model = pycolmap.Reconstruction(str(source))
    for image in model.reg_image_ids():
        if model.image(image).name not in images:
            model.deregister_frame(model.image(image).frame_id)
    model.update_point_3d_errors()
    target.mkdir(parents=True, exist_ok=True)
    model.write_binary(str(target))
