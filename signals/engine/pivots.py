"""SWING: pivot highs and lows, and what hangs on them: the window, the range, premium and discount."""

from typing import Any

import numpy as np

from signals.engine.compiled import part
from signals.engine.facts import average_true_range, ratio, tell_signal
from signals.engine.kinds import HIGH, LOW, Kind, Tag
from signals.engine.layout import State

_SWING = int(Kind.SWING)
_HIGH_TAGS = (int(Tag.HH), int(Tag.LH), int(Tag.EH))
_LOW_TAGS = (int(Tag.LL), int(Tag.HL), int(Tag.EL))


@part
def enter_window(state: State, side: int) -> None:
    """Take the current bar into the window of the last ``left + L + 1`` bars of one side.

    A monotone deque: a bar leaves once a strictly stronger one follows, so the front is the strongest
    bar of the window, and of equals the first.
    """
    core, edge, window = state.core[0], state.sides[side], state.windows
    mask = window.shape[1] - 1
    head, size = edge.window_head, edge.window_size
    while size > 0 and window[side, (head + size - 1) & mask].price < edge.beyond:
        size -= 1
    item = window[side, (head + size) & mask]
    item.price = edge.beyond
    item.idx = core.bar
    item.time = core.time
    size += 1
    if window[side, head].idx < core.bar - core.swing_left - core.swing_length:
        head = (head + 1) & mask
        size -= 1
    edge.window_head = head
    edge.window_size = size


@part
def confirm_pivot(state: State, signals: Any, side: int) -> bool:
    """Emit SWING when the bar ``L`` back is a pivot, and make it the newest pivot of its side.

    Bar i is a pivot high when its high exceeds each of the ``left`` highs before it and is not exceeded
    by the ``L`` after it. It is known at i + L (docs/concepts.md#swing).
    """
    core, edge, other = state.core[0], state.sides[side], state.sides[1 - side]
    front = state.windows[side, edge.window_head]
    if core.bar < core.swing_left + core.swing_length or front.idx != core.bar - core.swing_length:
        return False

    sign = 1.0 if side == HIGH else -1.0
    tags = _HIGH_TAGS if side == HIGH else _LOW_TAGS
    tag = 0
    if edge.pivot_idx >= 0:
        tag = tags[0] if front.price > edge.pivot_price else tags[1] if front.price < edge.pivot_price else tags[2]
    # The other side's window spans the same bars; mirrored, so adding it subtracts the opposite extreme.
    reach = front.price + state.windows[1 - side, other.window_head].price
    strength = 100.0 * ratio(reach, 3.0 * average_true_range(state))
    number = tell_signal(
        state,
        signals,
        (_SWING, 1 if side == HIGH else -1, tag),
        (front.idx, front.time, front.idx, front.time),
        (sign * front.price, np.nan, np.nan, strength),
    )

    level = state.levels[side, edge.level_count]
    level.price = front.price
    level.idx = front.idx
    level.time = front.time
    level.number = number
    edge.level_count += 1
    return True


@part
def make_reference(state: State, side: int) -> None:
    """Let the pivot just confirmed be the level whose break is the next structure signal (and the range's edge)."""
    edge = state.sides[side]
    front = state.windows[side, edge.window_head]
    edge.pivot_price = front.price
    edge.pivot_idx = front.idx
    edge.pivot_time = front.time
    edge.reference_price = front.price
    edge.reference_idx = front.idx
    edge.reference_time = front.time
    edge.reference_is_live = 1
    # None of the L bars after a pivot exceeds it.
    edge.range_extreme = front.price


@part
def widen_range(state: State, side: int) -> None:
    """Let the current bar push the edge of the range."""
    edge = state.sides[side]
    edge.range_extreme = max(edge.range_extreme, edge.beyond)


@part
def range_position(state: State) -> float:
    """Return where the close stands between the range's bottom, 0, and top, 1; NaN without a range.

    The range spans from the newest pivot of each side to the current bar
    (docs/concepts.md#premium-and-discount).
    """
    high, low = state.sides[HIGH], state.sides[LOW]
    if high.pivot_idx < 0 or low.pivot_idx < 0:
        return np.nan
    top, bottom = high.range_extreme, -low.range_extreme
    if top == bottom:
        return np.nan
    return (state.core[0].close - bottom) / (top - bottom)
