"""Columns of candles: what they refuse, and what is taken from them and put together again."""

from dataclasses import replace

import numpy as np
import pytest

from markets.candles import Candles, Flow, join
from markets.errors import InvalidCandlesError
from tests.factories import nasty_walk, walk


def test_a_value_that_exists_is_valid() -> None:
    candles = walk(1, 10)
    nan, zero = np.full(10, np.nan), np.zeros(10)
    for wrong in (
        {"open_time": candles.open_time[::-1].copy()},
        {"open_time": np.repeat(candles.open_time[:5], 2)},
        {"open_time": candles.open_time.astype(np.float64)},
        {"open": candles.open[:5]},
        {"low": candles.high + 1},
        {"high": candles.low - 1},
        {"high": np.full(10, np.inf)},
        {"low": zero},
        {"close": nan},
        {"volume": -candles.volume - 1},
        {"volume": nan},
        {"volume": np.full(10, np.inf)},
    ):
        with pytest.raises(InvalidCandlesError):
            replace(candles, **wrong)


def test_parts_joined_are_the_whole() -> None:
    candles = nasty_walk(1, 100)
    flow = Flow(*(np.arange(100.0) + at for at in range(4)))
    told = replace(candles, flow=flow)
    parts = [candles.first(30), told.take(slice(30, 60)), Candles.empty(), candles.take(slice(60, 100))]
    whole = join(parts)
    assert [*whole] == [*candles]
    assert whole.flow is not None
    assert np.isnan(whole.flow.trades[:30]).all()
    assert whole.flow.trades[30:60].tolist() == flow.trades[30:60].tolist()
    assert len(join([])) == 0
    assert join([candles]) is candles


def test_between_is_half_open() -> None:
    candles = walk(2, 10)
    times = candles.open_time.tolist()
    assert candles.between(times[2], times[5]).open_time.tolist() == times[2:5]
    assert candles.between(times[2] - 1, times[5] + 1).open_time.tolist() == times[2:6]
    assert candles.between(None, None).open_time.tolist() == times
    assert len(candles.between(times[5], times[2])) == 0


def test_a_copy_may_be_written_to() -> None:
    candles = replace(walk(2, 10), flow=Flow.unknown(10))
    copied = candles.copy()
    copied.close[0] = 1.0
    assert copied.flow is not None
    copied.flow.trades[0] = 1.0
    assert candles.close[0] != 1.0
    assert candles.flow is not None
    assert np.isnan(candles.flow.trades[0])


def test_rows_and_columns_are_the_same_thing() -> None:
    candles = nasty_walk(3, 50)
    assert [*Candles.of(candles)] == [*candles] == [candles.candle(at) for at in range(50)]
    assert len(Candles.of([])) == 0
