"""Lists of signals: filtered, folded to any moment, page by page."""

import base64
import binascii
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from markets.candles import BoolArray
from markets.errors import InvalidInputError, NotFoundError
from markets.series import SeriesKey, Timeframe
from signals.engine import Kind
from signals.engine.kinds import STATUS_TEXT
from signals.engine.layout import RecordArray
from signals.engine.table import UNSET, status_codes
from signals.log import LogView, SignalRow
from signals.log.months import month_of, month_start
from signals.log.rows import SCALE_NAMES, SignalId
from signals.log.views import LifeArray, Month
from signals.selectors.context import is_open
from signals.selectors.courses import course_of
from signals.selectors.logs import fresh_view, mends, stored_series


@dataclass(frozen=True, slots=True)
class SignalFilter:
    """Which signals are wanted; None and empty mean all.

    ``start`` <= confirm time < ``end`` (UTC ms). With ``as_of`` (UTC ms) only what was known at that moment is
    told: signals whose confirm candle had closed, and marks of candles that had closed. With ``open_at`` (UTC ms)
    only signals are told that were known at that moment and neither filled nor invalidated then; what became of them
    later is told. With ``higher`` only signals are told that were confirmed while the trend of that timeframe, by its
    candles closed until then, was ``higher_trend`` (1, -1), or the signal's own direction where that is None.
    """

    symbol: str | None = None
    timeframe: Timeframe | None = None
    kinds: frozenset[str] = frozenset()
    direction: int | None = None
    status: str | None = None
    start: int | None = None
    end: int | None = None
    min_strength: float | None = None
    as_of: int | None = None
    open_at: int | None = None
    scale: str | None = None
    higher: Timeframe | None = None
    higher_trend: int | None = None


@dataclass(frozen=True, slots=True)
class SignalPage:
    """Some signals, and where the next ones begin: None at the end."""

    rows: list[SignalRow]
    next_cursor: str | None


class _Key(NamedTuple):
    """The place of a signal in a list of all series: by close time, then series, scale and order of emission."""

    confirmed_at: int
    symbol: str
    minutes: int
    scale: int
    number: int

    def cursor(self) -> str:
        return base64.urlsafe_b64encode(".".join(map(str, self)).encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, cursor: str) -> "_Key":
        try:
            padded = cursor + "=" * (-len(cursor) % 4)
            text = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
            confirmed_at, symbol, minutes, scale, number = text.split(".")
            return cls(int(confirmed_at), symbol, int(minutes), int(scale), int(number))
        except (binascii.Error, ValueError):
            raise InvalidInputError(f"not a cursor of this list: {cursor[:60]!r}", field="cursor") from None


class Found(NamedTuple):
    """A signal in its month, before it is told. ``key`` is its place in a list of all."""

    key: _Key
    view: LogView
    month: Month
    place: int

    @classmethod
    def at(cls, view: LogView, month: Month, place: int) -> "Found":
        row, timeframe = month.rows[place], view.series.timeframe
        time = int(row["confirm_time"]) + timeframe.milliseconds
        key = _Key(time, view.series.symbol, timeframe.minutes, int(row["scale"]), int(row["number"]))
        return cls(key, view, month, place)


@mends
def signals(
    filter_: SignalFilter, *, limit: int = 100, cursor: str | None = None, newest_first: bool = True
) -> SignalPage:
    """Return a page of signals in order of their close time.

    A cursor names the last signal told, so candles that close meanwhile shift nothing. Raises
    ``InvalidInputError`` for a cursor that is none.
    """
    after = _Key.parse(cursor) if cursor is not None else None
    views = [view for key in _chosen(filter_) if (view := fresh_view(key)) is not None]
    streams = [_matches(view, filter_, after, newest_first=newest_first, limit=limit + 1) for view in views]
    merged = streams[0] if len(streams) == 1 else heapq.merge(*streams, key=itemgetter(0), reverse=newest_first)
    found = list(islice(merged, limit + 1))
    page = found[:limit]
    rows = list(told(page, filter_))
    return SignalPage(rows, page[-1].key.cursor() if len(found) > limit else None)


