"""Summaries: counted and named from the logs in one pass."""

from dataclasses import replace
from pathlib import Path

import pytest

from markets.candles import Candles
from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from markets.store import Source
from signals import selectors
from signals.selectors import SignalFilter
from tests.factories import walk

# Who brings a log up asks whether the stream waits for a candle.
pytestmark = pytest.mark.django_db

DECEMBER = 1_701_388_800_000


def store(series: SeriesKey, candles: Candles) -> None:
    candle_store().merge(series, candles, source=Source.FILE)


def test_the_newest_of_each_kind_is_the_first_that_the_list_tells(data_root: Path) -> None:
    for symbol in ("BTCUSDT", "ETHUSDT"):  # the same candles: whatever is new is so in both
        store(SeriesKey.of(symbol, "1m"), walk(8, 3_000, start=DECEMBER - 1_500 * 60_000))
        fives = walk(9, 700, timeframe=Timeframe.M5, start=DECEMBER - 650 * 300_000)
        store(SeriesKey.of(symbol, "5m"), fives)
    for wanted in (
        SignalFilter(), SignalFilter(as_of=DECEMBER + 11_200_000), SignalFilter(end=DECEMBER),
        SignalFilter(scale="swing", direction=-1), SignalFilter(symbol="ETHUSDT", status="filled"),
    ):  # fmt: skip
        told = selectors.summary(wanted)["newest"]
        assert len(told) > 3
        for kind, newest in told.items():
            (row,) = selectors.signals(replace(wanted, kinds=frozenset({kind})), limit=1).rows
            assert (newest["id"], newest["status"]) == (row.id, row.status)
