"""BOS and CHOCH: the breaks that continue or turn the trend, and the order blocks they leave."""

from typing import Any

import numpy as np

from signals.engine import ladder
from signals.engine.blocks import find_block
from signals.engine.compiled import part
from signals.engine.facts import average_true_range, body, ratio, tell_mark, tell_signal
from signals.engine.kinds import HIGH, LOW, Kind, Mark, Tag
from signals.engine.layout import State

_BOS, _CHOCH = int(Kind.BOS), int(Kind.CHOCH)
_MITIGATED, _INVALIDATED = int(Mark.MITIGATED), int(Mark.INVALIDATED)
_BY_CLOSE, _BY_WICK, _AMBIGUOUS = int(Tag.CLOSE), int(Tag.WICK), int(Tag.AMBIGUOUS)
_OB_BOS, _OB_CHOCH = int(Tag.BOS), int(Tag.CHOCH)


@part
def find_breaks(state: State, signals: Any, marks: Any) -> None:
    """Emit BOS or CHOCH for each reference that this bar breaks, then the order blocks behind them.

    Only in wick mode can a bar break both sides; the low side is then assumed first when the candle
    closed at or above its open (docs/concepts.md#bos-and-choch).
    """
    core = state.core[0]
    high_is_broken, low_is_broken = _is_broken(state, HIGH), _is_broken(state, LOW)
    if not (high_is_broken or low_is_broken):
        return
    tag = _BY_WICK if core.break_on_wick else _BY_CLOSE
    if high_is_broken and low_is_broken:
        first = LOW if core.close >= core.open else HIGH
        first_strength, first_tag = _break_reference(state, signals, marks, first, _AMBIGUOUS)
        second_strength, second_tag = _break_reference(state, signals, marks, 1 - first, _AMBIGUOUS)
        find_block(state, signals, first, first_strength, first_tag)
        find_block(state, signals, 1 - first, second_strength, second_tag)
    else:
        side = HIGH if high_is_broken else LOW
        strength, block_tag = _break_reference(state, signals, marks, side, tag)
        find_block(state, signals, side, strength, block_tag)


@part
def _is_broken(state: State, side: int) -> bool:
    edge = state.sides[side]
    price = edge.beyond if state.core[0].break_on_wick else edge.close
    return bool(edge.reference_is_live and price > edge.reference_price)


@part
def _break_reference(state: State, signals: Any, marks: Any, side: int, tag: int) -> tuple[float, int]:
    """Emit the structure signal of one side; return its strength and the tag of its order block."""
    core, edge = state.core[0], state.sides[side]
    direction = 1 if side == HIGH else -1
    turns = core.trend == -direction
    if turns:
        _end_trend(state, marks, 1 - side)
    price = edge.beyond if core.break_on_wick else edge.close
    strength = 50.0 * ratio(price - edge.reference_price, average_true_range(state)) + 50.0 * body(
        core.open, core.high, core.low, core.close
    )
    number = tell_signal(
        state,
        signals,
        (_CHOCH if turns else _BOS, direction, tag),
        (core.bar, core.time, edge.reference_idx, edge.reference_time),
        (direction * edge.reference_price, np.nan, np.nan, strength),
    )
    core.trend = direction
    edge.reference_is_live = 0
    state.structures[core.structure_count] = number
    core.structure_count += 1
    edge.retest_size = ladder.insert(state.retests, side, edge.retest_size, edge.reference_price, number)
    return strength, _OB_CHOCH if turns else _OB_BOS


@part
def _end_trend(state: State, marks: Any, ended_side: int) -> None:
    """Mark every structure signal of the ended trend invalidated; their retests no longer count."""
    core = state.core[0]
    for i in range(core.structure_count):
        tell_mark(state, marks, state.structures[i], _INVALIDATED)
    core.structure_count = 0
    state.sides[ended_side].retest_size = 0


@part
def retest_levels(state: State, marks: Any, side: int) -> None:
    """Mark the structure signals whose broken level this bar touches again."""
    edge, waiting = state.sides[side], state.retests
    while edge.retest_size > 0 and waiting[side, edge.retest_size - 1].key >= edge.inner:
        edge.retest_size -= 1
        tell_mark(state, marks, waiting[side, edge.retest_size].item, _MITIGATED)
