"""A service that benchmarks measure: what its processes know, and when it is there."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from smcsite.embedded import start_server

ROOT = Path(__file__).resolve().parent.parent
TIMEFRAMES = ("1m", "5m", "15m", "30m", "1h", "4h", "1d")
READY_SECONDS = 240


def variables(folder: Path, **changes: str) -> dict[str, str]:
    """Return the environment of a service whose data and reports lie in ``folder``."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "smcsite.settings",
        "MARKET_SOURCE": "binance",
        "DATA_DIR": str(folder / "data"),
        "REPORTS_DIR": str(folder / "reports"),
        "DATABASE_URL": "",
        "SHARED_SECRET": "",
        "LOG_LEVEL": "WARNING",
        **changes,
    }


def exchange_urls(port: int) -> dict[str, str]:
    """Return the variables of a service whose exchange is a replay on ``port``."""
    address = f"127.0.0.1:{port}"
    return {
        "BINANCE_REST_URL": f"http://{address}",
        "BINANCE_WS_URL": f"ws://{address}",
        "BINANCE_ARCHIVE_URL": f"http://{address}",
    }


@contextlib.contextmanager
def broker(folder: Path) -> Iterator[str]:
    """Run a Redis server in ``folder`` until the block ends, and give its address."""
    server = start_server(folder / "redis")
    try:
        yield server.url
    finally:
        server.process.kill()
        server.process.wait()


def migrate(around: dict[str, str]) -> None:
    """Make the database of the service whose environment this is."""
    Path(around["DATA_DIR"], "var").mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=ROOT, env=around, check=True)


def await_port(port: int) -> None:
    """Return once somebody listens on ``port``."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    raise SystemExit("the server does not answer")
