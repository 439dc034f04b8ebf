"""A database of SQLite as a file, with what SQLite keeps beside it: COLMAP's are written to a log first (WAL)."""

import sqlite3
from contextlib import closing
from pathlib import Path

from dd_sfm.errors import OutputError
from dd_sfm.io.shortage import MORE_ROOM

BESIDE = ("-wal", "-shm", "-journal")
"""Ends of the names of what SQLite keeps beside a database."""


def remove_database(path: Path) -> None:
    """Remove a database with what SQLite left beside it when it was broken off: that would be read into a new one."""
    for suffix in ("", *BESIDE):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def bring_into_file(path: Path) -> None:
    """Bring a closed database, all that is still in its log, into its file.

    Closing does so, but tells nobody where it could not: the file then lacks what was written last, or everything.

    Raises:
        OutputError: If there is no room for it, or the disk fails.
    """
    if not path.with_name(path.name + "-wal").exists():
        return
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise OutputError(f"{path}: no space left on the disk, or it fails (SQLite: {error}); {MORE_ROOM}") from error
