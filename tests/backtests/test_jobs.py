"""Reports on full and dying disks, runs whose candles change, runs that are given away."""

import errno
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.utils import timezone

from backtests import tasks
from backtests.engine.spec import BacktestSpec
from backtests.reports import ReportShelf, publish_folder, publish_into
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

FULL = os.environ.get("SMC_FULL") == "1"
DONE, FAILED, CANCELLED, RUNNING = JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.RUNNING
ENDED = (DONE, FAILED, CANCELLED)
FILES = {"trades.csv", "equity.csv", "metrics.json", "trades.parquet", "equity.parquet"}


def leftovers() -> list[str]:
    root = report_shelf().root
    return [path.name for path in root.iterdir() if path.name.endswith(".tmp")] if root.exists() else []


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
    ReportShelf(tmp_path / "data", tmp_path / "reports").publish(1, files.items(), symbol="A", timeframe="1m")
    reached = 0
    for touches in range(400):
        shelf = ReportShelf(tmp_path / "data", tmp_path / "reports", disk=FullDisk(touches))
        try:
            shelf.publish(2, files.items(), symbol="A", timeframe="1m")
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
            publish_folder(root / "7", files.items(), disk=DyingDisk(touches))
        except DyingDisk.DiedError:
            seen.add((root / "7").exists())
            continue
        seen.add({path.name: path.read_bytes() for path in (root / "7").iterdir()} == files)
    assert seen == {False, True}


def test_a_report_is_replaced_whole(tmp_path: Path) -> None:
    old, new = ({name: os.urandom(50) for name in FILES} for _ in range(2))
    publish_folder(tmp_path / "7", old.items())
    publish_folder(tmp_path / "7", new.items())
    assert {path.name: path.read_bytes() for path in (tmp_path / "7").iterdir()} == new
    assert [path.name for path in tmp_path.iterdir()] == ["7"]


def test_a_folder_of_the_users_keeps_its_other_files(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    publish_into(tmp_path, dict.fromkeys(FILES, b"x").items())
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
    write = running.report_files  # type: ignore[attr-defined]

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
    Job.objects.update(finished_at=timezone.now() - timedelta(hours=2))
    assert running.sweep_quick_runs(keep=1) == 2
    assert [report_shelf().has(run.pk) for run in runs] == [False, False, True]
