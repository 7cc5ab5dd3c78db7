"""The circumstances a signal was confirmed in, as labels: what the tables are split by."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markets.candles import Candles, FloatArray, TimeArray
from markets.series import Timeframe
from signals.engine import Detector, Kind, Params, SignalTable
from signals.engine.compiled import entry
from signals.engine.table import IndexArray

Labels = NDArray[np.object_]

# Splits of one study at most: five of the series' own, and the trend of each timeframe above the lowest.
MOST_CONDITIONS = 5 + len(Timeframe) - 1

_HOUR = 3_600_000
_SWEEP_BARS = 20
_REGIME_BARS = 500
_EQUILIBRIUM = (0.475, 0.525)
# Hours of the UTC day at which each session begins.
_SESSIONS = ((0, "Asia"), (8, "London"), (13, "New York"), (21, "late"))


def strength(table: SignalTable) -> Labels:
    """Label by strength: weak below 33, strong from 67 on."""
    value = table.column("strength")
    return np.where(value < 100 / 3, "weak", np.where(value < 200 / 3, "medium", "strong")).astype(object)


def range_position(table: SignalTable) -> Labels:
    """Label by where the close stood in its range: discount, equilibrium, premium; empty without a range."""
    return range_words(table.column("range_pos"))


def range_words(place: FloatArray) -> Labels:
    """Return the word for each place in a range, 0 bottom to 1 top; empty for NaN."""
    low, high = _EQUILIBRIUM
    word = np.where(place < low, "discount", np.where(place > high, "premium", "equilibrium"))
    return np.where(np.isnan(place), "", word).astype(object)


def session(confirmed_at: TimeArray) -> Labels:
    """Label by the session in which the signal became knowable; times in UTC ms."""
    hour = confirmed_at // _HOUR % 24
    starts = np.array([start for start, _ in _SESSIONS])
    names = np.array([name for _, name in _SESSIONS], dtype=object)
    label: Labels = names[np.searchsorted(starts, hour, side="right") - 1]
    return label


def volatility_regime(at: IndexArray, atr: FloatArray, close: FloatArray) -> Labels:
    """Label by ATR against its own median over the 500 candles before: calm or volatile; nothing later is read."""
    share = atr / close
    medians = np.empty(len(share))
    _fill_medians(medians, share, np.empty(_REGIME_BARS + 1))
    return np.where(share[at] > medians[at], "volatile", "calm").astype(object)


@entry
def _fill_medians(medians: Any, values: Any, window: Any) -> None:
    """Fill in the median of each value and those before it, as many as ``window`` holds; that is kept sorted."""
    n = 0
    for t in range(len(values)):
        if n == len(window):
            n -= 1
            gone = np.searchsorted(window[: n + 1], values[t - len(window)])
            for i in range(gone, n):
                window[i] = window[i + 1]
        i = n
        while i > 0 and window[i - 1] > values[t]:
            window[i] = window[i - 1]
            i -= 1
        window[i] = values[t]
        n += 1
        medians[t] = 0.5 * (window[(n - 1) // 2] + window[n // 2])


def sweep_before(table: SignalTable) -> Labels:
    """Label by whether a sweep of the same direction was confirmed in the 20 candles before, or with it."""
    rows = table.rows
    confirm = rows["confirm_idx"].astype(np.int64)
    label = np.full(len(rows), "no sweep", dtype=object)
    for side in (1, -1):
        sweeps = confirm[(rows["kind"] == Kind.SWEEP) & (rows["direction"] == side)]
        ours = np.flatnonzero(rows["direction"] == side)
        last = np.searchsorted(sweeps, confirm[ours], side="right") - 1
        is_near = (
            (last >= 0) & (confirm[ours] - sweeps[np.maximum(last, 0)] <= _SWEEP_BARS) if len(sweeps) else last >= 0
        )
        label[ours[is_near]] = "after a sweep"
    return label


def higher_trend(
    directions: IndexArray, confirmed_at: TimeArray, candles: Candles, timeframe: Timeframe, params: Params
) -> Labels:
    """Label by a higher timeframe's trend: with it, against it, or none yet.

    Only candles of the higher timeframe that had closed by the signal's confirmation are read.
    """
    trend = Detector(params).run(candles).trend
    closed = np.searchsorted(candles.open_time + timeframe.milliseconds, confirmed_at, side="right") - 1
    known = np.where(closed >= 0, trend[np.maximum(closed, 0)], 0) if len(trend) else np.zeros(len(closed), np.int64)
    label = np.where(known == 0, "no trend", np.where(known == directions, "with trend", "against trend"))
    return label.astype(object)


def all_conditions(
    table: SignalTable, candles: Candles, atr: FloatArray, timeframe: Timeframe, higher: Mapping[Timeframe, Candles]
) -> dict[str, Labels]:
    """Return every split of the signals in ``table``, each of shape (n,); an empty label takes no part."""
    at = table.column("confirm_idx").astype(np.int64)
    directions = table.column("direction").astype(np.int64)
    confirmed_at = candles.open_time[at] + timeframe.milliseconds
    splits: dict[str, Callable[[], Labels]] = {
        "strength": lambda: strength(table),
        "range": lambda: range_position(table),
        "session": lambda: session(confirmed_at),
        "volatility": lambda: volatility_regime(at, atr, candles.close),
        "sweep": lambda: sweep_before(table),
    }
    labels = {name: make() for name, make in splits.items()}
    for each, its_candles in higher.items():
        labels[f"trend {each.value}"] = higher_trend(directions, confirmed_at, its_candles, each, Params())
    return labels
