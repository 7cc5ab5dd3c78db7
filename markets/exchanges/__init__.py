"""The port to an exchange: what the service asks of one, and the values that come back."""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from markets.candles import Candle, CandleFlow, Candles
from markets.series import SeriesKey


@dataclass(frozen=True, slots=True)
class PairInfo:
    """What an exchange says of a pair. Sizes are 0 where it does not say.

    ``tick_size`` is the price step and ``min_notional`` the smallest order, in quote currency;
    ``step_size`` is the quantity step in base currency. ``status`` is the exchange's own word;
    only ``TRADING`` is a live market.
    """

    symbol: str
    base_asset: str
    quote_asset: str
    status: str
    tick_size: float = 0.0
    step_size: float = 0.0
    min_notional: float = 0.0


@dataclass(frozen=True, slots=True)
class CandleUpdate:
    """A candle as a stream tells it, forming or closed.

    ``event_time`` is the exchange's clock (UTC ms) when it was sent; ``received_at`` is our monotonic
    clock (seconds) when it came, for latency only.
    """

    series: SeriesKey
    candle: Candle
    is_closed: bool
    event_time: int
    received_at: float
    flow: CandleFlow | None = None


@dataclass(frozen=True, slots=True)
class Connected:
    """The stream of these series (re)started: whatever closed before must be asked for by REST."""

    series: frozenset[SeriesKey]


StreamEvent = CandleUpdate | Connected


@dataclass(slots=True)
class StreamHealth:
    """What a market stream counts. Times are the monotonic clock in seconds.

    ``rejected_frames`` could not be read, ``rejected_candles`` could but hold values that no candle has.
    ``mute`` are the wanted series that have said nothing for longer than their timeframe: ask REST for them.
    """

    connections: int = 0
    reconnects: int = 0
    rejected_frames: int = 0
    rejected_candles: int = 0
    last_message_at: float = 0.0
    last_error: str = ""
    mute: set[SeriesKey] = field(default_factory=set)


class MarketStream(Protocol):
    """Live candles of a changing set of series. It reconnects by itself and never raises for a network fault."""

    def subscribe(self, series: Collection[SeriesKey]) -> None:
        """Make this the set of wanted series; the difference is (un)subscribed."""

    def next_event(self, timeout_seconds: float) -> StreamEvent | None:
        """Return the next event, or None when none came in time. Closed candles are never dropped."""

    def server_time(self) -> int | None:
        """Return the newest exchange time (UTC ms) any frame carried, None before the first."""

    @property
    def health(self) -> StreamHealth: ...

    @property
    def waiting(self) -> int:
        """How many events and frames wait to be taken."""

    def close(self) -> None:
        """End all connections within a few seconds."""


@dataclass(frozen=True, slots=True, order=True)
class ArchiveFile:
    """One file of an archive: a month's, or a day's. ``is_fresh``: the month may not be published yet."""

    series: SeriesKey
    first_day: date
    is_monthly: bool
    is_fresh: bool = False

    @property
    def name(self) -> str:
        stamp = f"{self.first_day:%Y-%m}" if self.is_monthly else f"{self.first_day:%Y-%m-%d}"
        return f"{self.series.symbol}-{self.series.timeframe.value}-{stamp}.zip"


# Told of a file that was not used, and why.
LeftOut = Callable[[ArchiveFile, str], None]


class Archive(Protocol):
    """Where an exchange keeps candles of long ago in bulk."""

    def plan(self, series: SeriesKey, start: int, end: int, now: int) -> list[ArchiveFile]:
        """Return the files that hold ``start <= open_time < end`` (UTC ms), oldest first.

        ``now`` (UTC ms) is the exchange's clock: what is not over then has no file.
        """

    def fetch_all(
        self, files: Iterable[ArchiveFile], left_out: LeftOut
    ) -> Iterator[tuple[ArchiveFile, Candles | None]]:
        """Yield each file with its candles, in the order given; None for one that is not there or is damaged.

        ``left_out`` is told the reason, from any thread.
        """


class Exchange(Protocol):
    """A market to read from. Methods raise ``ExchangeError`` and its kinds, and nothing else."""

    @property
    def archive(self) -> Archive | None:
        """Return its archive; None for an exchange that has none."""

    def server_time(self) -> int:
        """Return the exchange's clock, UTC ms."""

    def pairs(self) -> list[PairInfo]:
        """Return what it says of all its pairs."""

    def candles(self, series: SeriesKey, *, start: int, end: int | None = None, limit: int = 1000) -> Candles:
        """Return closed candles with ``start <= open_time < end``, oldest first, at most ``limit``.

        A candle counts as closed when the exchange's clock is ``SETTLE_MILLISECONDS`` past its end.
        """

    def open_stream(self) -> MarketStream: ...


# A candle read by REST may still change for some seconds after its close (python-binance#1246).
SETTLE_MILLISECONDS = 5_000
