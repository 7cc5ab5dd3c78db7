"""Longer candles out of shorter ones."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from markets.candles import Candles, Flow, resample
from markets.errors import InvalidInputError
from markets.series import Timeframe
from tests.factories import nasty_walk, real_candles, walk
from tests.markets.store.disks import same


@pytest.mark.parametrize("to", [Timeframe.M5, Timeframe.M15, Timeframe.H1, Timeframe.H4])
def test_resampling_agrees_with_pandas_on_complete_candles(to: Timeframe) -> None:
    candles = nasty_walk(4, 9000) if to != Timeframe.H4 else walk(4, 9000)
    frame = pd.DataFrame({name: getattr(candles, name) for name in ("open", "high", "low", "close", "volume")})
    buckets = frame.groupby(candles.open_time // to.milliseconds * to.milliseconds)
    expected = buckets.agg({"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"})
    expected = expected[buckets.size() == to.minutes]
    found = resample(candles, Timeframe.M1, to=to)
    assert len(found) > 10
    assert found.open_time.tolist() == expected.index.tolist()
    for name in ("open", "high", "low", "close"):
        assert np.array_equal(getattr(found, name), expected[name])
    assert found.volume == pytest.approx(expected.volume.to_numpy(), rel=1e-12)


def test_real_quarters_make_the_real_hours() -> None:
    made = resample(real_candles("ETHUSDT-15m-2023"), Timeframe.M15, to=Timeframe.H1)
    hours = real_candles("ETHUSDT-1h-2023")
    common = hours.take(np.isin(hours.open_time, made.open_time))
    assert len(common) > 8500
    for name in ("open", "high", "low", "close"):
        assert np.array_equal(getattr(common, name), getattr(made, name))


def test_later_candles_never_change_a_finished_one() -> None:
    candles = nasty_walk(2, 400)
    whole = resample(candles, Timeframe.M1, to=Timeframe.M5)
    for n in range(len(candles)):
        part = resample(candles.first(n), Timeframe.M1, to=Timeframe.M5)
        assert same(part, whole.first(len(part)))


def test_flow_is_added_up_and_unknown_stays_unknown() -> None:
    candles = walk(1, 10, start=1_700_000_100_000)
    numbers = np.arange(10, dtype=np.float64)
    unknown = numbers.copy()
    unknown[7] = np.nan
    made = resample(replace(candles, flow=Flow(numbers, numbers, numbers, unknown)), Timeframe.M1, to=Timeframe.M5)
    assert made.flow is not None
    assert made.flow.trades.tolist() == [10.0, 35.0]
    assert np.isnan(made.flow.taker_buy_quote).tolist() == [False, True]


def test_the_same_timeframe_changes_nothing_and_a_shorter_one_is_refused() -> None:
    candles = nasty_walk(1, 100)
    assert same(resample(candles, Timeframe.M1, to=Timeframe.M1), candles)
    assert len(resample(Candles.empty(), Timeframe.M1, to=Timeframe.D1)) == 0
    for timeframe, to in ((Timeframe.M15, Timeframe.M5), (Timeframe.H4, Timeframe.M30)):
        with pytest.raises(InvalidInputError, match=f"{to.value} candles cannot be made of {timeframe.value}"):
            resample(candles, timeframe, to=to)
