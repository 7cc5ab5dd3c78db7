"""A series whose exchange answers from memory, and a sender that keeps what is said of it."""

import time
from itertools import count
from typing import Any

import orjson

from markets.candles import Candle, Candles
from markets.selectors import candle_store
from markets.series import SeriesKey
from markets.services.pairs import ensure_series
from markets.services.recording import record
from markets.store import Source
from signals.feed.fence import Fence
from signals.feed.lead import Lead
from signals.feed.series import SeriesWork
from signals.feed.telling import Teller
from signals.models import PublishedSignal
from tests.factories import walk
from tests.signals.feed.batches import Found, batch, entered
from tests.signals.feed.exchanges import ScriptedExchange

HISTORY, LENGTH = 300, 420
_names = count()


class Said:
    """Stands for the sender, and keeps what was said."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def send(self, channel: str, text: str, *, is_forming: bool = False) -> None:
        self.messages.append(orjson.loads("{" + text))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["t"] == kind]


class Rig:
    """A series with its exchange, its work and who listens."""

    def __init__(self, fence: Fence, *, known: int = HISTORY) -> None:
        self.series = SeriesKey.parse(f"RIG{next(_names)}X{time.time_ns() % 10**9}:1m")
        start = int(time.time() * 1000) // 60_000 * 60_000 - LENGTH * 60_000
        truth = walk(7, LENGTH, start=start)
        self.exchange = ScriptedExchange(self.series, truth, known=known)
        self.said = Said()
        self.fence = fence
        self.work = self.new_work()
        self.row = ensure_series(self.series, is_active=True)

    def new_work(self) -> SeriesWork:
        """Return the work as a process that was started again has it."""
        lead = Lead(exchange=self.exchange, fence=self.fence, check=self.fence.check)
        return SeriesWork(self.series, lead, Teller(self.series, self.said))  # type: ignore[arg-type]

    def live(self, *indices: int) -> Any:
        """Let these candles close on the stream."""
        self.exchange.move_to(max(indices) + 1)
        return self.work.take([self.exchange.update(index) for index in indices])

    def revise(self, start: int, end: int) -> None:
        """Let the exchange have other values for these candles, and REST bring them."""
        changed = [
            row._replace(open=row.open + 3, high=row.high + 3, low=row.low + 3, close=row.close + 3)
            for row in self.exchange.rows[start:end]
        ]
        self.exchange.rows[start:end] = changed
        record(self.series, Candles.of(changed), source=Source.REST)

    @property
    def ledger(self) -> list[PublishedSignal]:
        return list(PublishedSignal.objects.filter(symbol=self.series.symbol).order_by("confirm_time", "id"))

    @property
    def stored(self) -> list[Candle]:
        return list(candle_store().read(self.series, start=None, end=None))

    def batch(self, *, after: int = HISTORY - 1) -> Found:
        """Return what a batch over what is stored finds after candle ``after``."""
        candles = candle_store().read(self.series, start=None, end=None)
        return batch(candles, after=self.exchange.rows[after].open_time)

    def told(self) -> Found:
        return entered(self.ledger)
