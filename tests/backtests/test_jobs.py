"""Jobs against dying workers, with real Celery workers where a process is to die (docs/operations.md)."""

import errno
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from celery import current_app
from django.utils import timezone
from redis import Redis

from backtests import tasks
from backtests.engine.spec import BacktestSpec
from backtests.models import Backtest
from backtests.reports import ReportShelf, publish_folder, publish_into, read_metrics
from backtests.selectors import read_inputs, report_shelf, settle
from backtests.services import running
from markets.candles import Candles
from markets.errors import StoreFullError
from markets.models import Job, JobState
from markets.selectors import candle_store
from markets.series import SeriesKey
from markets.services import jobs
from markets.store import Source
from markets.store.disk import Disk
from tests.backtests.conftest import store_walk
from tests.backtests.workers import Workers, await_state, database_file, dispatch, submit
from tests.waiting import eventually

FULL = os.environ.get("SMC_FULL") == "1"
DONE, FAILED, CANCELLED, RUNNING = JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.RUNNING
ENDED = (DONE, FAILED, CANCELLED)
FILES = {"trades.csv", "equity.csv", "metrics.json", "trades.parquet", "equity.parquet"}


@pytest.fixture
def workers(data_root: Path, django_db_blocker: Any) -> Iterator[Workers]:
    """Workers on a data folder of the test's own, whose database this process uses too."""
    Redis.from_url(current_app.conf.broker_url).flushdb()
    found = Workers(data_root, data_root.parent / "reports")
    with django_db_blocker.unblock(), database_file(found.database):
        try:
            store_walk("BTCUSDT")
            yield found
        finally:
            found.stop()
            Redis.from_url(current_app.conf.broker_url).flushdb()


def published(job: Backtest) -> set[str]:
    return {path.name for path in report_shelf().folder(job.pk).iterdir()}


def leftovers() -> list[str]:
    root = report_shelf().root
    return [path.name for path in root.iterdir() if path.name.endswith(".tmp")] if root.exists() else []


@pytest.mark.processes
def test_backtest_worker_killed(workers: Workers) -> None:
    worker = workers.start()
    job = submit(note="slow:1.5")
    await_state(job, RUNNING)
    workers.kill_child(worker)
    eventually(
        lambda: (dispatch(), job.refresh_from_db(), job.attempts == 2 or "interrupted" in job.stage)[-1], seconds=60
    )
    await_state(job, *ENDED, dispatching=True)
    assert (job.state, job.attempts) == (DONE, 2), job.error
    assert published(job) == FILES


@pytest.mark.processes
def test_a_worker_group_that_is_killed_loses_no_job(workers: Workers) -> None:
    worker = workers.start()
    running_job, waiting_job = submit(note="slow:30"), submit()
    await_state(running_job, RUNNING)
    workers.kill(worker)
    Job.objects.filter(pk=running_job.pk).update(note="")
    Backtest.objects.filter(pk=running_job.pk).update(note="")
    workers.start()
    for job in (running_job, waiting_job):
        Job.objects.filter(pk=job.pk, state=JobState.QUEUED).update(dispatched_at=None)
        await_state(job, *ENDED, dispatching=True)
        assert job.state == DONE, job.error


@pytest.mark.processes
def test_sigterm_each_process(workers: Workers) -> None:
    """The worker's part: it ends within ten seconds, and the run it was in goes on elsewhere at no cost."""
    worker = workers.start()
    job = submit(note="slow:60")
    await_state(job, RUNNING)
    eventually(lambda: (job.refresh_from_db(), job.progress > 0)[-1])
    began = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=10) == 0
    assert time.monotonic() - began < 10
    job.refresh_from_db()
    assert (job.state, job.attempts, job.stage) == (JobState.QUEUED, 0, "paused for deploy")
    Job.objects.filter(pk=job.pk).update(note="")
    workers.start()
    await_state(job, *ENDED, dispatching=True)
    assert (job.state, job.attempts) == (DONE, 1)


@pytest.mark.processes
def test_redelivery_single_result(workers: Workers) -> None:
    workers.start(concurrency=2)
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


@pytest.mark.processes
def test_poison_task_capped(workers: Workers) -> None:
    workers.start(concurrency=2)
    poison = submit(note="poison")
    good = [submit(stop_atr=1.0 + k / 10) for k in range(20 if FULL else 6)]
    await_state(poison, *ENDED, dispatching=True)
    for job in good:
        await_state(job, *ENDED, dispatching=True)
    assert (poison.state, poison.attempts) == (FAILED, 3)
    assert poison.error == "failed after 3 attempts: worker lost"
    assert {job.state for job in good} == {DONE}
    assert {job.attempts for job in good} == {1}


