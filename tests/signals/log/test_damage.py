"""A damaged log is put away, and what is built in its place is never taken for it."""

import shutil
from pathlib import Path

import pytest

from markets.candles import Candles
from markets.errors import CorruptFileError
from markets.store import CandleStore, Source
from signals.log import SignalLog
from signals.log.generations import current_folder
from signals.log.told import ToldMark, set_told_mark
from tests.factories import walk
from tests.signals.logging import SERIES, assert_tells, logged, stored, view_of, writer


def tear(root: Path) -> None:
    """Leave of a month file what a power cut leaves of one that was not made durable."""
    folder = current_folder(root, SERIES)
    assert folder is not None
    file = max(folder.glob("signals-*.parquet"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def revise(store: CandleStore, candles: Candles, at: int) -> Candles:
    """Let the exchange change a candle; return all of them."""
    candle = candles.candle(at)
    store.merge(SERIES, Candles.of([candle._replace(high=candle.high * 1.01)]), source=Source.REST)
    return store.read(SERIES, start=None, end=None)


def test_a_rebuild_that_meets_a_torn_file_is_a_revision_that_open_readers_see(tmp_path: Path) -> None:
    candles = walk(7, 600)
    store = stored(tmp_path, candles)
    log, reader = writer(tmp_path, store), SignalLog(tmp_path)
    log.catch_up()
    before = reader.view(SERIES)
    assert before is not None
    logged(before)
    set_told_mark(tmp_path, SERIES, ToldMark(int(candles.open_time[100]), int(candles.open_time[-1])))
    changed = revise(store, candles, 300)
    tear(tmp_path)
    with pytest.raises(CorruptFileError):
        log.catch_up()
    log.catch_up()
    assert log.generation.revision == 1
    after = reader.view(SERIES)
    assert after is not None
    assert_tells(after, changed)


def test_a_damaged_log_whose_forerunners_are_gone_has_its_revision_for_itself(tmp_path: Path) -> None:
    """An archive holds the current log alone, so after a restore no retired one tells how far the count is."""
    candles = walk(7, 600)
    store = stored(tmp_path, candles)
    log = writer(tmp_path, store)
    log.catch_up()
    changed = revise(store, candles, 300)
    log.catch_up()
    shutil.rmtree(tmp_path / "signals-retired")
    for revision in (2, 3):
        tear(tmp_path)
        with pytest.raises(CorruptFileError):
            logged(view_of(tmp_path))
        log.catch_up()
        assert log.generation.revision == revision
        assert_tells(view_of(tmp_path), changed)
