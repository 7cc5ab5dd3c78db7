"""A Celery worker as a process of its own runs backfills; one that is killed loses no candle and no job."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from markets.models import Backfill, JobState
from markets.series import SeriesKey
from markets.store import CandleStore
from markets.tasks import dispatch_backfills, submit_backfill
from tests.brokers import emptied
from tests.databases import copied_database
from tests.environment import service_variables
from tests.replaying import START, LocalReplay, replay
from tests.waiting import eventually

pytestmark = [pytest.mark.processes, pytest.mark.broker]

SERIES = SeriesKey.of("BTCUSDT", "1m")
MINUTES = 60_000
COUNT = 40_000
END = START - START % 3_600_000


class Site:
    """A data folder, and the workers on it."""

    def __init__(self, folder: Path, exchange: LocalReplay) -> None:
        self.folder = folder
        self.variables = service_variables(
            folder / "data",
            BINANCE_REST_URL=exchange.url,
            BINANCE_WS_URL=exchange.ws_url,
            BINANCE_ARCHIVE_URL=exchange.url,
        )
        self._workers: list[subprocess.Popen[bytes]] = []

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

    def close(self) -> None:
        for worker in self._workers:
            if worker.poll() is None:
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()


@pytest.fixture
def exchange() -> Iterator[LocalReplay]:
    with replay(symbols=["BTCUSDT"], speed=0.0, start=START + 10 * MINUTES) as found:
        yield found


@pytest.fixture
def site(tmp_path: Path, exchange: LocalReplay) -> Iterator[Site]:
    (tmp_path / "data").mkdir()
    with emptied(settings.REDIS_URLS[0]), copied_database(tmp_path / "data"):
        found = Site(tmp_path, exchange)
        yield found
        found.close()


@pytest.mark.django_db(transaction=True)
def test_a_killed_worker_loses_no_candle_and_the_next_one_ends_its_job(site: Site, exchange: LocalReplay) -> None:
    start = END - COUNT * MINUTES
    job = submit_backfill(Backfill(symbol="BTCUSDT", timeframe="1m", start=start, end=END, source="rest", spec={}))
    worker = site.start_worker()
    eventually(lambda: Backfill.objects.get(pk=job.pk).progress > 0.2, seconds=120, every=0.05)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    job.refresh_from_db()
    assert job.state == JobState.RUNNING
    assert job.progress < 1.0
    stored = len(CandleStore(site.folder / "data").read(SERIES, start=None, end=None))
    assert stored > 0

    Backfill.objects.update(heartbeat_at=timezone.now() - timedelta(hours=1))
    dispatch_backfills()
    site.start_worker()
    eventually(lambda: Backfill.objects.get(pk=job.pk).state == JobState.DONE, seconds=120, every=0.05)
    job.refresh_from_db()
    assert job.attempts == 2
    store = CandleStore(site.folder / "data")
    expected = exchange.oracle(SERIES, start, END)
    kept = store.read(SERIES, start=None, end=None)
    assert (kept.open_time == expected.open_time).all()
    assert (kept.close == expected.close).all()
    assert store.verify().problems == ()
