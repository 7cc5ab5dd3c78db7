"""Which series are wanted, as the database says; read anew every few seconds, so a lost nudge costs no more."""

from dataclasses import dataclass, field
from zlib import crc32

from markets.models import Pair
from markets.selectors import active_series, candle_store, known_series
from markets.series import SeriesKey


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several stream processes, which share the pairs among them."""

    number: int = 1
    count: int = 1

    def __str__(self) -> str:
        return f"{self.number}of{self.count}"

    def has(self, series: SeriesKey) -> bool:
        """Say whether a series is this shard's. All timeframes of a pair are the same shard's."""
        return crc32(series.symbol.encode()) % self.count == self.number - 1


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is to be followed.

    ``edits`` and ``idle`` hold, of the series that are stored, a number that changes when another process stored or
    changed candles: of those to be followed, and of those that are only kept. ``halted`` are symbols without trading.
    """

    series: frozenset[SeriesKey]
    halted: frozenset[str] = frozenset()
    edits: dict[SeriesKey, int] = field(default_factory=dict)
    idle: dict[SeriesKey, int] = field(default_factory=dict)


def read_wishes(shard: Shard) -> Wishes:
    """Return what the database wants of a shard."""
    store = candle_store()
    wanted = frozenset(key for key in active_series() if shard.has(key))
    halted = Pair.objects.filter(is_active=True).exclude(status__in=["", "TRADING"]).values_list("symbol", flat=True)
    others = [key for key in known_series() if shard.has(key) and key not in wanted]
    return Wishes(
        wanted,
        frozenset(halted),
        {key: store.edit(key) for key in wanted},
        {key: store.edit(key) + (store.last_time(key) or 0) for key in others},
    )
