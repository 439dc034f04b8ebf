"""Databases that older versions of COLMAP open."""

import sqlite3
from contextlib import closing

import numpy as np
import pycolmap
import pytest
from converting import write_small_run

from dd_sfm.errors import InputError
from dd_sfm.io.colmap_matches import database_matches
from dd_sfm.io.colmap_versions import open_to_all_versions

PREPARED = {
    "3.9": "INSERT INTO images(image_id, name, camera_id, prior_qw, prior_qx, prior_qy, prior_qz, prior_tx, prior_ty, "
    "prior_tz) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "3.10": "INSERT INTO pose_priors(image_id, position, coordinate_system) VALUES(?, ?, ?)",
    "3.11": "INSERT INTO pose_priors(image_id, position, coordinate_system, position_covariance) VALUES(?, ?, ?, ?)",
}
"""What these versions prepare when they open a database, of what 4.2 has changed."""
THEIR_TABLE = (
    "CREATE TABLE IF NOT EXISTS pose_priors (image_id INTEGER PRIMARY KEY NOT NULL, position BLOB, "
    "coordinate_system INTEGER NOT NULL, position_covariance BLOB)"
)


def counts(path):
    with closing(pycolmap.Database.open(path)) as database:
        return database.num_images(), database.num_keypoints(), database.num_inlier_matches(), database.num_rigs()


@pytest.mark.parametrize("version", PREPARED)
def test_statements_of_older_versions_can_be_prepared(tmp_path, version):
    write_small_run(tmp_path / "run")
    path = tmp_path / "run" / "database.db"
    before = counts(path)
    with closing(sqlite3.connect(path)) as database, pytest.raises(sqlite3.OperationalError, match="no column"):
        database.execute(f"EXPLAIN {PREPARED[version]}", [None] * PREPARED[version].count("?"))
    for _ in range(2):
        open_to_all_versions(path)
    with closing(sqlite3.connect(path)) as database:
        if version != "3.9":
            database.execute(THEIR_TABLE)
        database.execute(f"EXPLAIN {PREPARED[version]}", [None] * PREPARED[version].count("?"))
        database.rollback()
    assert counts(path) == before
    assert [p.name for p in path.parent.glob("database.db*")] == ["database.db"]


def test_priors_that_are_there_stay(tmp_path):
    write_small_run(tmp_path / "run")
    path = tmp_path / "run" / "database.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "INSERT INTO pose_priors(pose_prior_id, corr_data_id, corr_sensor_id, corr_sensor_type, coordinate_system) "
            "VALUES(1, 1, 1, 0, 1)"
        )
    open_to_all_versions(path)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM pose_priors").fetchone() == (1,)


def test_nothing_is_made_where_there_is_none(tmp_path):
    open_to_all_versions(tmp_path / "database.db")
    assert not any(tmp_path.iterdir())


def test_matches_of_a_pair_are_read_without_a_trace(tmp_path):
    write_small_run(tmp_path / "run")
    path = tmp_path / "run" / "database.db"
    names = ("00000010.png", "00000012.png")
    with closing(pycolmap.Database.open(path)) as database:
        ids = {image.name: image.image_id for image in database.read_all_images()}
        matches = database.read_matches(ids[names[0]], ids[names[1]])
        places = [database.read_keypoints(ids[name])[:, :2] - 0.5 for name in names]
    open_to_all_versions(path)
    before = path.read_bytes()
    found = database_matches(path, names)
    for k in range(2):
        assert np.allclose(found[k], places[k][matches[:, k]])
        assert (found[k] == database_matches(path, names[::-1])[1 - k]).all()
    assert database_matches(path, (names[0], names[0])) is None
    with pytest.raises(InputError, match=r"database\.db: .*none\.png is missing"):
        database_matches(path, (names[0], "none.png"))
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.glob("database.db*")] == ["database.db"]
