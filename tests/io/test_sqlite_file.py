"""Databases are whole before they get their name."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from dd_sfm.errors import OutputError
from dd_sfm.io.sqlite_file import bring_into_file, remove_database


def rows(path):
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT count(*) FROM numbers").fetchone()[0]


@pytest.fixture
def left_open(tmp_path):
    """A database as one is left that could not be closed: what it holds is in the log beside it."""
    path = tmp_path / "left.db"
    with closing(sqlite3.connect(tmp_path / "a.db")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE numbers (x INTEGER)")
        database.executemany("INSERT INTO numbers VALUES (?)", [(k,) for k in range(1000)])
        database.commit()
        for end in ("", "-wal"):
            shutil.copy(tmp_path / f"a.db{end}", tmp_path / f"left.db{end}")
    return path


def test_what_is_in_the_log_is_brought_into_the_file(tmp_path, left_open):
    bring_into_file(left_open)
    moved = left_open.rename(tmp_path / "moved.db")
    remove_database(left_open)
    assert rows(moved) == 1000
    bring_into_file(moved)
    assert [path.name for path in tmp_path.glob("moved.db*")] == ["moved.db"]


def test_what_has_no_room_in_the_file_is_told(left_open, monkeypatch):
    def refuse(path):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("dd_sfm.io.sqlite_file.sqlite3.connect", refuse)
    with pytest.raises(OutputError, match=r"left\.db: no space left on the disk, .*free some space and repeat"):
        bring_into_file(left_open)
    assert left_open.with_name("left.db-wal").stat().st_size > 0
