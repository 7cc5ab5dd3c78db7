"""The live streams: each subscribed series pushes its forming candle, and says when it closed."""

import asyncio
import hashlib
import heapq
import time
from collections.abc import Callable, Iterable
from itertools import count

from markets.replay.book import Book
from markets.replay.frames import Frame, frame_of
from markets.replay.market import Row
from markets.replay.streams import Connection
from markets.series import SeriesKey

PUSH_MILLISECONDS = 2_000
_PUSHES_A_SECOND = 4  # of one stream, in real seconds, however fast the clock runs: what an eye can follow
_LATENCIES = (5, 5, 6, 6, 8, 12, 204, 792, 1756, 1990)  # of recorded closing frames, ms
_SLICE_SECONDS = 0.005  # then requests are answered

Play = Callable[[int], int | None]


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
        self.said: Row | None = None
        self._step = series.timeframe.milliseconds
        self._open_at(0)

    def begin(self, now: int) -> None:
        """Start with the candle that is open, or with the one before when its end is still to be told."""
        self._open_at(self.series.timeframe.floor(now) - self._step)
        if now >= self.closes_at:
            self.go_on()

    def go_on(self) -> None:
        """Turn to the next candle."""
        self._open_at(self.end_time)

    def _open_at(self, open_time: int) -> None:
        self.open_time, self.end_time = open_time, open_time + self._step
        self.closes_at = self.end_time + closing_latency(self.series, open_time)
        self.said = None


class Feed:
    """Plays all streams, and whatever else happens by the exchange's clock. ``run`` is the one task that does.

    ``script`` turns a frame into those that are sent in its place, ``after_frame`` hears of each that was sent.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self._clock = book.clock
        self._streams: dict[SeriesKey, Stream] = {}
        self._agenda: list[tuple[int, int, Stream | Callable[[], None]]] = []
        self._order = count()
        self._changed = asyncio.Event()
        self.script: Callable[[Frame], list[Frame]] = lambda frame: [frame]
        self.after_frame: Callable[[Frame], None] = lambda frame: None
        self.frames_sent = 0

    @property
    def series(self) -> list[SeriesKey]:
        """What someone listens to."""
        return sorted(self._streams)

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

    def at(self, moment: int, action: Callable[[], None]) -> None:
        """Do something when the exchange's clock shows ``moment`` (UTC ms)."""
        heapq.heappush(self._agenda, (moment, next(self._order), action))
        self._changed.set()

    def restart(self) -> None:
        """Begin every stream again at the clock's time; what lies between is not told."""
        now = self._clock.now()
        self._agenda = [each for each in self._agenda if not isinstance(each[2], Stream)]
        heapq.heapify(self._agenda)
        for stream in self._streams.values():
            stream.begin(now)
            self._plan(stream, now)
        self._changed.set()

    def wake(self) -> None:
        """Look at the clock anew: its speed changed."""
        self._changed.set()

    async def run(self) -> None:
        """Play for ever."""
        while True:
            self._play_due()
            if self._agenda and self._agenda[0][0] <= self._clock.now():
                # Behind: go on at once, after those who wait for an answer.
                await asyncio.sleep(0)
                continue
            wait = self._clock.seconds_until(self._agenda[0][0]) if self._agenda else 60.0
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), min(max(wait, 0.001), 60.0))
            except TimeoutError:
                continue

    def send(self, frame: Frame) -> None:
        """Send a frame as it is to those who listen to its series."""
        stream = self._streams.get(frame.series)
        if stream is None:
            return
        payload = frame.payload()
        for connection in tuple(stream.listeners):
            connection.send(payload)
        self.frames_sent += 1
        self.after_frame(frame)

    def _open(self, series: SeriesKey) -> Stream:
        stream = self._streams[series] = Stream(series)
        now = self._clock.now()
        stream.begin(now)
        self._plan(stream, now)
        return stream

    def _play_due(self) -> None:
        until = time.monotonic() + _SLICE_SECONDS
        while self._agenda and self._agenda[0][0] <= self._clock.now() and time.monotonic() < until:
            _, _, entry = heapq.heappop(self._agenda)
            if not isinstance(entry, Stream):
                entry()
            elif self._streams.get(entry.series) is entry:
                self._plan(entry, self._play(entry, self._clock.now()))

    def _plan(self, stream: Stream, at: int) -> None:
        heapq.heappush(self._agenda, (at, next(self._order), stream))

    def _play(self, stream: Stream, now: int) -> int:
        """Say what is due on a stream and return when it has to say something again."""
        if now >= stream.closes_at:
            row = self._book.closed(stream.series, stream.open_time)
            if row is not None:
                self._tell(stream, row, is_closed=True)
            stream.go_on()
            return stream.closes_at if now >= stream.end_time else self._next_push(stream, now)
        if now >= stream.end_time:
            return stream.closes_at
        row = self._book.forming(stream.series, now)
        if row is not None and row.trades and row != stream.said:
            stream.said = row
            self._tell(stream, row, is_closed=False)
        return self._next_push(stream, now)

    def _next_push(self, stream: Stream, now: int) -> int:
        interval = max(PUSH_MILLISECONDS, int(self._clock.speed * 1000 / _PUSHES_A_SECOND))
        # However fast the clock, each candle is seen to form.
        return min(now + min(interval, stream.series.timeframe.milliseconds // 2), stream.closes_at)

    def _tell(self, stream: Stream, row: Row, *, is_closed: bool) -> None:
        frame = frame_of(stream.series, row, event_time=self._book.told_time(), is_closed=is_closed)
        for each in self.script(frame):
            self.send(each)
