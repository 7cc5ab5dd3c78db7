"""Where a series stands: its trend and range position at any moment, and the open zones near its price."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markets.candles import BoolArray, Candles
from markets.selectors import candle_store, held_from, newest_candles
from markets.series import SeriesKey, Timeframe
from signals.engine import Detector, Kind, Run, scale_params
from signals.engine.kinds import ZONE_KINDS, Mark
from signals.engine.table import UNSET
from signals.log import LogView, SignalRow
from signals.log.views import LifeArray
from signals.selectors.logs import fresh_view, mends

_IS_ZONE = np.isin(list(Kind), ZONE_KINDS)  # by the number of the kind


@dataclass(frozen=True, slots=True)
class Bias:
    """The state after a series' candle that opened at ``open_time`` (UTC ms).

    ``trend`` is 1 bullish, -1 bearish, 0 before the first break; ``range_pos`` is where its close stands between
    the bottom (0) and the top (1) of the range, None without a range.
    """

    open_time: int
    trend: int
    range_pos: float | None


@dataclass(frozen=True, slots=True)
class NearZone:
    """An open zone, and how far the price has to go to its near edge: a fraction of the price, 0 inside it."""

    signal: SignalRow
    distance: float


def bias(series: SeriesKey, *, scale: str = "internal") -> Bias | None:
    """Return where a series stands after its last stored candle; None where nothing is stored."""
    course = course_of(series, scale)
    return course.at(len(course.open_time) - 1)


def context(row: SignalRow, timeframes: Sequence[Timeframe], *, scale: str = "internal") -> dict[str, Any]:
    """Return trend and range position of other timeframes, from candles that had closed when the signal was confirmed.

    A timeframe without such a candle is None.
    """
    return contexts([row], timeframes, scale=scale)[0]


def contexts(
    rows: Sequence[SignalRow], timeframes: Sequence[Timeframe], *, scale: str = "internal"
) -> list[dict[str, Any]]:
    """Return the ``context`` of many signals; each series is looked at once."""
    keys = {SeriesKey(row.symbol, timeframe) for row in rows for timeframe in timeframes}
    courses = {key: course_of(key, scale) for key in keys}
    told = []
    for row in rows:
        each: dict[str, Any] = {}
        for timeframe in timeframes:
            course = courses[SeriesKey(row.symbol, timeframe)]
            known = course.at(course.known_at(row.confirmed_at))
            each[timeframe.value] = None if known is None else {"trend": known.trend, "range_pos": known.range_pos}
        told.append(each)
    return told


@mends
def zones_near(
    series: SeriesKey, *, within: float = 0.005, limit: int = 10, scale: str | None = None
) -> list[NearZone]:
    """Return zones that are neither filled nor invalidated within a fraction of the last close, the nearest first."""
    view = fresh_view(series)
    last = newest_candles(series, 1)
    if view is None or not len(last):
        return []
    price = float(last.close[-1])
    # A log only grows, so how far it goes settles what it tells.
    asked = (view.folder, view.through, price, within, limit, scale)
    found = _near.get(asked)
    if found is None:
        if len(_near) >= _MOST_NEAR:
            _near.clear()
        found = _near[asked] = _nearest(view, price, within=within, limit=limit, scale=scale)
    return list(found)


def is_open(life: LifeArray) -> BoolArray:
    """Say of each signal, by the times of its marks, whether it is neither filled nor invalidated."""
    found: BoolArray = (life[Mark.FILLED] == UNSET) & (life[Mark.INVALIDATED] == UNSET)
    return found


_MOST_NEAR = 1_000
_near: dict[tuple[Path, int, float, float, int, str | None], list[NearZone]] = {}


def _nearest(view: LogView, price: float, *, within: float, limit: int, scale: str | None) -> list[NearZone]:
    found: list[NearZone] = []
    for number in view.months():
        month = view.month(number)
        rows = month.rows
        is_wanted = is_open(month.life) & np.isfinite(rows["top"]) & _IS_ZONE[rows["kind"]]
        distance = np.maximum(np.maximum(rows["bottom"] - price, price - rows["top"]), 0.0) / price
        chosen = np.flatnonzero(is_wanted & (distance <= within))
        signals = view.told(month, chosen)
        found += [
            NearZone(row, float(each))
            for row, each in zip(signals, distance[chosen], strict=True)
            if scale in (None, row.scale)
        ]
    return sorted(found, key=lambda each: (each.distance, -each.signal.confirm_time))[:limit]


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """A series' trend and range position after each of its candles, shape (n,); ``step`` is a candle's length, ms."""

    step: int
    open_time: NDArray[np.int64]
    trend: NDArray[np.int64]
    range_pos: NDArray[np.float64]

    def followed_by(self, candles: Candles, run: Run) -> "Course":
        """Return the course with what a run over the next candles told."""
        return Course(
            self.step,
            np.concatenate([self.open_time, candles.open_time]),
            np.concatenate([self.trend, run.trend]),
            np.concatenate([self.range_pos, run.table.range_pos]),
        )

    def known_at(self, moment: int) -> int:
        """Return the index of the last candle that had closed at ``moment``; -1 for none."""
        return int(np.searchsorted(self.open_time, moment - self.step, side="right")) - 1

    def trends_at(self, moments: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the trend known at each moment; 0 where no candle had closed."""
        index = np.searchsorted(self.open_time, moments - self.step, side="right") - 1
        return np.append(self.trend, 0)[index]

    def at(self, index: int) -> Bias | None:
        if index < 0:
            return None
        place = float(self.range_pos[index])
        return Bias(int(self.open_time[index]), int(self.trend[index]), None if np.isnan(place) else place)


_Followed = tuple[int, Detector, Course]  # the store's edit, the detector after the course's last candle

_followed: OrderedDict[tuple[Path, SeriesKey, str], _Followed] = OrderedDict()
_followed_lock = threading.Lock()
_MOST_FOLLOWED = 128


def course_of(series: SeriesKey, scale: str) -> Course:
    """Return the course of a series; the part that is in memory is gone on with where it still holds.

    Where the feed waits for a candle that may come yet, nothing behind it is judged, as in ``fresh_view``.
    """
    store = candle_store()
    name = (store.root, series, scale)
    with _followed_lock:
        last, edit = store.version(series)
        known = _followed.get(name)
        if known is None or known[0] != edit:
            empty = np.empty(0, np.int64)
            known = (
                edit,
                Detector(scale_params(scale)),
                Course(series.timeframe.milliseconds, empty, empty, np.empty(0)),
            )
        _, detector, course = known
        start = None if detector.last_time is None else detector.last_time + 1
        if last is not None and (start is None or last >= start):
            candles = store.read(series, start=start, end=held_from(series))
            if len(candles):
                course = course.followed_by(candles, detector.run(candles))
        _followed[name] = edit, detector, course
        _followed.move_to_end(name)
        if len(_followed) > _MOST_FOLLOWED:
            _followed.popitem(last=False)
        return course
