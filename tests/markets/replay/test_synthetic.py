"""The synthetic market: a pure function that looks like a market."""

import numpy as np
import pytest

from markets.candles import FLOW_COLUMNS, Candles
from markets.replay.market import rows_of
from markets.replay.synthetic import DAY, SyntheticMarket
from markets.series import SeriesKey, Timeframe
from tests.replaying import START

MINUTE = 60_000
SYMBOLS = ("BTCUSDT", "ETHUSDT", "FOOUSDT", "NEWBTC")


@pytest.fixture(scope="module")
def market() -> SyntheticMarket:
    return SyntheticMarket(SYMBOLS, seed=7)


@pytest.fixture(scope="module")
def quarter(market: SyntheticMarket) -> Candles:
    return market.candles(SeriesKey("BTCUSDT", Timeframe.M1), START, START + 90 * DAY)


@pytest.mark.parametrize("timeframe", Timeframe)
def test_a_candle_is_the_same_alone_and_among_others(market: SyntheticMarket, timeframe: Timeframe) -> None:
    series = SeriesKey("FOOUSDT", timeframe)
    together = rows_of(market.candles(series, START, START + 3 * DAY))
    elsewhere = SyntheticMarket(["FOOUSDT"], seed=7)
    for row in reversed(together[:: max(1, len(together) // 40)]):
        alone = rows_of(elsewhere.candles(series, row.open_time, row.open_time + 1))
        assert alone == [row]


def test_another_seed_is_another_market(market: SyntheticMarket) -> None:
    series = SeriesKey("BTCUSDT", Timeframe.H1)
    other = SyntheticMarket(["BTCUSDT"], seed=8)
    assert not np.array_equal(
        market.candles(series, START, START + DAY).close, other.candles(series, START, START + DAY).close
    )


@pytest.mark.parametrize("timeframe", list(Timeframe)[1:])
@pytest.mark.parametrize("symbol", SYMBOLS)
def test_longer_candles_are_the_sum_of_their_minutes(
    market: SyntheticMarket, symbol: str, timeframe: Timeframe
) -> None:
    start = START - START % DAY
    minutes = market.candles(SeriesKey(symbol, Timeframe.M1), start, start + 2 * DAY)
    bars = market.candles(SeriesKey(symbol, timeframe), start, start + 2 * DAY)
    shape = (-1, timeframe.minutes)
    assert bars.open_time.tolist() == minutes.open_time.reshape(shape)[:, 0].tolist()
    assert bars.open.tolist() == minutes.open.reshape(shape)[:, 0].tolist()
    assert bars.high.tolist() == minutes.high.reshape(shape).max(axis=1).tolist()
    assert bars.low.tolist() == minutes.low.reshape(shape).min(axis=1).tolist()
    assert bars.close.tolist() == minutes.close.reshape(shape)[:, -1].tolist()
    np.testing.assert_allclose(bars.volume, minutes.volume.reshape(shape).sum(axis=1), rtol=1e-12)
    assert bars.flow is not None
    assert minutes.flow is not None
    for name in FLOW_COLUMNS:
        sums = getattr(minutes.flow, name).reshape(shape).sum(axis=1)
        np.testing.assert_allclose(getattr(bars.flow, name), sums, rtol=1e-12)
