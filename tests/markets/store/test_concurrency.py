"""Readers and writers of one series at once, in threads and in processes."""

import fcntl
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from markets.candles import Candles
from markets.errors import OvertakenError, StoreError
from markets.series import SeriesKey
from markets.store import CandleStore, Source
from markets.store.disk import Disk
from markets.store.layout import LOCK
from markets.store.locks import SeriesLock
from tests.factories import walk
from tests.markets.store.disks import MINUTE, SEED, folder, in_a_fork, oracle, same

FULL = os.environ.get("SMC_FULL") == "1"
READS = 2000 if FULL else 100
QUARTER = SeriesKey.of("BTCUSDT", "15m")
# From Python 3.12 on, forking beside threads warns; the children here only read and write files.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def test_store_reader_never_torn(tmp_path: Path) -> None:
    # 15 minutes: a day is over after 96 commits, so that readers also meet days on their way into their month.
    candles = walk(SEED, 40_000, timeframe=QUARTER.timeframe)
    CandleStore(tmp_path).merge(QUARTER, candles.first(3000), source=Source.ARCHIVE)
    child = os.fork()
    if child == 0:
        _write_all(tmp_path, candles)
    try:
        length = 0
        for turn in range(READS):
            # A store that knows nothing, one that reads only the end, and one that reads all.
            store = CandleStore(tmp_path, cache_seconds=0.0)
            newest = store.newest(QUARTER, 200)
            found = store.read(QUARTER, start=None, end=None)
            coverage = store.coverage(QUARTER)
            assert len(found) >= length, f"turn {turn}"
            length = len(found)
            assert same(found, candles.first(length)), f"turn {turn}"
            assert len(newest) == 200
            assert newest.open_time[-1] in candles.open_time[length - 200 : length + 1]
            at = int(np.searchsorted(candles.open_time, newest.open_time[0]))
            assert same(newest, candles.take(slice(at, at + 200))), f"turn {turn}"
            assert coverage is not None
            assert coverage.count >= length
            assert coverage.gaps == ()
        assert length > 3000
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _write_all(root: Path, candles: Candles) -> None:
    try:
        store = CandleStore(root)
        for at in range(3000, len(candles)):
            store.merge(QUARTER, candles.take(slice(at, at + 1)), source=Source.STREAM)
    finally:
        os._exit(1)


@pytest.mark.parametrize("run", range(10 if FULL else 2))
def test_store_two_writers_no_lost_update(tmp_path: Path, run: int) -> None:
    count = 500 if FULL else 120
    candles = oracle(count)
    ready, go = tmp_path / "ready", tmp_path / "go"
    ready.mkdir()

    def write(half: int) -> None:
        store = CandleStore(tmp_path / "data")
        (ready / str(half)).touch()
        while not go.exists():
            time.sleep(0.001)
        for at in range(half, count, 2):
            assert store.merge(MINUTE, candles.take(slice(at, at + 1)), source=Source.STREAM).added == 1

    with ThreadPoolExecutor(2) as pool:
        children = [pool.submit(in_a_fork, partial(write, half)) for half in range(2)]
        while len(list(ready.iterdir())) < 2:
            time.sleep(0.001)
        go.touch()
        assert [child.result(timeout=120) for child in children] == [0, 0]
    store = CandleStore(tmp_path / "data")
    assert same(store.read(MINUTE, start=None, end=None), candles), f"run {run}"
    assert store.verify().problems == ()


def test_threads_of_one_store_do_not_lose_each_other_s_candles(tmp_path: Path) -> None:
    candles, store = oracle(120), CandleStore(tmp_path)

    def write(at: int) -> int:
        return store.merge(MINUTE, candles.take(slice(at, at + 1)), source=Source.STREAM).added

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(write, np.random.default_rng(1).permutation(120).tolist())) == 120
    assert same(store.read(MINUTE, start=None, end=None), candles)


def test_a_writer_waits_for_its_turn_and_not_forever(tmp_path: Path) -> None:
    second = SeriesLock(tmp_path, patience_seconds=0.1)
    with SeriesLock(tmp_path), pytest.raises(StoreError, match="is held by another process"):
        second.__enter__()
    with second:
        second.confirm()


def test_a_dead_holder_leaves_nothing_locked(tmp_path: Path) -> None:
    def die() -> None:
        with SeriesLock(tmp_path):
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_fork(die) == -signal.SIGKILL
    with SeriesLock(tmp_path, patience_seconds=0.1):
        pass


@pytest.mark.parametrize("is_alive", [True, False])
def test_only_one_who_shows_no_life_is_robbed(tmp_path: Path, *, is_alive: bool) -> None:
    thief = SeriesLock(tmp_path, patience_seconds=1.5, dead_after_seconds=30)
    with SeriesLock(tmp_path) as holder:
        long_ago = time.time() - 60
        os.utime(tmp_path / LOCK, (long_ago, long_ago))
        if is_alive:
            holder.confirm()
            with pytest.raises(StoreError), thief:
                pass
            holder.confirm()
            return
        with thief:
            thief.confirm()
            with pytest.raises(OvertakenError):
                holder.confirm()


class _StandingDisk(Disk):
    """Stands still before its first rename, until it is told to go on."""

    def __init__(self) -> None:
        self.stands, self.go_on = threading.Event(), threading.Event()

    def fsync(self, handle: int) -> None:
        self.stands.set()
        assert self.go_on.wait(30)
        super().fsync(handle)


def test_a_writer_that_stood_still_writes_nothing_when_it_wakes(tmp_path: Path) -> None:
    candles = oracle(40)
    CandleStore(tmp_path).merge(MINUTE, candles.first(20), source=Source.STREAM)
    disk = _StandingDisk()
    sleeper = CandleStore(tmp_path, disk=disk)
    with ThreadPoolExecutor(1) as pool:
        asleep = pool.submit(sleeper.merge, MINUTE, candles.take(slice(20, 21)), source=Source.STREAM)
        assert disk.stands.wait(30)
        lock = folder(sleeper) / LOCK
        long_ago = time.time() - 60
        os.utime(lock, (long_ago, long_ago))
        awake = CandleStore(tmp_path)
        merged = awake.merge(MINUTE, candles.take(slice(20, 40)), source=Source.STREAM)
        assert merged.added + merged.unchanged == 20
        disk.go_on.set()
        with pytest.raises(OvertakenError, match=r"took .* over while this one stood still"):
            asleep.result(timeout=30)
    assert same(awake.read(MINUTE, start=None, end=None), candles)
    # It may write again, as anyone may.
    assert sleeper.merge(MINUTE, candles, source=Source.STREAM).unchanged == 40
    assert list(folder(sleeper).glob("*.tmp")) == []


def test_the_lock_file_stays_one_file(tmp_path: Path) -> None:
    # Removing it would let two writers hold two files of the same name.
    with SeriesLock(tmp_path) as lock:
        seen = (tmp_path / LOCK).stat().st_ino
        lock.confirm()
    for _ in range(3):
        with SeriesLock(tmp_path):
            assert (tmp_path / LOCK).stat().st_ino == seen
    with (tmp_path / LOCK).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_lock_that_cannot_be_opened_is_told_as_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / LOCK).mkdir()  # permissions would not stop root
    with pytest.raises(StoreError, match=r"^cannot write .*/\.lock as user \d+: Is a directory$"), SeriesLock(tmp_path):
        pass
