"""What the exchange tells of its market at a moment: closed candles, and the one that is forming."""

from markets.replay.clock import VirtualClock
from markets.replay.market import Market, Row, rows_of
from markets.series import SeriesKey, Timeframe


class Book:
    """A market seen at the clock's time."""

    def __init__(self, market: Market, clock: VirtualClock) -> None:
        self.market = market
        self.clock = clock

    def has(self, symbol: str) -> bool:
        return symbol in self.market.listings

    def symbols(self) -> list[str]:
        return list(self.market.listings)

    def status(self, symbol: str) -> str:
        return "TRADING"

    def rows(self, series: SeriesKey, *, start: int | None, end: int | None, limit: int) -> list[Row]:
        """Return what REST answers: rows in time order, the last one open when it is the newest.

        ``start`` and ``end`` are inclusive bounds of the open time. With a start the oldest rows from there,
        without one the newest up to the end, at most ``limit``.
        """
        now = self.clock.now()
        current = series.timeframe.floor(now)
        is_newest = end is None or end >= current
        stop = current if end is None else min(current, end + 1)
        forming = self.forming(series, now) if is_newest and (start is None or start <= current) else None
        if start is None:
            rows = rows_of(self.market.newest_before(series, stop, limit))
            return [*rows, forming][-limit:] if forming else rows
        rows = rows_of(self.market.oldest_from(series, max(start, 0), stop, limit))
        return [*rows, forming][:limit] if forming else rows

    def closed(self, series: SeriesKey, open_time: int) -> Row | None:
        """Return the candle that opened at ``open_time``, None when the market has none there."""
        rows = rows_of(self.market.candles(series, open_time, open_time + 1))
        return rows[0] if rows else None

    def forming(self, series: SeriesKey, now: int) -> Row | None:
        return self.market.forming(series, now)

    def last_day(self, symbol: str) -> Row | None:
        """Return the candle of the last 24 hours, made of the shortest timeframe that answers at once."""
        now = self.clock.now()
        timeframe = Timeframe.M15 if "15m" in self.market.timeframes(symbol) else self.market.timeframes(symbol)[0]
        series = SeriesKey.of(symbol, timeframe)
        rows = self.rows(series, start=now - 86_400_000, end=None, limit=1000)
        return _sum_of(rows)


def _sum_of(rows: list[Row]) -> Row | None:
    if not rows:
        return None
    columns = list(zip(*rows, strict=True))
    volume, quote_volume, trades, taker_base, taker_quote = (sum(column) for column in columns[5:])
    high, low = max(columns[2]), min(columns[3])
    ends = rows[0], rows[-1]
    prices = ends[0].open, high, low, ends[1].close
    return Row(rows[0].open_time, *prices, volume, quote_volume, int(trades), taker_base, taker_quote)
