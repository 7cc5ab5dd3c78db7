"""The step: one closed candle in, new signals and marks out. Batch is the step in a loop."""

from typing import Any

from signals.engine.blocks import enter_extremes, forget_extremes
from signals.engine.compiled import entry, part
from signals.engine.equals import compare_pivots, take_levels
from signals.engine.gaps import find_gap
from signals.engine.kinds import HIGH, LOW
from signals.engine.layout import NO_ROOM_IN_OUTPUT, NO_ROOM_IN_STATE, OUT_OF_ORDER, ROOM, State
from signals.engine.pivots import confirm_pivot, enter_window, make_reference, range_position, widen_range
from signals.engine.structure import find_breaks, retest_levels
from signals.engine.sweeps import find_sweeps, take_pivots
from signals.engine.zones import invert_zones, live_zones


@entry
def run(
    state: State, signals: Any, marks: Any, context: Any, candles: tuple[Any, Any, Any, Any, Any], start: int
) -> tuple[int, int]:
    """Step through candles from index ``start`` until they end or an array has no room.

    Parameters
    ----------
    state
        Changed in place. ``core.signal_count`` and ``core.mark_count`` say how many rows are filled.
    signals, marks
        Rows of ``SIGNAL``, and packed marks (see layout), appended to.
    context
        Rows of ``CONTEXT``, one a candle: the trend and the range position after it.
    candles
        ``open_time`` (UTC ms), ``open``, ``high``, ``low``, ``close`` of shape (n,), valid and rising in time.

    Returns
    -------
    tuple
        The index of the first candle not taken, and which room was missing (``ROOM`` for none).
    """
    times, opens, highs, lows, closes = candles
    for i in range(start, len(times)):
        room = _room(state, len(signals), len(marks))
        if room != ROOM:
            return i, room
        _step(state, signals, marks, (times[i], opens[i], highs[i], lows[i], closes[i]))
        core = state.core[0]
        context[i].trend = core.trend
        context[i].range_pos = core.range_pos
    return len(times), ROOM


@entry
def step(
    state: State, signals: Any, marks: Any, candle: tuple[int, float, float, float, float]
) -> tuple[int, tuple[int, int, int, int, float]]:
    """Take one candle; return ``ROOM``, or which room was missing or ``OUT_OF_ORDER``: then nothing changed.

    With it goes what the caller needs of the state, at once, since every look at a record costs Python a
    microsecond: the number of the first signal, the candle's bar, how many signals and marks were told, and
    the range position.
    """
    core = state.core[0]
    room = _room(state, len(signals), len(marks))
    if core.bar >= 0 and candle[0] <= core.time:
        room = OUT_OF_ORDER
    if room == ROOM:
        _step(state, signals, marks, candle)
    signal_count, mark_count = core.signal_count, core.mark_count
    core.signal_count = core.mark_count = 0
    return room, (core.next_number - signal_count, core.bar, signal_count, mark_count, core.range_pos)


@part
def _room(state: State, signal_rows: int, mark_rows: int) -> int:
    """Say whether everything fits that one more bar can bring at the very worst."""
    core, high, low = state.core[0], state.sides[HIGH], state.sides[LOW]
    taken = high.level_count + low.level_count + high.pending_count + low.pending_count
    takes = high.take_size + low.take_size
    zones = core.zone_count
    if core.signal_count + zones + taken + 16 > signal_rows:
        return NO_ROOM_IN_OUTPUT
    if core.mark_count + 3 * zones + taken + 2 * takes + 2 * core.structure_count + 16 > mark_rows:
        return NO_ROOM_IN_OUTPUT
    extremes = max(high.extreme_size, low.extreme_size)
    if zones + 4 > len(state.zones) or taken + 4 > state.levels.shape[1] or extremes + 1 > state.extremes.shape[1]:
        return NO_ROOM_IN_STATE
    if takes + taken + 4 > state.takes.shape[1] or core.structure_count + 4 > len(state.structures):
        return NO_ROOM_IN_STATE
    return ROOM


@part
def _step(state: State, signals: Any, marks: Any, candle: tuple[int, float, float, float, float]) -> None:
    """Judge one bar. The order is part of the definition: what this bar creates lives from the next bar on."""
    _enter_bar(state, candle)
    for side in (HIGH, LOW):
        live_zones(state, marks, side)
        retest_levels(state, marks, side)
        take_levels(state, marks, side)
        take_pivots(state, marks, side)
    invert_zones(state, signals)
    find_sweeps(state, signals, LOW)
    find_sweeps(state, signals, HIGH)
    find_breaks(state, signals, marks)
    find_gap(state, signals)
    _close_bar(state, signals)


@part
def _enter_bar(state: State, candle: tuple[int, float, float, float, float]) -> None:
    core = state.core[0]
    time, open_, high, low, close = candle
    true_range = high - low
    if core.bar >= 0:
        true_range = max(true_range, abs(high - core.close), abs(low - core.close))
    core.earlier_high, core.earlier_low, core.earlier_time = core.previous_high, core.previous_low, core.previous_time
    core.previous_open, core.previous_high, core.previous_low = core.open, core.high, core.low
    core.previous_close, core.previous_time = core.close, core.time
    core.open, core.high, core.low, core.close, core.time = open_, high, low, close, time
    core.bar += 1
    core.range_slot = core.range_slot + 1 if core.range_slot + 1 < core.atr_period else 0
    state.true_ranges[core.range_slot] = true_range

    upper, lower = state.sides[HIGH], state.sides[LOW]
    upper.beyond, upper.inner, upper.close = high, low, close
    lower.beyond, lower.inner, lower.close = -low, -high, -close


@part
def _close_bar(state: State, signals: Any) -> None:
    """Let the bar enter the windows, confirm pivots and compare them, and place the close in the range."""
    for side in (HIGH, LOW):
        enter_extremes(state, side)
        enter_window(state, side)
        widen_range(state, side)
    has_high = confirm_pivot(state, signals, HIGH)
    has_low = confirm_pivot(state, signals, LOW)
    if has_high:
        compare_pivots(state, signals, HIGH)
        make_reference(state, HIGH)
        forget_extremes(state, HIGH)
    if has_low:
        compare_pivots(state, signals, LOW)
        make_reference(state, LOW)
        forget_extremes(state, LOW)
    state.core[0].range_pos = range_position(state)
