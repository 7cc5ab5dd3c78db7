"""A database in a file, for tests whose threads or processes share one."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast

from django.db import connection

from tests.environment import FOLDER

_MIGRATED = FOLDER / "migrated.sqlite3"


@contextmanager
def database_file(path: Path) -> Iterator[None]:
    """Let this process use the database in ``path`` in place of the tests' own until the block ends."""
    own, name = connection.connection, connection.settings_dict["NAME"]
    connection.connection = None
    connection.settings_dict["NAME"] = str(path)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = name
        connection.connection = own


@contextmanager
def copied_database(folder: Path) -> Iterator[None]:
    """Use a copy of the tests' database, which is in memory and one thread's, in ``folder`` until the block ends.

    The test needs ``django_db(transaction=True)``.
    """
    connection.ensure_connection()
    path = folder / "db.sqlite3"
    with closing(sqlite3.connect(path)) as made:
        cast(sqlite3.Connection, connection.connection).backup(made)
    with database_file(path):
        yield


def migrated(path: Path, migrate: Callable[[], object]) -> None:
    """Have a database with all tables in ``path``: ``migrate`` makes the first there, every later one is its copy."""
    if _MIGRATED.exists():
        shutil.copy(_MIGRATED, path)
        return
    migrate()
    with closing(sqlite3.connect(path)) as made, closing(sqlite3.connect(_MIGRATED)) as kept:
        made.backup(kept)
