"""Points of a COLMAP database's matches, triangulated from the poses of a model."""

from pathlib import Path
from tempfile import TemporaryDirectory

from dd_sfm.errors import InputError, ReconstructionError, reason_of
from dd_sfm.io.colmap import pycolmap
from dd_sfm.io.colmap_database import log_kept, silence
from dd_sfm.io.colmap_matches import check_matrices, copy_database
from dd_sfm.io.colmap_source import open_model, writing_model


def triangulate_matches(database: Path, model: Path, images: Path, out: Path, scale: float = 1.0) -> int:
    """Write a model with the poses and cameras of another whose image points are the keypoints of a database.

    The points are those of its verified matches, coloured by the images that are there. Keypoints keep their numbers.

    Args:
        database: COLMAP's database, which stays as it is.
        model: Folder of the model; its images are known by their names.
        images: Folder of the images.
        out: Folder to write; made when missing.
        scale: What one unit of the model is in that to write.

    Returns:
        How many points there are.

    Raises:
        InputError: If the database or the model cannot be read.
        ReconstructionError: If the database has not all images of the model, or nothing can be triangulated.
        OutputError: If the model cannot be written.
    """
    check_matrices(database)
    reference = open_model(model)
    with log_kept(), TemporaryDirectory() as scratch:
        silence()
        # COLMAP opens databases for writing.
        copy = Path(scratch) / "database.db"
        copy_database(database, copy)
        try:
            with pycolmap.Database.open(copy) as opened:
                names = {image.name for image in opened.read_all_images()}
            missing = sorted({image.name for image in reference.images.values()} - names)
            if missing:
                raise ReconstructionError(f"{database}: no image {missing[0]}; expected those of {model}")
            found = pycolmap.triangulate_points(reference, str(copy), str(images), scratch, clear_points=True)
        except (ValueError, RuntimeError, LookupError) as error:
            raise InputError(
                f"{database}: cannot be read by COLMAP ({reason_of(error)}); expected the database of {model}"
            ) from error
        if not found.num_points3D():
            raise ReconstructionError(f"{database}: no match of it gives a point with the poses of {model}")
        found.transform(pycolmap.Sim3d(scale, pycolmap.Rotation3d(), [0.0, 0.0, 0.0]))
        with writing_model(out):
            out.mkdir(parents=True, exist_ok=True)
            found.write_binary(str(out))
        return int(found.num_points3D())
