"""Jobs against dying workers: real Celery workers on a database and a data folder that the test shares with them."""

import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from django.conf import settings
from redis import Redis

from backtests import tasks
from backtests.engine.spec import BacktestSpec
from backtests.models import Backtest
from backtests.selectors import read_inputs, report_shelf
from backtests.services import analysing, running
from markets.models import Job, JobState
from markets.services import jobs
from tests.backtests.conftest import store_walk
from tests.backtests.workers import Workers, await_state, dispatch, submit
from tests.databases import database_file
from tests.folders import data_in
from tests.waiting import eventually

pytestmark = pytest.mark.processes

FULL = os.environ.get("SMC_FULL") == "1"
# What is promised, and what a machine that runs other tests beside these is given.
STOP_SECONDS, CANCEL_SECONDS = (10, 3) if FULL else (60, 30)
DONE, FAILED, CANCELLED, RUNNING = JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.RUNNING
ENDED = (DONE, FAILED, CANCELLED)
FILES = {"trades.csv", "equity.csv", "metrics.json", "trades.parquet", "equity.parquet"}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any) -> Iterator[Workers]:
    """One worker for all tests here: it is started anew only where a test ended it."""
    folder = tmp_path_factory.mktemp("workers")
    with data_in(folder):
        found = Workers(settings.DATA_ROOT, settings.REPORTS_ROOT)
        try:
            with django_db_blocker.unblock(), database_file(found.database):
                store_walk("BTCUSDT")
            yield found
        finally:
            found.stop()


@pytest.fixture
def workers(pool: Workers, django_db_blocker: Any) -> Iterator[Workers]:
    """The workers, and their database as this process's own."""
    Redis.from_url(settings.CELERY_BROKER_URL).flushdb()
    with django_db_blocker.unblock(), database_file(pool.database):
        Job.objects.all().delete()
        yield pool


def published(job: Backtest) -> set[str]:
    return {path.name for path in report_shelf().folder(job.pk).iterdir()}


def test_backtest_worker_killed(workers: Workers) -> None:
    workers.worker()
    job = submit(note="slow:1.5")
    await_state(job, RUNNING)
    os.kill(int(job.worker.split(":")[1]), signal.SIGKILL)

    def is_taken_up_again() -> bool:
        dispatch()
        job.refresh_from_db()
        return job.attempts == 2 or "interrupted, retry 1/3" in job.stage

    eventually(is_taken_up_again, seconds=60)
    await_state(job, *ENDED, dispatching=True)
    assert (job.state, job.attempts) == (DONE, 2), job.error
    assert published(job) == FILES


def test_a_worker_group_that_is_killed_loses_no_job(workers: Workers) -> None:
    worker = workers.worker()
    running_job, waiting_job = submit(note="slow:30"), submit()
    await_state(running_job, RUNNING)
    workers.kill(worker)
    Job.objects.filter(pk=running_job.pk).update(note="")
    Backtest.objects.filter(pk=running_job.pk).update(note="")
    workers.worker()
    for job in (running_job, waiting_job):
        Job.objects.filter(pk=job.pk, state=JobState.QUEUED).update(dispatched_at=None)
        await_state(job, *ENDED, dispatching=True)
        assert job.state == DONE, job.error


def test_sigterm_each_process(workers: Workers) -> None:
    """The worker's part: it ends within ten seconds, and the run it was in goes on elsewhere at no cost."""
    worker = workers.worker()
    job = submit(note="slow:60")
    await_state(job, RUNNING)
    eventually(lambda: Job.objects.filter(pk=job.pk, progress__gt=0).exists())
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(STOP_SECONDS) == 0
    job.refresh_from_db()
    assert (job.state, job.attempts, job.stage) == (JobState.QUEUED, 0, "paused for deploy")
    Job.objects.filter(pk=job.pk).update(note="")
    workers.worker()
    await_state(job, *ENDED, dispatching=True)
    assert (job.state, job.attempts) == (DONE, 1)


def test_redelivery_single_result(workers: Workers) -> None:
    workers.worker()
    job = submit(note="slow:1")
    await_state(job, RUNNING)
    for _ in range(3):
        tasks.run_backtest.apply_async((job.pk,))  # as the broker does when the visibility timeout is over
    await_state(job, *ENDED)
    other = submit()
    await_state(other, *ENDED)
    job.refresh_from_db()
    assert (job.state, job.attempts) == (DONE, 1)
    assert published(job) == FILES


def test_poison_task_capped(workers: Workers) -> None:
    workers.worker()
    poison = submit(note="poison")
    good = [submit(stop_atr=1.0 + k / 10) for k in range(20 if FULL else 6)]
    await_state(poison, *ENDED, dispatching=True)
    for job in good:
        await_state(job, *ENDED, dispatching=True)
    assert (poison.state, poison.attempts) == (FAILED, 3)
    assert poison.error == "failed after 3 attempts: worker lost"
    assert {job.state for job in good} == {DONE}


