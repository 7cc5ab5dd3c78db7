"""The service as browser tests need it: its own processes, its own folder, a store that is known to the candle."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smcsite.embedded import free_port
from tests import compiling
from tests.environment import service_variables

ROOT = Path(__file__).resolve().parent.parent.parent
_START_SECONDS = 240.0


@dataclass(slots=True)
class Stack:
    """A running service. ``url`` is its origin; ``folder`` holds its data and its log."""

    url: str
    folder: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes]

    def get(self, path: str) -> Any:
        """Ask the API."""
        with urllib.request.urlopen(self.url + path, timeout=20) as answer:  # noqa: S310 - our own server
            return json.load(answer)

    def has_history(self) -> bool:
        """Say whether there are candles to run a backtest on."""
        try:
            return len(self.get("/api/v1/candles/?symbol=BTCUSDT&timeframe=15m&limit=500")["results"]) == 500
        except urllib.error.HTTPError:
            return False

    def restart(self) -> None:
        """End the service and start it again on the same folder and port."""
        _stop(self.process)
        self.process = _start(self.environment, self.folder, _PROGRAMS[self.environment["STACK_PROGRAM"]])
        _wait(self.url, self.process, self.folder)

    def log(self) -> str:
        return (self.folder / "log.txt").read_text(errors="replace")


_PROGRAMS = {"web": ["-m", "smcsite.web"], "serve": ["manage.py", "serve"]}


@contextmanager
def running(program: str, *, seed: Path | None = None, **variables: str) -> Iterator[Stack]:
    """Run ``web`` (the web process alone) or ``serve`` (everything) on a folder of its own.

    ``seed`` is a folder of data that the stack begins with a copy of.
    """
    compiling.await_end()
    folder = Path(tempfile.mkdtemp(prefix=f"smc-{program}-"))
    port = free_port()
    environment = {
        **service_variables(folder / "data"),
        "REPORTS_DIR": str(folder / "reports"),
        "API_PORT": str(port),
        "WORKER_PORT": str(free_port()),
        "STACK_PROGRAM": program,
        **variables,
    }
    if program == "serve":
        # Its own broker, and the hosts of its own exchange.
        for name in ("REDIS_URL", "BINANCE_REST_URL", "BINANCE_WS_URL", "BINANCE_ARCHIVE_URL"):
            environment.pop(name, None)
    try:
        if seed:
            shutil.copytree(seed, folder / "data")
        process = _start(environment, folder, _PROGRAMS[program])
        stack = Stack(f"http://127.0.0.1:{port}", folder, environment, process)
        try:
            _wait(stack.url, process, folder)
            yield stack
        finally:
            _stop(stack.process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def seeded(folder: Path) -> Path:
    """Return the data that ``tests.browser.seeding`` made, somewhere in ``folder``; the first who asks waits for it."""
    data = folder / "seeded"
    with (folder / "seeding.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not data.exists():
            compiling.await_end()
            began = folder / "seeding"
            environment = service_variables(began, REPORTS_DIR=str(folder / "reports"))
            command = [sys.executable, "-m", "tests.browser.seeding"]
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
            assert done.returncode == 0, done.stderr.decode()[-2000:]
            began.rename(data)
    return data


def _start(environment: dict[str, str], folder: Path, arguments: list[str]) -> subprocess.Popen[bytes]:
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
        )


def _wait(url: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, (folder / "log.txt").read_text()[-3000:]
        with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{url}/healthz", timeout=2):  # noqa: S310
            return
        time.sleep(0.1)
    raise AssertionError((folder / "log.txt").read_text()[-3000:])


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)
