"""OB: the order block, the last opposite extreme before a break of structure."""

from typing import Any

from signals.engine.compiled import part
from signals.engine.facts import tell_signal
from signals.engine.kinds import HIGH, Kind
from signals.engine.layout import State
from signals.engine.zones import arm_zone

_OB = int(Kind.OB)


@part
def enter_extremes(state: State, side: int) -> None:
    """Take the current bar among the candidates for the deepest bar since the reference pivot.

    A monotone deque; of equals the latest stays (docs/concepts.md#order-block).
    """
    core, edge, deepest = state.core[0], state.sides[side], state.extremes
    mask = deepest.shape[1] - 1
    size = edge.extreme_size
    while size > 0 and deepest[side, (edge.extreme_head + size - 1) & mask].price >= edge.inner:
        size -= 1
    item = deepest[side, (edge.extreme_head + size) & mask]
    item.price = edge.inner
    item.idx = core.bar
    item.time = core.time
    item.high = core.high
    item.low = core.low
    edge.extreme_size = size + 1


@part
def forget_extremes(state: State, side: int) -> None:
    """Drop the candidates up to the reference pivot; references only move forward."""
    edge, deepest = state.sides[side], state.extremes
    mask = deepest.shape[1] - 1
    while edge.extreme_size > 0 and deepest[side, edge.extreme_head].idx <= edge.reference_idx:
        edge.extreme_head = (edge.extreme_head + 1) & mask
        edge.extreme_size -= 1


@part
def find_block(state: State, signals: Any, side: int, strength: float, tag: int) -> None:
    """Emit OB for a break of ``side``: the deepest bar between the broken pivot and the break, once."""
    edge = state.sides[side]
    block = state.extremes[side, edge.extreme_head]
    if block.idx == edge.last_block_idx:
        return
    edge.last_block_idx = block.idx
    number = tell_signal(
        state,
        signals,
        (_OB, 1 if side == HIGH else -1, tag),
        (block.idx, block.time, edge.reference_idx, edge.reference_time),
        ((block.high + block.low) / 2.0, block.high, block.low, strength),
    )
    arm_zone(state, side, _OB, number, (block.idx, block.time), (block.high, block.low, strength))
