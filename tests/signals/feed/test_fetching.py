"""What is asked of the exchange for one series, apart from what is made of it."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from markets.errors import ExchangeUnavailableError
from markets.selectors import candle_store
from markets.series import SeriesKey
from markets.services.pairs import ensure_series
from signals.feed.fence import Fence
from signals.feed.fetching import Fetcher
from signals.feed.lead import Lead
from signals.services import Tracker
from tests.factories import walk
from tests.signals.feed.exchanges import ScriptedExchange

pytestmark = pytest.mark.django_db

SERIES = SeriesKey.parse("FETCHUSDT:1m")
LENGTH = 120


def lead_of(exchange: ScriptedExchange, folder: Path, check: Callable[[], None]) -> Lead:
    fence = Fence(folder / "epoch")
    fence.take()
    return Lead(exchange=exchange, fence=fence, check=check)


def test_a_fetch_that_failed_half_way_leaves_no_stage(data_root: Path, tmp_path: Path) -> None:
    """It would stand beside ``live`` for good where what is left is few candles."""
    ensure_series(SERIES, is_active=True)
    start = int(time.time() * 1000) // 60_000 * 60_000 - LENGTH * 60_000
    exchange = ScriptedExchange(SERIES, walk(7, LENGTH, start=start), known=LENGTH)
    stages: list[str] = []

    def fail() -> None:
        stages.append(fetcher.stage)
        if fetcher.stage:
            raise ExchangeUnavailableError("nobody answers")

    fetcher = Fetcher(Tracker(SERIES, store=candle_store(), root=data_root), lead_of(exchange, tmp_path, fail))
    with pytest.raises(ExchangeUnavailableError):
        fetcher.fetch(with_history=True)
    assert stages[-1]
    assert fetcher.stage == ""


def test_candles_that_a_damaged_file_took_are_fetched_again_and_no_stage_is_left(
    data_root: Path, tmp_path: Path
) -> None:
    ensure_series(SERIES, is_active=True)
    start = int(time.time() * 1000) // 60_000 * 60_000 - LENGTH * 60_000
    exchange = ScriptedExchange(SERIES, walk(7, LENGTH, start=start), known=LENGTH)
    store = candle_store()
    stages: list[str] = []
    tracker = Tracker(SERIES, store=store, root=data_root)
    fetcher = Fetcher(tracker, lead_of(exchange, tmp_path, lambda: stages.append(fetcher.stage)))
    fetcher.fetch(with_history=True)
    tracker.catch_up()
    store.fold(SERIES)
    assert fetcher.lost() == []
    for file in (data_root / "candles" / SERIES.symbol / "1m").glob("*.parquet"):
        file.write_bytes(file.read_bytes()[:-100])
    assert fetcher.lost()
    stages.clear()
    fetcher.fetch_lost()
    assert list(store.read(SERIES, start=None, end=None)) == exchange.rows
    assert fetcher.lost() == []
    assert any("100%" in stage for stage in stages)
    assert fetcher.stage == ""
