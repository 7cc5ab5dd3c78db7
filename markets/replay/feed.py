"""The live streams: each subscribed series pushes its forming candle, and says when it closed."""

import asyncio
import hashlib
import heapq
from collections.abc import Iterable
from itertools import count

import orjson

from markets.replay.book import Book
from markets.replay.market import Row
from markets.replay.messages import kline_event
from markets.replay.streams import Connection, Payload
from markets.series import SeriesKey

PUSH_MILLISECONDS = 2_000
_PUSHES_A_SECOND = 10  # of one stream, in real seconds: what a screen can show
_LATENCIES = (5, 5, 6, 6, 8, 12, 204, 792, 1756, 1990)  # of recorded closing frames, ms


def closing_latency(series: SeriesKey, open_time: int) -> int:
    """Return the exchange ms from a candle's close to the frame that says so, 5 to 2,000: always the same for it."""
    digest = hashlib.blake2b(f"{series}:{open_time}".encode(), digest_size=2).digest()
    return _LATENCIES[digest[0] % len(_LATENCIES)] + digest[1] % 10


class Stream:
    """One series that someone listens to. ``open_time`` is of the candle whose end was not told yet."""

    def __init__(self, series: SeriesKey) -> None:
        self.series = series
        self.name = f"{series.symbol.lower()}@kline_{series.timeframe.value}"
        self.listeners: set[Connection] = set()
        self.open_time = 0
        self.said: Row | None = None

    def begin(self, now: int) -> None:
        """Start with the candle that is open, or with the one before when its end is still to be told."""
        self.open_time = self.series.timeframe.floor(now) - self.series.timeframe.milliseconds
        if now >= self.closes_at:
            self.open_time += self.series.timeframe.milliseconds

    @property
    def end_time(self) -> int:
        return self.open_time + self.series.timeframe.milliseconds

    @property
    def closes_at(self) -> int:
        return self.end_time + closing_latency(self.series, self.open_time)


class Feed:
    """Plays all streams in order of exchange time. ``run`` is the one task that sends candles."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._clock = book.clock
        self._streams: dict[SeriesKey, Stream] = {}
        self._agenda: list[tuple[int, int, Stream]] = []
        self._order = count()
        self._changed = asyncio.Event()
        self.frames_sent = 0

    def follow(self, connection: Connection, wanted: Iterable[SeriesKey]) -> None:
        """Make ``wanted`` the series this connection hears."""
        keys = {series for series in wanted if self._book.has(series.symbol)}
        for series, stream in list(self._streams.items()):
            if series not in keys:
                stream.listeners.discard(connection)
                if not stream.listeners:
                    del self._streams[series]
        for series in keys:
            stream = self._streams.get(series) or self._open(series)
            stream.listeners.add(connection)
        self._changed.set()

    def restart(self) -> None:
        """Begin every stream again at the clock's time; what lies between is not told."""
        now = self._clock.now()
        self._agenda.clear()
        for stream in self._streams.values():
            stream.begin(now)
            self._plan(stream, now)
        self._changed.set()

    async def run(self) -> None:
        """Play for ever."""
        while True:
            self._play_due()
            wait = self._clock.seconds_until(self._agenda[0][0]) if self._agenda else 60.0
            self._changed.clear()
            # At least a millisecond, so that requests are answered while the streams are busy.
            try:
                await asyncio.wait_for(self._changed.wait(), min(max(wait, 0.001), 60.0))
            except TimeoutError:
                continue

    def _open(self, series: SeriesKey) -> Stream:
        stream = self._streams[series] = Stream(series)
        now = self._clock.now()
        stream.begin(now)
        self._plan(stream, now)
        return stream

    def _play_due(self) -> None:
        for _ in range(len(self._agenda)):
            now = self._clock.now()
            if not self._agenda or self._agenda[0][0] > now:
                return
            stream = heapq.heappop(self._agenda)[2]
            if self._streams.get(stream.series) is stream:
                self._plan(stream, self._play(stream, now))

    def _plan(self, stream: Stream, at: int) -> None:
        heapq.heappush(self._agenda, (at, next(self._order), stream))

    def _play(self, stream: Stream, now: int) -> int:
        """Say what is due on a stream and return when it has to say something again."""
        if now >= stream.closes_at:
            row = self._book.closed(stream.series, stream.open_time)
            if row is not None:
                self._send(stream, row, is_closed=True)
            stream.open_time, stream.said = stream.end_time, None
            return stream.closes_at if now >= stream.end_time else min(now + self._interval(), stream.closes_at)
        if now >= stream.end_time:
            return stream.closes_at
        row = self._book.forming(stream.series, now)
        if row is not None and row.trades and row != stream.said:
            stream.said = row
            self._send(stream, row, is_closed=False)
        return min(now + self._interval(), stream.closes_at)

    def _interval(self) -> int:
        return max(PUSH_MILLISECONDS, int(self._clock.speed * 1000 / _PUSHES_A_SECOND))

    def _send(self, stream: Stream, row: Row, *, is_closed: bool) -> None:
        event = kline_event(stream.series, row, event_time=self._clock.told(), is_closed=is_closed)
        payload = Payload.of(stream.name, orjson.dumps(event))
        for connection in stream.listeners:
            connection.send(payload)
            self.frames_sent += 1
