"""The rules that decide what becomes a candle."""

from dataclasses import replace

import numpy as np
import pytest

from markets.candles import Candle, Candles, Flow, Gap, Intake, find_gaps, join, take_file_rows
from markets.errors import InvalidCandlesError
from markets.series import Timeframe
from tests.factories import nasty_walk, walk

STEP = 60_000


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


def test_gaps_are_the_runs_that_lack() -> None:
    times = np.array([0, 1, 4, 5, 6, 10], np.int64) * STEP
    gaps = find_gaps(times, Timeframe.M1)
    assert gaps == [Gap(2 * STEP, 4 * STEP), Gap(7 * STEP, 10 * STEP)]
    assert [gap.count(Timeframe.M1) for gap in gaps] == [2, 3]
    assert find_gaps(times[:0], Timeframe.M1) == find_gaps(times[:1], Timeframe.M1) == []


def test_file_rows_are_taken_by_one_rule() -> None:
    good = Candle(STEP, 1.0, 2.0, 0.5, 1.5, 3.0)
    rows = [
        good._replace(open_time=3 * STEP),
        good,
        good._replace(open_time=3 * STEP, close=1.0),
        good._replace(open_time=2 * STEP + 1),
        good._replace(open_time=2 * STEP, high=1.0),
        good._replace(open_time=2 * STEP),
    ]
    columns = dict(zip(Candle._fields, map(np.array, zip(*rows, strict=True)), strict=True))
    candles, intake = take_file_rows(columns | {"closed": np.array([True] * 5 + [False])}, Timeframe.M1)
    assert [*candles] == [good, good._replace(open_time=3 * STEP, close=1.0)]
    assert intake == Intake(accepted=2, duplicate=1, out_of_order=1, malformed=2, unclosed=1)
