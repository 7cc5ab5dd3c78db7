"""Where a series stands: its trend and range position at any moment, and the open zones near its price."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markets.candles import Candles
from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from signals.engine import Detector, scale_params
from signals.log import SignalRow
from signals.log.rows import UNSET
from signals.selectors.logs import fresh_view, mends

_ZONES = frozenset({"FVG", "IFVG", "OB", "BREAKER"})


@dataclass(frozen=True, slots=True)
class Bias:
    """The state after a series' candle that opened at ``open_time`` (UTC ms).

    ``trend`` is 1 bullish, -1 bearish, 0 before the first break; ``range_pos`` is where its close stands between
    the bottom (0) and the top (1) of the range, None without a range.
    """

    open_time: int
    trend: int
    range_pos: float | None


@dataclass(frozen=True, slots=True)
class NearZone:
    """An open zone, and how far the price has to go to its near edge: a fraction of the price, 0 inside it."""

    signal: SignalRow
    distance: float


def bias(series: SeriesKey, *, scale: str = "internal") -> Bias | None:
    """Return where a series stands after its last stored candle; None where nothing is stored."""
    path = _path(series, scale)
    return path.at(len(path.open_time) - 1)


def context(row: SignalRow, timeframes: Sequence[Timeframe], *, scale: str = "internal") -> dict[str, Any]:
    """Return trend and range position of other timeframes, from candles that had closed when the signal was confirmed.

    A timeframe without such a candle is None. ``open_time`` is not told: the candle is the last that had closed.
    """
    told: dict[str, Any] = {}
    for timeframe in timeframes:
        path = _path(SeriesKey(row.symbol, timeframe), scale)
        known = path.at(path.known_at(row.confirmed_at))
        told[timeframe.value] = None if known is None else {"trend": known.trend, "range_pos": known.range_pos}
    return told


@mends
def zones_near(
    series: SeriesKey, *, within: float = 0.005, limit: int = 10, scale: str | None = None
) -> list[NearZone]:
    """Return zones that are neither filled nor invalidated within a fraction of the last close, the nearest first."""
    view = fresh_view(series)
    last = candle_store().newest(series, 1)
    if view is None or not len(last):
        return []
    price = float(last.close[-1])
    found = []
    for number in view.months():
        month = view.month(number)
        rows = month.rows
        is_open = (month.life[1] == UNSET) & (month.life[2] == UNSET) & np.isfinite(rows["top"])
        distance = np.maximum(np.maximum(rows["bottom"] - price, price - rows["top"]), 0.0) / price
        chosen = np.flatnonzero(is_open & (distance <= within))
        signals = view.told(month, chosen)
        found += [
            NearZone(row, float(each))
            for row, each in zip(signals, distance[chosen], strict=True)
            if row.kind in _ZONES and scale in (None, row.scale)
        ]
    return sorted(found, key=lambda each: (each.distance, -each.signal.confirm_time))[:limit]


@dataclass(slots=True, eq=False)
class _Path:
    """A series' trend and range position after each of its candles, grown as candles come."""

    detector: Detector
    step: int
    edit: int
    open_time: NDArray[np.int64]
    trend: NDArray[np.int64]
    range_pos: NDArray[np.float64]

    def take(self, candles: Candles) -> None:
        run = self.detector.run(candles)
        self.open_time = np.concatenate([self.open_time, candles.open_time])
        self.trend = np.concatenate([self.trend, run.trend])
        self.range_pos = np.concatenate([self.range_pos, run.table.range_pos])

    def known_at(self, moment: int) -> int:
        """Return the index of the last candle that had closed at ``moment``; -1 for none."""
        return int(np.searchsorted(self.open_time, moment - self.step, side="right")) - 1

    def at(self, index: int) -> Bias | None:
        if index < 0:
            return None
        place = float(self.range_pos[index])
        return Bias(int(self.open_time[index]), int(self.trend[index]), None if np.isnan(place) else place)


_paths: dict[tuple[Path, SeriesKey, str], _Path] = {}
_paths_lock = threading.Lock()


def _path(series: SeriesKey, scale: str) -> _Path:
    """Return the path of a series, from memory where it still holds."""
    store = candle_store()
    with _paths_lock:
        path = _paths.get((store.root, series, scale))
        edit = store.edit(series)
        if path is None or path.edit != edit:
            empty = np.empty(0, np.int64)
            detector = Detector(scale_params(scale))
            path = _Path(detector, series.timeframe.milliseconds, edit, empty, empty, np.empty(0))
            _paths[store.root, series, scale] = path
        last = store.last_time(series)
        if last is not None and (path.detector.last_time is None or path.detector.last_time < last):
            start = None if path.detector.last_time is None else path.detector.last_time + 1
            path.take(store.read(series, start=start, end=None))
        return path
