"""What is asked of the exchange for one series: what is missing, what was lost, what the stream told in two ways."""

from collections.abc import Sequence

from markets.candles import Candle, Candles, Gap
from markets.selectors import candle_store
from markets.services.backfilling import BackfillSource, backfill, missing_ranges, note_exchange_gaps, plan_backfill
from markets.services.pairs import ensure_series
from markets.services.recording import record
from markets.store import Source
from signals.feed.lead import Lead
from signals.services import Tracker

_PAGE = 1_000
# More than this is planned as a backfill, which knows the archive.
_MOST_BY_REST = 5_000
# Older candles are told again by a stream that stumbles, never corrected by it.
_DOUBT_CANDLES = 100


class Fetcher:
    """Fetches and stores candles of the series that ``tracker`` follows; what it has judged says what is missing.

    ``stage`` says what a long backfill is at.
    """

    def __init__(self, tracker: Tracker, lead: Lead) -> None:
        self.stage = ""
        self._tracker = tracker
        self._series = tracker.series
        self._step = tracker.series.timeframe.milliseconds
        self._lead = lead
        self._store = candle_store()
        self._doubtful: set[int] = set()

    @property
    def is_doubtful(self) -> bool:
        """Whether there are candles to be asked for again."""
        return bool(self._doubtful)

    def fetch(self, *, with_history: bool) -> None:
        """Ask for what is missing up to now; what is fetched is stored page by page."""
        last, through = self._store.last_time(self._series), self._tracker.through
        # A hole that was asked for in vain is asked for again, so that it is filled or proven.
        start = last if last is None or through is None else min(last, through)
        if start is None or with_history or (self._lead.exchange.server_time() - start) // self._step > _MOST_BY_REST:
            self._backfill()
        else:
            self._fetch_newest(start + self._step)
        self.fetch_lost()
        self._confirm_doubtful()

    def fetch_lost(self) -> None:
        """Ask for what was judged and is not stored any more."""
        lost = self.lost()
        if lost:
            self._backfill(start=lost[0].start, end=lost[-1].end)

    def lost(self) -> list[Gap]:
        """Return the holes among the candles that were judged, but those the exchange is known to have."""
        first, through = self._tracker.first, self._tracker.through
        if first is None or through is None:
            return []
        return missing_ranges(ensure_series(self._series), first, through + self._step)

    def open_gap(self, through: int | None) -> Gap | None:
        """Return the first hole after what was judged, up to ``through``, that the exchange may fill yet."""
        last = self._store.last_time(self._series)
        if last is None or through is None or last <= through:
            return None
        gaps = missing_ranges(ensure_series(self._series), through + self._step, last)
        return gaps[0] if gaps else None

    def doubt(self, told: Sequence[Candle], *, stored: Candles | None = None) -> None:
        """Note candles whose stored values are others than the stream tells."""
        if not told:
            return
        if stored is None:
            stored = self._store.read(self._series, start=told[0].open_time, end=told[-1].open_time + 1)
        known = {candle.open_time: candle for candle in stored}
        newest = (self._tracker.through or 0) - _DOUBT_CANDLES * self._step
        differing = {each.open_time for each in told if known.get(each.open_time) != each}
        self._doubtful |= {open_time for open_time in differing if open_time > newest}

    def _backfill(self, *, start: int | None = None, end: int | None = None) -> None:
        exchange = self._lead.exchange
        plan = plan_backfill(exchange, self._series, start=start, end=end, source=BackfillSource.AUTO)
        try:
            if plan.missing:
                backfill(exchange, plan, self._report)
        finally:
            self.stage = ""

    def _fetch_newest(self, start: int) -> None:
        at = start
        while True:
            page = self._lead.exchange.candles(self._series, start=at, limit=_PAGE)
            if len(page):
                self._record(page)
                at = int(page.open_time[-1]) + self._step
            if len(page) < _PAGE:
                break
        if at > start:
            note_exchange_gaps(ensure_series(self._series), Gap(start, at))

    def _confirm_doubtful(self) -> None:
        """Ask again for candles that the stream told in two ways; what REST says counts."""
        for open_time in sorted(self._doubtful):
            page = self._lead.exchange.candles(self._series, start=open_time, end=open_time + self._step)
            if len(page):
                self._record(page)
                self._doubtful.discard(open_time)

    def _record(self, candles: Candles) -> None:
        self._lead.check()
        with self._lead.fence.hold():
            record(self._series, candles, source=Source.REST)

    def _report(self, fraction: float, stage: str) -> None:
        self.stage = f"{fraction:.0%} {stage}"
        self._lead.check()
