"""Equity as pages draw it: thinned without losing an extreme, beside buy and hold, and month by month."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backtests.models import Backtest
from backtests.reports import EQUITY, read_columns
from backtests.selectors import capital_of
from markets.selectors import candle_store
from markets.series import SeriesKey

_POINTS = 1_200
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def curve(folder: Path, run: Backtest, *, with_hold: bool = True) -> dict[str, Any]:
    """Return ``equity`` as ``[seconds, equity, drawdown in percent]`` and ``hold`` as ``[seconds, value]``."""
    columns = read_columns(folder, EQUITY)
    times, equity, drawdown = columns["time"], columns["equity"], columns["drawdown"]
    kept = thinned(equity)
    told: dict[str, Any] = {
        "equity": [
            [int(at) // 1000, round(float(value), 2), round(-100 * abs(float(below)), 3)]
            for at, value, below in zip(times[kept], equity[kept], drawdown[kept], strict=True)
        ],
        "hold": [],
    }
    if with_hold and "," not in run.symbol and len(equity):
        told["hold"] = _hold(run, start=int(times[0]), end=int(times[-1]), capital=capital_of(run))
    return told


def thinned(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return indices that keep the lowest and the highest value of each stretch, and both ends."""
    count = len(values)
    if count <= _POINTS:
        return np.arange(count)
    edges = np.linspace(0, count, _POINTS // 2 + 1).astype(np.int64)
    picked = {0, count - 1}
    for low, high in pairwise(edges.tolist()):
        stretch = values[low:high]
        picked |= {low + int(stretch.argmin()), low + int(stretch.argmax())}
    return np.array(sorted(picked))


def _hold(run: Backtest, *, start: int, end: int, capital: float) -> list[list[float]]:
    """Return what the capital would be had it bought at the first open and kept."""
    candles = candle_store().read(SeriesKey.of(run.symbol, run.timeframe), start=start, end=end + 1)
    if not len(candles):
        return []
    kept = thinned(candles.close)
    value = capital * candles.close / candles.open[0]
    return [[int(candles.open_time[i]) // 1000, round(float(value[i]), 2)] for i in kept.tolist()]


def monthly(folder: Path, *, capital: float) -> list[dict[str, Any]]:
    """Return a row a year: the return of each month in percent, None where the run had none, and of the year.

    The first begin with ``capital``: what the first candle brings is theirs.
    """
    columns = read_columns(folder, EQUITY, ["time", "equity"])
    times, equity = columns["time"], columns["equity"]
    if not len(times):
        return []
    months = times.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
    ends = np.flatnonzero(np.diff(months, append=months[-1] + 1))
    before = np.concatenate([[capital], equity[ends[:-1]]])
    change = 100 * (equity[ends] / np.where(before > 0, before, np.nan) - 1)
    years: dict[int, dict[str, Any]] = {}
    for month, value, opened, closed in zip(months[ends], change, before, equity[ends], strict=True):
        year, place = 1970 + int(month) // 12, int(month) % 12
        row = years.setdefault(year, {"year": year, "months": [None] * 12, "opened": float(opened)})
        row["months"][place] = None if np.isnan(value) else float(value)
        row["total"] = 100 * (float(closed) / row["opened"] - 1) if row["opened"] > 0 else None
    return [{**row, "named": list(zip(_MONTHS, row["months"], strict=True))} for row in years.values()]
