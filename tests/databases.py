"""A database in a file, for tests whose threads or processes share one."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast

import pytest
from django.db import connection


@contextmanager
def database_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use a copy of the tests' database, which is in memory and one thread's, in ``folder`` until the block ends.

    The test needs ``django_db(transaction=True)``.
    """
    connection.ensure_connection()
    in_memory = connection.connection
    path = folder / "db.sqlite3"
    with closing(sqlite3.connect(path)) as made:
        cast(sqlite3.Connection, in_memory).backup(made)
    with monkeypatch.context() as patched:
        patched.setitem(connection.settings_dict, "NAME", str(path))
        connection.connection = None
        try:
            yield
        finally:
            connection.close()
            connection.connection = in_memory