def test_soft_time_limit_cleans(workers: Workers) -> None:
    workers.worker()
    job = submit(note="slow:20", limits=(1, 30))
    await_state(job, *ENDED)
    assert job.state == FAILED
    assert job.error == "time limit 14 min, partial metrics not saved"
    assert not report_shelf().has(job.pk)
    assert not list(report_shelf().root.glob(f".{job.pk}.*"))  # of others, a worker that was killed may have left some
    after = submit()
    await_state(after, *ENDED)
    assert after.state == DONE


def test_hard_time_limit(workers: Workers) -> None:
    workers.worker()
    job = submit(note="deaf:30", limits=(1, 2))
    await_state(job, *ENDED)
    assert (job.state, job.attempts) == (FAILED, 1)
    assert job.error == "killed at hard limit, 2 s"
    after = submit()
    await_state(after, *ENDED)
    assert after.state == DONE


def test_a_running_job_is_cancelled_within_three_seconds(workers: Workers) -> None:
    workers.worker()
    job = submit(note="slow:60")
    await_state(job, RUNNING)
    jobs.request_cancel(job.pk)
    await_state(job, *ENDED, seconds=CANCEL_SECONDS)
    assert job.state == CANCELLED
    assert not report_shelf().has(job.pk)


def test_backtest_exactly_one_result(workers: Workers) -> None:
    """Many runs, killed workers, a broker that forgets everything: each run ends once, with one whole report."""
    count, kills, flushes = (100, 30, 3) if FULL else (12, 4, 1)
    rng = np.random.default_rng(13)
    worker = workers.worker()
    submitted = [submit(note="slow:0.3", stop_atr=1.0 + k / 50) for k in range(count)]
    broker = Redis.from_url(settings.CELERY_BROKER_URL)
    killed = flushed = 0
    last = time.monotonic()
    while Job.objects.exclude(state__in=ENDED).exists():
        assert time.monotonic() - last < 120, workers.log.read_text()[-2_000:]
        dispatch()
        if killed < kills and len(workers.children(worker)) == 2 and rng.random() < 0.3:
            workers.kill_child(worker, int(rng.integers(2)))
            killed, last = killed + 1, time.monotonic()
        if flushed < flushes and killed > (flushed + 1) * kills // (flushes + 1):
            broker.flushdb()
            Job.objects.filter(state=JobState.QUEUED).update(dispatched_at=None)
            flushed += 1
        time.sleep(0.2)
    folders = {path.name for path in report_shelf().root.iterdir()}
    for job in submitted:
        job.refresh_from_db()
        assert job.state in ENDED
        assert (str(job.pk) in folders) == (job.state == DONE)
    done = [job for job in submitted if job.state == DONE]
    assert len(done) >= count - kills // 3
    for job in done:
        folder = report_shelf().folder(job.pk)
        assert {path.name for path in folder.iterdir()} == FILES
        rows = pq.ParquetFile(folder / "trades.parquet").metadata.num_rows
        assert rows == len((folder / "trades.csv").read_text().splitlines()) - 1
        copy = report_shelf().reports / "BTCUSDT" / "15m" / f"{job.pk}.csv"
        assert copy.read_bytes() == (folder / "trades.csv").read_bytes()
    quiet = running.run_inputs(read_inputs(running.spec_of(done[0])))
    told = json.loads((report_shelf().folder(done[0].pk) / "metrics.json").read_bytes())
    for metrics in (quiet.metrics, told):
        del metrics["provenance"]["code_commit"]  # of the working copy, which may move on while workers run
    assert quiet.metrics == told


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("sweep", {"axes": {"stop_atr": [1.0 + k / 4 for k in range(16)], "swing_length": [3, 5, 8, 12, 20, 30]}}),
        (
            "walk_forward",
            {"axes": {"stop_atr": [1.0, 2.0], "swing_length": [3, 12]}, "windows": 16, "min_trades": 1},
        ),
    ],
    ids=["sweep", "walk-forward"],
)
def test_an_analysis_survives_a_killed_worker(workers: Workers, method: str, options: dict[str, Any]) -> None:
    """Its parts are shared by the pool; whoever dies, the rest goes on, and what was done stays done."""
    workers.worker()
    spec = BacktestSpec.of({"symbol": "BTCUSDT", "timeframe": "15m"})
    job = tasks.submit_analysis(analysing.new_analysis(method, spec, options))
    await_state(job, RUNNING)
    eventually(lambda: job.parts.exclude(finished_at=None).exists(), seconds=60, every=0.005)
    os.kill(int(job.worker.split(":")[1]), signal.SIGKILL)
    before = dict(job.parts.exclude(finished_at=None).values_list("pk", "finished_at"))
    assert len(before) < 16
    await_state(job, *ENDED, dispatching=True)
    assert job.state == DONE, job.error
    assert not job.parts.filter(finished_at=None).exists()
    assert dict(job.parts.filter(pk__in=before).values_list("pk", "finished_at")) == before
    assert (job.result or {})["parts_done"] == 16
