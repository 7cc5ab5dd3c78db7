"""EQ: equal highs and lows, where liquidity rests."""

from typing import Any

from signals.engine import ladder
from signals.engine.compiled import part
from signals.engine.facts import average_true_range, ratio, tell_mark, tell_signal
from signals.engine.kinds import HIGH, Kind, Mark
from signals.engine.layout import State

_EQ = int(Kind.EQ)
_MITIGATED, _INVALIDATED = int(Mark.MITIGATED), int(Mark.INVALIDATED)


@part
def compare_pivots(state: State, signals: Any, side: int) -> None:
    """Emit EQ when the pivot just confirmed equals the previous one of its side within ``eq_atr`` ATR.

    The tag counts the touches along the chain; a miss starts it anew (docs/concepts.md#equal-highs-and-lows).
    Call before the pivot becomes the newest of its side.
    """
    core, edge = state.core[0], state.sides[side]
    newer = state.windows[side, edge.window_head]
    if edge.pivot_idx < 0:
        edge.touches = 1
        return
    tolerance = core.eq_atr * average_true_range(state)
    distance = abs(newer.price - edge.pivot_price)
    if distance > tolerance:
        edge.touches = 1
        return
    edge.touches += 1
    strength = min(100.0, 50.0 * (1.0 - ratio(distance, tolerance)) + 25.0 * (edge.touches - 1))
    sign = 1.0 if side == HIGH else -1.0
    first, second = sign * newer.price, sign * edge.pivot_price
    outer = max(newer.price, edge.pivot_price)
    number = tell_signal(
        state,
        signals,
        (_EQ, 1 if side == HIGH else -1, edge.touches),
        (newer.idx, newer.time, edge.pivot_idx, edge.pivot_time),
        (sign * outer, max(first, second), min(first, second), strength),
    )
    edge.take_size = ladder.insert(state.takes, side, edge.take_size, -outer, number * 2 + 1)


@part
def take_levels(state: State, marks: Any, side: int) -> None:
    """Mark what lay beyond a level that this bar exceeded: EQ taken (and broken), SWEEP undone.

    The ladder is keyed by the mirrored level, negated, so that the nearest level stands last. Items are
    ``2 * number``, plus 1 for EQ.
    """
    edge, waiting = state.sides[side], state.takes
    while edge.take_size > 0 and waiting[side, edge.take_size - 1].key > -edge.beyond:
        edge.take_size -= 1
        level, item = -waiting[side, edge.take_size].key, waiting[side, edge.take_size].item
        number = item >> 1
        if item & 1:
            tell_mark(state, marks, number, _MITIGATED)
            if edge.close > level:
                tell_mark(state, marks, number, _INVALIDATED)
        else:
            tell_mark(state, marks, number, _INVALIDATED)
