"""Live candles from Binance: any number of series over as few connections as may serve them."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from markets.candles import Candle
from markets.exchanges import CandleUpdate, Connected, StreamEvent, StreamHealth
from markets.exchanges.backoff import ConnectBudget
from markets.exchanges.binance_bundle import Bundle, BundleSetup, Tally
from markets.exchanges.binance_connection import Connection, Ended, Message, Opened
from markets.exchanges.binance_frames import CandleFrame, Frame, Reply, Shutdown, read_frame
from markets.exchanges.binance_line import Line
from markets.exchanges.event_queue import EventQueue
from markets.exchanges.series_watch import SeriesWatch
from markets.exchanges.stream_clock import ClockProbe
from markets.exchanges.stream_timing import StreamTiming
from markets.exchanges.transport import require_secure
from markets.exchanges.wire import ImpossibleCandleError, MalformedError
from markets.series import SeriesKey

logger = logging.getLogger(__name__)

# Some 4 MB of candle frames. A full inbox holds the receiver, and TCP then holds the server.
_INBOX_LIMIT = 10_000
_QUIET_SECONDS = 1.0
_CLOSE_SECONDS = 3.0
# A candle told long after its end says nothing about the exchange's clock, nor does one that is yet to come.
_TIMELY_MS = 60_000


@dataclass(frozen=True, slots=True)
class _Wanted:
    series: frozenset[SeriesKey]


@dataclass(frozen=True, slots=True)
class _Stop:
    pass


class BinanceStream:
    """A ``MarketStream``. One thread owns all state; connections and callers only leave messages in its inbox.

    Parameters
    ----------
    base_url
        ``wss://host[:port]``, or ``ws://`` on loopback.
    read_time
        Returns the exchange's clock (UTC ms) by another way than the stream, or raises ``ExchangeError``.
    max_reconnects
        How many connects in a row may fail before a connection is given up; 0: never.
    """

    def __init__(
        self,
        base_url: str,
        *,
        read_time: Callable[[], int],
        timing: StreamTiming | None = None,
        max_reconnects: int = 0,
    ) -> None:
        require_secure(base_url, ("wss", "ws"))
        self._url = f"{base_url.rstrip('/')}/stream"
        self._timing = timing if timing is not None else StreamTiming()
        self._inbox: queue.SimpleQueue[Opened | Ended | Message | _Wanted | _Stop] = queue.SimpleQueue()
        self._events = EventQueue()
        self._health = StreamHealth()
        self._watch = SeriesWatch(self._timing)
        self._bundles: list[Bundle] = []
        self._server_time: int | None = None
        self._last_closed: dict[SeriesKey, Candle] = {}
        self._generation = 0
        self._complaint_at = 0.0
        self._failure: Exception | None = None
        self._is_closing = False
        self._setup = BundleSetup(
            timing=self._timing,
            budget=ConnectBudget(self._timing.connects, self._timing.connect_window_seconds),
            probe=ClockProbe(read_time, gap_seconds=self._timing.silence_seconds),
            connect=self._connect,
            server_time=self.server_time,
            max_reconnects=max_reconnects,
        )
        self._thread = threading.Thread(target=self._run, name="binance-stream", daemon=True)
        self._thread.start()

    def subscribe(self, series: Collection[SeriesKey]) -> None:
        """Make this the set of wanted series; the difference is (un)subscribed."""
        self._inbox.put(_Wanted(frozenset(series)))

    def next_event(self, timeout_seconds: float) -> StreamEvent | None:
        """Return the next event, or None when none came in time. Closed candles are never dropped."""
        event = self._events.get(timeout_seconds)
        if event is None and self._failure is not None:
            raise RuntimeError("the stream's thread died") from self._failure
        return event

    def server_time(self) -> int | None:
        """Return the newest exchange time (UTC ms) any frame carried, None before the first."""
        return self._server_time

    @property
    def health(self) -> StreamHealth:
        return self._health

    @property
    def waiting(self) -> int:
        """How many events and frames wait to be taken."""
        return len(self._events) + self._inbox.qsize()

    def close(self) -> None:
        """End all connections within a few seconds."""
        self._is_closing = True
        self._inbox.put(_Stop())
        self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        try:
            self._loop()
        except Exception as error:
            self._failure = error
            self._health.last_error = f"{type(error).__name__}: {error}"
            raise
        finally:
            for bundle in self._bundles:
                bundle.close()
            self._health.connections = 0

    def _loop(self) -> None:
        ticked_at = time.monotonic()
        while True:
            try:
                item = self._inbox.get(timeout=self._timing.tick_seconds)
            except queue.Empty:
                item = None
            if isinstance(item, _Stop):
                return
            if item is not None:
                self._handle(item)
            now = time.monotonic()
            if now - ticked_at >= self._timing.tick_seconds:
                self._tick(now, slept=now - ticked_at)
                ticked_at = now

    def _tick(self, now: float, *, slept: float) -> None:
        for bundle in self._bundles:
            if slept > self._timing.silence_seconds / 2:
                bundle.forgive(slept)
            bundle.tick(now)
            self._report(bundle)
        self._bundles = [bundle for bundle in self._bundles if bundle.wanted]
        self._health.connections = sum(line.is_open for bundle in self._bundles for line in bundle.lines)
        self._health.mute = self._watch.mute(self._server_time, now)

    def _report(self, bundle: Bundle) -> None:
        tally, bundle.tally = bundle.tally, Tally()
        self._health.reconnects += tally.reconnects
        if tally.error:
            self._health.last_error = tally.error
        if tally.live:
            self._events.put(Connected(frozenset(tally.live)))

    def _handle(self, item: Opened | Ended | Message | _Wanted | _Stop) -> None:
        if isinstance(item, _Wanted):
            self._spread(item.series)
        elif isinstance(item, Opened | Ended | Message):
            # What a connection of an older generation still says is not heard.
            for bundle in self._bundles:
                for line in bundle.lines:
                    if line.generation == item.generation:
                        self._handle_from(bundle, line, item)

    def _handle_from(self, bundle: Bundle, line: Line, item: Opened | Ended | Message) -> None:
        now = time.monotonic()
        if isinstance(item, Opened):
            line.opened(now)
            logger.info("stream connected", extra={"generation": line.generation, "series": len(bundle.wanted)})
            bundle.tick(now)
        elif isinstance(item, Ended):
            bundle.ended(line, item.reason, now)
        else:
            self._read(bundle, line, item)
        self._report(bundle)

    def _read(self, bundle: Bundle, line: Line, message: Message) -> None:
        self._health.last_message_at = message.received_at
        try:
            frame = _frame_of(message)
        except MalformedError as error:
            self._health.rejected_frames += 1
            self._complain("frames rejected", error)
        except ImpossibleCandleError as error:
            self._health.rejected_candles += 1
            self._complain("candles rejected", error)
        else:
            if isinstance(frame, CandleFrame):
                self._take(bundle, line, frame, message.received_at)
            elif isinstance(frame, Reply):
                bundle.granted(line, line.reply(frame))
            elif isinstance(frame, Shutdown):
                bundle.shut_down(line)

    def _take(self, bundle: Bundle, line: Line, frame: CandleFrame, received_at: float) -> None:
        series, candle = frame.series, frame.candle
        if series not in bundle.wanted:
            return
        line.heard(frame.event_time, received_at)
        if frame.event_time <= candle.open_time + series.timeframe.milliseconds + _TIMELY_MS:
            self._server_time = max(self._server_time or 0, frame.event_time)
        self._watch.heard(series, self._server_time)
        last = self._last_closed.get(series)
        # Two connections say all twice for a while, and a forming candle may be older than the one that closed it.
        if last is not None and (candle == last if frame.is_closed else candle.open_time <= last.open_time):
            return
        if frame.is_closed and (last is None or candle.open_time >= last.open_time):
            self._last_closed[series] = candle
        self._events.put(CandleUpdate(series, candle, frame.is_closed, frame.event_time, received_at, flow=frame.flow))

    def _spread(self, wanted: frozenset[SeriesKey]) -> None:
        """Give each series that is new to a bundle with room, and take away what is no longer wanted."""
        for bundle in self._bundles:
            bundle.wanted &= wanted
        new = sorted(wanted - {series for bundle in self._bundles for series in bundle.wanted})
        for series in new:
            room = (each for each in self._bundles if len(each.wanted) < self._timing.streams_a_connection)
            bundle = next(room, None) or self._add_bundle()
            bundle.wanted.add(series)
        self._last_closed = {series: last for series, last in self._last_closed.items() if series in wanted}
        self._watch.follow(wanted)

    def _add_bundle(self) -> Bundle:
        bundle = Bundle(self._setup)
        self._bundles.append(bundle)
        return bundle

    def _connect(self, now: float) -> Line:
        self._generation += 1
        connection = Connection(self._url, generation=self._generation, deliver=self._deliver)
        connection.start()
        return Line(connection, self._timing, now)

    def _deliver(self, item: Opened | Ended | Message) -> None:
        while isinstance(item, Message) and self._inbox.qsize() >= _INBOX_LIMIT and not self._is_closing:
            time.sleep(self._timing.tick_seconds)
        self._inbox.put(item)

    def _complain(self, what: str, error: ValueError) -> None:
        if time.monotonic() >= self._complaint_at:
            self._complaint_at = time.monotonic() + _QUIET_SECONDS
            counts = {"frames": self._health.rejected_frames, "candles": self._health.rejected_candles}
            logger.warning(what, extra={"newest": str(error)[:120], **counts})


def _frame_of(message: Message) -> Frame:
    """Return what a message says. Raises ``MalformedError`` and ``ImpossibleCandleError``."""
    if message.raw is None:
        raise MalformedError("no text, or too long")
    frame = read_frame(message.raw)
    if isinstance(frame, CandleFrame) and frame.candle.open_time > frame.event_time:
        raise ImpossibleCandleError("future")
    return frame
