"""Fixtures of the backtests' tests."""

from pathlib import Path

import pytest

from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from markets.services.pairs import ensure_series
from markets.store import Source
from tests.factories import walk

COUNT = 3_000


@pytest.fixture
def series(data_root: Path) -> SeriesKey:
    """A stored series with some thousand candles, known as a pair."""
    return store_walk("BTCUSDT")


def store_walk(symbol: str, *, seed: int = 5, count: int = COUNT, timeframe: Timeframe = Timeframe.M15) -> SeriesKey:
    key = SeriesKey(symbol, timeframe)
    candle_store().merge(key, walk(seed, count, timeframe=timeframe), source=Source.FILE)
    ensure_series(key)
    return key
