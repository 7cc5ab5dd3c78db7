"""What both scales have found, told once: each gap, for one, is a signal of either."""

from typing import Any

from signals.log import SignalRow
from signals.selectors.context import NearZone
from signals.selectors.listing import SignalFilter, signals


def once_each(zones: list[NearZone]) -> list[NearZone]:
    """Leave out zones that the other scale has found too."""
    found: dict[tuple[Any, ...], NearZone] = {}
    for near in zones:
        row = near.signal
        found.setdefault((row.series, row.kind, row.direction, row.top, row.bottom), near)
    return list(found.values())


def newest_once(filter_: SignalFilter, *, limit: int) -> list[SignalRow]:
    """Return the newest signals; of those that both scales have found, the swing's alone."""
    found: dict[tuple[Any, ...], SignalRow] = {}
    for row in signals(filter_, limit=2 * limit).rows:
        name = row.series, row.kind, row.direction, row.event_time, row.ref_time
        if name not in found or row.scale == "swing":
            found[name] = row
    return list(found.values())[:limit]
