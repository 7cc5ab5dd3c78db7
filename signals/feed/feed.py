"""The feed: decides for every series what is done next, in one thread that never waits for work."""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable

from markets.errors import FencedError, SmcError
from markets.exchanges import SETTLE_MILLISECONDS, CandleUpdate, Connected, MarketStream, StreamEvent
from markets.series import SeriesKey
from markets.services.pairs import note_state, refresh
from signals.feed.followed import OVERDUE_SECONDS, Followed, Job
from signals.feed.lanes import Done, Lane
from signals.feed.lead import Lead
from signals.feed.series import Recovered, SeriesWork, Taken
from signals.feed.telling import Teller
from signals.feed.vitals import Vitals
from signals.feed.wishes import Wishes
from signals.push.sender import Sender
from signals.services import catch_up_series

logger = logging.getLogger(__name__)

_TICK_SECONDS = 0.05
_RECONCILE_SECONDS = 5.0
# A first recovery waits this long for the connection, so that one is enough.
_CONNECT_PATIENCE = 3.0
# Work on a candle is mostly Python's: more threads would only let all of a burst end late, where each could be next.
_FAST_THREADS, _SLOW_THREADS = 2, 4
# The history of a new series takes minutes. One thread stays free of it, for series that live and lack a candle.
_MOST_BEGINNING = _SLOW_THREADS - 1
# Previews and the like that may wait for their turn: what is more would only be old when it is told.
_MOST_WAITING = 16
# While more than this many candles are under way, one without a signal lets those with one pass for this long. To look
# whether it has one takes a quarter of what it takes to store and tell it, and two of three have none.
_CROWD, _PATIENCE_SECONDS = 2, 0.5
_CLOSING_SECONDS = 0.7
_WISHES, _READER, _IDLE, _PAIRS, _STATE = "wishes", "reader", "idle", "pairs", "state"
# When candles do not come, the exchange may have halted the pair; it is asked no more often than this.
_PAIRS_SECONDS, _PAIRS_PATIENCE = 300.0, 30.0


