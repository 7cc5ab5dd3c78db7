"""A bundle of the wanted series, and the life of the connection that serves it: made, replaced, made again."""

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from markets.exchanges.backoff import ConnectBudget, full_jitter
from markets.exchanges.binance_line import Line
from markets.exchanges.stream_clock import ClockProbe
from markets.exchanges.stream_timing import StreamTiming
from markets.series import SeriesKey

logger = logging.getLogger(__name__)

_PATIENCE_CAP = 64
# Away from the minute's turn, when candles close.
_CALM_FROM_MS, _CALM_TO_MS = 10_000, 45_000


@dataclass(frozen=True, slots=True)
class BundleSetup:
    """What all bundles of a stream share. ``connect`` makes a line; ``server_time`` is the newest a frame carried."""

    timing: StreamTiming
    budget: ConnectBudget
    probe: ClockProbe
    connect: Callable[[float], Line]
    server_time: Callable[[], int | None]
    max_reconnects: int


@dataclass(slots=True)
class Tally:
    """What happened since the last look: reconnects counted, and what is live anew (REST must be asked for it)."""

    reconnects: int = 0
    live: set[SeriesKey] = field(default_factory=set)
    error: str = ""


class Bundle:
    """Keeps one connection for up to 1,024 series. Not safe for threads: the stream's own uses it.

    A connection that is silent, old or about to be shut down is replaced make-before-break: its successor is
    subscribed first, and only then does the old one end. What both say is said twice, which is normal.
    """

    def __init__(self, setup: BundleSetup) -> None:
        self.wanted: set[SeriesKey] = set()
        self.tally = Tally()
        self._setup = setup
        self._line: Line | None = None
        self._successor: Line | None = None
        self._is_planned = True
        self._leaving: Line | None = None
        self._failures = 0
        self._retry_at = 0.0
        self._patience = 1
        self._is_asked_to_leave = False
        self._rotate_after = self._next_rotation()

    @property
    def lines(self) -> list[Line]:
        """The connections whose word counts."""
        return [line for line in (self._line, self._successor) if line is not None]

    @property
    def has_given_up(self) -> bool:
        limit = self._setup.max_reconnects
        return bool(limit) and self._failures > limit

    def tick(self, now: float) -> None:
        """Do what is due; ``now`` is the monotonic clock."""
        if not self.wanted:
            self.close()
            return
        for line in self.lines:
            self._go_live(line, line.pump(self.wanted, now))
            if not line.is_open and now - line.created_at > self._setup.timing.open_seconds:
                line.end("no connection in time")
        if self._line is None:
            self._line = self._connect(now)
        elif self._successor is None:
            self._consider_replacing(self._line, now)
        elif self._may_take_over(self._successor, now):
            self._take_over(now)

    def granted(self, line: Line, series: frozenset[SeriesKey]) -> None:
        """Note that these series are live on ``line``."""
        self._go_live(line, series)

    def shut_down(self, line: Line) -> None:
        """The server told that it ends this connection soon."""
        if line is self._line:
            self._is_asked_to_leave = True

    def ended(self, line: Line, reason: str, now: float) -> None:
        """A connection of ours is gone."""
        self._failures = 1 if line.is_proven else self._failures + 1
        timing = self._setup.timing
        wait = full_jitter(self._failures - 1, first=timing.backoff_first_seconds, cap=timing.backoff_cap_seconds)
        self._retry_at = now + wait
        self.tally.error = reason
        if line is self._successor:
            self._successor = None
        else:
            self.tally.reconnects += 1
            self._line, self._successor = self._successor, None
            self._is_asked_to_leave = False
            # Whatever the successor is granted from now on, nobody covered the time before.
            self._is_planned = False
        if self.has_given_up:
            self.tally.error = f"gave up after {self._setup.max_reconnects} reconnects: {reason}"
        logger.warning("stream connection ended", extra={"reason": reason, "retry_in": round(wait, 1)})

    def forgive(self, seconds: float) -> None:
        """Leave out of all silences a time in which we ourselves did not run."""
        for line in self.lines:
            line.heard_at += seconds

    def close(self) -> None:
        for line in self.lines:
            line.end("closed")
        self._line = self._successor = None

    def _connect(self, now: float) -> Line | None:
        if now < self._retry_at or self.has_given_up or not self._setup.budget.take():
            return None
        self._rotate_after = self._next_rotation()
        return self._setup.connect(now)

    def _consider_replacing(self, line: Line, now: float) -> None:
        is_silent = line.is_open and self._silence_ms(line, now) >= self._setup.timing.silence_ms * self._patience
        is_old = self._age_ms(line, now) >= self._rotate_after and self._is_calm()
        if not (is_silent or is_old or self._is_asked_to_leave):
            return
        self._successor = self._connect(now)
        if self._successor is None:
            return
        self._is_planned = not is_silent
        reason = "it is silent" if is_silent else "the server shuts down" if self._is_asked_to_leave else "of its age"
        logger.info("replacing a stream connection", extra={"reason": reason})
        if is_silent:
            # A market may really be quiet: each replacement that hears nothing either waits twice as long.
            self._patience = 1 if line.first_heard_at is not None else min(self._patience * 2, _PATIENCE_CAP)
            self.tally.reconnects += 1
            self.tally.error = "no candle came for too long"

    def _may_take_over(self, successor: Line, now: float) -> bool:
        if successor.ready_at is None:
            return False
        return successor.first_heard_at is not None or now - successor.ready_at >= self._setup.timing.takeover_seconds

    def _take_over(self, now: float) -> None:
        old, self._line, self._successor = self._line, self._successor, None
        self._is_asked_to_leave = False
        self._failures, self._retry_at = 0, now
        if old is not None:
            old.end("replaced")

    def _go_live(self, line: Line, series: frozenset[SeriesKey]) -> None:
        # Beside a healthy connection nothing was missed: the planned successor's series were live all along.
        if line is not self._successor or not self._is_planned:
            self.tally.live |= series
        if line.refusal:
            self.tally.error, line.refusal = line.refusal, ""

    def _silence_ms(self, line: Line, now: float) -> int:
        """Return for how long no candle came, by the exchange's clock; it is asked for after some real seconds."""
        real_seconds, probe = now - line.heard_at, self._setup.probe
        if real_seconds < self._setup.timing.silence_seconds:
            return 0
        probe.ask()
        if probe.asked_at < line.heard_at + self._setup.timing.silence_seconds:
            return 0
        if probe.time is None:
            return int(real_seconds * 1000)
        if line.heard_time is None:
            line.heard_time = probe.time
        return probe.time - line.heard_time

    def _age_ms(self, line: Line, now: float) -> int:
        age = int((now - line.created_at) * 1000)
        server_time = self._setup.server_time()
        if server_time is None or line.started_time is None:
            return age
        return max(age, server_time - line.started_time)

    def _is_calm(self) -> bool:
        server_time = self._setup.server_time()
        return server_time is None or _CALM_FROM_MS <= server_time % 60_000 <= _CALM_TO_MS

    def _next_rotation(self) -> int:
        timing = self._setup.timing
        return timing.rotate_ms - int(random.uniform(0, timing.rotate_spread_ms))  # noqa: S311 - no secret
