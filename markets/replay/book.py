"""What the exchange tells of its market at a moment: closed candles, and the one that is forming."""

from markets.candles import Candles
from markets.replay.clock import VirtualClock
from markets.replay.faults import Faults
from markets.replay.market import Market, Row, partial, rows_of
from markets.replay.scripted import ScriptedMarket
from markets.series import SeriesKey, Timeframe

_UNSETTLED = 0.97  # the share of a candle that is known while its last trades are still being written


class Book:
    """A market seen at the clock's time, by REST and by the streams."""

    def __init__(self, market: Market, clock: VirtualClock, faults: Faults) -> None:
        self.market = ScriptedMarket(market, faults)
        self.clock = clock
        self._faults = faults

    def told_time(self) -> int:
        """Return the time of day the exchange tells; candles keep to its true clock."""
        skew: float = sum(fault["seconds"] for fault in self._faults.standing("skew"))
        return self.clock.now() + round(skew * 1000)

    def has(self, symbol: str) -> bool:
        return symbol in self.market.listings and self._halt(symbol) != "removed"

    def symbols(self) -> list[str]:
        return [symbol for symbol in self.market.listings if self.has(symbol)]

    def status(self, symbol: str) -> str:
        return "TRADING" if self._halt(symbol) is None else "BREAK"

    def rows(self, series: SeriesKey, *, start: int | None, end: int | None, limit: int) -> list[Row]:
        """Return what REST answers: rows in time order, the last one open when it is the newest.

        ``start`` and ``end`` are inclusive bounds of the open time. With a start the oldest rows from there,
        without one the newest up to the end, at most ``limit``.
        """
        now = self.clock.now() - self._seconds("lag", series)
        current = series.timeframe.floor(now)
        stop = current if end is None else max(0, min(current, end + 1))
        asks_newest = (end is None or end >= current) and (start is None or start <= current)
        forming = self.market.forming(series, now) if asks_newest else None
        if start is None:
            rows = self._closed_rows(series, self.market.newest_before(series, stop, limit, now=now), now)
            return [*rows, forming][-limit:] if forming else rows
        rows = self._closed_rows(series, self.market.oldest_from(series, start, stop, limit, now=now), now)
        return [*rows, forming][:limit] if forming else rows

    def closed(self, series: SeriesKey, open_time: int) -> Row | None:
        """Return the candle that opened at ``open_time`` as the stream tells it; None when there is none."""
        return self.market.row(series, open_time, now=self.clock.now())

    def forming(self, series: SeriesKey, now: int) -> Row | None:
        return self.market.forming(series, now)

    def last_day(self, symbol: str) -> Row | None:
        """Return the candle of the last 24 hours, made of a timeframe that answers at once."""
        now = self.clock.now()
        timeframes = self.market.timeframes(symbol)
        timeframe = Timeframe.M15 if "15m" in timeframes else Timeframe(timeframes[0])
        return _sum_of(self.rows(SeriesKey(symbol, timeframe), start=now - 86_400_000, end=None, limit=1000))

    def _closed_rows(self, series: SeriesKey, candles: Candles, now: int) -> list[Row]:
        rows = rows_of(candles)
        settle = self._seconds("settle", series)
        if rows and settle and now < rows[-1].open_time + series.timeframe.milliseconds + settle:
            rows[-1] = partial(rows[-1], _UNSETTLED, self.market.listings[series.symbol])
        return rows

    def _seconds(self, verb: str, series: SeriesKey) -> int:
        """Return the longest time (ms) a fault of this kind asks for."""
        return max((round(fault["seconds"] * 1000) for fault in self._faults.standing(verb, series=series)), default=0)

    def _halt(self, symbol: str) -> str | None:
        fault = self.market.is_halted(symbol, self.clock.now())
        return None if fault is None else str(fault["how"])


def _sum_of(rows: list[Row]) -> Row | None:
    if not rows:
        return None
    columns = list(zip(*rows, strict=True))
    volume, quote_volume, trades, taker_base, taker_quote = (sum(column) for column in columns[5:])
    prices = rows[0].open, max(columns[2]), min(columns[3]), rows[-1].close
    return Row(rows[0].open_time, *prices, volume, quote_volume, int(trades), taker_base, taker_quote)
