"""Tables of candles and what the fill rules make of them, told for a long.

Bar 0 is the signal's, so a market entry is at the open of bar 1. There the price is 100, the stop 98, and the
target, at 2 R, 104. Costs are none. A row of ``trades`` is entry bar, entry, exit bar, exit, reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backtests.engine.market import Filters
from tests.backtests.engine.tables import HOUR, START, Bar

FLAT: Bar = (100.0, 101.0, 99.0, 100.0)
QUIET_CHILD: Bar = (100.0, 100.5, 99.5, 100.0)
NONE = np.nan

BREAK_EVEN = {"break_even_r": 1, "break_even_costs": False}
PARTIAL = {"partial_r": 1, "partial_pct": 50}
TRAIL = {"trail_atr": 1, "target_r": 0}
TRAILED: list[Bar] = [
    FLAT, (100, 100.5, 99.5, 100.5), (102, 103, 101.5, 103), (105, 106, 104.5, 105), (105, 105.5, 103.5, 104),
]  # fmt: skip

Row = tuple[int, float, int, float, str]


@dataclass(frozen=True)
class Case:
    """What is put in and what is to come out. ``children`` are the 5m candles of single bars."""

    bars: Sequence[Bar | None]
    trades: Sequence[Row]
    orders: Sequence[dict[str, Any]] = ({},)
    spec: dict[str, Any] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    children: dict[int, Sequence[Bar]] | None = None
    filters: Filters = field(default_factory=Filters)
    ambiguous: int = 0
    resolution: str = "bar"


def limit(at: float = 99.0, **more: Any) -> dict[str, Any]:
    return {"limit": at, "stop": 97.0, **more}


def children(*first: Bar, rest: Bar = QUIET_CHILD, count: int = 12) -> list[Bar]:
    return [*first, *[rest] * (count - len(first))]


CASES: dict[str, Case] = {
    # Entry at the market.
    "a market order is filled at the next open": Case([FLAT, FLAT], [(1, 100, 1, 100, "end_of_data")]),
    "the open counts and not the close before": Case(
        [FLAT, (101, 101.5, 100.5, 101)], [(1, 101, 1, 101, "end_of_data")]
    ),
    "a signal at the last candle is not counted": Case([FLAT], []),
    "a hole where the entry bar should be": Case([FLAT, None, FLAT], [], rejected={"data_gap": 1}),
    "an open on the stop": Case([FLAT, (98, 99, 97.5, 98)], [], rejected={"invalid_sl": 1}),
    "an open beyond the stop": Case([FLAT, (97, 99, 96.5, 98)], [], rejected={"invalid_sl": 1}),
    "a signal known before the window is not counted": Case([FLAT] * 3, [], spec={"from": START + 2 * HOUR}),
    "a signal known at the first moment of the window trades": Case(
        [FLAT] * 3, [(2, 100, 2, 100, "end_of_data")], [{"bar": 1}], {"from": START + 2 * HOUR}
    ),
    "a signal whose entry bar lies after the window is not counted": Case(
        [FLAT] * 3, [], [{"bar": 1}], {"to": START + 2 * HOUR}
    ),
    "no candle after the window is read": Case(
        [FLAT, FLAT, (100, 110, 90, 100)], [(1, 100, 1, 100, "end_of_data")], spec={"to": START + 2 * HOUR}
    ),
    # The stop.
    "a low on the stop triggers it": Case([FLAT, FLAT, (100, 101, 98, 99)], [(1, 100, 2, 98, "stop")]),
    "a low above the stop does not": Case([FLAT, (100, 101, 98.25, 99)], [(1, 100, 1, 99, "end_of_data")]),
    "a low beyond the stop fills at the stop": Case([FLAT, FLAT, (100, 101, 95, 96)], [(1, 100, 2, 98, "stop")]),
    "the entry bar is watched": Case([FLAT, (100, 101, 97, 97)], [(1, 100, 1, 98, "stop")]),
    "a gap through the stop fills at the open": Case([FLAT, FLAT, (96, 99, 95, 98)], [(1, 100, 2, 96, "stop")]),
    "an open on the stop fills there": Case([FLAT, FLAT, (98, 99, 97, 98)], [(1, 100, 2, 98, "stop")]),
    "a gap over the hole of a missing bar": Case([FLAT, FLAT, None, (96, 99, 95, 98)], [(1, 100, 3, 96, "stop")]),
    # The target.
    "a high on the target does not fill": Case([FLAT, (100, 104, 99, 103)], [(1, 100, 1, 103, "end_of_data")]),
    "a high on the target fills where touching is enough": Case(
        [FLAT, (100, 104, 99, 103)], [(1, 100, 1, 104, "target")], spec={"touch_fills": True}
    ),
    "a high through the target fills at the target": Case(
        [FLAT, FLAT, (100, 106, 99, 105)], [(1, 100, 2, 104, "target")]
    ),
    "a favourable gap fills at the target": Case([FLAT, FLAT, (106, 107, 105, 106)], [(1, 100, 2, 104, "target")]),
    "an open on the target that goes on": Case([FLAT, FLAT, (104, 105, 103, 104)], [(1, 100, 2, 104, "target")]),
    "the target in the entry bar": Case([FLAT, (100, 105, 99, 104)], [(1, 100, 1, 104, "target")]),
    "no target": Case([FLAT, (100, 150, 99, 140)], [(1, 100, 1, 140, "end_of_data")], spec={"target_r": 0}),
    "a farther target": Case(
        [FLAT, (100, 105, 99, 105), (105, 107, 104, 106)], [(1, 100, 2, 106, "target")], spec={"target_r": 3}
    ),
    # Both in one bar.
    "both in one bar": Case(
        [FLAT, FLAT, (100, 105, 97, 100)], [(1, 100, 2, 98, "stop")], ambiguous=1, resolution="fallback"
    ),
    "both in the entry bar": Case(
        [FLAT, (100, 105, 97, 100)], [(1, 100, 1, 98, "stop")], ambiguous=1, resolution="fallback"
    ),
    "an open beyond the stop decides": Case([FLAT, FLAT, (97, 105, 96, 100)], [(1, 100, 2, 97, "stop")]),
    "an open beyond the target decides": Case([FLAT, FLAT, (105, 106, 97, 100)], [(1, 100, 2, 104, "target")]),
    "finer candles: the target first": Case(
        [FLAT, FLAT, (100, 105, 97, 100)],
        [(1, 100, 2, 104, "target")],
        children={2: children((100, 105, 100, 104), (104, 104, 97, 98))},
        resolution="ltf",
    ),
    "finer candles: the stop first": Case(
        [FLAT, FLAT, (100, 105, 97, 100)],
        [(1, 100, 2, 98, "stop")],
        children={2: children((100, 101, 97, 98), (98, 105, 98, 104))},
        resolution="ltf",
    ),
    "finer candles: both in one of them": Case(
        [FLAT, FLAT, (100, 105, 97, 100)],
        [(1, 100, 2, 98, "stop")],
        children={2: children((100, 105, 97, 100))},
        ambiguous=1,
        resolution="fallback",
    ),
    "finer candles: one opens beyond the stop": Case(
        [FLAT, FLAT, (100, 105, 96, 100)],
        [(1, 100, 2, 97, "stop")],
        children={2: children((100, 101, 99, 99), (97, 97, 96, 96), (97, 105, 97, 104))},
        resolution="ltf",
    ),
    "finer candles: one opens beyond the target": Case(
        [FLAT, FLAT, (100, 106, 97, 100)],
        [(1, 100, 2, 104, "target")],
        children={2: children((100, 101, 99, 101), (106, 106, 97, 98))},
        resolution="ltf",
    ),
    "finer candles of which one lacks decide nothing": Case(
        [FLAT, FLAT, (100, 105, 97, 100)],
        [(1, 100, 2, 98, "stop")],
        children={2: children((100, 105, 100, 104), count=11)},
        ambiguous=1,
        resolution="fallback",
    ),
    "finer candles are not asked where the bar decides": Case(
        [FLAT, FLAT, (100, 101, 97, 100)],
        [(1, 100, 2, 98, "stop")],
        children={2: children((100, 105, 100, 104))},
    ),
    "finer candles: the entry bar": Case(
        [FLAT, (100, 105, 97, 100)],
        [(1, 100, 1, 104, "target")],
        children={1: children((100, 105, 100, 104), (104, 104, 97, 98))},
        resolution="ltf",
    ),
    # Limits.
    "a limit that is only touched does not fill": Case([FLAT, (100, 101, 99, 100)], [], [limit()]),
    "a limit that is traded through fills at the limit": Case(
        [FLAT, (100, 101, 98.5, 100)], [(1, 99, 1, 100, "end_of_data")], [limit()]
    ),
    "an open below the limit fills at the limit": Case(
        [FLAT, (98.5, 99.5, 98, 99.5)], [(1, 99, 1, 99.5, "end_of_data")], [limit()]
    ),
    "a limit is not alive on its own bar": Case([(100, 101, 98, 100), (100, 101, 99.5, 100)], [], [limit()]),
    "a limit waits": Case([FLAT, FLAT, FLAT, (100, 101, 98, 99)], [(3, 99, 3, 99, "end_of_data")], [limit()]),
    "a limit may fill in its last bar": Case(
        [FLAT, FLAT, (100, 101, 98, 99)], [(2, 99, 2, 99, "end_of_data")], [limit(last_bar=2)]
    ),
    "a limit expires": Case([FLAT, FLAT, FLAT, (100, 101, 98, 99)], [], [limit(last_bar=2)]),
    "a limit over a hole is alive by bars": Case(
        [FLAT, None, None, (100, 101, 98, 99)], [(3, 99, 3, 99, "end_of_data")], [limit(last_bar=1)]
    ),
    "the stop in a limit's fill bar": Case([FLAT, (100, 101, 96, 98)], [(1, 99, 1, 97, "stop")], [limit()]),
    "the target in a limit's fill bar may have come before": Case(
        [FLAT, (100, 104, 98, 100), FLAT], [(1, 99, 2, 100, "end_of_data")], [limit()]
    ),
    "both in a limit's fill bar": Case(
        [FLAT, (100, 104, 96, 100)], [(1, 99, 1, 97, "stop")], [limit()], ambiguous=1, resolution="fallback"
    ),
    "a limit's fill bar opens beyond the stop": Case([FLAT, (96, 98, 95, 97)], [(1, 99, 1, 96, "stop")], [limit()]),
    "finer candles: the target after a limit's fill": Case(
        [FLAT, (100, 104, 98, 103)],
        [(1, 99, 1, 103, "target")],
        [limit()],
        children={1: children((100, 100, 98, 99), (99, 104, 99, 103))},
        resolution="ltf",
    ),
    "finer candles: the target before a limit's fill": Case(
        [FLAT, (100, 104, 98, 99), FLAT],
        [(1, 99, 2, 100, "end_of_data")],
        [limit()],
        children={1: children((100, 104, 100, 101), (101, 101, 98, 99))},
    ),
    "a target after a limit's fill bar": Case(
        [FLAT, (100, 100, 98, 100), (100, 105, 99, 104)], [(1, 99, 2, 103, "target")], [limit()]
    ),
    "a limit that finds no free slot is cancelled": Case(
        [FLAT, (100, 101, 98.5, 100), FLAT, (100, 101, 98.5, 100)],
        [(1, 100, 3, 100, "end_of_data")],
        [{}, limit()],
        rejected={"max_concurrent": 1},
    ),
    # Time stop.
    "a time stop leaves at the open": Case(
        [FLAT, FLAT, FLAT, (100.5, 101, 99, 100)], [(1, 100, 3, 100.5, "time_stop")], spec={"max_bars": 2}
    ),
    "a stop comes before its time stop": Case(
        [FLAT, FLAT, (100, 101, 97, 98), FLAT], [(1, 100, 2, 98, "stop")], spec={"max_bars": 2}
    ),
    "a gap through the stop at the time stop's open": Case(
        [FLAT, FLAT, FLAT, (97, 98, 96, 97)], [(1, 100, 3, 97, "stop")], spec={"max_bars": 2}
    ),
    "a gap beyond the target at the time stop's open": Case(
        [FLAT, FLAT, FLAT, (105, 106, 104, 105)], [(1, 100, 3, 104, "target")], spec={"max_bars": 2}
    ),
    # Opposite signals.
    "an opposite signal leaves at the next open": Case(
        [FLAT, FLAT, (100.5, 101, 99, 100)],
        [(1, 100, 2, 100.5, "opposite")],
        [{}, {"bar": 1, "side": -1, "stop": 100.0}],
        {"exit_on_opposite": True},
        {"invalid_sl": 1},
    ),
    "an opposite signal may reverse at the same open": Case(
        [FLAT, FLAT, (100.5, 101, 99, 100)],
        [(1, 100, 2, 100.5, "opposite"), (2, 100.5, 2, 100, "end_of_data")],
        [{}, {"bar": 1, "side": -1, "stop": 102.5}],
        {"exit_on_opposite": True},
    ),
    "a signal of the same side does not leave": Case(
        [FLAT, FLAT, FLAT],
        [(1, 100, 2, 100, "end_of_data")],
        [{}, {"bar": 1}],
        {"exit_on_opposite": True},
        {"max_concurrent": 1},
    ),
    "an opposite signal is nothing without the rule": Case(
        [FLAT, FLAT, FLAT],
        [(1, 100, 2, 100, "end_of_data")],
        [{}, {"bar": 1, "side": -1, "stop": 102.0}],
        rejected={"max_concurrent": 1},
    ),
    # Break-even and trailing.
    "break-even looks at the low again in the same bar": Case(
        [FLAT, (100, 102, 100, 102)], [(1, 100, 1, 100, "stop")], spec=BREAK_EVEN
    ),
    "break-even holds in the bars after": Case(
        [FLAT, FLAT, (101, 102, 100.5, 102), (102, 102, 99, 100)], [(1, 100, 3, 100, "stop")], spec=BREAK_EVEN
    ),
    "break-even is not reached": Case(
        [FLAT, (100, 101.5, 99, 100), (100, 101, 98.5, 99)], [(1, 100, 2, 99, "end_of_data")], spec=BREAK_EVEN
    ),
    "a trailed stop follows the high": Case(TRAILED, [(1, 100, 4, 104, "stop")], [{"atr": 2.0}], TRAIL),
    "a trailed stop looks at the low again in the same bar": Case(
        [FLAT, (100, 104, 100, 103)], [(1, 100, 1, 102, "stop")], [{"atr": 2.0}], TRAIL
    ),
    "a trailed stop never falls": Case(
        [*TRAILED[:4], (105, 105.5, 104.5, 105), (105, 105.25, 104, 104.5)],
        [(1, 100, 5, 104, "stop")],
        [{"atr": 2.0}],
        TRAIL,
    ),
    "a gap through a trailed stop fills at the open": Case(
        [*TRAILED[:4], (103, 104, 102, 103)], [(1, 100, 4, 103, "stop")], [{"atr": 2.0}], TRAIL
    ),
    "a trailed stop above a bar's open fills at the stop": Case(
        [FLAT, (100, 100.5, 99.5, 100.5), (100.5, 106, 100.25, 105)],
        [(1, 100, 2, 104, "stop")],
        [{"atr": 2.0}],
        TRAIL,
    ),
    # Partial targets. Half the position leaves at 102; the exit is the mean of both pieces.
    "a partial target and the target": Case(
        [FLAT, (100, 103, 99, 103), (103, 105, 102, 104)], [(1, 100, 2, 103, "target")], spec=PARTIAL
    ),
    "a partial target and the stop": Case(
        [FLAT, (100, 103, 99, 103), (103, 103, 97, 98)], [(1, 100, 2, 100, "stop")], spec=PARTIAL
    ),
    "a partial target that is only touched": Case(
        [FLAT, (100, 102, 99, 102), (102, 102, 97, 98)], [(1, 100, 2, 98, "stop")], spec=PARTIAL
    ),
    "a partial target and the stop in one bar": Case(
        [FLAT, FLAT, (100, 103, 97, 100)],
        [(1, 100, 2, 98, "stop")],
        spec=PARTIAL,
        ambiguous=1,
        resolution="fallback",
    ),
    "both targets in one bar": Case([FLAT, (100, 105, 99, 104)], [(1, 100, 1, 103, "target")], spec=PARTIAL),
    "a gap beyond a partial target fills at its price": Case(
        [FLAT, FLAT, (103, 103.5, 102.5, 103), (103, 103, 97, 98)], [(1, 100, 3, 100, "stop")], spec=PARTIAL
    ),
    "a gap beyond both targets": Case([FLAT, FLAT, (106, 107, 105, 106)], [(1, 100, 2, 103, "target")], spec=PARTIAL),
    "a partial quantity is rounded down to a step": Case(
        [FLAT, (100, 103, 99, 103), (103, 105, 102, 104)],
        [(1, 100, 2, (20 * 102 + 30 * 104) / 50, "target")],
        spec=PARTIAL,
        filters=Filters(step_size=10.0),
    ),
    "a piece too small to be an order is merged with the rest": Case(
        [FLAT, (100, 103, 99, 103), (103, 105, 102, 104)],
        [(1, 100, 2, 104, "target")],
        spec=PARTIAL,
        filters=Filters(min_notional=2_600.0),
    ),
    "finer candles: a partial target, then the stop": Case(
        [FLAT, FLAT, (100, 103, 97, 100)],
        [(1, 100, 2, 100, "stop")],
        spec=PARTIAL,
        children={2: children((100, 103, 100, 103), (103, 103, 97, 98))},
        resolution="ltf",
    ),
    # Several orders.
    "a second signal finds no slot": Case(
        [FLAT] * 3, [(1, 100, 2, 100, "end_of_data")], [{}, {"bar": 1}], rejected={"max_concurrent": 1}
    ),
    "two slots": Case(
        [FLAT] * 3,
        [(1, 100, 2, 100, "end_of_data"), (2, 100, 2, 100, "end_of_data")],
        [{}, {"bar": 1}],
        {"max_positions": 2},
    ),
    "a slot freed at an open is free for that open": Case(
        [FLAT, FLAT, (97, 98, 96, 97)],
        [(1, 100, 2, 97, "stop"), (2, 97, 2, 97, "end_of_data")],
        [{}, {"bar": 1, "stop": 95.0}],
    ),
    "a slot freed inside a bar is not free for that bar's limit": Case(
        [FLAT, FLAT, (100, 101, 96, 98), FLAT],
        [(1, 100, 2, 98, "stop")],
        [{}, {"bar": 1, "limit": 97.0, "stop": 95.0}],
        rejected={"max_concurrent": 1},
    ),
    "a market order goes before a limit": Case(
        [FLAT, FLAT, (100, 101, 98.5, 100)],
        [(2, 100, 2, 100, "end_of_data")],
        [{"limit": 99.0, "stop": 97.0}, {"bar": 1}],
        rejected={"max_concurrent": 1},
    ),
    "of two limits the one known first goes first": Case(
        [FLAT, FLAT, (100, 101, 98, 100)],
        [(2, 98.5, 2, 100, "end_of_data")],
        [{"limit": 98.5, "stop": 97.0}, {"bar": 1, "limit": 99.0, "stop": 97.0, "score": 9.0}],
        rejected={"max_concurrent": 1},
    ),
    "of two known at once the stronger goes first": Case(
        [FLAT, (100, 101, 98, 100)],
        [(1, 98.5, 1, 100, "end_of_data")],
        [{"limit": 99.0, "stop": 97.0, "score": 1.0}, {"limit": 98.5, "stop": 97.0, "score": 2.0}],
        rejected={"max_concurrent": 1},
    ),
    "no room under the leverage cap": Case(
        [(100, 100.25, 99.75, 100)] * 3,
        [(1, 100, 2, 100, "end_of_data")],
        [{"stop": 99.5}, {"bar": 1}],
        {"max_positions": 2, "max_leverage": 1},
        {"no_margin": 1},
    ),
    "an order below the smallest": Case(
        [FLAT] * 2, [], filters=Filters(min_notional=5_001.0), rejected={"min_notional": 1}
    ),
    "an order of less than a step": Case([FLAT] * 2, [], filters=Filters(step_size=51.0), rejected={"min_notional": 1}),
    # Rounding.
    "a stop goes away from the entry to a tick, and the target with it": Case(
        [FLAT, (100, 104.25, 98, 104)],
        [(1, 100, 1, 104, "end_of_data")],
        [{"stop": 97.9}],
        filters=Filters(tick_size=0.5),
    ),
    "a limit goes away from the market to a tick": Case(
        [FLAT, (100, 101, 98.75, 100), (100, 101, 98.25, 100)],
        [(2, 98.5, 2, 100, "end_of_data")],
        [limit(98.9)],
        filters=Filters(tick_size=0.5),
    ),
    "a stop at a distance from the fill": Case(
        [FLAT, FLAT, (100, 101, 96, 97)], [(1, 100, 2, 97, "stop")], [{"stop": NONE, "distance": 3.0}]
    ),
}
