"""A database that COLMAP of other versions opens, too.

COLMAP prepares all its statements when it opens a database, and gives up where one names a column that is missing,
whether it is used or not. It makes tables that are missing, and takes no notice of columns that it does not know.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from dd_sfm.io.sqlite_file import bring_into_file

PRIORS = "pose_priors"
PRIOR_POSE = tuple(f"prior_{name}" for name in ("qw", "qx", "qy", "qz", "tx", "ty", "tz"))


def open_to_all_versions(database: Path) -> None:
    """Change a database of COLMAP 4, which is not open, so that 3.8 to 4.2 open it; nothing that it holds is lost.

    A later version that opens it makes its own table of priors anew: do this after the last time.

    Args:
        database: The file; without effect where there is none.

    Raises:
        OutputError: If the disk is full.
    """
    if not database.is_file():
        return
    with closing(sqlite3.connect(database)) as connection, connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        # In 3.10 to 3.13 priors belong to images, from 4 on to data of sensors; an empty table tells nothing.
        if PRIORS in tables and not connection.execute(f"SELECT count(*) FROM {PRIORS}").fetchone()[0]:
            connection.execute(f"DROP TABLE {PRIORS}")
        # Up to 3.9 an image has a prior pose.
        there = {row[1] for row in connection.execute("PRAGMA table_info(images)")}
        for column in PRIOR_POSE if there else ():
            if column not in there:
                connection.execute(f"ALTER TABLE images ADD COLUMN {column} REAL")
    bring_into_file(database)
