"""SWEEP: a level taken and given back at once, and the pivots that were taken on the way."""

from typing import Any

from signals.engine import ladder
from signals.engine.compiled import part
from signals.engine.facts import average_true_range, ratio, tell_mark, tell_signal
from signals.engine.kinds import HIGH, Kind, Mark, Tag
from signals.engine.layout import State

_SWEEP = int(Kind.SWEEP)
_MITIGATED = int(Mark.MITIGATED)
_WICK, _RECLAIM = int(Tag.WICK), int(Tag.RECLAIM)


@part
def take_pivots(state: State, marks: Any, side: int) -> None:
    """Mark the SWINGs whose level this bar exceeds, and let each young enough level await its reclaim.

    Untaken levels form a monotone stack: a newer one never stands beyond an older one, so the bar
    exceeds a run at the end. The run is queued oldest first, the order in which sweeps are told.
    """
    core, edge, levels = state.core[0], state.sides[side], state.levels
    first = edge.level_count
    while first > 0 and levels[side, first - 1].price < edge.beyond:
        first -= 1
    for i in range(first, edge.level_count):
        level = levels[side, i]
        tell_mark(state, marks, level.number, _MITIGATED)
        if core.level_max_age > 0 and core.bar - level.idx > core.level_max_age:
            continue
        taken = state.pending[side, edge.pending_count]
        taken.price = level.price
        taken.idx = level.idx
        taken.time = level.time
        taken.taken_idx = core.bar
        taken.taken_time = core.time
        taken.extreme = edge.beyond
        taken.highest = core.high
        taken.lowest = core.low
        edge.pending_count += 1
    edge.level_count = first


@part
def find_sweeps(state: State, signals: Any, side: int) -> None:
    """Emit SWEEP for each taken level that the close gives back within ``sweep_bars``.

    A level is taken by the first bar beyond it; it is swept when a close at or inside the level follows
    within ``sweep_bars`` bars, the taking bar included (docs/concepts.md#sweep). The signal points away
    from the level.
    """
    core, edge = state.core[0], state.sides[side]
    kept = 0
    for i in range(edge.pending_count):
        taken = state.pending[side, i]
        taken.extreme = max(taken.extreme, edge.beyond)
        taken.highest = max(taken.highest, core.high)
        taken.lowest = min(taken.lowest, core.low)
        if edge.close <= taken.price:
            _tell_sweep(state, signals, side, taken)
        elif core.bar - taken.taken_idx < core.sweep_bars - 1:
            state.pending[side, kept] = taken
            kept += 1
    edge.pending_count = kept


@part
def _tell_sweep(state: State, signals: Any, side: int, taken: Any) -> None:
    core, edge = state.core[0], state.sides[side]
    pierced = ratio(taken.extreme - taken.price, average_true_range(state))
    returned = ratio(taken.extreme - edge.close, taken.highest - taken.lowest)
    sign = 1.0 if side == HIGH else -1.0
    level, extreme = sign * taken.price, sign * taken.extreme
    number = tell_signal(
        state,
        signals,
        (_SWEEP, -1 if side == HIGH else 1, _WICK if taken.taken_idx == core.bar else _RECLAIM),
        (taken.taken_idx, taken.taken_time, taken.idx, taken.time),
        (level, max(level, extreme), min(level, extreme), 50.0 * pierced + 50.0 * returned),
    )
    edge.take_size = ladder.insert(state.takes, side, edge.take_size, -taken.extreme, number * 2)
