"""Whose life a mark continues: marks name signals by number, the world knows them by id."""

from collections import OrderedDict
from collections.abc import Callable

from markets.series import SeriesKey
from signals.engine.kinds import Kind, Mark
from signals.engine.layout import RecordArray
from signals.engine.table import UNSET
from signals.log import LogView
from signals.log.rows import SignalId
from signals.log.views import Month

_MOST_KEPT = 1_000
# Of what was found before: by far most marks are made on these.
_MOST_LEARNED, _MOST_MONTHS = 500, 12


class Names:
    """The ids of one series' signals whose life goes on, so that the log is rarely asked for them.

    To read them from the log takes tens of milliseconds; most marks are made on signals found lately.
    """

    def __init__(self, series: SeriesKey) -> None:
        self._series = series
        self._ids: OrderedDict[tuple[int, int], SignalId] = OrderedDict()
        self.knows_newest = False

    def keep(self, signals: RecordArray) -> None:
        """Learn the ids of signals (``LOGGED`` records) that may be marked."""
        for row, key in zip(signals, _keys(signals), strict=True):
            self._ids[key] = SignalId.of(self._series, row)

    def of(self, marks: RecordArray, view: Callable[[], LogView]) -> list[SignalId]:
        """Return the ids of the signals that ``marks`` (``MARKED`` records) were made on, shape as given.

        ``view`` is called for the log as it is now when one is not known; what it raises is raised.
        """
        while len(self._ids) > _MOST_KEPT:
            self._ids.popitem(last=False)
        keys = _keys(marks)
        is_unknown = [key not in self._ids for key in keys]
        if any(is_unknown):
            self.learn_newest(now := view())
            self.keep(now.named(marks["scale"][is_unknown], marks["number"][is_unknown]))
        return [self._ids[key] for key in keys]

    def forget(self, marks: RecordArray) -> None:
        """Let go of the signals whose life these marks ended."""
        for key, mark in zip(_keys(marks), marks["mark"].tolist(), strict=True):
            name = self._ids.get(key)
            # No mark follows: a pivot is taken once, everything else is invalidated at last.
            is_taken = mark == Mark.MITIGATED and name is not None and name.kind == Kind.SWING
            if mark == Mark.INVALIDATED or is_taken:
                self._ids.pop(key, None)

    def learn_newest(self, view: LogView) -> None:
        """Learn the newest signals of the log whose life goes on, if that was not done."""
        if self.knows_newest:
            return
        found: list[RecordArray] = []
        for number in reversed(view.months()[-_MOST_MONTHS:]):
            found.append(_going_on(view.month(number)))
            if sum(map(len, found)) >= _MOST_LEARNED:
                break
        for rows in reversed(found):
            self.keep(rows[-_MOST_LEARNED:])
        self.knows_newest = True


def _going_on(month: Month) -> RecordArray:
    """Return the signals of a month that later candles may mark."""
    is_taken = (month.rows["kind"] == Kind.SWING) & (month.life[Mark.MITIGATED] != UNSET)
    rows: RecordArray = month.rows[(month.life[Mark.INVALIDATED] == UNSET) & ~is_taken]
    return rows


def _keys(rows: RecordArray) -> list[tuple[int, int]]:
    return list(zip(rows["scale"].tolist(), rows["number"].tolist(), strict=True))
