"""Around a signal and a price: what other timeframes said at its confirmation, and the open zones near it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from markets.candles import BoolArray
from markets.selectors import newest_candles
from markets.series import SeriesKey, Timeframe
from signals.engine import Kind
from signals.engine.kinds import ZONE_KINDS, Mark
from signals.engine.table import UNSET
from signals.log import LogView, SignalRow
from signals.log.views import LifeArray
from signals.selectors.courses import course_of
from signals.selectors.logs import fresh_view, mends

_IS_ZONE = np.isin(list(Kind), ZONE_KINDS)  # by the number of the kind


@dataclass(frozen=True, slots=True)
class NearZone:
    """An open zone, and how far the price has to go to its near edge: a fraction of the price, 0 inside it."""

    signal: SignalRow
    distance: float


def context(row: SignalRow, timeframes: Sequence[Timeframe]) -> dict[str, Any]:
    """Return trend and range position of other timeframes, from candles that had closed when the signal was confirmed.

    A timeframe without such a candle is None.
    """
    return contexts([row], timeframes)[0]


def contexts(rows: Sequence[SignalRow], timeframes: Sequence[Timeframe]) -> list[dict[str, Any]]:
    """Return the ``context`` of many signals; each series is looked at once."""
    keys = {SeriesKey(row.symbol, timeframe) for row in rows for timeframe in timeframes}
    courses = {key: course_of(key) for key in keys}
    told = []
    for row in rows:
        each: dict[str, Any] = {}
        for timeframe in timeframes:
            course = courses[SeriesKey(row.symbol, timeframe)]
            known = course.at(course.known_at(row.confirmed_at))
            each[timeframe.value] = None if known is None else {"trend": known.trend, "range_pos": known.range_pos}
        told.append(each)
    return told


@mends
def zones_near(series: SeriesKey, *, within: float = 0.005, limit: int = 10) -> list[NearZone]:
    """Return zones that are neither filled nor invalidated within a fraction of the last close, the nearest first."""
    view = fresh_view(series)
    last = newest_candles(series, 1)
    if view is None or not len(last):
        return []
    price = float(last.close[-1])
    # A log only grows, so how far it goes settles what it tells.
    asked = (view.folder, view.through, price, within, limit)
    found = _near.get(asked)
    if found is None:
        if len(_near) >= _MOST_NEAR:
            _near.clear()
        found = _near[asked] = _nearest(view, price, within=within, limit=limit)
    return list(found)


def is_open(life: LifeArray) -> BoolArray:
    """Say of each signal, by the times of its marks, whether it is neither filled nor invalidated."""
    found: BoolArray = (life[Mark.FILLED] == UNSET) & (life[Mark.INVALIDATED] == UNSET)
    return found


_MOST_NEAR = 1_000
_near: dict[tuple[Path, int, float, float, int], list[NearZone]] = {}


def _nearest(view: LogView, price: float, *, within: float, limit: int) -> list[NearZone]:
    found: list[NearZone] = []
    for number in view.months():
        month = view.month(number)
        rows = month.rows
        is_wanted = is_open(month.life) & np.isfinite(rows["top"]) & _IS_ZONE[rows["kind"]]
        distance = np.maximum(np.maximum(rows["bottom"] - price, price - rows["top"]), 0.0) / price
        chosen = np.flatnonzero(is_wanted & (distance <= within))
        signals = view.told(month, chosen)
        found += [NearZone(row, float(each)) for row, each in zip(signals, distance[chosen], strict=True)]
    return sorted(found, key=lambda each: (each.distance, -each.signal.confirm_time))[:limit]
