"""Trend and range position of series by their internal structure.

They are followed as candles come, and kept in memory while there is room.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from markets.candles import Candles
from markets.selectors import candle_store, held_from
from markets.series import SeriesKey, Timeframe
from markets.store import Version
from signals.engine import Detector, Run, scale_params

# Of a year of minutes the course takes 13 MB; a detector alone takes 0.1 MB, of any series.
_COURSE_BYTES = 192 * 2**20
_STATE_BYTES = 128 * 2**20

_Name = tuple[Path, SeriesKey]  # the data folder, the series


@dataclass(frozen=True, slots=True)
class Bias:
    """The state after a series' candle that opened at ``open_time`` (UTC ms).

    ``trend`` is 1 bullish, -1 bearish, 0 before the first break; ``range_pos`` is where its close stands between
    the bottom (0) and the top (1) of the range, None without a range.
    """

    open_time: int
    trend: int
    range_pos: float | None

    @classmethod
    def of(cls, open_time: int, trend: int, range_pos: float) -> "Bias":
        return cls(open_time, trend, None if np.isnan(range_pos) else range_pos)


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """A series' trend and range position after each of its candles, shape (n,); ``step`` is a candle's length, ms."""

    step: int
    open_time: NDArray[np.int64]
    trend: NDArray[np.int64]
    range_pos: NDArray[np.float64]

    @classmethod
    def empty(cls, timeframe: Timeframe) -> "Course":
        none = np.empty(0, np.int64)
        return cls(timeframe.milliseconds, none, none, np.empty(0))

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
        return Bias.of(int(self.open_time[index]), int(self.trend[index]), float(self.range_pos[index]))

    @property
    def nbytes(self) -> int:
        return self.open_time.nbytes + self.trend.nbytes + self.range_pos.nbytes


class _Followed:
    """A detector that has taken a series' candles as far as somebody asked, and their course where that is kept."""

    def __init__(self, series: SeriesKey, *, keeps_course: bool) -> None:
        self._series, self._keeps_course = series, keeps_course
        self._edit = -1
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._detector = Detector(scale_params("internal"))
        self._course = Course.empty(self._series.timeframe)

    def now(self) -> tuple[Bias | None, Course]:
        """Return the state after the last stored candle, and the course up to that."""
        with self._lock:
            self._catch_up()
            detector = self._detector
            last = detector.last_time
            return None if last is None else Bias.of(last, detector.trend, detector.range_pos), self._course

    def _catch_up(self) -> None:
        """Take the candles stored since; all of them where one of those taken has changed.

        Where the feed waits for a candle that may come yet, nothing behind it is judged, as in ``fresh_view``.
        """
        store = candle_store()
        last, edit = store.version(self._series)
        if edit != self._edit:
            self._edit = edit
            self._begin()
        start = None if self._detector.last_time is None else self._detector.last_time + 1
        if last is not None and (start is None or last >= start):
            candles = store.read(self._series, start=start, end=held_from(self._series))
            run = self._detector.run(candles)
            if self._keeps_course:
                self._course = self._course.followed_by(candles, run)

    @property
    def nbytes(self) -> int:
        return self._detector.nbytes + self._course.nbytes


class Following:
    """Series that are followed. Above ``max_bytes`` those that were asked for longest ago are let go."""

    def __init__(self, max_bytes: int, *, keeps_course: bool) -> None:
        self._max_bytes, self._keeps_course = max_bytes, keeps_course
        self._followed: OrderedDict[_Name, tuple[_Followed, int]] = OrderedDict()  # each with its bytes as counted
        self._lock = threading.Lock()
        self.bytes = 0

    def now(self, series: SeriesKey) -> tuple[Bias | None, Course]:
        """Return a series' state after its last stored candle, and its course if courses are kept."""
        name = candle_store().root, series
        with self._lock:
            known = self._followed.get(name)
            followed = known[0] if known is not None else _Followed(series, keeps_course=self._keeps_course)
            self._keep(name, followed)
        # Who waits for a long history keeps nobody waiting who asks for another series.
        told = followed.now()
        with self._lock:
            self._keep(name, followed)
        return told

    def _keep(self, name: _Name, followed: _Followed) -> None:
        self.bytes -= self._followed.pop(name, (None, 0))[1]
        size = followed.nbytes
        self._followed[name] = followed, size
        self.bytes += size
        while self.bytes > self._max_bytes and len(self._followed) > 1:
            _, (_, oldest) = self._followed.popitem(last=False)
            self.bytes -= oldest


_courses = Following(_COURSE_BYTES, keeps_course=True)
_states = Following(_STATE_BYTES, keeps_course=False)
_biases: dict[_Name, tuple[Version, Bias | None]] = {}


def course_of(series: SeriesKey) -> Course:
    """Return the course of a series; the part that is in memory is gone on with where it still holds."""
    return _courses.now(series)[1]


def bias(series: SeriesKey) -> Bias | None:
    """Return where a series stands after its last stored candle; None where nothing is stored."""
    store = candle_store()
    name, version = (store.root, series), store.version(series)
    known = _biases.get(name)
    if known is not None and known[0] == version:
        return known[1]
    told = _states.now(series)[0]
    # What waits for a candle before the last stored one may go on without another one being stored.
    if told is not None and told.open_time == version[0]:
        _biases[name] = version, told
    return told
