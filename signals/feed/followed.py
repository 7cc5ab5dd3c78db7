"""What the feed knows of one series, and what is to be done for it next."""

import time
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from markets.candles import Gap
from markets.errors import ExchangeUnavailableError, RateLimitedError
from markets.exchanges import CandleUpdate
from signals.feed.series import Recovered, SeriesWork, Taken

FORMING_SECONDS = 0.25
# Overdue for this long by our clock too: a fast replay passes seconds of the exchange's while we draw breath.
OVERDUE_SECONDS = 1.0
# A hole that the exchange has proven to have is gone on over; the proof takes two questions a minute apart.
_GAP_SECONDS = 10.0
_LONGEST_PAUSE = 30.0
_VAIN_TRIES = 8
# Held back for a series that is catching up; what is more is fetched by REST after all.
_MOST_HELD = 5_000


class State(StrEnum):
    LIVE = "live"
    CATCHING_UP = "catching_up"
    STALE = "stale"
    GAPPED = "gapped"
    HALTED = "halted"
    DOWN = "down"


class Job(StrEnum):
    """What a series may need, the most urgent first."""

    RECOVER = "recover"
    TAKE = "take"
    REFRESH = "refresh"
    TIDY = "tidy"
    PREVIEW = "preview"


@dataclass(slots=True)
class Followed:
    """One series. Only the feed's thread changes it; all times are the monotonic clock in seconds.

    While it ``is_behind``, nothing is judged before REST was asked, at ``ask_at`` at the earliest. ``check_at`` asks
    REST as well, but holds nothing back until then. Where REST ``is_refused``, as in a ban of hours, the stream goes on
    without it for as long as each candle follows the one before.
    """

    work: SeriesWork
    ask_at: float
    held: deque[CandleUpdate] = field(default_factory=deque)
    forming: CandleUpdate | None = None
    previewed_at: float = 0.0
    job: Job | None = None
    is_behind: bool = True
    is_refused: bool = False
    check_at: float | None = None
    is_edited: bool = False
    is_halted: bool = False
    failures: int = 0
    vain: int = 0
    gap: Gap | None = None
    error: str = ""
    noted: tuple[str, int | None] | None = None
    through: int | None = None
    lag_ms: float | None = None
    overdue_since: float | None = None
    checked_at: float = 0.0
    edit: int | None = None
    is_warm: bool = False

    def note_update(self, update: CandleUpdate) -> None:
        """Keep what the stream told until it is its turn."""
        if not update.is_closed:
            self.forming = update
            return
        if self.forming is not None and self.forming.candle.open_time <= update.candle.open_time:
            self.forming = None
        self.held.append(update)
        if len(self.held) > _MOST_HELD:
            self.held.clear()
            self.fall_behind()

    def fall_behind(self) -> None:
        """Have REST asked before anything else is judged; after failures their pause is kept."""
        self.is_behind = True
        if not self.failures:
            self.ask_at = time.monotonic()

    def note_edit(self, edit: int) -> None:
        """Note the store's number of changes to what it had; a new one means that another process changed something."""
        self.is_edited = self.is_edited or (self.edit not in (None, edit))
        self.edit = edit

    def note_overdue(self, now: float) -> None:
        """The exchange's clock says that a candle is missing. Asked for ever more seldom: a halted market has none."""
        if self.overdue_since is None:
            self.overdue_since = now
        waited = now - self.overdue_since
        if waited < OVERDUE_SECONDS or self.job is not None or self.is_behind or self.held:
            return
        if now - self.checked_at >= min(_LONGEST_PAUSE, waited / 2):
            self.check_at = self.checked_at = now

    def note_taken(self, taken: Taken) -> None:
        self._move(taken.through)
        if taken.count:
            self.vain = 0
            if not self.is_refused:
                self.error, self.failures = "", 0
        self.held.extendleft(reversed(taken.left))
        self.gap = taken.gap
        if taken.gap is not None:
            self._ask_for_gap()
        elif taken.is_doubtful and self.check_at is None:
            self.check_at = time.monotonic() + OVERDUE_SECONDS

    def _ask_for_gap(self) -> None:
        """Have REST fill a hole; ever later while that is in vain, and then without what is held behind it."""
        self.fall_behind()
        self.vain += 1
        if self.vain > 1:
            self.ask_at = max(self.ask_at, time.monotonic() + min(_LONGEST_PAUSE, 0.25 * 2**self.vain))
        if self.vain >= _VAIN_TRIES:
            # What REST does not come to know in a minute is no candle; if it is one yet, REST will tell.
            self.held.clear()
            self.gap, self.vain = None, 0

    def note_recovered(self, recovered: Recovered) -> None:
        self._move(recovered.through)
        self.error, self.failures, self.gap, self.is_refused = "", 0, recovered.gap, False
        now = time.monotonic()
        if recovered.gap is not None:
            self.is_behind, self.ask_at = True, now + _GAP_SECONDS
        elif recovered.is_doubtful and self.check_at is None:
            self.check_at = now + 2 * OVERDUE_SECONDS

    def note_failure(self, error: BaseException) -> float:
        """A job failed. A recovery mends it; return the pause before it, in seconds."""
        pause = min(_LONGEST_PAUSE, 2.0 ** min(self.failures, 10))
        if isinstance(error, RateLimitedError):
            pause = max(pause, error.retry_after_seconds)
        self.failures += 1
        self.error = f"{type(error).__name__}: {error}"[:300]
        self.is_refused = isinstance(error, ExchangeUnavailableError)
        self.is_behind, self.ask_at = True, time.monotonic() + pause
        return pause

    def next_job(self, now: float, *, is_calm: bool) -> Job | None:
        """Return what is to be done now, if anything; the caller does it and sets ``job`` back when it is done.

        What can wait is done when it ``is_calm``.
        """
        if self.job is not None:
            return None
        needs = (
            (Job.RECOVER, self.is_behind and now >= self.ask_at),
            (Job.TAKE, bool(self.held) and (not self.is_behind or self._goes_on)),
            (Job.RECOVER, self.check_at is not None and now >= self.check_at and not self.is_behind),
            (Job.REFRESH, self.is_edited and not self.is_behind),
            (Job.TIDY, is_calm and not self.work.is_tidy),
            (Job.PREVIEW, is_calm and self._may_preview(now)),
        )
        return next((job for job, is_needed in needs if is_needed), None)

    @property
    def _goes_on(self) -> bool:
        """Whether nothing can be missing before the first candle held back, although REST was not asked."""
        through, first = self.work.through, self.held[0]
        if not self.is_refused or through is None:
            return False
        return first.candle.open_time <= through + first.series.timeframe.milliseconds

    def _may_preview(self, now: float) -> bool:
        return self.forming is not None and now - self.previewed_at >= FORMING_SECONDS and self.work.is_watched

    def state(self, now: float, *, is_connected: bool) -> State:
        """Say how the series is."""
        is_overdue = self.overdue_since is not None and now - self.overdue_since >= OVERDUE_SECONDS
        if self.is_halted and (is_overdue or not is_connected):
            return State.HALTED
        # By the exchange's clock no candle lacks, whatever REST would say.
        is_following = self.is_refused and self.through is not None and self.overdue_since is None
        if self.error and not is_following:
            return State.DOWN
        if self.gap is not None:
            return State.GAPPED
        if (self.is_behind and not is_following) or (self.job == Job.RECOVER and not is_overdue):
            return State.CATCHING_UP
        return State.STALE if is_overdue or not is_connected else State.LIVE

    def _move(self, through: int | None) -> None:
        if through != self.through:
            self.through, self.overdue_since = through, None
