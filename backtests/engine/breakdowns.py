"""Breakdowns: the closed trades by what they have in common, each group with its own statistics."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backtests.engine.ledger import Trades
from backtests.engine.metrics import TOLERANCE
from backtests.engine.student import two_sided_p
from markets.candles import FloatArray, TimeArray
from signals.engine.table import TextArray

# Fewer trades than this tell little; the group is flagged.
FEW = 30

_HOUR, _DAY = 3_600_000, 86_400_000
_WEEKDAYS = np.array(["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"], dtype=object)
# UTC hours: Asia from 22, London from 8, New York from 13.
_SESSION_OF_HOUR = np.array(["Asia"] * 8 + ["London"] * 5 + ["New York"] * 9 + ["Asia"] * 2, dtype=object)
_REGIMES = np.array(["low", "normal", "high"], dtype=object)


def breakdowns(trades: Trades, timeframe: str) -> dict[str, list[dict[str, Any]]]:
    """Return a table for each way to group the closed trades; times are those of the entry."""
    closed = trades.take(trades.is_closed)
    groups: dict[str, Callable[[], NDArray[Any]]] = {
        "signal": lambda: closed.signal_kind,
        "direction": lambda: closed.direction,
        "symbol": lambda: closed.symbol,
        "timeframe": lambda: np.full(len(closed), timeframe, dtype=object),
        "session": lambda: _SESSION_OF_HOUR[closed.rows["entry_time"] % _DAY // _HOUR],
        "weekday": lambda: weekday(closed.rows["entry_time"]),
        "month": lambda: closed.rows["entry_time"].astype("datetime64[ms]").astype("datetime64[M]"),
        "volatility": lambda: volatility_regime(closed),
        "exit_reason": lambda: closed.exit_reason,
    }
    r, net = closed.r, closed.net
    return {name: _table(labels(), r, net) for name, labels in groups.items()}


def weekday(times: TimeArray) -> TextArray:
    """Return the UTC weekday of each time; 1970-01-01 was a Thursday."""
    text: TextArray = _WEEKDAYS[(times // _DAY + 3) % 7]
    return text


def volatility_regime(closed: Trades) -> TextArray:
    """Return low, normal or high: the third of the run's trades to which ATR over price at the signal belongs."""
    if not len(closed):
        return np.empty(0, dtype=object)
    share = closed.atr / closed.rows["entry"]
    text: TextArray = _REGIMES[np.searchsorted(np.quantile(share, (1 / 3, 2 / 3)), share, side="left")]
    return text


def _table(labels: NDArray[Any], r: FloatArray, net: FloatArray) -> list[dict[str, Any]]:
    names, group = _grouped(labels)
    size = len(names)
    count = np.bincount(group, minlength=size)
    wins = np.bincount(group, weights=r > TOLERANCE, minlength=size)
    mean = np.bincount(group, weights=r, minlength=size) / np.maximum(count, 1)
    gains = np.bincount(group, weights=np.maximum(net, 0.0), minlength=size)
    losses = np.bincount(group, weights=np.maximum(-net, 0.0), minlength=size)
    squares = np.bincount(group, weights=(r - mean[group]) ** 2, minlength=size)
    p = _p_values(count, mean, squares)
    return [
        {
            "group": names[k],
            "n": int(count[k]),
            "win_rate": float(wins[k] / count[k]),
            "expectancy_r": float(mean[k]),
            "pf": float(gains[k] / losses[k]) if losses[k] > 0 else None,
            "p_value": float(p[k]),
            "few": bool(count[k] < FEW),
        }
        for k in range(size)
    ]


def _grouped(labels: NDArray[Any]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the groups' names in order, and the number of each label's."""
    if labels.dtype != object:
        found, group = np.unique(labels, return_inverse=True)
        return [str(name) for name in found], group
    # Sorting texts would cost more than the rest of the table.
    texts = labels.tolist()
    names = sorted(set(texts))
    number = {name: k for k, name in enumerate(names)}
    return names, np.array([number[text] for text in texts], np.int64)


def _p_values(count: NDArray[Any], mean: NDArray[Any], squares: NDArray[Any]) -> NDArray[np.float64]:
    """Return the two-sided p of a one-sample t test against 0 for every group; 1 without variance."""
    testable = (count > 1) & (squares > 0)
    n = np.where(testable, count, 2)
    error = np.sqrt(np.where(testable, squares, 1.0) / (n - 1) / n)
    return np.where(testable, two_sided_p(mean / error, n - 1), 1.0)