@pytest.mark.processes
def test_soft_time_limit_cleans(workers: Workers) -> None:
    workers.start(TEST_TIME_LIMITS="1,30")
    job = submit(note="slow:20")
    await_state(job, *ENDED)
    assert job.state == FAILED
    assert job.error == "time limit 14 min, partial metrics not saved"
    assert not report_shelf().has(job.pk)
    assert leftovers() == []
    after = submit()
    await_state(after, *ENDED)
    assert after.state == DONE


@pytest.mark.processes
def test_hard_time_limit(workers: Workers) -> None:
    workers.start(TEST_TIME_LIMITS="1,2")
    job = submit(note="deaf:30")
    await_state(job, *ENDED)
    assert (job.state, job.attempts) == (FAILED, 1)
    assert job.error == "killed at hard limit, 2 s"
    after = submit()
    await_state(after, *ENDED)
    assert after.state == DONE


@pytest.mark.processes
def test_a_running_job_is_cancelled_within_three_seconds(workers: Workers) -> None:
    workers.start()
    job = submit(note="slow:60")
    await_state(job, RUNNING)
    jobs.request_cancel(job.pk)
    began = time.monotonic()
    await_state(job, *ENDED, seconds=3)
    assert (job.state, time.monotonic() - began < 3) == (CANCELLED, True)
    assert not report_shelf().has(job.pk)


@pytest.mark.processes
def test_backtest_exactly_one_result(workers: Workers) -> None:
    """Many runs, killed workers, a broker that forgets everything: each run ends once, with one whole report."""
    count, kills, flushes = (100, 30, 3) if FULL else (12, 4, 1)
    rng = np.random.default_rng(13)
    worker = workers.start(concurrency=2)
    submitted = [submit(note="slow:0.3", stop_atr=1.0 + k / 50) for k in range(count)]
    broker = Redis.from_url(current_app.conf.broker_url)
    killed = flushed = 0
    last = time.monotonic()
    while Job.objects.exclude(state__in=ENDED).exists():
        assert time.monotonic() - last < 120, workers.log.read_text()[-2_000:]
        dispatch()
        if killed < kills and workers.children(worker) and rng.random() < 0.3:
            workers.kill_child(worker, int(rng.integers(len(workers.children(worker)))))
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
    assert quiet.metrics == read_metrics(report_shelf().folder(done[0].pk))
    assert leftovers() == [] or all(".tmp" in name for name in leftovers())


