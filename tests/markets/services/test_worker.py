"""A Celery worker as a process of its own runs backfills; one that is killed loses no candle and no job."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.conf import settings

from markets.series import SeriesKey
from markets.store import CandleStore
from smcsite.embedded import start_server
from tests import environment
from tests.replaying import START, LocalReplay, replay
from tests.waiting import eventually

pytestmark = [pytest.mark.processes, pytest.mark.broker]

SERIES = SeriesKey.of("BTCUSDT", "1m")
MINUTES = 60_000
COUNT = 40_000
END = START - START % 3_600_000
_SUBMIT = """
import django; django.setup()
from markets.models import Backfill
from markets.tasks import submit_backfill
job = Backfill(symbol="BTCUSDT", timeframe="1m", start={start}, end={end}, source="rest", spec={{}})
print(submit_backfill(job).pk)
"""
_DISPATCH = "import django; django.setup(); from markets.tasks import dispatch_backfills; dispatch_backfills()"


class Site:
    """A data folder with its own broker, and the processes that work on it."""

    def __init__(self, folder: Path, exchange: LocalReplay) -> None:
        self.folder = folder
        self.server = start_server(folder / "redis")
        self.variables = {
            **os.environ,
            **environment.test_variables(),
            "DATA_DIR": str(folder / "data"),
            "REDIS_URL": self.server.url,
            "BINANCE_REST_URL": exchange.url,
            "BINANCE_WS_URL": exchange.ws_url,
            "BINANCE_ARCHIVE_URL": exchange.url,
            "DJANGO_SETTINGS_MODULE": "smcsite.settings",
        }
        self._workers: list[subprocess.Popen[bytes]] = []
        self.python("manage.py", "migrate", "--verbosity", "0")

    def python(self, *arguments: str) -> str:
        command = [sys.executable, *arguments]
        ended = subprocess.run(
            command, cwd=settings.BASE_DIR, env=self.variables, capture_output=True, text=True, timeout=180, check=False
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    def start_worker(self) -> "subprocess.Popen[bytes]":
        command = [
            sys.executable, "-m", "celery", "-A", "smcsite", "worker", "--queues", "exchange", "--concurrency", "1",
            "--without-gossip", "--without-mingle",
        ]  # fmt: skip
        with (self.folder / "worker.log").open("ab") as log:
            worker = subprocess.Popen(
                command, cwd=settings.BASE_DIR, env=self.variables, stdout=log, stderr=log, start_new_session=True
            )
        self._workers.append(worker)
        return worker

    def job(self, number: int) -> tuple[str, float, int]:
        """Return a job's state, progress and attempts."""
        with closing(sqlite3.connect(self.folder / "data/db.sqlite3", timeout=20)) as rows:
            asked = "SELECT state, progress, attempts FROM markets_job WHERE id = ?"
            found: tuple[str, float, int] = rows.execute(asked, (number,)).fetchone()
        return found

    def let_time_pass(self, number: int) -> None:
        """Make a job's last sign of life an hour old."""
        with closing(sqlite3.connect(self.folder / "data/db.sqlite3", timeout=20)) as rows, rows:
            rows.execute(
                "UPDATE markets_job SET heartbeat_at = datetime(heartbeat_at, '-1 hour') WHERE id = ?", (number,)
            )

    def close(self) -> None:
        for worker in self._workers:
            if worker.poll() is None:
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
        self.server.process.kill()
        self.server.process.wait()


@pytest.fixture
def exchange() -> Iterator[LocalReplay]:
    with replay(symbols=["BTCUSDT"], speed=0.0, start=START + 10 * MINUTES) as found:
        yield found


@pytest.fixture
def site(tmp_path: Path, exchange: LocalReplay) -> Iterator[Site]:
    found = Site(tmp_path, exchange)
    yield found
    found.close()


def test_a_killed_worker_loses_no_candle_and_the_next_one_ends_its_job(site: Site, exchange: LocalReplay) -> None:
    number = int(site.python("-c", _SUBMIT.format(start=END - COUNT * MINUTES, end=END)))
    worker = site.start_worker()
    eventually(lambda: site.job(number)[1] > 0.2, seconds=120)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    state, progress, _ = site.job(number)
    assert (state, progress < 1.0) == ("running", True)
    stored = len(CandleStore(site.folder / "data").read(SERIES, start=None, end=None))
    assert stored > 0

    site.let_time_pass(number)
    site.python("-c", _DISPATCH)
    site.start_worker()
    eventually(lambda: site.job(number)[0] == "done", seconds=120)
    assert site.job(number)[2] == 2
    store = CandleStore(site.folder / "data")
    expected = exchange.oracle(SERIES, END - COUNT * MINUTES, END)
    kept = store.read(SERIES, start=None, end=None)
    assert (kept.open_time == expected.open_time).all()
    assert (kept.close == expected.close).all()
    assert store.verify().problems == ()
