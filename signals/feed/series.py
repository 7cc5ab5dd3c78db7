"""The work for one series: bringing it up to date, taking its live candles, previewing the forming one."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.conf import settings
from django.utils import timezone

from markets.candles import Candles, Gap
from markets.errors import StoreError
from markets.exchanges import CandleUpdate
from markets.moments import iso
from markets.selectors import candle_store
from markets.series import SeriesKey
from markets.services.recording import record
from markets.store import Source
from signals.feed.fetching import Fetcher
from signals.feed.lead import Lead
from signals.feed.telling import Teller
from signals.services import Facts, SignalRow, Tracker, enter_signals, mark_revised, note_told

# A live candle that waited longer than this (real seconds), as for a hole before it, is not news any more.
_LATE_SECONDS = 10.0

# SQLite has one writer at a time, and its waiting is a sleep of many milliseconds; a lock wakes at once.
_ledger = threading.Lock()


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of live candles. ``left`` were not taken: the hole ``gap`` is before them."""

    through: int | None
    count: int
    left: tuple[CandleUpdate, ...] = ()
    gap: Gap | None = None
    is_doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Recovered:
    """How far a series is after a recovery. Nothing after a ``gap`` that may be filled yet was judged."""

    through: int | None
    gap: Gap | None = None
    is_doubtful: bool = False


