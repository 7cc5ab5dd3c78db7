"""A series' log as it stood at one moment: marks folded into signals, month by month."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from markets.errors import CorruptFileError
from markets.series import SeriesKey
from signals.engine.kinds import Mark
from signals.engine.layout import RecordArray
from signals.engine.table import UNSET
from signals.log import months
from signals.log.generations import Generation, bury
from signals.log.journal import Frame, no_facts
from signals.log.rows import SCALE_NAMES, SignalRow, told

LifeArray = NDArray[np.int64]

# A month later than any.
_FOREVER = 10**6
# A log's newest signals are held apart from their months: so many of the last months, and all of the last day, which
# the dashboard counts, with some hours more for series that are behind.
_RECENT, _RECENT_MONTHS = 256, 2
_RECENT_MILLISECONDS = 26 * 3_600_000


@dataclass(frozen=True, slots=True, eq=False)
class Month:
    """One month's signals in the log's order, with the times of their marks, shape (3, n), ``UNSET`` for none."""

    rows: RecordArray
    life: LifeArray
    places: tuple[NDArray[np.int64], ...]  # of each scale: where its signals stand in ``rows``

    @classmethod
    def of(cls, rows: RecordArray, life: LifeArray | None = None) -> "Month":
        if life is None:
            life = np.full((len(Mark), len(rows)), UNSET, np.int64)
        return cls(rows, life, tuple(np.flatnonzero(rows["scale"] == scale) for scale in range(len(SCALE_NAMES))))

    def marked(self, marks: RecordArray) -> "Month":
        """Return the month with those of ``marks`` that belong to its signals."""
        life = None
        for scale, places in enumerate(self.places):
            if not len(places):
                continue
            number = marks["number"] - self.rows["number"][places[0]]
            ours = (marks["scale"] == scale) & (number >= 0) & (number < len(places))
            if ours.any():
                life = self.life.copy() if life is None else life
                life[marks["mark"][ours], places[number[ours]]] = marks["time"][ours]
        return self if life is None else Month(self.rows, life, self.places)

    def extended(self, rows: RecordArray) -> "Month":
        """Return the month with ``rows`` after its own."""
        life = np.full((len(Mark), len(rows)), UNSET, np.int64)
        return Month.of(np.concatenate([self.rows, rows]), np.concatenate([self.life, life], axis=1))

    def newest(self) -> "Month":
        """Return the signals that count as recent at the last of them; no memory of the others is held."""
        times = self.rows["confirm_time"]
        last = int(times[-1]) if len(times) else 0
        first = max(0, min(len(times) - _RECENT, int(np.searchsorted(times, last - _RECENT_MILLISECONDS))))
        return Month.of(self.rows[first:].copy(), self.life[:, first:].copy())

    @property
    def nbytes(self) -> int:
        return self.rows.nbytes + self.life.nbytes + sum(each.nbytes for each in self.places)


@dataclass(slots=True, eq=False)
class LogView:
    """A series' log as it stood when it was asked for; immutable to its users.

    ``through`` is the open time of the last candle judged, ``first`` that of the first, ``base`` that of the last
    whose facts are in the month files, ``edit`` the store's edit number the log was made of. Months are read when
    they are asked for: ``FileNotFoundError`` tells that the log was replaced meanwhile, ``CorruptFileError`` that
    a file was damaged. Ask for a view again then.
    """

    series: SeriesKey
    generation: Generation
    folder: Path
    base: int
    through: int
    first: int
    edit: int
    tail_signals: RecordArray
    tail_marks: RecordArray
    # Each with the month up to which the files' marks are folded in. A mark is written once, so order is no matter.
    _months: dict[int, tuple[Month, int]] = field(default_factory=dict)
    _marks: dict[int, RecordArray] = field(default_factory=dict)
    _recent: Month | None = None
    _numbers: list[int] | None = None

    @property
    def version(self) -> int:
        return self.generation.version

    def months(self) -> list[int]:
        """Return the numbers of the months that hold signals, ascending."""
        if self._numbers is None:
            tail = {month for month, _ in months.by_month(self.tail_signals, "confirm_time")}
            last = months.month_of(self.base) if self.base != UNSET else -1
            stored = {each for each in months.months_on_disk(self.folder, "signals") if each <= last}
            self._numbers = sorted(stored | tail)
        return self._numbers

    def month(self, number: int, *, as_of: int | None = None) -> Month:
        """Return one month's signals as they stand at ``through``.

        With ``as_of`` (UTC ms) marks made later may be missing: what is not asked for is not read.
        """
        wanted = _FOREVER if as_of is None else months.month_of(as_of)
        month, folded = self._months.get(number) or (self._unfolded(number), number - 1)
        if folded < wanted:
            for each in months.months_on_disk(self.folder, "marks"):
                if folded < each <= wanted:
                    month = month.marked(self._marks_in(each))
            self._months[number] = month, wanted
        return month

    def recent(self) -> Month:
        """Return the newest signals, across months, as they stand at ``through``: what most lists need of a log.

        They are so few that those of every log can be held; the months they are cut from are not.
        """
        if self._recent is None:
            newest = [self._signals_in(number) for number in self.months()[-_RECENT_MONTHS:]]
            recent = Month.of(np.concatenate([no_facts()[0], *newest])).newest().marked(self.tail_marks)
            first = months.month_of(int(recent.rows["confirm_time"][0])) if len(recent.rows) else _FOREVER
            for month in months.months_on_disk(self.folder, "marks"):
                if month >= first:
                    recent = recent.marked(self._read_marks(month))
            self._recent = recent
        return self._recent

    def _unfolded(self, number: int) -> Month:
        """Return one month's signals with the marks that are not in month files."""
        return Month.of(self._signals_in(number)).marked(self.tail_marks)

    def _signals_in(self, number: int) -> RecordArray:
        stored = self._stored(months.read_signals, number)
        stored = stored[stored["confirm_time"] <= self.base]
        tail = [rows for month, rows in months.by_month(self.tail_signals, "confirm_time") if month == number]
        return np.concatenate([stored, *tail])

    def _marks_in(self, month: int) -> RecordArray:
        found = self._marks.get(month)
        if found is None:
            found = self._marks[month] = self._read_marks(month)
        return found

    def _read_marks(self, month: int) -> RecordArray:
        stored = self._stored(months.read_marks, month)
        return stored[stored["time"] <= self.base]

    def _stored(self, read: Callable[[Path, int], RecordArray], month: int) -> RecordArray:
        """Read a month file. A damaged one takes its log out of the way: it is built anew from the candles."""
        try:
            rows = read(self.folder, month)
        except CorruptFileError:
            bury(self.folder)
            raise
        if not len(rows) and not self.folder.exists():
            raise FileNotFoundError(self.folder)
        return rows

    def signals_after(self, time: int) -> Iterator[Month]:
        """Yield the signals confirmed later than ``time``, ascending."""
        for number in self.months():
            if months.month_start(number + 1) <= time:
                continue
            month = self.month(number)
            kept = slice(int(np.searchsorted(month.rows["confirm_time"], time, side="right")), None)
            yield Month.of(month.rows[kept], month.life[:, kept])

    def marks_after(self, time: int) -> RecordArray:
        """Return the marks made later than ``time``, in the log's order."""
        stored = [
            self._marks_in(month)
            for month in months.months_on_disk(self.folder, "marks")
            if months.month_start(month + 1) > time
        ]
        marks = np.concatenate([no_facts()[1], *stored, self.tail_marks])
        return marks[marks["time"] > time]

    def told(self, month: Month, chosen: NDArray[np.int64] | slice) -> Iterable[SignalRow]:
        """Return rows of a month as values."""
        return told(self.series, month.rows[chosen], month.life[:, chosen], detector_version=self.version)

    def named(self, scales: NDArray[np.int8], numbers: NDArray[np.int64]) -> RecordArray:
        """Return the records of signals by scale and number, which must be in the log; shape as given."""
        found: RecordArray = np.zeros(len(numbers), no_facts()[0].dtype)
        missing = np.ones(len(numbers), np.bool_)
        for month in reversed(self.months()):
            if not missing.any():
                break
            each = self.month(month)
            for scale, places in enumerate(each.places):
                if len(places):
                    offset = numbers - each.rows["number"][places[0]]
                    here = missing & (scales == scale) & (offset >= 0) & (offset < len(places))
                    found[here] = each.rows[places[offset[here]]]
                    missing &= ~here
        return found

    def advanced(self, frames: list[Frame], base: int) -> "LogView":
        """Return the view with the facts of frames that follow it; the month files reach to ``base``."""
        nothing = no_facts()
        new_signals = np.concatenate([nothing[0], *(frame.signals for frame in frames)])
        new_marks = np.concatenate([nothing[1], *(frame.marks for frame in frames)])
        # All frames at once: each step copies the months that are loaded.
        loaded = dict(self._months)
        for number, rows in months.by_month(new_signals, "confirm_time"):
            if number in loaded:
                loaded[number] = loaded[number][0].extended(rows), loaded[number][1]
        for number, (month, folded) in loaded.items():
            loaded[number] = month.marked(new_marks), folded
        recent = self._recent
        if recent is not None:
            recent = recent.extended(new_signals).marked(new_marks) if frames else recent
            recent = recent.newest() if len(recent.rows) > 2 * _RECENT else recent
        signals = np.concatenate([self.tail_signals, new_signals])
        marks = np.concatenate([self.tail_marks, new_marks])
        return LogView(
            self.series,
            self.generation,
            self.folder,
            base,
            frames[-1].through if frames else self.through,
            self.first,
            frames[-1].edit if frames else self.edit,
            signals[signals["confirm_time"] > base],
            marks[marks["time"] > base],
            loaded,
            {} if base != self.base else self._marks,
            recent,
        )

    def without_months(self) -> "LogView":
        """Return the view with nothing loaded but its newest signals."""
        return replace(self, _months={}, _marks={})

    @property
    def nbytes(self) -> int:
        # Copies, for readers load months meanwhile.
        held = [each.nbytes for each, _ in list(self._months.values())]
        held += [each.nbytes for each in list(self._marks.values())]
        return sum(held) + (self._recent.nbytes if self._recent is not None else 0)
