"""A PostgreSQL of the tests' own: the real server, on a port and in a folder that nobody else has."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from smcsite.embedded import free_port
from tests.conftest import find_program
from tests.waiting import eventually

_PATIENCE = 60.0
# What keeps data over a loss of power only costs time here; how it behaves otherwise stays the same.
_QUICK = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=60")


@contextmanager
def postgres() -> Iterator[str]:
    """Run a server until the block ends; yield the URL of an empty database of it."""
    initdb, server = (find_program((name,)) for name in ("initdb", "postgres"))
    assert initdb is not None
    assert server is not None
    folder = Path(tempfile.mkdtemp(prefix="smc-postgres-"))
    port = free_port()
    try:
        command = [initdb, "--pgdata", str(folder / "data"), "--username", "smc", "--auth", "trust", "--no-sync"]
        subprocess.run(
            [*command, "--encoding", "UTF8", "--no-locale"], check=True, capture_output=True, **_owner(folder)
        )
        options = [
            word for setting in (*_QUICK, f"port={port}", "unix_socket_directories=") for word in ("-c", setting)
        ]
        with (folder / "log.txt").open("wb") as log:
            process = subprocess.Popen(
                [server, "-D", str(folder / "data"), "-h", "127.0.0.1", *options], stdout=log, stderr=log,
                start_new_session=True, **_owner(folder),
            )  # fmt: skip
        try:
            url = f"postgres://smc@127.0.0.1:{port}/postgres"
            eventually(lambda: _answers(url) or process.poll() is not None, seconds=_PATIENCE, every=0.05)
            assert process.poll() is None, (folder / "log.txt").read_text()
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("CREATE DATABASE smc")
            yield f"postgres://smc@127.0.0.1:{port}/smc"
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(_PATIENCE)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _owner(folder: Path) -> dict[str, Any]:
    """Return whom the server runs as, and let that user own its folder: PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return {}
    user = next(name for name in ("postgres", "nobody") if name in {each.pw_name for each in pwd.getpwall()})
    found = pwd.getpwnam(user)
    os.chown(folder, found.pw_uid, found.pw_gid)
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": [], "cwd": folder}


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
