"""What the engine tells: appending signals and marks, and the measures they are stamped with."""

from typing import Any

from signals.engine.compiled import part
from signals.engine.layout import MARK_IDX_SHIFT, MARK_NUMBER_SHIFT, State


@part
def ratio(part_: float, whole: float) -> float:
    """Return ``part_ / whole`` limited to [0, 1]; 0 when nothing is there, 1 when there is nothing to compare with."""
    if part_ <= 0.0:
        return 0.0
    if whole <= 0.0:
        return 1.0
    return min(1.0, part_ / whole)


@part
def body(open_: float, high: float, low: float, close: float) -> float:
    """Return the share of the candle's range that its body fills, in [0, 1]."""
    return ratio(abs(close - open_), high - low)


@part
def average_true_range(state: State) -> float:
    """Return ATR at the current bar: the mean of the last ``atr_period`` true ranges, quote currency.

    Summed oldest to newest, afresh each bar, so that it does not depend on where the series began
    (docs/concepts.md#average-true-range).
    """
    core = state.core[0]
    if core.atr_bar != core.bar:
        count = min(core.bar + 1, core.atr_period)
        oldest = core.range_slot + 1 if count == core.atr_period else 0
        total = 0.0
        for slot in range(oldest, count):
            total += state.true_ranges[slot]
        for slot in range(min(oldest, core.range_slot + 1)):
            total += state.true_ranges[slot]
        core.atr = total / count
        core.atr_bar = core.bar
    return core.atr


@part
def tell_signal(
    state: State,
    signals: Any,
    what: tuple[int, int, int],
    where: tuple[int, int, int, int],
    prices: tuple[float, float, float, float],
) -> int:
    """Append a signal confirmed at the current bar; return its number.

    ``what`` is kind, direction and tag; ``where`` the index and time of the event's bar and of the reference's;
    ``prices`` level, top, bottom (NaN where the kind defines none) and then the strength.
    """
    core = state.core[0]
    row = signals[core.signal_count]
    row.kind, row.direction, row.tag = what
    row.event_idx, row.event_time, row.ref_idx, row.ref_time = where
    row.level, row.top, row.bottom, row.strength = prices
    row.confirm_idx = core.bar
    core.signal_count += 1
    number = core.next_number
    core.next_number += 1
    return number


@part
def tell_mark(state: State, marks: Any, number: int, mark: int) -> None:
    """Append a life-cycle mark at the current bar on the signal of that number."""
    core = state.core[0]
    marks[core.mark_count] = (number << MARK_NUMBER_SHIFT) | (core.bar << MARK_IDX_SHIFT) | mark
    core.mark_count += 1
