"""What a run found, as columns: signals, and the marks that fold into their life cycle."""

from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markets.candles import FloatArray, TimeArray
from signals.engine.compiled import entry
from signals.engine.kinds import KIND_TEXT, STATUS_TEXT, TAG_TEXT, Kind, Mark
from signals.engine.layout import MARK_IDX_MASK, MARK_IDX_SHIFT, MARK_MASK, MARK_NUMBER_SHIFT, RecordArray

IndexArray = NDArray[np.int64]
TextArray = NDArray[np.object_]

_KINDS = np.array(KIND_TEXT, dtype=object)
_TAGS = np.array(TAG_TEXT, dtype=object)
_STATUSES = np.array(STATUS_TEXT, dtype=object)

# An index or a time that is not (yet) there.
UNSET = -1


@dataclass(frozen=True, slots=True, eq=False)
class LifeCycle:
    """When each signal was marked: bar indices and open times (UTC ms), shape (n,), ``UNSET`` where it was not."""

    mitigated_idx: IndexArray
    filled_idx: IndexArray
    invalidated_idx: IndexArray
    mitigated_time: TimeArray
    filled_time: TimeArray
    invalidated_time: TimeArray

    @property
    def status(self) -> TextArray:
        """invalidated, filled, mitigated or active: the last that is set."""
        life = np.stack([self.mitigated_idx, self.filled_idx, self.invalidated_idx])
        text: TextArray = _STATUSES[status_codes(life)]
        return text


def status_codes(life: IndexArray) -> IndexArray:
    """Return the index in ``STATUS_TEXT`` of each signal's status: that of the last mark that is set.

    ``life``, shape (3, n), tells when each ``Mark`` was made, as bar or as time; ``UNSET`` where it was not.
    """
    is_set = life != UNSET
    mitigated, filled, invalidated = is_set[Mark.MITIGATED], is_set[Mark.FILLED], is_set[Mark.INVALIDATED]
    return np.where(invalidated, 3, np.where(filled, 2, np.where(mitigated, 1, 0)))


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """Life-cycle facts in the order told, shape (m,): the signal's number, the ``Mark``, the bar and its open time."""

    number: IndexArray
    mark: IndexArray
    idx: IndexArray
    time: TimeArray


@dataclass(frozen=True, slots=True, eq=False)
class SignalTable:
    """The signals that a run of bars confirmed and the marks that it made, in emission order.

    ``rows`` are records of ``SIGNAL``; a row's position plus ``first_number`` is the signal's number.
    ``packed_marks`` name signals by number, those of earlier runs included. ``open_time`` and
    ``range_pos``, shape (bars,), belong to the bars of the run, the first of which is ``first_bar``.
    """

    rows: RecordArray
    packed_marks: IndexArray
    open_time: TimeArray
    range_pos: FloatArray
    first_number: int = 0
    first_bar: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    def as_of(self, index: int) -> "SignalTable":
        """Return what was known once bar ``index`` had closed: later signals and later marks left out."""
        known = int(np.searchsorted(self.rows["confirm_idx"], index, side="right"))
        seen = bisect_right(self.packed_marks, index, key=lambda mark: (int(mark) >> MARK_IDX_SHIFT) & MARK_IDX_MASK)
        return replace(self, rows=self.rows[:known], packed_marks=self.packed_marks[:seen])

    def life_cycle(self) -> LifeCycle:
        """Fold the marks into one row a signal."""
        idx = np.full((len(Mark), len(self.rows)), UNSET, np.int64)
        time = np.full((len(Mark), len(self.rows)), UNSET, np.int64)
        _fold(self.packed_marks, self.first_number, self.first_bar, self.open_time, idx, time)
        return LifeCycle(*idx, *time)

    def marks(self) -> Marks:
        idx = (self.packed_marks >> MARK_IDX_SHIFT) & MARK_IDX_MASK
        return Marks(
            number=self.packed_marks >> MARK_NUMBER_SHIFT,
            mark=self.packed_marks & MARK_MASK,
            idx=idx,
            time=self.open_time[idx - self.first_bar],
        )

    def column(self, name: str) -> NDArray[Any]:
        """Return one column of the signals, shape (n,), by its name in docs/concepts.md#the-table."""
        if name == "kind":
            return _KINDS[self.rows["kind"]]
        if name == "tag":
            return tag_text(self.rows["kind"], self.rows["tag"])
        if name == "number":
            return np.arange(self.first_number, self.first_number + len(self.rows))
        if name in ("confirm_time", "range_pos"):
            values = self.open_time if name == "confirm_time" else self.range_pos
            return values[self.rows["confirm_idx"] - self.first_bar]
        return np.ascontiguousarray(self.rows[name])


def tag_text(kinds: NDArray[Any], tags: NDArray[Any]) -> TextArray:
    """Return the tags as text; EQ's is its count of touches."""
    is_equal = kinds == Kind.EQ
    text: TextArray = _TAGS[np.where(is_equal, 0, tags)]
    text[is_equal] = [str(touches) for touches in tags[is_equal].tolist()]
    return text


SIGNAL_COLUMNS = (
    "kind", "direction", "event_idx", "event_time", "confirm_idx", "confirm_time", "level", "top", "bottom",
    "ref_idx", "ref_time", "strength", "range_pos", "tag",
)  # fmt: skip
LIFE_COLUMNS = (
    "mitigated_idx", "mitigated_time", "filled_idx", "filled_time", "invalidated_idx", "invalidated_time", "status",
)  # fmt: skip


def detect_columns(table: SignalTable) -> dict[str, NDArray[Any]]:
    """Return the table that ``detect`` writes (docs/concepts.md#the-table); UNSET and NaN are undefined values."""
    life = table.life_cycle()
    return {
        **{name: table.column(name) for name in SIGNAL_COLUMNS},
        **{name: getattr(life, name) for name in LIFE_COLUMNS},
    }


@entry
def _fold(marks: Any, first_number: int, first_bar: int, open_time: Any, idx: Any, time: Any) -> None:
    for packed in marks:
        row = (packed >> MARK_NUMBER_SHIFT) - first_number
        if row >= 0:
            bar = (packed >> MARK_IDX_SHIFT) & MARK_IDX_MASK
            idx[packed & MARK_MASK, row] = bar
            time[packed & MARK_MASK, row] = open_time[bar - first_bar]