@mends
def signal(id_: str) -> SignalRow:
    """Return one signal by its id; raise ``NotFoundError`` when there is none."""
    wanted = SignalId.parse(id_)
    view = fresh_view(wanted.series)
    for number in view.months() if view is not None else []:
        if view is None or month_start(number + 1) <= wanted.event_time:
            continue
        month = view.month(number)
        rows = month.rows
        is_it = (rows["event_time"] == wanted.event_time) & (rows["ref_time"] == wanted.ref_time)
        is_it &= (rows["kind"] == wanted.kind) & (rows["direction"] == wanted.direction)
        found = np.flatnonzero(is_it & (rows["scale"] == SCALE_NAMES.index(wanted.scale)))
        if len(found):
            return next(iter(view.told(month, found[:1])))
    raise NotFoundError(f"no signal has the id {id_[:100]!r}")


def _chosen(filter_: SignalFilter) -> list[SeriesKey]:
    if filter_.symbol is not None and filter_.timeframe is not None:
        return [SeriesKey(filter_.symbol, filter_.timeframe)]
    return stored_series(filter_.symbol, filter_.timeframe.value if filter_.timeframe is not None else None)


def chosen_months(view: LogView, filter_: SignalFilter) -> list[int]:
    """Return the months of a log in which signals may match, ascending."""
    low = month_of(filter_.start) if filter_.start is not None else -1
    ends = [time for time in (filter_.end, filter_.as_of, filter_.open_at) if time is not None]
    high = month_of(min(ends)) if ends else None
    return [number for number in view.months() if number >= low and (high is None or number <= high)]


def life_of(view: LogView, month: Month, as_of: int | None) -> LifeArray:
    """Return when each signal was marked, as known at ``as_of``."""
    if as_of is None:
        return month.life
    return np.where(month.life + view.series.timeframe.milliseconds <= as_of, month.life, UNSET)


def matching(view: LogView, month: Month, filter_: SignalFilter) -> NDArray[np.int64]:
    """Return where the month's matching signals stand, ascending."""
    rows = month.rows
    low, high = _stretch(view, rows, filter_)
    if _takes_all(filter_):
        return np.arange(low, high)
    fits = np.zeros(len(rows), np.bool_)
    fits[low:high] = True
    if filter_.kinds:
        is_wanted = np.zeros(len(Kind), np.bool_)
        is_wanted[[Kind[name] for name in filter_.kinds]] = True
        fits &= is_wanted[rows["kind"]]
    if filter_.direction is not None:
        fits &= rows["direction"] == filter_.direction
    if filter_.scale is not None:
        fits &= rows["scale"] == SCALE_NAMES.index(filter_.scale)
    if filter_.min_strength is not None:
        fits &= rows["strength"] >= filter_.min_strength
    fits &= _lives(view, month, filter_)
    if filter_.higher is not None:
        course = course_of(SeriesKey(view.series.symbol, filter_.higher))
        trends = course.trends_at(rows["confirm_time"] + view.series.timeframe.milliseconds)
        fits &= trends == (rows["direction"] if filter_.higher_trend is None else filter_.higher_trend)
    return np.flatnonzero(fits)


def _lives(view: LogView, month: Month, filter_: SignalFilter) -> BoolArray:
    """Say of each signal whether what became of it is what the filter asks for."""
    fits = np.ones(len(month.rows), np.bool_)
    if filter_.status is not None:
        fits &= status_codes(life_of(view, month, filter_.as_of)) == STATUS_TEXT.index(filter_.status)
    if filter_.open_at is not None:
        moment = filter_.open_at if filter_.as_of is None else min(filter_.open_at, filter_.as_of)
        fits &= is_open(life_of(view, month, moment))
    return fits


def _stretch(view: LogView, rows: RecordArray, filter_: SignalFilter) -> tuple[int, int]:
    """Return between which of the rows the filter's times lie."""
    times = rows["confirm_time"]
    low = 0 if filter_.start is None else int(np.searchsorted(times, filter_.start))
    high = len(rows) if filter_.end is None else int(np.searchsorted(times, filter_.end))
    for moment in (filter_.as_of, filter_.open_at):
        if moment is not None:
            known = int(np.searchsorted(times, moment - view.series.timeframe.milliseconds, side="right"))
            high = min(high, known)
    return low, max(low, high)


