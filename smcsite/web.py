"""The web process: uvicorn with the options that this service needs, ``python -m smcsite.web``."""

import asyncio
import contextlib
import gc
import signal
import socket
import sys
from importlib import import_module
from typing import Any

import uvicorn

from smcsite import env
from smcsite.env import EnvironmentVariableError

MESSAGE_BYTES = 64 * 1024
_CLOSING_SECONDS = 2


def main() -> int:
    """Serve until SIGTERM or SIGINT; return the exit code."""
    try:
        environment = env.load()
    except EnvironmentVariableError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    config = configuration("smcsite.asgi:application", host=environment.api_host, port=environment.api_port)
    server = uvicorn.Server(config)

    def end(*_: object) -> None:
        # From its start on uvicorn minds these signals, and raises them again when it has closed.
        if not server.started:
            sys.exit(0)

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, end)
    # All views now, so that the first page need not wait for them. What is loaded stays, and Python's search for cycles
    # would stop every socket for a tenth of a second to look at it.
    config.load()
    import_module("smcsite.urls")
    gc.freeze()
    with contextlib.suppress(asyncio.CancelledError):
        server.run()
    return 0 if server.started else 1


def configuration(application: Any, *, host: str, port: int) -> uvicorn.Config:
    """Return how the server serves ``application``."""
    return uvicorn.Config(
        application,
        host=host,
        port=port,
        ws="websockets-sansio",
        ws_max_size=MESSAGE_BYTES,
        # It would compress each message anew for every socket.
        ws_per_message_deflate=False,
        # Which peers' headers are believed is decided in one place, smcsite.security.
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        lifespan="off",
        timeout_graceful_shutdown=_CLOSING_SECONDS,
        timeout_keep_alive=30,
        h11_max_incomplete_event_size=32 * 1024,
    )


def is_free(host: str, port: int) -> bool:
    """Say whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


if __name__ == "__main__":
    sys.exit(main())
