"""A market that happened: stored or filed candles, and the longer ones they add up to."""

from collections.abc import Callable, Collection, Mapping
from functools import lru_cache

import numpy as np

from markets.candles import PRICE_COLUMNS, Candles, FloatArray, Flow, resample
from markets.errors import NoCandlesError
from markets.replay.market import Listing, Row, partial, rows_of, split_symbol
from markets.series import SeriesKey, Timeframe

_SAMPLE = 5_000
_UNKNOWN_TRADES = 240  # told of a candle whose number of trades nobody wrote down, so that it can be seen to form

Load = Callable[[SeriesKey], Candles]


class RecordedMarket:
    """The series that ``load`` has, each read when it is first asked for, and all longer timeframes of its pairs.

    A timeframe that is not among ``stored`` is added up from the longest stored one that divides it, and where one of
    that is missing there is none. What a candle lacks beside its prices is made up: trades, quote volume at the middle
    price, half of it bought by takers.
    """

    def __init__(self, name: str, stored: Collection[SeriesKey], load: Load) -> None:
        self.name = name
        self._stored: dict[str, list[Timeframe]] = {}
        for series in stored:
            self._stored.setdefault(series.symbol, []).append(series.timeframe)
        for timeframes in self._stored.values():
            timeframes.sort(key=lambda each: each.milliseconds)
        self._load = lru_cache(None)(lambda series: _completed(load(series)))
        self._all = lru_cache(None)(self._make)
        self.listings: Mapping[str, Listing] = {symbol: self._listing(symbol) for symbol in sorted(self._stored)}

    @classmethod
    def of(cls, name: str, candles: Mapping[SeriesKey, Candles]) -> "RecordedMarket":
        return cls(name, candles.keys(), candles.__getitem__)

    def base(self, symbol: str) -> SeriesKey:
        """Return the shortest series of a pair, which says what happens inside the others."""
        return SeriesKey(symbol, self._stored[symbol][0])

    def span(self) -> tuple[int, int]:
        """Return when the first candle of the shortest series opens, and when the last one closes."""
        bases = [self.base(symbol) for symbol in self._stored]
        filled = [(series, self._load(series)) for series in bases if len(self._load(series))]
        if not filled:
            raise NoCandlesError(f"{self.name} holds no candles")
        starts = [int(candles.open_time[0]) for _, candles in filled]
        ends = [int(candles.open_time[-1]) + series.timeframe.milliseconds for series, candles in filled]
        return min(starts), max(ends)

    def timeframes(self, symbol: str) -> tuple[str, ...]:
        shortest = self._stored[symbol][0].milliseconds
        return tuple(each for each in Timeframe if each.milliseconds >= shortest)

    def candles(self, series: SeriesKey, start: int, end: int) -> Candles:
        return self._all(series).between(start, end)

    def row(self, series: SeriesKey, open_time: int) -> Row | None:
        rows = rows_of(self.candles(series, open_time, open_time + 1))
        return rows[0] if rows else None

    def first_time(self, series: SeriesKey) -> int | None:
        candles = self._all(series)
        return int(candles.open_time[0]) if len(candles) else None

    def newest_before(self, series: SeriesKey, end: int, count: int) -> Candles:
        candles = self._all(series)
        stop = int(np.searchsorted(candles.open_time, end))
        return candles.take(slice(max(0, stop - count), stop))

    def oldest_from(self, series: SeriesKey, start: int, end: int, count: int) -> Candles:
        candles = self._all(series)
        first, stop = np.searchsorted(candles.open_time, [start, end])
        return candles.take(slice(int(first), min(int(stop), int(first) + count)))

    def forming(self, series: SeriesKey, now: int) -> Row | None:
        open_time = series.timeframe.floor(now)
        base = self.base(series.symbol)
        minute = base.timeframe.floor(now)
        listing = self.listings[series.symbol]
        rows = rows_of(self._load(base).between(open_time, minute + 1)) if series != base else []
        if not rows:
            # Where the shortest series has nothing, a longer one that is stored tells its own way.
            return self._alone(series, open_time, now, listing)
        if rows[-1].open_time == minute:
            rows[-1] = partial(rows[-1], (now - minute) / base.timeframe.milliseconds, listing)
        return _summed(open_time, rows, listing)

    def _alone(self, series: SeriesKey, open_time: int, now: int, listing: Listing) -> Row | None:
        rows = rows_of(self._all(series).between(open_time, open_time + 1))
        return partial(rows[0], (now - open_time) / series.timeframe.milliseconds, listing) if rows else None

    def _make(self, series: SeriesKey) -> Candles:
        stored = self._stored.get(series.symbol, [])
        if series.timeframe in stored:
            return self._load(series)
        shorter = [each for each in stored if series.timeframe.milliseconds % each.milliseconds == 0]
        if not shorter or shorter[0].milliseconds > series.timeframe.milliseconds:
            return Candles.empty()
        below = [each for each in shorter if each.milliseconds < series.timeframe.milliseconds]
        return resample(self._load(SeriesKey(series.symbol, below[-1])), below[-1], to=series.timeframe)

    def _listing(self, symbol: str) -> Listing:
        candles = self._load(self.base(symbol))
        return Listing(symbol, *split_symbol(symbol), _decimals(candles.close), _decimals(candles.volume))


def _completed(candles: Candles) -> Candles:
    """Return ``candles`` with their flow; what is not known of it is made up."""
    known = candles.flow if candles.flow is not None else Flow.unknown(len(candles))
    middle = (candles.high + candles.low + candles.close) / 3
    has_moved = (candles.volume > 0) | (candles.high > candles.low)
    quote = _else(known.quote_volume, np.round(candles.volume * middle, 8))
    flow = Flow(
        quote,
        _else(known.trades, np.where(has_moved, float(_UNKNOWN_TRADES), 0.0)),
        _else(known.taker_buy_base, np.round(candles.volume / 2, 8)),
        _else(known.taker_buy_quote, np.round(quote / 2, 8)),
    )
    return Candles(candles.open_time, *(getattr(candles, name) for name in (*PRICE_COLUMNS, "volume")), flow=flow)


def _else(known: FloatArray, made_up: FloatArray) -> FloatArray:
    return np.where(np.isfinite(known), known, made_up)


def _summed(open_time: int, rows: list[Row], listing: Listing) -> Row:
    volume, quote, trades, taker, taker_quote = (sum(column) for column in list(zip(*rows, strict=True))[5:])
    return Row(
        open_time,
        rows[0].open,
        max(row.high for row in rows),
        min(row.low for row in rows),
        rows[-1].close,
        round(volume, listing.step_decimals),
        round(quote, 8),
        int(trades),
        round(taker, listing.step_decimals),
        round(taker_quote, 8),
    )


def _decimals(values: FloatArray) -> int:
    """Return how many decimals the values are written with, 8 at most."""
    sample = values[:: max(1, len(values) // _SAMPLE)]
    for decimals in range(8):
        if (np.abs(sample - np.round(sample, decimals)) < 1e-9 * np.maximum(1.0, np.abs(sample))).all():
            return decimals
    return 8
