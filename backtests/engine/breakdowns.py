"""Breakdowns: the closed trades by what they have in common, each group with its own statistics."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backtests.engine.labels import Labels
from backtests.engine.ledger import Trades
from backtests.engine.metrics import TOLERANCE
from backtests.engine.student import two_sided_p
from markets.candles import FloatArray, TimeArray

# Fewer trades than this are more luck than skill; a group, a cell or a report of them is flagged.
FEW = 30

_HOUR, _DAY = 3_600_000, 86_400_000
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SESSIONS = ("Asia", "London", "New York")
# UTC hours: Asia from 22, London from 8, New York from 13.
_SESSION_OF_HOUR = np.array([0] * 8 + [1] * 5 + [2] * 9 + [0] * 2)
_REGIMES = ("low", "normal", "high")


def breakdowns(trades: Trades, timeframe: str) -> dict[str, list[dict[str, Any]]]:
    """Return a table for each way to group the closed trades; times are those of the entry."""
    closed = trades.take(trades.is_closed)
    entered = np.ascontiguousarray(closed.rows["entry_time"])
    groups = {
        "signal": closed.signal_kind,
        "direction": closed.direction,
        "symbol": closed.symbol,
        "timeframe": Labels.of(np.zeros(len(closed), np.int64), [timeframe]),
        "session": Labels.of(_SESSION_OF_HOUR[entered % _DAY // _HOUR], _SESSIONS),
        # 1970-01-01 was a Thursday.
        "weekday": Labels.of((entered // _DAY + 3) % 7, _WEEKDAYS),
        "month": _months(entered),
        "volatility": _volatility_regimes(closed),
        "exit_reason": closed.exit_reason,
    }
    r, net = closed.r, closed.net
    sums = {"wins": r > TOLERANCE, "r": r, "gains": np.maximum(net, 0.0), "losses": np.maximum(-net, 0.0)}
    return {name: _table(labels, r, sums) for name, labels in groups.items()}


def _months(times: TimeArray) -> Labels:
    if not len(times):
        return Labels.of(times, ())
    month = times.astype("datetime64[ms]").astype("datetime64[M]")
    first, last = month.min(), month.max()
    return Labels.of((month - first).astype(np.int64), np.arange(first, last + 1).astype(str).tolist())


def _volatility_regimes(closed: Trades) -> Labels:
    """Return low, normal or high: the third of the run's trades to which ATR over price at the signal belongs."""
    if not len(closed):
        return Labels.of(np.empty(0, np.int64), _REGIMES)
    share = closed.atr / closed.rows["entry"]
    return Labels.of(np.searchsorted(np.quantile(share, (1 / 3, 2 / 3)), share, side="left"), _REGIMES)


def _table(labels: Labels, r: FloatArray, sums: dict[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """Return a row for each label that occurs, in the order of their texts."""
    group, size = labels.codes, len(labels.names)
    count = np.bincount(group, minlength=size)
    total = {name: np.bincount(group, weights=values, minlength=size) for name, values in sums.items()}
    mean = total["r"] / np.maximum(count, 1)
    squares = np.bincount(group, weights=(r - mean[group]) ** 2, minlength=size)
    p = _p_values(count, mean, squares)
    return [
        {
            "group": labels.names[k],
            "n": int(count[k]),
            "win_rate": float(total["wins"][k] / count[k]),
            "expectancy_r": float(mean[k]),
            "pf": float(total["gains"][k] / total["losses"][k]) if total["losses"][k] > 0 else None,
            "p_value": float(p[k]),
            "few": bool(count[k] < FEW),
        }
        for k in sorted(np.flatnonzero(count).tolist(), key=labels.names.__getitem__)
    ]


def _p_values(count: NDArray[Any], mean: NDArray[Any], squares: NDArray[Any]) -> NDArray[np.float64]:
    """Return the two-sided p of a one-sample t test against 0 for every group; 1 without variance."""
    testable = (count > 1) & (squares > 0)
    n = np.where(testable, count, 2)
    error = np.sqrt(np.where(testable, squares, 1.0) / (n - 1) / n)
    return np.where(testable, two_sided_p(mean / error, n - 1), 1.0)
