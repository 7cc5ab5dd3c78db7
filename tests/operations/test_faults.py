"""What goes wrong around the processes: a deaf worker, two schedulers, a Redis set up badly, an upgrade under way."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.conf import settings
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from redis import Redis

from markets.models import Backfill, JobState
from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from markets.services import jobs
from markets.services.pairs import ensure_series
from markets.services.performing import Progress, perform
from markets.store import Source
from markets.tasks import submit_backfill
from signals.push.processes import running_processes
from smcsite import celery as service
from smcsite import health, scheduler
from smcsite.child import Program
from smcsite.heartbeats import redis_client
from smcsite.scheduler import LeasedScheduler
from smcsite.store_watch import DEGRADED, OK, Check
from smcsite.supervisor import Supervisor
from tests.brokers import emptied
from tests.factories import walk
from tests.waiting import eventually

pytestmark = pytest.mark.broker

# Of tests.operations.deaf_worker, which runs in processes of its own only.
QUEUE, DEAF = "unheard", "deaf"


@pytest.fixture
def broker() -> Iterator[Redis]:
    """The tests' broker; what a test sets is as it was afterwards."""
    with emptied(settings.REDIS_URLS[0]) as client:
        former: Any = client.config_get("maxmemory*")
        yield client
        for name in ("maxmemory-policy", "maxmemory"):
            client.config_set(name, former[name])


def backfill() -> Backfill:
    return Backfill(symbol="BTCUSDT", timeframe="1m", start=0, end=60_000, source="rest", spec={})


@pytest.mark.processes
def test_worker_stall_watchdog(broker: Redis, tmp_path: Path) -> None:
    """F74: a worker that is connected and takes nothing ends itself; the next one takes what waits."""
    names = chain([f"{DEAF}@%h"], repeat("hearing@%h"))
    worker = ("-m", "celery", "--quiet", "-A", "tests.operations.deaf_worker", "worker", "--pool", "solo")
    plain = ("--without-gossip", "--without-mingle")
    supervisor = Supervisor(tmp_path, json_lines=False)
    with Celery(broker=settings.CELERY_BROKER_URL, set_as_current=False) as caller:
        caller.send_task("hear", queue=QUEUE)
        deadline = time.monotonic() + 120

        def is_over() -> bool:
            assert time.monotonic() < deadline
            if not max((each.restarts for each in running_processes(tmp_path)), default=0):
                assert broker.llen(QUEUE) == 1
                return False
            return broker.llen(QUEUE) == 0

        with supervisor.signals():
            try:
                supervisor.start(
                    Program("worker", "worker", lambda: (sys.executable, *worker, *plain, "--hostname", next(names)))
                )
                supervisor.run(is_ready=is_over, on_ready=lambda: os.kill(os.getpid(), signal.SIGTERM))
            finally:
                supervisor.stop()
    assert broker.llen(QUEUE) == 0


def test_a_full_disk_costs_the_supervisor_a_note_and_no_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """F38: a child that ends is started again, though nothing can be written about it."""
    supervisor = Supervisor(tmp_path / "gone", json_lines=False)
    began = tmp_path / "began"
    command = (sys.executable, "-c", f"open({str(began)!r}, 'a').write('x')")
    with supervisor.signals():
        try:
            supervisor.start(Program("short", "worker", lambda: command))
            supervisor.run(
                is_ready=lambda: began.exists() and len(began.read_text()) >= 2,
                on_ready=lambda: os.kill(os.getpid(), signal.SIGTERM),
            )
        finally:
            supervisor.stop()
    assert "the processes cannot be noted" in capsys.readouterr().out


def test_a_program_that_cannot_be_started_now_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("smcsite.supervisor._LONGEST_DELAY", 0.05)
    supervisor = Supervisor(tmp_path, json_lines=False)
    commands = iter([(sys.executable, "-c", ""), (str(tmp_path / "nothing"),), (sys.executable, "-c", "")])
    started: list[str] = []

    def command() -> tuple[str, ...]:
        found = next(commands, (sys.executable, "-c", "import time; time.sleep(60)"))
        started.append(found[0])
        return found

    with supervisor.signals():
        try:
            supervisor.start(Program("fickle", "worker", command))
            supervisor.run(is_ready=lambda: len(started) == 4, on_ready=lambda: os.kill(os.getpid(), signal.SIGTERM))
        finally:
            supervisor.stop()
    assert capsys.readouterr().out.count("cannot be started") == 1