class Feed:
    """Follows the wanted series of one shard until it is stopped or fenced.

    Parameters
    ----------
    lead
        Exchange and fence.
    wishes
        Reads which series are wanted; called in another thread.
    """

    def __init__(
        self,
        lead: Lead,
        sender: Sender,
        vitals: Vitals,
        *,
        wishes: Callable[[], Wishes],
    ) -> None:
        self._lead = lead
        self._sender = sender
        self._vitals = vitals
        self._wishes = wishes
        self._inbox: queue.SimpleQueue[StreamEvent | Done | None] = queue.SimpleQueue()
        self._is_stopping = threading.Event()
        self._reconcile_at = self._round_at = 0.0
        self._is_reconciling = False
        self._overdue_at = 0.0
        self._pairs_at = 0.0
        self._idle: dict[SeriesKey, int] = {}
        self._taking: set[SeriesKey] = set()
        self._beginning: set[SeriesKey] = set()
        self._fast = Lane("live", threads=_FAST_THREADS, tell=self._inbox.put)
        self._slow = Lane("recovery", threads=_SLOW_THREADS, tell=self._inbox.put)
        self.stream: MarketStream = lead.exchange.open_stream()
        self.series: dict[SeriesKey, Followed] = {}

    def run(self) -> None:
        """Follow until stopped. Raises ``FencedError`` when another leader has begun."""
        threading.Thread(target=self._listen, name="feed-reader", daemon=True).start()
        try:
            while not self._is_stopping.is_set():
                now = time.monotonic()
                self._look_around(now)
                for key in self._handle_waiting():
                    self._begin_next(key, time.monotonic())
                if now >= self._round_at:
                    self._round_at = now + _TICK_SECONDS
                    self._go_round(now)
        finally:
            self._end()

    def stop(self) -> None:
        """End the run soon; safe from any thread."""
        self._is_stopping.set()
        self._inbox.put(None)

    def sync(self) -> None:
        """Look now which series are wanted; safe from any thread."""
        self._reconcile_at = 0.0
        self._inbox.put(None)

    @property
    def queue_depth(self) -> int:
        """How many events, jobs and messages wait."""
        held = sum(len(followed.held) for followed in list(self.series.values()))
        return self._inbox.qsize() + self._fast.waiting + self.stream.waiting + held + self._sender.waiting

    def _listen(self) -> None:
        try:
            while not self._is_stopping.is_set():
                event = self.stream.next_event(0.5)
                if event is not None:
                    self._inbox.put(event)
        except Exception as error:  # noqa: BLE001 - raised again where it ends the run
            self._inbox.put(Done(_READER, error=error))

    def _handle_waiting(self) -> set[SeriesKey]:
        """Wait a little for something to happen, and handle all that has; return whom it concerns."""
        concerned: set[SeriesKey | None] = set()
        timeout = _TICK_SECONDS
        try:
            while True:
                concerned.add(self._handle(self._inbox.get(timeout=timeout)))
                timeout = 0.0
        except queue.Empty:
            return {key for key in concerned if key is not None}

    def _handle(self, item: StreamEvent | Done | None) -> SeriesKey | None:
        if isinstance(item, CandleUpdate):
            followed = self.series.get(item.series)
            self._vitals.note_time(item.event_time)
            if followed is not None:
                followed.note_update(item)
            return item.series
        if isinstance(item, Connected):
            # Whatever closed while there was no connection is asked for.
            for key in item.series & self.series.keys():
                self.series[key].fall_behind()
        elif isinstance(item, Done):
            return self._handle_done(item)
        return None

    def _handle_done(self, done: Done) -> SeriesKey | None:
        if isinstance(done.error, FencedError) or done.name == _READER:
            raise done.error or RuntimeError("the reader ended")
        if done.name == _WISHES:
            self._is_reconciling = False
            self._reconcile_at = time.monotonic() + _RECONCILE_SECONDS
            if done.error is None:
                self._follow(done.result)
        elif isinstance(done.name, SeriesKey):
            self._taking.discard(done.name)
            self._beginning.discard(done.name)
            if done.name in self.series:
                self._note(self.series[done.name], done)
                self._note_state(done.name, self.series[done.name])
                return done.name
        if done.error is not None:
            logger.warning("the feed is disturbed", extra={"what": str(done.name), "error": str(done.error)})
        return None

    def _note(self, followed: Followed, done: Done) -> None:
        """Note how a job of a series ended."""
        followed.job = None
        if done.error is not None:
            pause = followed.note_failure(done.error)
            told = {"series": str(followed.work.series), "error": followed.error, "again_in": round(pause, 1)}
            is_ours = isinstance(done.error, SmcError)
            logger.warning("a series fails", extra=told, exc_info=None if is_ours else done.error)
        elif isinstance(done.result, Taken):
            self._vitals.candles += done.result.count
            followed.note_taken(done.result)
            if followed.gap is not None:
                told = {"series": str(followed.work.series), "from": followed.gap.start, "to": followed.gap.end}
                logger.info("candles are missing", extra=told)
        elif isinstance(done.result, Recovered):
            followed.note_recovered(done.result)

    def _note_state(self, key: SeriesKey, followed: Followed) -> None:
        """Leave in the database why a series does not advance: for people, and for whoever would judge it meanwhile."""
        state = error, held_from = followed.error, followed.gap.start if followed.gap is not None else None
        if state != followed.noted:
            followed.noted = state
            self._slow.submit(_STATE, lambda: note_state(key, error=error, held_from=held_from), is_urgent=True)

    def _begin_next(self, key: SeriesKey, now: float, *, is_calm: bool = False) -> None:
        """Begin the next job of a series, if it has one and none is under way; what can wait, only in a calm moment."""
        followed = self.series.get(key)
        job = followed.next_job(now, is_calm=is_calm) if followed is not None else None
        if followed is None or job is None:
            return
        if job == Job.RECOVER:
            self._begin_recovery(key, followed)
            return
        followed.job, work = job, followed.work
        if job == Job.TAKE:
            updates = list(followed.held)
            followed.held.clear()
            is_patient = len(self._taking) > _CROWD and not work.has_news(updates)
            patience = _PATIENCE_SECONDS if is_patient else 0.0
            self._taking.add(key)
            self._fast.submit(key, lambda: self._take(followed, updates), is_urgent=True, patience=patience)
        elif job == Job.REFRESH:
            followed.is_edited = False
            self._slow.submit(key, work.refresh, is_urgent=True)
        elif job == Job.TIDY:
            self._fast.submit(key, work.tidy)
        elif followed.forming is not None:
            update, followed.forming, followed.previewed_at = followed.forming, None, now
            self._fast.submit(key, lambda: work.preview(update))

    def _begin_recovery(self, key: SeriesKey, followed: Followed) -> None:
        is_first = followed.work.is_first
        if is_first:
            if len(self._beginning) >= _MOST_BEGINNING:
                return
            self._beginning.add(key)
        followed.job, followed.is_behind, followed.check_at, followed.is_edited = Job.RECOVER, False, None, False
        self._slow.submit(key, followed.work.recover, is_urgent=not is_first)

    def _go_round(self, now: float) -> None:
        """Begin what has come due by time alone; at ticks only, since in a burst each frame would have all asked."""
        # Those whose forming candle has waited longest come first: when time is short, not all have their turn.
        for key in sorted(self.series, key=lambda each: self.series[each].previewed_at):
            # Candles that form are told in the same moment as those that close, which go before them.
            self._begin_next(key, now, is_calm=not self._taking and self._fast.waiting < _MOST_WAITING)

    def _take(self, followed: Followed, updates: list[CandleUpdate]) -> Taken:
        taken = followed.work.take(updates)
        if taken.count:
            newest = updates[-1]
            end = newest.candle.open_time + newest.series.timeframe.milliseconds
            ours = (time.monotonic() - newest.received_at) * 1000
            followed.lag_ms = round(max(0, newest.event_time - end) + ours, 1)
            self._vitals.note_lag(followed.lag_ms)
        return taken

    def _look_around(self, now: float) -> None:
        if now >= self._reconcile_at and not self._is_reconciling:
            self._is_reconciling = True
            self._slow.submit(_WISHES, self._wishes, is_urgent=True)
        if now >= self._overdue_at:
            self._overdue_at = now + OVERDUE_SECONDS / 2
            self._look_for_overdue(now)
        if now >= self._pairs_at and (not self._pairs_at or self._is_any_missing(now)):
            self._pairs_at = now + _PAIRS_SECONDS
            self._slow.submit(_PAIRS, lambda: refresh(self._lead.exchange))

    def _is_any_missing(self, now: float) -> bool:
        since = (followed.overdue_since for followed in self.series.values() if not followed.is_halted)
        return any(each is not None and now - each > _PAIRS_PATIENCE for each in since)

    def _follow(self, wishes: Wishes) -> None:
        """Follow exactly the wanted series."""
        now = time.monotonic()
        for key in self.series.keys() - wishes.series:
            del self.series[key]
        for key in sorted(wishes.series - self.series.keys()):
            work = SeriesWork(key, self._lead, Teller(key, self._sender))
            self.series[key] = Followed(work, ask_at=now + _CONNECT_PATIENCE)
        for key, followed in self.series.items():
            followed.is_halted = key.symbol in wishes.halted
            followed.note_edit(wishes.edits.get(key, 0))
        self.stream.subscribe(wishes.series)
        for key, edit in wishes.idle.items():
            if self._idle.get(key) != edit:
                self._idle[key] = edit
                self._slow.submit(_IDLE, lambda key=key: self._judge_idle(key))  # type: ignore[misc]

    def _judge_idle(self, series: SeriesKey) -> None:
        """Judge what was stored of a series that is not streamed, as by an import."""
        with self._lead.fence.hold():
            catch_up_series(series)

    def _look_for_overdue(self, now: float) -> None:
        """Find the candles that should have come by the exchange's clock."""
        exchange_time = self.stream.server_time()
        mute = self.stream.health.mute
        for key, followed in self.series.items():
            due = 2 * key.timeframe.milliseconds + SETTLE_MILLISECONDS
            is_late = (
                exchange_time is not None and followed.through is not None and exchange_time > followed.through + due
            )
            if is_late or key in mute:
                followed.note_overdue(now)
            else:
                followed.overdue_since = None

    def _end(self) -> None:
        """Let what is under way come to its end, within a little time."""
        self._is_stopping.set()
        self._fast.close()
        self._slow.close()
        self.stream.close()
        self._fast.join(1.0)
        deadline = time.monotonic() + _CLOSING_SECONDS
        for followed in sorted(self.series.values(), key=lambda each: each.work.is_tidy):
            if followed.job not in {Job.RECOVER, Job.REFRESH} and time.monotonic() < deadline:
                # Whoever leads next, or starts, does what is left.
                with contextlib.suppress(SmcError):
                    followed.work.close()
