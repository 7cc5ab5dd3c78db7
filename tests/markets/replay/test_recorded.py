"""A replayed market that happened: what is stored, what is added up, and how it forms."""

import numpy as np
import pytest

from markets.candles import Candle, CandleFlow, Candles
from markets.errors import NoCandlesError
from markets.replay.market import rows_of
from markets.replay.recorded import RecordedMarket
from markets.series import SeriesKey, Timeframe
from tests.factories import real_candles, walk

START = 1_700_006_400_000  # 2023-11-15T00:00:00Z
MINUTE = 60_000


def series(timeframe: str) -> SeriesKey:
    return SeriesKey.of("BTCUSDT", timeframe)


@pytest.fixture(scope="module")
def minutes() -> Candles:
    return walk(3, 3 * 1440, start=START)


@pytest.fixture(scope="module")
def market(minutes: Candles) -> RecordedMarket:
    return RecordedMarket.of("a walk", {series("1m"): minutes})


def test_longer_candles_are_added_up_from_the_shortest(market: RecordedMarket, minutes: Candles) -> None:
    for timeframe in list(Timeframe)[1:]:
        bars = market.candles(series(timeframe), 0, 2**62)
        shape = (-1, timeframe.minutes)
        assert bars.open_time.tolist() == minutes.open_time.reshape(shape)[:, 0].tolist()
        assert bars.open.tolist() == minutes.open.reshape(shape)[:, 0].tolist()
        assert bars.high.tolist() == minutes.high.reshape(shape).max(axis=1).tolist()
        assert bars.low.tolist() == minutes.low.reshape(shape).min(axis=1).tolist()
        assert bars.close.tolist() == minutes.close.reshape(shape)[:, -1].tolist()
        np.testing.assert_allclose(bars.volume, minutes.volume.reshape(shape).sum(axis=1), rtol=1e-12)


def test_a_forming_candle_ends_as_the_closed_one(market: RecordedMarket) -> None:
    for timeframe in Timeframe:
        open_time = timeframe.floor(START + 1_000 * MINUTE)
        (closed,) = rows_of(market.candles(series(timeframe), open_time, open_time + 1))
        last = market.forming(series(timeframe), open_time + timeframe.milliseconds - 1)
        assert last is not None
        assert last[:5] == closed[:5]
        assert last.volume == pytest.approx(closed.volume, rel=1e-9)


def test_a_forming_candle_never_shows_what_is_to_come(market: RecordedMarket, minutes: Candles) -> None:
    for at in range(0, 240, 7):
        now = START + at * MINUTE + 30_000
        row = market.forming(series("4h"), now)
        assert row is not None
        known = minutes.between(START, now)
        assert row.high <= known.high.max()
        assert row.low >= known.low.min()
        assert row.volume < known.volume.sum()


def test_prices_of_a_candle_without_known_trades_form_step_by_step(market: RecordedMarket) -> None:
    rows = [market.forming(series("1m"), START + second * 1000) for second in range(60)]
    assert len({row.close for row in rows if row is not None}) > 10


def test_a_stored_timeframe_is_told_as_it_is_stored(minutes: Candles) -> None:
    hours = walk(4, 200, timeframe=Timeframe.H1, start=START - 128 * 3_600_000)
    both = RecordedMarket.of("two", {series("1m"): minutes, series("1h"): hours})
    assert both.candles(series("1h"), 0, 2**62).close.tolist() == hours.close.tolist()
    assert both.timeframes("BTCUSDT") == tuple(Timeframe)
    # Before the minutes begin, an hour forms on its own; 4h are added up from the longest stored below.
    before = START - 10 * 3_600_000
    assert both.forming(series("1h"), before + 1_800_000) is not None
    assert both.candles(series("4h"), before, START).volume.sum() == pytest.approx(
        hours.between(Timeframe.H4.ceil(before), START).volume.sum()
    )


def test_missing_candles_stay_missing(minutes: Candles) -> None:
    keep = np.ones(len(minutes), np.bool_)
    keep[100:130] = False
    market = RecordedMarket.of("holes", {series("1m"): minutes.take(keep)})
    assert market.forming(series("1m"), START + 110 * MINUTE) is None
    page = market.oldest_from(series("1m"), START + 95 * MINUTE, START + 200 * MINUTE, 10)
    assert ((page.open_time - START) // MINUTE).tolist() == [95, 96, 97, 98, 99, 130, 131, 132, 133, 134]
    quarters = market.candles(series("15m"), START, START + 180 * MINUTE)
    assert ((quarters.open_time - START) // MINUTE).tolist() == [0, 15, 30, 45, 60, 75, 135, 150, 165]


@pytest.mark.parametrize("missing", [120, 150, 179])
def test_htf_incomplete(minutes: Candles, missing: int) -> None:
    """F60: of 59 minutes no hour is made; it forms, and never closes."""
    keep = np.arange(len(minutes)) != missing
    market = RecordedMarket.of("a hole", {series("1m"): minutes.take(keep)})
    hours = market.candles(series("1h"), START, START + 300 * MINUTE)
    assert ((hours.open_time - START) // MINUTE).tolist() == [0, 60, 180, 240]
    assert market.row(series("1h"), START + 120 * MINUTE) is None
    assert market.forming(series("1h"), START + 179 * MINUTE) is not None


def test_an_hour_that_the_minutes_end_in_is_not_made(minutes: Candles) -> None:
    market = RecordedMarket.of("an end", {series("1m"): minutes.first(179)})
    assert len(market.candles(series("1h"), 0, 2**62)) == 2


def test_a_candle_nobody_traded_has_no_trades_and_a_known_flow_is_kept() -> None:
    candles = Candles.of(
        [Candle(START, 5.0, 5.0, 5.0, 5.0, 0.0), Candle(START + MINUTE, 5.0, 6.0, 5.0, 6.0, 2.5)],
        [CandleFlow(0.0, 0, 0.0, 0.0), CandleFlow(14.0, 7, 1.0, 6.0)],
    )
    rows = rows_of(RecordedMarket.of("two", {series("1m"): candles}).candles(series("1m"), 0, 2**62))
    assert [row.trades for row in rows] == [0, 7]
    assert rows[1].quote_volume == 14.0
    plain = Candles.of(list(candles))
    rows = rows_of(RecordedMarket.of("two", {series("1m"): plain}).candles(series("1m"), 0, 2**62))
    assert rows[0].trades == 0
    assert rows[1].trades > 0


def test_steps_are_read_off_the_prices() -> None:
    market = RecordedMarket.of("real", {series("15m"): real_candles("BTCUSDT-15m-2023")})
    listing = market.listings["BTCUSDT"]
    assert (listing.base_asset, listing.quote_asset) == ("BTC", "USDT")
    assert (listing.price_decimals, listing.step_decimals) == (2, 5)
    assert market.timeframes("BTCUSDT") == ("15m", "30m", "1h", "4h", "1d")
    assert market.span() == (1_672_531_200_000, 1_704_030_300_000)


def test_a_market_of_no_candles_has_no_span() -> None:
    with pytest.raises(NoCandlesError, match="nothing holds no candles"):
        RecordedMarket.of("nothing", {series("1m"): Candles.empty()}).span()