def test_two_beats(broker: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F73: of two schedulers one puts the period's work on the queue, and the other goes on when that one ends."""
    monkeypatch.setattr(scheduler, "_STANDBY_SECONDS", 0.02)
    with Celery(broker=settings.CELERY_BROKER_URL, set_as_current=False) as app:
        app.conf.beat_schedule = {"tick": {"task": "tick", "schedule": 0.1, "options": {"queue": "ticks"}}}
        first, second = (LeasedScheduler(app, schedule_filename=str(tmp_path / name)) for name in "ab")
        sent = {first: 0, second: 0}

        def tick(*schedulers: LeasedScheduler) -> int:
            for each in schedulers:
                before = broker.llen("ticks")
                each.tick()
                sent[each] += broker.llen("ticks") - before
            return sum(sent.values())

        eventually(lambda: tick(first, second) >= 3)
        assert sent[second] == 0
        first.close()
        eventually(lambda: tick(second) >= 5)
        second.close()
    assert redis_client(3).get("smc:scheduler:lease") is None


@pytest.mark.django_db
def test_redis_policy_check(broker: Redis) -> None:
    """F75: a worker refuses a Redis that may throw jobs away; one that is full is told of, and a job waits for it."""
    assert health.broker_check().status == OK
    service._check_broker()
    broker.config_set("maxmemory", "1gb")
    broker.config_set("maxmemory-policy", "allkeys-lru")
    assert "allkeys-lru" in health.broker_check().detail
    with pytest.raises(SystemExit, match=r"REDIS_URL.*allkeys-lru"):
        service._check_broker()
    broker.config_set("maxmemory-policy", "noeviction")
    service._check_broker()
    assert health.broker_check().status == OK
    broker.config_set("maxmemory", "1")
    assert health.broker_check() == Check(DEGRADED, "Redis is out of memory")


@pytest.mark.django_db(transaction=True)
def test_a_job_waits_for_a_broker_that_is_full(broker: Redis) -> None:
    """F75."""
    broker.config_set("maxmemory", "1")
    job = submit_backfill(backfill())
    job.refresh_from_db()
    assert (job.state, job.stage, job.dispatched_at) == (JobState.QUEUED, "waiting for the broker", None)


@pytest.mark.django_db
def test_upgrade_inflight(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """F83: not ready before it is migrated; the old release's job goes back at no cost, and the new one does it."""
    job = jobs.submit(backfill())

    def interrupted(job: Backfill, progress: Progress) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGUSR2)  # what a worker that is told to end sends to its pool
        time.sleep(60)
        return {}

    perform(Backfill, job.pk, interrupted)
    job.refresh_from_db()
    assert (job.state, job.attempts, job.stage) == (JobState.QUEUED, 0, "paused for deploy")

    recorder = MigrationRecorder(connection)
    monkeypatch.setattr(health, "_known_migrated", [])
    recorder.record_unapplied("signals", "0002_study")
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["checks"]["database"]["status"]) == (503, "down")
    assert "manage.py migrate" in answer.json()["checks"]["database"]["detail"]
    assert client.get("/healthz").status_code == 200

    recorder.record_applied("signals", "0002_study")
    recorder.record_applied("signals", "9999_of_a_later_release")  # left by a release that was taken back
    assert client.get("/health").json()["checks"]["database"] == {"status": "ok"}
    perform(Backfill, job.pk, lambda job, progress: {"added": 1})
    job.refresh_from_db()
    assert (job.state, job.attempts, job.result) == (JobState.DONE, 1, {"added": 1})


@pytest.mark.django_db
def test_dashboard_partial_failure(client: Client, data_root: Path) -> None:
    """F80: a pair whose file is damaged says so in its own row; the page and the other pairs stand."""
    series = {name: SeriesKey(name, Timeframe.H1) for name in ("GOODUSDT", "TORNUSDT")}
    for seed, each in enumerate(series.values()):
        ensure_series(each, is_active=True)
        candle_store().merge(each, walk(seed, 200, timeframe=Timeframe.H1), source=Source.FILE)
    candle_store.cache_clear()
    file = next((data_root / "candles/TORNUSDT").rglob("*.parquet"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    answer = client.get("/web/")
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "GOODUSDT" in page
    assert "TORNUSDT" in page