def _takes_all(filter_: SignalFilter) -> bool:
    """Whether the filter passes every signal of a stretch of time."""
    others = (
        filter_.direction, filter_.scale, filter_.min_strength, filter_.status, filter_.open_at, filter_.higher,
    )  # fmt: skip
    return len(filter_.kinds) in (0, len(Kind)) and all(each is None for each in others)


def _matches(
    view: LogView, filter_: SignalFilter, after: _Key | None, *, newest_first: bool, limit: int
) -> Iterator[Found]:
    """Yield a log's matching signals in the list's order, from after the cursor on; months load as they are needed."""
    step, symbol, minutes = view.series.timeframe.milliseconds, view.series.symbol, view.series.timeframe.minutes
    for month, untold in _parts(view, filter_, after, newest_first=newest_first):
        chosen = matching(view, month, filter_)
        chosen = chosen[: np.searchsorted(chosen, untold)]
        if after is not None:
            chosen = chosen[_is_after(month.rows[chosen], view.series, after, newest_first=newest_first)]
        chosen = chosen[: -limit - 1 : -1] if newest_first else chosen[:limit]
        rows = month.rows[chosen]
        keys = zip(rows["confirm_time"].tolist(), rows["scale"].tolist(), rows["number"].tolist(), strict=True)
        for place, (time, scale, count) in zip(chosen.tolist(), keys, strict=True):
            yield Found(_Key(time + step, symbol, minutes, scale, count), view, month, place)


def _parts(
    view: LogView, filter_: SignalFilter, after: _Key | None, *, newest_first: bool
) -> Iterator[tuple[Month, int]]:
    """Yield the parts of a log in the list's order, each with how many of its signals are in none before it.

    The newest signals come as a part of their own: of most logs a list needs no more, and of none its whole month.
    """
    recent_times = np.empty(0, np.int64)
    if newest_first and filter_.as_of is None:
        recent = view.recent()
        recent_times = recent.rows["confirm_time"]
        yield recent, len(recent.rows)
    numbers = chosen_months(view, filter_)
    for number in reversed(numbers) if newest_first else numbers:
        edge = after.confirmed_at - view.series.timeframe.milliseconds if after is not None else None
        if edge is not None and _is_before(number, edge, newest_first=newest_first):
            continue
        first, end = np.searchsorted(recent_times, [month_start(number), month_start(number + 1)]).tolist()
        if first == 0:  # else the newest signals reach back beyond the month
            month = view.month(number, as_of=filter_.as_of)
            yield month, len(month.rows) - end


def _is_before(number: int, edge: int, *, newest_first: bool) -> bool:
    """Whether a whole month was told before the cursor, the confirm time ``edge``."""
    return month_start(number) > edge if newest_first else month_start(number + 1) <= edge


def _is_after(rows: RecordArray, series: SeriesKey, after: _Key, *, newest_first: bool) -> BoolArray:
    """Say of each row whether it comes after the cursor in the list."""
    edge = after.confirmed_at - series.timeframe.milliseconds
    ours, theirs = (series.symbol, series.timeframe.minutes), (after.symbol, after.minutes)
    times, scale, number = rows["confirm_time"], rows["scale"], rows["number"]
    is_tie = times == edge
    if newest_first:
        is_later, is_inside, is_below = times < edge, number < after.number, scale < after.scale
        has_ties = ours < theirs
    else:
        is_later, is_inside, is_below = times > edge, number > after.number, scale > after.scale
        has_ties = ours > theirs
    inside = is_below | ((scale == after.scale) & is_inside) if ours == theirs else np.full(len(rows), has_ties)
    found: BoolArray = is_later | (is_tie & inside)
    return found


def told(page: list[Found], filter_: SignalFilter) -> Iterator[SignalRow]:
    """Return what was found as values, as known at the filter's moment."""

    def source(found: Found) -> tuple[int, int]:
        return id(found.view), id(found.month)

    for _, group in groupby(page, key=source):
        members: list[Any] = list(group)
        view, month = members[0].view, members[0].month
        places = np.array([each.place for each in members])
        life = life_of(view, month, filter_.as_of)
        yield from view.told(Month(month.rows, life, month.places), places)
