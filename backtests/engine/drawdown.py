"""Drawdown: how far, how long and when the account stood below its peak (docs/metrics.md#drawdown)."""

from typing import Any

import numpy as np

from backtests.engine.ledger import Equity
from markets.candles import TimeArray
from signals.engine.table import IndexArray


def drawdown_metrics(values: dict[str, Any], undefined: dict[str, str], equity: Equity, *, bar_ms: int) -> None:
    """Add the drawdown's fields to ``values``; the capital is a peak that stands one bar before the first."""
    peak, curve = equity.peak, equity.equity
    below = curve < peak
    fall = equity.drawdown
    worst = int(fall.argmax()) if below.any() else None
    values["max_drawdown_abs"] = float((peak - curve).max()) if worst is not None else 0.0
    values["max_drawdown_pct"] = 100.0 if equity.is_ruined else float(fall.max()) * 100.0 if worst is not None else 0.0
    values["max_drawdown_intrabar_pct"] = 100.0 if equity.is_ruined else _intrabar(equity) * 100.0
    values["time_underwater"] = float(below.mean()) if len(curve) else 0.0

    starts, ends, recovered = _underwater(below)
    peaks, lasts = _times_before(equity, starts, bar_ms), _times_before(equity, ends, bar_ms)
    lengths = lasts - peaks
    values["max_dd_duration_s"] = float(lengths.max() / 1000) if len(lengths) else 0.0
    for name in ("max_dd_peak_at", "max_dd_trough_at", "max_dd_recovered_at"):
        values[name] = None
    if worst is None:
        undefined |= dict.fromkeys(("max_dd_peak_at", "max_dd_trough_at", "max_dd_recovered_at"), "no_drawdown")
        return
    stretch = int(np.searchsorted(starts, worst, side="right")) - 1
    values["max_dd_peak_at"] = iso(peaks, stretch)
    values["max_dd_trough_at"] = iso(equity.time, worst)
    if recovered[stretch]:
        values["max_dd_recovered_at"] = iso(lasts, stretch)
    else:
        undefined["max_dd_recovered_at"] = "not_recovered"


def _intrabar(equity: Equity) -> float:
    """Return the deepest fall of the account at its bars' adverse extremes, against the peak of earlier closes."""
    if not len(equity):
        return 0.0
    left = equity.adverse[0] / equity.capital
    if len(equity) > 1:
        left = min(left, (equity.adverse[1:] / equity.peak[:-1]).min())
    return max(0.0, 1.0 - float(left))


def _times_before(equity: Equity, bars: IndexArray, bar_ms: int) -> TimeArray:
    """Return the open times of the bars before ``bars``; before the first, the capital's, lies one bar length."""
    times: TimeArray = np.where(bars == 0, equity.time[0] - bar_ms, equity.time[bars - 1]) if len(bars) else bars
    return times


def _underwater(below: Any) -> tuple[Any, Any, Any]:
    """Return the first bar of each stretch below the peak, where it ends (indices with the capital at 0), and
    whether it ended by a recovery.
    """
    framed = np.concatenate([[False], below, [False]])
    edges = np.flatnonzero(framed[1:] != framed[:-1])
    starts, after = edges[::2], edges[1::2]
    recovered = after < len(below)
    ends = np.where(recovered, after + 1, len(below))
    return starts, ends, recovered


def iso(times: TimeArray, index: int) -> str:
    """Write one of ``times`` (UTC ms) as 2024-01-31T15:45:00Z."""
    return str(np.datetime_as_string(times[index : index + 1].astype("datetime64[ms]"), unit="s")[0]) + "Z"
