"""The life of zones (FVG, IFVG, OB, BREAKER): touched, filled, closed through, and turned over.

A zone of direction +1 stands on the high side of these arrays (mirrored, a zone of direction -1 is the
same thing). It waits on one ladder at a time: for a touch of its near edge, then of its far edge, then for
a close beyond the far edge. Those three can only come in that order.
"""

from typing import Any

from signals.engine import ladder
from signals.engine.compiled import part
from signals.engine.facts import tell_mark, tell_signal
from signals.engine.kinds import HIGH, Kind, Mark
from signals.engine.layout import State

_FVG, _IFVG, _OB, _BREAKER = int(Kind.FVG), int(Kind.IFVG), int(Kind.OB), int(Kind.BREAKER)
_MITIGATED, _FILLED, _INVALIDATED = int(Mark.MITIGATED), int(Mark.FILLED), int(Mark.INVALIDATED)


@part
def arm_zone(
    state: State, side: int, kind: int, number: int, event: tuple[int, int], edges: tuple[float, float, float]
) -> None:
    """Let a zone live from the next bar on. ``event`` is a bar's index and time, ``edges`` top, bottom, strength."""
    core, edge = state.core[0], state.sides[side]
    slot = core.free_zone
    if slot >= 0:
        core.free_zone = state.zones[slot].next_free
    else:
        slot = core.zone_count
        core.zone_count += 1
    zone = state.zones[slot]
    zone.number = number
    zone.kind = kind
    zone.side = side
    zone.event_idx, zone.event_time = event
    zone.top, zone.bottom, zone.strength = edges
    zone.near = zone.top if side == HIGH else -zone.bottom
    zone.far = zone.bottom if side == HIGH else -zone.top
    edge.touch_size = ladder.insert(state.touches, side, edge.touch_size, zone.near, slot * 2)


@part
def live_zones(state: State, marks: Any, side: int) -> None:
    """Mark the zones of one side that this bar touches, fills or closes through.

    Items of the touch ladder are ``2 * slot``, plus 1 once the zone is mitigated and waits at its far edge.
    """
    edge, touches, closes = state.sides[side], state.touches, state.closes
    while edge.close_size > 0 and closes[side, edge.close_size - 1].key > edge.close:
        edge.close_size -= 1
        _invalidate(state, marks, closes[side, edge.close_size].item)
    while edge.touch_size > 0 and touches[side, edge.touch_size - 1].key >= edge.inner:
        edge.touch_size -= 1
        item = touches[side, edge.touch_size].item
        slot = item >> 1
        zone = state.zones[slot]
        if not item & 1:
            tell_mark(state, marks, zone.number, _MITIGATED)
            if zone.far < edge.inner:
                edge.touch_size = ladder.insert(touches, side, edge.touch_size, zone.far, item + 1)
                continue
        tell_mark(state, marks, zone.number, _FILLED)
        if zone.far > edge.close:
            _invalidate(state, marks, slot)
        else:
            edge.close_size = ladder.insert(closes, side, edge.close_size, zone.far, slot)


@part
def _invalidate(state: State, marks: Any, slot: int) -> None:
    core = state.core[0]
    tell_mark(state, marks, state.zones[slot].number, _INVALIDATED)
    state.inverted[core.inverted_count] = slot
    core.inverted_count += 1


@part
def invert_zones(state: State, signals: Any) -> None:
    """Emit IFVG and BREAKER for the zones this bar closed through, and free their slots.

    An inverted zone keeps its edges and strength and points the other way; it does not invert again
    (docs/concepts.md#inverse-fair-value-gap, docs/concepts.md#breaker).
    """
    core = state.core[0]
    if core.inverted_count == 0:
        return
    _sort_inverted(state)
    for i in range(core.inverted_count):
        _invert(state, signals, state.inverted[i])
    core.inverted_count = 0


@part
def _invert(state: State, signals: Any, slot: int) -> None:
    core, zone = state.core[0], state.zones[slot]
    kind, side, origin = zone.kind, zone.side, (zone.event_idx, zone.event_time)
    top, bottom, strength = zone.top, zone.bottom, zone.strength
    zone.next_free = core.free_zone
    core.free_zone = slot
    if kind in (_IFVG, _BREAKER):
        return
    turned = _IFVG if kind == _FVG else _BREAKER
    number = tell_signal(
        state,
        signals,
        (turned, -1 if side == HIGH else 1, 0),
        (core.bar, core.time, origin[0], origin[1]),
        ((top + bottom) / 2.0, top, bottom, strength),
    )
    arm_zone(state, 1 - side, turned, number, (core.bar, core.time), (top, bottom, strength))


@part
def _sort_inverted(state: State) -> None:
    """Order by kind told (IFVG, then BREAKER), direction told (+1 first), and event bar.

    Ladders give nearly the reverse order of age, so inserting from the end moves little.
    """
    zones, slots, count = state.zones, state.inverted, state.core[0].inverted_count
    for i in range(count - 2, -1, -1):
        slot = slots[i]
        j = i + 1
        while j < count and _is_told_after(zones[slot], zones[slots[j]]):
            slots[j - 1] = slots[j]
            j += 1
        slots[j - 1] = slot


@part
def _is_told_after(one: Any, other: Any) -> bool:
    one_is_block, other_is_block = one.kind == _OB, other.kind == _OB
    if one_is_block != other_is_block:
        return bool(one_is_block)
    if one.side != other.side:
        return bool(one.side == HIGH)
    return bool(one.event_idx > other.event_idx)
