"""The measures of volatility, against a calculation written from their formulas with pandas."""

import numpy as np
import pandas as pd
import pytest

from markets.candles import Candle, Candles
from markets.errors import NoCandlesError
from markets.series import Timeframe
from scanner.engine.volatility import ENOUGH, HISTORY, LOOKBACK, Metric, measure, needed
from tests.factories import walk


def frame(candles: Candles) -> pd.DataFrame:
    names = ("open_time", "open", "high", "low", "close", "volume")
    return pd.DataFrame({name: getattr(candles, name) for name in names})


@pytest.mark.parametrize("seed", range(5))
def test_measures_agree_with_their_formulas(seed: int) -> None:
    candles = walk(seed, 900, timeframe=Timeframe.M15)
    table = frame(candles)
    before = table.close.shift()
    true_range = pd.concat(
        [table.high - table.low, (table.high - before).abs(), (table.low - before).abs()], axis=1
    ).max(axis=1)
    true_range[0] = np.nan
    atr_pct = (100 * true_range.rolling(LOOKBACK).mean() / table.close).dropna()
    returns = np.log(table.close).diff()
    realized = (100 * returns.rolling(LOOKBACK).std(ddof=1) * np.sqrt(365 * 96)).dropna()
    span = table.iloc[1:]
    range_pct = (100 * (span.high.rolling(LOOKBACK).max() - span.low.rolling(LOOKBACK).min()) / span.close).dropna()
    volume = table.volume.rolling(LOOKBACK).mean().dropna()

    found = measure(candles, Timeframe.M15)

    assert found.atr_pct == pytest.approx(atr_pct.iloc[-1], rel=1e-9)
    assert found.realized_vol == pytest.approx(realized.iloc[-1], rel=1e-6)
    assert found.range_pct == pytest.approx(range_pct.iloc[-1], rel=1e-9)
    assert found.vs_median[Metric.ATR] == pytest.approx(atr_pct.iloc[-1] / atr_pct.median(), rel=1e-9)
    assert found.vs_median[Metric.REALIZED] == pytest.approx(realized.iloc[-1] / realized.median(), rel=1e-6)
    assert found.relative_volume == pytest.approx(volume.iloc[-1] / volume.median(), rel=1e-9)
    day_before = table.close.iloc[-1 - 96]
    assert found.change_24h_pct == pytest.approx(100 * (table.close.iloc[-1] / day_before - 1), rel=1e-9)


@pytest.mark.parametrize("timeframe", list(Timeframe))
def test_what_is_needed_reaches_a_day_back_and_the_medians_as_far_as_they_always_do(timeframe: Timeframe) -> None:
    candles = walk(2, 3_000, timeframe=timeframe)
    count = needed(timeframe)
    found = measure(candles.take(slice(-count, None)), timeframe)
    day_before = candles.close[-1 - Timeframe.D1.minutes // timeframe.minutes]
    assert found.change_24h_pct == 100 * (candles.close[-1] / day_before - 1)
    assert found.vs_median == measure(candles.take(slice(-HISTORY, None)), timeframe).vs_median


def test_a_market_without_a_day_of_history_or_volume_tells_none_there() -> None:
    rows = [Candle(60_000 * i, 10, 11 + i % 2, 9, 10, 0.0) for i in range(ENOUGH)]
    found = measure(Candles.of(rows), Timeframe.M1)
    assert found.change_24h_pct is None
    assert found.relative_volume is None


def test_a_flat_market_has_no_volatility_and_no_comparison() -> None:
    found = measure(Candles.of(Candle(60_000 * i, 5, 5, 5, 5, 1.0) for i in range(100)), Timeframe.M1)
    assert (found.atr_pct, found.realized_vol, found.range_pct) == (0.0, 0.0, 0.0)
    assert found.vs_median[Metric.ATR] is None


def test_too_few_candles_are_an_error_that_says_how_many_are_needed() -> None:
    with pytest.raises(NoCandlesError, match=str(ENOUGH)):
        measure(walk(1, ENOUGH - 1), Timeframe.M1)