class SeriesWork:
    """One series. Its methods are called by one thread at a time, whichever that is."""

    def __init__(self, series: SeriesKey, lead: Lead, teller: Teller) -> None:
        self.series = series
        self._lead = lead
        self._teller = teller
        self._store = candle_store()
        self._tracker = Tracker(series, store=self._store, root=settings.DATA_ROOT)
        self._fetcher = Fetcher(self._tracker, lead)
        self._stage = ""
        self._told: list[Facts] = []  # and not noted as told yet
        self.is_first = True
        self.is_tidy = True

    @property
    def through(self) -> int | None:
        """Open time of the last candle judged."""
        return self._tracker.through

    @property
    def stage(self) -> str:
        """What a recovery that takes long is at."""
        return self._stage or self._fetcher.stage

    @property
    def is_watched(self) -> bool:
        """Whether anybody looks at its candles, and so at a preview."""
        return self._teller.is_watched

    def has_news(self, updates: Sequence[CandleUpdate]) -> bool:
        """Say whether live candles would tell a signal, True where only taking them can show that. Nothing is kept."""
        through, candle = self.through, updates[0].candle
        if len(updates) > 1 or through is None or candle.open_time != through + self.series.timeframe.milliseconds:
            return True
        return self._tracker.has_news(candle)

    def take(self, updates: Sequence[CandleUpdate]) -> Taken:
        """Take live closed candles: store them durably, judge them, enter and tell what they mean."""
        step, through = self.series.timeframe.milliseconds, self.through
        new: dict[int, CandleUpdate] = {}
        told_before = []
        for each in sorted(updates, key=lambda update: update.candle.open_time):
            if (through is not None and each.candle.open_time <= through) or each.candle.open_time in new:
                told_before.append(each.candle)
            else:
                new[each.candle.open_time] = each
        run: list[CandleUpdate] = []
        expected = through + step if through is not None else min(new, default=0)
        while expected in new:
            run.append(new.pop(expected))
            expected += step
        if run:
            self._commit_run(run)
        self._fetcher.doubt(told_before)
        gap = Gap(expected, min(new)) if new else None
        return Taken(self.through, len(run), tuple(new.values()), gap, self._fetcher.is_doubtful)

    def recover(self) -> Recovered:
        """Bring the series up to now: what is stored, then what REST and archive have beyond it."""
        if self.is_first:
            self._stage = "judging what is stored"
            gap = self._fetcher.open_gap(self._tracker.through_in_log())
            self._judge(before=gap.start if gap is not None else None)
            self._stage = ""
        self._fetcher.fetch(with_history=self.is_first)
        gap = self._fetcher.open_gap(self.through)
        if gap is None:
            self._judge()
        if self.is_first:
            # Whoever led before may not have said all it found; and a process that leads nothing, as a backfill's,
            # may have rebuilt the log meanwhile without a word to anybody.
            self._teller.changed()
            self._mark_revised()
        self.is_first = False
        return Recovered(self.through, gap, self._fetcher.is_doubtful)

    def refresh(self) -> Recovered:
        """Judge what another process has stored or changed."""
        self._fetcher.fetch_lost()
        self._judge()
        return Recovered(self.through, self._fetcher.open_gap(self.through))

    def preview(self, update: CandleUpdate) -> None:
        """Tell the forming candle, with what it would mean if it closed as it stands."""
        through = self.through
        if through is not None and update.candle.open_time <= through:
            return
        is_next = through is not None and update.candle.open_time == through + self.series.timeframe.milliseconds
        self._teller.forming(update.candle, self._tracker.preview(update.candle) if is_next else Facts(self.series))

    def tidy(self) -> None:
        """Write down how far was told, fold the journals, read ahead: work that no browser is to wait for.

        Until then a restart comes back to what was told, finds it in the ledger, and does not tell it again.
        """
        with self._lead.fence.hold():
            while self._told:
                note_told(self._told[0])
                del self._told[0]
            self._store.fold(self.series)
            self._tracker.prepare()
        self.is_tidy = True

    def close(self) -> None:
        """Leave candles and log as programs without our code can read them."""
        if not self.is_tidy:
            self.tidy()
        with self._lead.fence.hold():
            self._tracker.close()

    def _commit_run(self, run: Sequence[CandleUpdate]) -> None:
        now = time.monotonic()
        waited = sum(now - each.received_at > _LATE_SECONDS for each in run)
        for part, late in ((run[:waited], True), (run[waited:], False)):
            if part:
                self._commit(part, late=late)

    def _commit(self, updates: Sequence[CandleUpdate], *, late: bool) -> None:
        flows = [each.flow for each in updates if each.flow is not None]
        candles = Candles.of([each.candle for each in updates], flow=flows if len(flows) == len(updates) else None)
        revision = self._tracker.revision
        with self._lead.fence.hold():
            merged = record(self.series, candles, source=Source.STREAM)
            self._require_whole(merged.edit)
            if merged.added < len(candles):
                # Stored before, maybe by REST and with other values: what is stored is what is judged.
                first, last = int(candles.open_time[0]), int(candles.open_time[-1])
                stored = self._store.read(self.series, start=first, end=last + 1)
                self._fetcher.doubt(list(candles), stored=stored)
                candles = stored
            facts = self._tracker.advance(candles, edit=merged.edit)
            older, facts = _split(facts, int(candles.open_time[0]))
            moment = timezone.now()
            old_rows = self._enter(older, now=moment, late=True)
            latency = (time.monotonic() - updates[-1].received_at) * 1000
            rows = self._enter(facts, now=moment, late=late, latency_ms=latency)
        if older:
            self._teller.changed()
            self._teller.found(old_rows, older.marks, at=moment, late=True)
        self._teller.found(rows, facts.marks, at=moment, late=late)
        self._teller.closed(list(candles), facts)
        self._keep_told(older, facts)
        self._tell_revision(revision)

    def _require_whole(self, edit: int) -> None:
        """Raise when the log would be made anew without candles that it was made of, as after a damaged file."""
        lost = self._fetcher.lost() if edit != self._tracker.edit else []
        if lost:
            span = f"{iso(lost[0].start)} to {iso(lost[-1].end)}"
            raise StoreError(f"candles that were judged are missing from {span}: they are asked for again")

    def _judge(self, *, before: int | None = None) -> None:
        """Judge every stored candle (that opens ``before``) that was not; what is found is late."""
        through, revision = self.through, self._tracker.revision
        with self._lead.fence.hold():
            facts, moment = self._tracker.catch_up(before=before), timezone.now()
            rows = self._enter(facts, now=moment, late=True)
        if facts or self.through != through:
            self._teller.changed()
            self._teller.found(rows, facts.marks, at=moment, late=True)
        self._keep_told(facts)
        self._tell_revision(revision)

    def _enter(self, facts: Facts, *, now: datetime, late: bool, latency_ms: float | None = None) -> list[SignalRow]:
        if not facts:
            return []
        with _ledger:
            return enter_signals(facts, now=now, late=late, latency_ms=latency_ms)

    def _keep_told(self, *told: Facts) -> None:
        """Keep what was told until ``tidy`` notes it."""
        self._told += [facts for facts in told if facts.signals]
        self.is_tidy = False

    def _tell_revision(self, former: int) -> None:
        if self._tracker.revision != former and not self.is_first:
            self._teller.changed()
            self._mark_revised()

    def _mark_revised(self) -> None:
        """Mark what was told and no longer holds, and tell that once: what is marked already is not told again."""
        with self._lead.fence.hold(), _ledger:
            marked = mark_revised(self.series, now=timezone.now())
        if marked:
            self._teller.revised()


def _split(facts: Facts, first: int) -> tuple[Facts, Facts]:
    """Part what was found on candles before ``first``, which another process stored meanwhile, from the rest."""
    older = [row for row in facts.signals if row.confirm_time < first]
    older_marks = [row for row in facts.marks if row.time < first]
    if not older and not older_marks:
        return Facts(facts.series), facts
    rest = [row for row in facts.signals if row.confirm_time >= first]
    rest_marks = [row for row in facts.marks if row.time >= first]
    return replace(facts, signals=older, marks=older_marks, through=first - 1), replace(
        facts, signals=rest, marks=rest_marks
    )
