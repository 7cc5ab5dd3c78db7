"""A feed in the test's own process, with a real stream, store, database file and Redis; what it does can be patched."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from django.conf import settings
from redis import Redis

from markets.exchanges.binance import BinanceExchange
from markets.exchanges.limits import RequestBudget
from markets.selectors import candle_store
from markets.series import SeriesKey
from markets.services.pairs import ensure_series
from signals.feed.feed import Feed
from signals.feed.fence import Fence
from signals.feed.lead import Lead
from signals.feed.report import Runner, feed_status
from signals.feed.vitals import Vitals
from signals.feed.wishes import Shard, read_wishes
from signals.push.sender import Sender
from tests.replaying import QUICK, START, Replay
from tests.signals.feed.processes import Ears, Kept
from tests.waiting import eventually

MINUTE = 60_000
HISTORY = 200


class Following(Kept):
    """A feed that follows 1m series, of which it has some hours of history."""

    # What ``feed_status`` asks of a process beside its feed.
    shard, role, error, restarts, epoch = Shard(), "leader", "", 0, 1

    def __init__(self, folder: Path, exchange: Replay, symbols: Sequence[str]) -> None:
        self.folder = folder
        self.kinds = list(settings.ENV.indicators)
        self.series = [SeriesKey.of(symbol, "1m") for symbol in symbols]
        for each in self.series:
            row = ensure_series(each, is_active=True)
            row.history_from = START - HISTORY * MINUTE
            row.save()
        for url in (settings.REDIS_URLS[1], settings.REDIS_URLS[3]):
            with Redis.from_url(url) as redis:
                redis.flushdb()
        fence = Fence(folder / "var/epoch")
        fence.take()
        self.client = BinanceExchange(
            exchange.url,
            exchange.ws_url,
            exchange.url,
            budget=RequestBudget(Redis.from_url(settings.REDIS_URLS[3])),
            timing=QUICK,
        )
        lead = Lead(exchange=self.client, fence=fence, check=fence.check)
        self.vitals = Vitals()
        self.ears = Ears(settings.REDIS_URL)
        self.sender: Sender | None = Sender(settings.REDIS_URLS[1], epoch=fence.epoch, shard=str(self.shard))
        self.sender.start()
        self.feed: Feed | None = None
        self.failure: BaseException | None = None
        self._exchange = exchange
        self._feed = Feed(lead, self.sender, self.vitals, wishes=lambda: read_wishes(self.shard))
        self._thread = threading.Thread(target=self._run, name="feed under test", daemon=True)

    def start(self) -> None:
        self.feed = self._feed
        self._thread.start()

    def _run(self) -> None:
        try:
            self._feed.run()
        except BaseException as error:  # noqa: BLE001 - told by whoever waits
            self.failure = error

    def status(self, series: SeriesKey | None = None) -> dict[str, Any]:
        """Return what the status tells of the feed, or of one series of it."""
        told = feed_status(cast(Runner, self))
        if series is None:
            return told
        wanted = (series.symbol, series.timeframe.value)
        return next((row for row in told["series"] if (row["symbol"], row["timeframe"]) == wanted), {})

    def state(self, series: SeriesKey) -> str:
        return str(self.status(series).get("state", ""))

    def until(self, condition: Any, *, seconds: float = 60.0) -> None:
        def holds() -> bool:
            assert self.failure is None, self.failure
            return bool(condition())

        eventually(holds, seconds=seconds)

    def until_stored(self, moment: int, *series: SeriesKey) -> None:
        """Wait until the candle that opens at ``moment``, or a later one, is stored of each series."""
        self.until(lambda: all((candle_store().last_time(each) or 0) >= moment for each in series or self.series))

    def until_live(self, *series: SeriesKey) -> None:
        self.until(lambda: all(self.state(each) == "live" for each in series or self.series))

    def finish(self) -> None:
        """Let the exchange's clock stand still, the feed take all there is, and end it."""
        self._exchange.set_clock(speed=0)
        self.until(lambda: self._is_idle() and self._feed.queue_depth == 0 and self._is_idle())
        self.stop()
        entered = sum(len(self.ledger(each)) for each in self.series)
        eventually(lambda: len(self.ears.signals()) >= entered)

    def _is_idle(self) -> bool:
        return all(each.job is None and not (each.held or each.is_behind) for each in list(self._feed.series.values()))

    def stop(self) -> None:
        """End the feed and all its threads."""
        self._feed.stop()
        if self.feed is None:
            self._feed._end()
        else:
            self._thread.join(20)
        self._feed._slow.join(20)
        if self.sender is not None:
            self.sender.close(10)


@contextmanager
def following(folder: Path, exchange: Replay, *symbols: str) -> Iterator[Following]:
    """Give a test a feed that is up to date with the exchange, and end it with the test."""
    rig = Following(folder, exchange, symbols)
    try:
        yield rig
    finally:
        rig.stop()
        rig.ears.close()
