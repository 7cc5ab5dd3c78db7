"""Fixtures of the backtests' tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backtests.selectors import report_shelf
from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from markets.services.pairs import ensure_series
from markets.store import Source
from tests.factories import walk

COUNT = 3_000


@pytest.fixture
def data_root(tmp_path: Path, settings: Any) -> Iterator[Path]:
    """A data folder of the test's own, for all that finds it by the settings."""
    settings.DATA_ROOT, settings.REPORTS_ROOT = tmp_path / "data", tmp_path / "reports"
    candle_store.cache_clear()
    report_shelf.cache_clear()
    yield settings.DATA_ROOT
    candle_store.cache_clear()
    report_shelf.cache_clear()


@pytest.fixture
def series(data_root: Path) -> SeriesKey:
    """A stored series with some thousand candles, known as a pair."""
    return store_walk("BTCUSDT")


def store_walk(symbol: str, *, seed: int = 5, count: int = COUNT, timeframe: Timeframe = Timeframe.M15) -> SeriesKey:
    key = SeriesKey(symbol, timeframe)
    candle_store().merge(key, walk(seed, count, timeframe=timeframe), source=Source.FILE)
    ensure_series(key)
    return key
