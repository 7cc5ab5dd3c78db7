"""A connection with its subscriptions: asked for in batches, at the pace the exchange takes them."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from markets.exchanges.binance_connection import Connection
from markets.exchanges.binance_frames import Reply, request
from markets.exchanges.stream_timing import StreamTiming
from markets.series import SeriesKey


@dataclass(frozen=True, slots=True)
class _Asked:
    method: str
    series: tuple[SeriesKey, ...]
    sent_at: float


class Line:
    """One connection and what was asked, granted and heard on it. Not safe for threads: the stream's own uses it.

    ``heard_at`` is the monotonic time of the newest candle (at first: of the opening), ``heard_time`` the exchange's
    clock then, where known; ``started_time`` is the exchange's clock at the first candle.
    """

    def __init__(self, connection: Connection, timing: StreamTiming, now: float) -> None:
        self.connection = connection
        self.created_at = now
        self.is_open = False
        self.is_ending = False
        self.first_heard_at: float | None = None
        self.heard_at = now
        self.heard_time: int | None = None
        self.started_time: int | None = None
        self.ready_at: float | None = None
        self.refusal = ""
        self._timing = timing
        self._asked: set[SeriesKey] = set()
        self._granted: set[SeriesKey] = set()
        self._open_requests: dict[int, _Asked] = {}
        self._next_id = 1
        self._next_send_at = 0.0

    @property
    def generation(self) -> int:
        return self.connection.generation

    @property
    def is_proven(self) -> bool:
        """Whether it delivered candles for long enough to count as a good connection."""
        return self.first_heard_at is not None and self.heard_at - self.first_heard_at >= self._timing.proven_seconds

    def opened(self, now: float) -> None:
        self.is_open = True
        self.heard_at = now

    def heard(self, event_time: int, received_at: float) -> None:
        """Note a candle."""
        self.heard_at, self.heard_time = received_at, event_time
        if self.first_heard_at is None:
            self.first_heard_at, self.started_time = received_at, event_time

    def end(self, reason: str) -> None:
        """Close the connection; its end is told as that of any other."""
        self.is_ending = True
        self.connection.close(reason)

    def pump(self, wanted: AbstractSet[SeriesKey], now: float) -> frozenset[SeriesKey]:
        """Ask for the next batch of the difference, if it may be sent now; return what is granted without a reply."""
        granted = self._overdue_replies(now)
        if self.is_open and not self.is_ending and now >= self._next_send_at:
            missing, superfluous = sorted(wanted - self._asked), sorted(self._asked - wanted)
            if missing:
                self._ask("SUBSCRIBE", missing[: self._timing.streams_a_message], now)
            elif superfluous:
                self._ask("UNSUBSCRIBE", superfluous[: self._timing.streams_a_message], now)
        if self.ready_at is None and self.is_open and wanted <= self._granted:
            self.ready_at = now
        return granted

    def reply(self, reply: Reply) -> frozenset[SeriesKey]:
        """Take the answer to a request; return the series that are live from now on."""
        asked = self._open_requests.pop(reply.request_id, None) if reply.request_id is not None else None
        if reply.error:
            count = len(asked.series) if asked is not None else 0
            self.refusal = f"{count} streams refused: {reply.error}"
        if asked is None or asked.method != "SUBSCRIBE":
            return frozenset()
        # What is refused counts as answered, or the connection would never be ready; it is found silent.
        self._granted |= set(asked.series)
        return frozenset() if reply.error else frozenset(asked.series)

    def _ask(self, method: str, series: list[SeriesKey], now: float) -> None:
        self._next_send_at = now + self._timing.send_gap_seconds
        if not self.connection.send(request(method, series, self._next_id)):
            return
        self._open_requests[self._next_id] = _Asked(method, tuple(series), now)
        self._next_id += 1
        if method == "SUBSCRIBE":
            self._asked |= set(series)
        else:
            self._asked -= set(series)
            self._granted -= set(series)

    def _overdue_replies(self, now: float) -> frozenset[SeriesKey]:
        late = [
            number for number, asked in self._open_requests.items() if now - asked.sent_at > self._timing.reply_seconds
        ]
        granted: set[SeriesKey] = set()
        for number in late:
            granted |= self.reply(Reply(number))
        return frozenset(granted)
