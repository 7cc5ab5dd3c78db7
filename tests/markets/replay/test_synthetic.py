"""The synthetic market: a pure function that looks like a market."""

import numpy as np
import pytest

from markets.candles import FLOW_COLUMNS, Candles, FloatArray
from markets.replay.market import rows_of
from markets.replay.synthetic import DAY, FIRST_DAY, LAST_DAY, SyntheticMarket
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
        assert elsewhere.row(series, row.open_time) == row


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


def _likeness(values: FloatArray, lag: int) -> float:
    """Return the correlation of a series with itself ``lag`` steps before."""
    return float(np.corrcoef(values[:-lag], values[lag:])[0, 1])


def test_returns_have_fat_tails_and_no_memory(quarter: Candles) -> None:
    returns = np.diff(np.log(quarter.close))
    assert ((returns - returns.mean()) ** 4).mean() / returns.var() ** 2 > 8
    assert abs(_likeness(returns, 1)) < 0.05
    assert np.abs(returns).max() > 12 * returns.std()


def test_volatility_comes_in_clusters_of_hours_and_of_weeks(market: SyntheticMarket, quarter: Candles) -> None:
    minutes = np.abs(np.diff(np.log(quarter.close)))
    assert _likeness(minutes, 1) > 0.2
    assert _likeness(minutes, 30) > 0.1
    years = market.candles(SeriesKey("BTCUSDT", Timeframe.D1), START - 1500 * DAY, START)
    assert _likeness(np.abs(np.diff(np.log(years.close))), 5) > 0.05


def test_new_york_is_the_busiest_time_of_the_day(quarter: Candles) -> None:
    hours = quarter.open_time // 3_600_000 % 24
    moves = np.abs(np.log(quarter.close / quarter.open))
    usual = np.array([moves[hours == hour].mean() for hour in range(24)])
    assert usual.argmax() in (13, 14, 15)
    assert usual.max() > 1.8 * usual.min()


def test_volume_follows_volatility(quarter: Candles) -> None:
    moves = quarter.high / quarter.low - 1
    assert np.corrcoef(np.log(quarter.volume + 1e-9), np.log(moves + 1e-9))[0, 1] > 0.4


def test_the_price_stays_of_a_sensible_size_over_all_years() -> None:
    series = SeriesKey("BTCUSDT", Timeframe.D1)
    for seed in range(4):
        market = SyntheticMarket(["BTCUSDT"], seed=seed)
        rows = [market.row(series, day * DAY) for day in range(FIRST_DAY, LAST_DAY, 28)]
        closes = [row.close for row in rows if row is not None]
        assert len(closes) == len(rows)
        assert 2_000 < min(closes) < max(closes) < 2_000_000


def test_each_minute_joins_the_one_before_and_lies_on_the_grid(quarter: Candles) -> None:
    assert (np.diff(quarter.open_time) == MINUTE).all()
    ticks = quarter.close * 100
    assert np.abs(ticks - np.rint(ticks)).max() < 1e-6
    assert np.abs(quarter.open[1:] - quarter.close[:-1]).max() <= 0.0100001


def test_a_thousand_candles_of_every_timeframe_are_there_at_the_start(market: SyntheticMarket) -> None:
    for timeframe in (Timeframe.M1, Timeframe.H1, Timeframe.H4, Timeframe.D1):
        candles = market.newest_before(SeriesKey("ETHUSDT", timeframe), START, 1_000)
        assert len(candles) == 1_000
        assert int(candles.open_time[-1]) == timeframe.ceil(START) - timeframe.milliseconds
