"""An exchange that answers from memory, and says only what the test lets it say."""

import time

from markets.candles import Candle, Candles
from markets.exchanges import SETTLE_MILLISECONDS, Archive, CandleUpdate, MarketStream, PairInfo
from markets.series import SeriesKey


class ScriptedExchange:
    """Knows ``truth``; ``now`` is its clock. What is in ``missing`` it does not answer with."""

    def __init__(self, series: SeriesKey, truth: Candles, *, known: int) -> None:
        self.series = series
        self.rows = list(truth)
        self.missing: set[int] = set()
        self.error: Exception | None = None
        self.asked: list[tuple[int, int | None]] = []
        self.archive: Archive | None = None
        self.now = 0
        self.move_to(known)

    def move_to(self, known: int) -> None:
        """Let the first ``known`` candles be closed, and settled."""
        self.now = self.rows[known - 1].open_time + self.series.timeframe.milliseconds + SETTLE_MILLISECONDS

    def server_time(self) -> int:
        if self.error is not None:
            raise self.error
        return self.now

    def candles(self, series: SeriesKey, *, start: int, end: int | None = None, limit: int = 1000) -> Candles:
        self.asked.append((start, end))
        if self.error is not None:
            raise self.error
        closed = self.now - SETTLE_MILLISECONDS - series.timeframe.milliseconds
        rows = [
            row
            for row in self.rows
            if start <= row.open_time <= closed
            and (end is None or row.open_time < end)
            and row.open_time not in self.missing
        ]
        return Candles.of(rows[:limit])

    def pairs(self) -> list[PairInfo]:
        return []

    def open_stream(self) -> MarketStream:
        raise NotImplementedError("what its stream says, the test says itself: update")

    def update(self, index: int, candle: Candle | None = None, *, is_closed: bool = True) -> CandleUpdate:
        """Return what a stream says of candle ``index``."""
        row = candle or self.rows[index]
        end = row.open_time + self.series.timeframe.milliseconds
        return CandleUpdate(self.series, row, is_closed, end + 20, time.monotonic())