class FullDisk(Disk):
    """A disk that has no room from the n-th touch on."""

    def __init__(self, touches: int) -> None:
        self._left = touches

    def _touch(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def open_new(self, path: Path) -> int:
        self._touch()
        return super().open_new(path)

    def write(self, handle: int, data: memoryview) -> int:
        self._touch()
        return super().write(handle, data[: max(1, len(data) // 2)])

    def fsync(self, handle: int) -> None:
        self._touch()
        super().fsync(handle)

    def replace(self, source: Path, target: Path) -> None:
        self._touch()
        super().replace(source, target)


def test_backtest_enospc(tmp_path: Path) -> None:
    """At whichever touch the disk is full: no half file is listed, and the former report stays."""
    files = {name: os.urandom(500) for name in FILES}
    ReportShelf(tmp_path / "data", tmp_path / "reports").publish(1, files, symbol="A", timeframe="1m")
    reached = 0
    for touches in range(400):
        shelf = ReportShelf(tmp_path / "data", tmp_path / "reports", disk=FullDisk(touches))
        try:
            shelf.publish(2, files, symbol="A", timeframe="1m")
        except StoreFullError:
            reached += 1
            assert not shelf.has(2)
            assert [path.name for path in shelf.root.iterdir()] == ["1"]
            assert [path.name for path in (tmp_path / "reports/A/1m").iterdir()] == ["1.csv"]
            continue
        break
    assert reached > 20
    assert {path.name: path.read_bytes() for path in shelf.folder(2).iterdir()} == files


@pytest.mark.django_db
def test_a_full_disk_fails_the_run_with_its_reason(series: SeriesKey, monkeypatch: pytest.MonkeyPatch) -> None:
    job = jobs.submit(running.new_backtest(BacktestSpec.of({"symbol": "BTCUSDT", "timeframe": "15m"})))
    monkeypatch.setattr(report_shelf(), "_disk", FullDisk(3))
    tasks.run_backtest(job.pk)
    job.refresh_from_db()
    assert job.state == FAILED
    assert "disk full" in job.error
    assert not report_shelf().has(job.pk)
    assert leftovers() == []


class DyingDisk(Disk):
    """A disk whose process dies at the n-th touch, leaving all as it is."""

    class DiedError(BaseException):
        pass

    def __init__(self, touches: int) -> None:
        self._left = touches

    def _touch(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise DyingDisk.DiedError

    def write(self, handle: int, data: memoryview) -> int:
        self._touch()
        return super().write(handle, data)

    def replace(self, source: Path, target: Path) -> None:
        self._touch()
        super().replace(source, target)


def test_result_pair_atomic(tmp_path: Path) -> None:
    """Between any two touches of the disk a reader finds no report, or the whole of one."""
    files = {name: os.urandom(500) for name in FILES}
    seen = set()
    for touches in range(30):
        root = tmp_path / str(touches)
        try:
            publish_folder(root / "7", files, disk=DyingDisk(touches))
        except DyingDisk.DiedError:
            seen.add((root / "7").exists())
            continue
        seen.add({path.name: path.read_bytes() for path in (root / "7").iterdir()} == files)
    assert seen == {False, True}


def test_a_report_is_replaced_whole(tmp_path: Path) -> None:
    old, new = ({name: os.urandom(50) for name in FILES} for _ in range(2))
    publish_folder(tmp_path / "7", old)
    publish_folder(tmp_path / "7", new)
    assert {path.name: path.read_bytes() for path in (tmp_path / "7").iterdir()} == new
    assert [path.name for path in tmp_path.iterdir()] == ["7"]


def test_a_folder_of_the_users_keeps_its_other_files(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    publish_into(tmp_path, dict.fromkeys(FILES, b"x"))
    assert {path.name for path in tmp_path.iterdir()} == FILES | {"notes.txt"}


def test_what_a_dead_process_left_is_swept_in_time(tmp_path: Path) -> None:
    shelf = ReportShelf(tmp_path, tmp_path / "reports")
    fresh, old = shelf.root / ".1.aa.tmp", shelf.root / ".2.bb.tmp"
    for each in (fresh, old):
        each.mkdir(parents=True)
    os.utime(old, (1, 1))
    assert shelf.sweep() == 1
    assert (fresh.exists(), old.exists()) == (True, False)


@pytest.mark.django_db
def test_backtest_snapshot(series: SeriesKey, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is stored or changed once a run has begun plays no part in it."""
    spec = BacktestSpec.of({"symbol": "BTCUSDT", "timeframe": "15m"})
    quiet = running.run_inputs(read_inputs(settle(spec, cap=10**6)))
    job = jobs.submit(running.new_backtest(spec))
    whole = candle_store().read(series, start=None, end=None)
    find_signals = running.run_inputs

    def change_the_store(*arguments: Any) -> Any:
        later = whole.open_time[-1] + series.timeframe.milliseconds * np.arange(1, 51)
        tail = whole.take(slice(0, 50))
        columns = [getattr(tail, name) for name in ("open", "high", "low", "close", "volume")]
        candle_store().merge(series, Candles(later, *columns), source=Source.STREAM)
        candle_store().merge(series, Candles(whole.open_time[:50], *(2 * each for each in columns)), source=Source.REST)
        return find_signals(*arguments)

    monkeypatch.setattr(running, "run_inputs", change_the_store)
    tasks.run_backtest(job.pk)
    job.refresh_from_db()
    assert job.state == DONE
    told = job.result or {}
    assert told["provenance"]["data_digest"] == quiet.metrics["provenance"]["data_digest"]
    assert told["final_equity"] == quiet.metrics["final_equity"]
    assert told["bars"] == len(whole)


@pytest.mark.django_db
def test_a_run_that_was_given_away_publishes_nothing(series: SeriesKey, monkeypatch: pytest.MonkeyPatch) -> None:
    job = jobs.submit(running.new_backtest(BacktestSpec.of({"symbol": "BTCUSDT", "timeframe": "15m"})))
    write = running.report_files

    def lose_the_job(result: Any) -> Any:
        Job.objects.filter(pk=job.pk).update(worker="another")
        return write(result)

    monkeypatch.setattr(running, "report_files", lose_the_job)
    tasks.run_backtest(job.pk)
    job.refresh_from_db()
    assert (job.state, job.worker) == (RUNNING, "another")
    assert not report_shelf().has(job.pk)


@pytest.mark.django_db
def test_runs_of_requests_are_swept_when_many(series: SeriesKey) -> None:
    spec = BacktestSpec.of({"symbol": "BTCUSDT", "timeframe": "15m"})
    runs = [running.run_now(BacktestSpec.of({**spec.as_dict(), "stop_atr": 1.0 + k})) for k in range(3)]
    assert running.sweep_quick_runs(keep=1) == 0  # too fresh
    Job.objects.update(finished_at=timezone.now() - timezone.timedelta(hours=2))
    assert running.sweep_quick_runs(keep=1) == 2
    assert [report_shelf().has(run.pk) for run in runs] == [False, False, True]
