"""The memory of a backtest: an account, its open positions and what they leave behind, as a few flat arrays.

Prices of positions are *mirrored*: a short's are negated, so that one rule, written for longs, serves both
(negation of a double is exact). Prices of trades and events are the market's own.
"""

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

RecordArray = NDArray[np.void]

# Later than every candle.
NEVER = np.iinfo(np.int64).max


class Reason(IntEnum):
    """Why a trade ended."""

    STOP = 0
    TARGET = 1
    TIME_STOP = 2
    OPPOSITE = 3
    END_OF_DATA = 4


class Resolution(IntEnum):
    """How an exit was decided: by its bar, by finer candles, or not at all, in which case the stop was taken."""

    BAR = 0
    LTF = 1
    FALLBACK = 2


class Outcome(IntEnum):
    """What became of an order. All but the first three are rejections."""

    TAKEN = 0
    EXPIRED = 1
    NOT_COUNTED = 2
    DATA_GAP = 3
    MAX_CONCURRENT = 4
    INVALID_SL = 5
    NO_MARGIN = 6
    MIN_NOTIONAL = 7


REJECTIONS = tuple(outcome for outcome in Outcome if outcome > Outcome.NOT_COUNTED)


def code(member: IntEnum) -> Any:
    """Return a member as the walk's functions take it, an int64.

    Each value of a Python integer is a type to the compiler, and each type a function compiled anew.
    """
    return np.int64(member)


def _record(*names: str, whole: tuple[str, ...] = ()) -> np.dtype[np.void]:
    return np.dtype([(name, np.int64 if name in whole else np.float64) for name in names])


_RULES_WHOLE = ("max_bars", "max_positions", "exit_on_opposite", "break_even_costs", "touch_fills", "children")
RULES = _record(
    *_RULES_WHOLE,
    "capital", "risk_fraction", "max_leverage", "taker", "maker", "slip", "target_r", "break_even_r",
    "partial_r", "partial_fraction",
    whole=_RULES_WHOLE,
)  # fmt: skip

_ACCOUNT_WHOLE = ("positions", "trades", "event", "step", "is_ruined")
ACCOUNT = _record(*_ACCOUNT_WHOLE, "cash", "equity", whole=_ACCOUNT_WHOLE)

_PAIR_WHOLE = ("at", "end", "positions")
PAIR = _record(*_PAIR_WHOLE, "tick", "step", "min_notional", "close", whole=_PAIR_WHOLE)

_EVENT_WHOLE = ("time", "order", "pair", "side", "idx", "is_limit")
EVENT = _record(*_EVENT_WHOLE, "limit", "stop", "distance", "trail", whole=_EVENT_WHOLE)

_POSITION_WHOLE = ("order", "pair", "side", "entry_idx", "entry_step", "is_limit", "is_ambiguous")
POSITION = _record(
    *_POSITION_WHOLE,
    "entry", "stop", "first_stop", "target", "partial", "break_even", "break_even_trigger", "trail",
    "quantity", "partial_quantity", "left", "risk", "gross", "fees", "slippage", "exit_value",
    "best", "worst", "forgone",
    whole=_POSITION_WHOLE,
)  # fmt: skip

_TRADE_WHOLE = (
    "order", "pair", "side", "entry_idx", "exit_idx", "entry_step", "exit_step", "entry_time", "exit_time",
    "reason", "resolution", "is_ambiguous",
)  # fmt: skip
TRADE = _record(
    *_TRADE_WHOLE,
    "entry", "stop", "target", "quantity", "exit", "gross", "fees", "slippage", "net", "risk", "mae", "mfe", "forgone",
    whole=_TRADE_WHOLE,
)  # fmt: skip


class Book(NamedTuple):
    """All that the walk reads and writes.

    Candles of all pairs stand one after the other, shape (n,); ``pairs`` says where each has its own.
    """

    rules: RecordArray  # (1,)
    account: RecordArray  # (1,)
    pairs: RecordArray  # (n_pairs,)
    open_time: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    triggers: NDArray[np.uint8]  # (n,) 1 long, 2 short: the strategy's signals confirmed at the bar; or (0,)
    first_child: NDArray[np.int64]  # (n,) index of a bar's first finer candle, -1 unless all are stored; or (0,)
    child_time: NDArray[np.int64]
    child_open: NDArray[np.float64]
    child_high: NDArray[np.float64]
    child_low: NDArray[np.float64]
    events: RecordArray  # (n_events,) entries to attempt, in order
    positions: RecordArray  # (n_pairs * max_positions,) open ones first, in order of entry
    trades: RecordArray  # (n_events,)
    outcomes: NDArray[np.int8]  # (n_orders,)
    equity: NDArray[np.float64]  # (steps,) marked at the close
    adverse: NDArray[np.float64]  # (steps,) marked at the bar's adverse extremes


def zeros(length: int, dtype: Any) -> RecordArray:
    array: RecordArray = np.zeros(length, dtype)
    return array
