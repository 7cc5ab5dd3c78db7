"""The log with several processes at once: writers that are killed, readers that look on."""

import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest

from markets.candles import Candles
from markets.store import CandleStore, Source
from signals.log import SignalLog, folding, generations
from tests.factories import walk
from tests.signals.logging import FULL, SERIES, assert_tells, expected, logged, stored, view_of, writer


@pytest.fixture(autouse=True)
def merge_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "_MERGE_FRAMES", 15)


pytestmark = pytest.mark.processes

# Threads of this process hold no lock that a fork could inherit here: the writers do files and numbers only.
_fork = multiprocessing.get_context("fork")


def follow(root: Path, candles: Candles) -> None:
    """Do what the feed does, one candle after the other, from where the log is."""
    store = CandleStore(root, cache_seconds=0.0)
    log = writer(root, store)
    log.catch_up()
    last = store.last_time(SERIES)
    for candle in candles.between(None if last is None else last + 1, None):
        one = Candles.of([candle])
        log.advance(one, edit=store.merge(SERIES, one, source=Source.STREAM).edit)


def test_writers_killed_at_any_moment_leave_a_log_that_says_what_the_candles_say(tmp_path: Path) -> None:
    candles = walk(21, 1_500, start=1_701_388_800_000 - 300 * 60_000)
    signals, marks = expected(candles)
    follow(tmp_path, candles.first(60))
    rng = np.random.default_rng(1)
    reader, through = SignalLog(tmp_path), int(candles.open_time[59])
    for _ in range(60 if FULL else 8):
        process = _fork.Process(target=follow, args=(tmp_path, candles))
        process.start()
        # Watched until some candles later, then killed wherever it is.
        goal = through + int(rng.integers(1, 40)) * 60_000
        while through < goal and process.is_alive():
            view = reader.view(SERIES)
            assert view is not None
            found, made = logged(view)
            assert found.tobytes() == signals[signals["confirm_time"] <= view.through].tobytes()
            assert made.tobytes() == marks[marks["time"] <= view.through].tobytes()
            assert view.through >= through
            through = view.through
        time.sleep(float(rng.uniform(0, 0.01)))
        process.kill()
        process.join()
        store = CandleStore(tmp_path, cache_seconds=0.0)
        assert_tells(view_of(tmp_path), store.read(SERIES, start=None, end=view_of(tmp_path).through + 1))
    writer(tmp_path).catch_up()
    assert_tells(view_of(tmp_path), CandleStore(tmp_path).read(SERIES, start=None, end=None))


def test_two_processes_that_follow_one_series_write_one_log(tmp_path: Path) -> None:
    candles = walk(22, 400 if FULL else 160)
    expected(candles)
    follow(tmp_path, candles.first(60))
    processes = [_fork.Process(target=follow, args=(tmp_path, candles)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    writer(tmp_path).catch_up()
    assert_tells(view_of(tmp_path), candles)


def test_a_writer_that_was_stopped_with_the_lock_holds_nobody_up_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generations, "_LOCK_PATIENCE_SECONDS", 0.3)
    candles = walk(23, 200)
    store = stored(tmp_path, candles.first(150))
    writer(tmp_path, store).catch_up()
    store.merge(SERIES, candles, source=Source.FILE)
    with generations.series_lock(tmp_path, SERIES):
        writer(tmp_path, store).catch_up()
    assert_tells(view_of(tmp_path), candles)
