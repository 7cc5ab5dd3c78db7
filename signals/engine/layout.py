"""The memory of the engine: what it keeps between two bars, as a few flat arrays.

Everything that has a high side and a low side is kept in *mirrored* prices: on the low side prices are
negated, so that one rule, written for highs, serves both (negation of a double is exact).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from signals.engine.params import BREAK_MODES, Params

RecordArray = NDArray[np.void]


def _record(*names: str, whole: tuple[str, ...] = ()) -> np.dtype[np.void]:
    return np.dtype([(name, np.int64 if name in whole else np.float64) for name in names])


_CORE_WHOLE = (
    "bar", "time", "trend", "next_number", "atr_bar", "range_slot", "free_zone", "zone_count",
    "inverted_count", "structure_count", "signal_count", "mark_count", "previous_time", "earlier_time",
    "swing_length", "swing_left", "break_on_wick", "atr_period", "sweep_bars", "level_max_age",
)  # fmt: skip
CORE = _record(
    *_CORE_WHOLE,
    "open", "high", "low", "close", "previous_open", "previous_high", "previous_low", "previous_close",
    "earlier_high", "earlier_low", "atr", "range_pos", "fvg_min_atr", "fvg_min_pct", "eq_atr",
    whole=_CORE_WHOLE,
)  # fmt: skip

_SIDE_WHOLE = (
    "window_head", "window_size", "extreme_head", "extreme_size", "level_count", "pending_count",
    "reference_idx", "reference_time", "reference_is_live", "pivot_idx", "pivot_time", "touches",
    "last_block_idx", "touch_size", "close_size", "take_size", "retest_size",
)  # fmt: skip
SIDE = _record(
    *_SIDE_WHOLE, "beyond", "inner", "close", "reference_price", "pivot_price", "range_extreme", whole=_SIDE_WHOLE
)

WINDOW_ITEM = _record("price", "idx", "time", whole=("idx", "time"))
EXTREME_ITEM = _record("price", "high", "low", "idx", "time", whole=("idx", "time"))
LEVEL = _record("price", "idx", "time", "number", whole=("idx", "time", "number"))
PENDING = _record(
    "price", "idx", "time", "taken_idx", "taken_time", "extreme", "highest", "lowest",
    whole=("idx", "time", "taken_idx", "taken_time"),
)  # fmt: skip
ZONE = _record(
    "number", "kind", "side", "event_idx", "event_time", "top", "bottom", "near", "far", "strength", "next_free",
    whole=("number", "kind", "side", "event_idx", "event_time", "next_free"),
)  # fmt: skip
RUNG = _record("key", "item", whole=("item",))

# One cache line a signal. What every signal of a bar shares (its time, its range position) stands in CONTEXT.
SIGNAL = np.dtype(
    [
        ("kind", np.int8), ("direction", np.int8), ("tag", np.int16),
        ("event_idx", np.int32), ("confirm_idx", np.int32), ("ref_idx", np.int32),
        ("event_time", np.int64), ("ref_time", np.int64),
        ("level", np.float64), ("top", np.float64), ("bottom", np.float64), ("strength", np.float64),
    ]
)  # fmt: skip
CONTEXT = np.dtype([("range_pos", np.float64), ("trend", np.int64)])

# A mark is one integer: the signal's number (30 bits), the bar (31 bits), which mark (2 bits).
MARK_NUMBER_SHIFT = 33
MARK_IDX_SHIFT = 2
MARK_IDX_MASK = (1 << 31) - 1
MARK_MASK = 3


class State(NamedTuple):
    """All the engine remembers. ``sides`` and every 2-d array hold the high side at 0, the low side at 1."""

    core: RecordArray  # (1,)
    sides: RecordArray  # (2,)
    true_ranges: NDArray[np.float64]  # (atr_period,) ring
    windows: RecordArray  # (2, power of two) monotone deques over the last left + L + 1 bars
    extremes: RecordArray  # (2, power of two) monotone deques since the reference pivot
    levels: RecordArray  # (2, n) monotone stacks of untaken pivots
    pending: RecordArray  # (2, n) taken levels that may still be reclaimed
    zones: RecordArray  # (n,) slab with a free list
    inverted: NDArray[np.int64]  # (n,) slots of the zones that this bar invalidated
    structures: NDArray[np.int64]  # (n,) numbers of the structure signals not yet invalidated
    touches: RecordArray  # (2, n) ladders, see signals.engine.ladder
    closes: RecordArray  # (2, n)
    takes: RecordArray  # (2, n)
    retests: RecordArray  # (2, n)


# What ``step`` answers: done; an array has no room for the worst that the next bar can bring; not after the last bar.
ROOM, NO_ROOM_IN_OUTPUT, NO_ROOM_IN_STATE, OUT_OF_ORDER = 0, 1, 2, 3

_FIRST_CAPACITY = 64


def new_state(params: Params) -> State:
    """Return the state before the first bar."""
    window_capacity = 1 << (params.left + params.swing_length + 1).bit_length()
    n = _FIRST_CAPACITY
    state = State(
        core=np.zeros(1, CORE),
        sides=np.zeros(2, SIDE),
        true_ranges=np.zeros(params.atr_period),
        windows=np.zeros((2, window_capacity), WINDOW_ITEM),
        extremes=np.zeros((2, n), EXTREME_ITEM),
        levels=np.zeros((2, n), LEVEL),
        pending=np.zeros((2, n), PENDING),
        zones=np.zeros(n, ZONE),
        inverted=np.zeros(n, np.int64),
        structures=np.zeros(n, np.int64),
        touches=np.zeros((2, n), RUNG),
        closes=np.zeros((2, n), RUNG),
        takes=np.zeros((2, n), RUNG),
        retests=np.zeros((2, n), RUNG),
    )
    core: Any = state.core
    core["bar"] = core["atr_bar"] = core["free_zone"] = core["range_slot"] = -1
    core["range_pos"] = np.nan
    core["break_on_wick"] = BREAK_MODES.index(params.break_mode)
    core["swing_left"] = params.left
    for name in ("swing_length", "atr_period", "sweep_bars", "level_max_age", "fvg_min_atr", "fvg_min_pct", "eq_atr"):
        core[name] = getattr(params, name)
    state.sides["pivot_idx"] = state.sides["last_block_idx"] = -1
    return state


def grown(state: State) -> State:
    """Return the same state with room for twice as much in whatever is more than half full."""
    core, sides = state.core[0], state.sides
    zones_need = int(core["zone_count"])
    levels_need = int(sides["level_count"].max() + sides["pending_count"].max())
    takes_need = int(sides["take_size"].max()) + levels_need
    changes: dict[str, NDArray[Any]] = {}
    if _is_tight(state.extremes, int(sides["extreme_size"].max())):
        changes["extremes"] = _unrolled(state.extremes, sides)
        sides["extreme_head"] = 0
    for names, need in (
        (("levels", "pending"), levels_need),
        (("zones", "inverted", "touches", "closes"), zones_need),
        (("takes",), takes_need),
        (("structures", "retests"), int(core["structure_count"])),
    ):
        for name in names:
            array = getattr(state, name)
            if _is_tight(array, need):
                changes[name] = _doubled(array, need)
    return state._replace(**changes)


def _is_tight(array: NDArray[Any], need: int) -> bool:
    return need * 2 + 16 > array.shape[-1]


def _doubled(array: NDArray[Any], need: int) -> NDArray[Any]:
    wider = np.zeros((*array.shape[:-1], max(2 * array.shape[-1], 2 * need + 16)), array.dtype)
    wider[..., : array.shape[-1]] = array
    return wider


def _unrolled(ring: RecordArray, sides: RecordArray) -> RecordArray:
    capacity = ring.shape[-1]
    wider: RecordArray = np.zeros((2, 2 * capacity), ring.dtype)
    for side in (0, 1):
        size = int(sides[side]["extreme_size"])
        order = (int(sides[side]["extreme_head"]) + np.arange(size)) % capacity
        wider[side, :size] = ring[side, order]
    return wider
