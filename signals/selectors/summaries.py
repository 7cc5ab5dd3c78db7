"""Counts of signals."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markets.moments import iso
from markets.selectors import candle_store
from signals.engine import Kind
from signals.engine.kinds import STATUS_TEXT
from signals.engine.table import status_codes
from signals.log import LogView
from signals.log.months import month_start
from signals.selectors.listing import Found, SignalFilter, chosen_months, life_of, matching, told
from signals.selectors.logs import fresh_view, mends, stored_series

_MOST_COUNTS = 20_000
_counts: dict[tuple[Path, int, int, SignalFilter], int] = {}


@mends
def summary(filter_: SignalFilter) -> dict[str, Any]:
    """Return counts by kind, direction and status, the rate per 1,000 candles, and the newest of each kind."""
    counts: Counter[tuple[int, int, int]] = Counter()
    newest: dict[Kind, Found] = {}
    candles = 0
    for series in stored_series(filter_.symbol, filter_.timeframe.value if filter_.timeframe is not None else None):
        view = fresh_view(series)
        if view is None:
            continue
        candles += _candles(series, filter_)
        for number in chosen_months(view, filter_):
            month = view.month(number, as_of=filter_.as_of)
            chosen = matching(view, month, filter_)
            kinds, directions = (month.rows[name][chosen] for name in ("kind", "direction"))
            life = life_of(view, month, filter_.as_of)[:, chosen]
            codes = (kinds.astype(np.int64) * 3 + directions + 1) * 4 + status_codes(life)
            found = np.bincount(codes)
            for code in np.flatnonzero(found).tolist():
                counts[code // 12, code // 4 % 3 - 1, code % 4] += int(found[code])
            for kind, place in _last_of_each(kinds):
                last = Found.at(view, month, int(chosen[place]))
                if kind not in newest or newest[kind].key < last.key:
                    newest[kind] = last
    return _summed(filter_, counts, candles) | {"newest": _newest(filter_, newest)}


def _last_of_each(kinds: NDArray[np.int8]) -> list[tuple[Kind, int]]:
    """Return where each kind that is there stands last."""
    found, from_the_end = np.unique(kinds[::-1], return_index=True)
    places = len(kinds) - 1 - from_the_end
    return [(Kind(kind), place) for kind, place in zip(found.tolist(), places.tolist(), strict=True)]


@mends
def total(filter_: SignalFilter) -> int:
    """Return how many signals match: what a page needs of a summary, at a tenth of its cost."""
    views = map(fresh_view, stored_series(filter_.symbol, filter_.timeframe.value if filter_.timeframe else None))
    return sum(_count_all(view, filter_) for view in views if view is not None)


def _count_all(view: LogView, filter_: SignalFilter) -> int:
    if filter_.start is not None and filter_.as_of is None:
        recent = view.recent()
        times = recent.rows["confirm_time"]
        if len(times) and times[0] < filter_.start:
            return len(matching(view, recent, filter_))
    return sum(_count(view, number, filter_) for number in chosen_months(view, filter_))


def _count(view: LogView, number: int, filter_: SignalFilter) -> int:
    """Return how many signals of a month match; it is remembered until the month has another candle."""
    # A log only grows: how far it goes settles which signals a month has, and any candle what became of them.
    is_settled = (filter_.as_of, filter_.open_at, filter_.higher) == (None, None, None)
    reach = view.through if filter_.status is not None else min(view.through, month_start(number + 1))
    key = (view.folder, number, reach, filter_)
    if is_settled and key in _counts:
        return _counts[key]
    found = len(matching(view, view.month(number, as_of=filter_.as_of), filter_))
    if is_settled:
        if len(_counts) >= _MOST_COUNTS:
            _counts.clear()
        _counts[key] = found
    return found


def _candles(series: Any, filter_: SignalFilter) -> int:
    if filter_.start is None and filter_.end is None:
        coverage = candle_store().coverage(series)
        return coverage.count if coverage is not None else 0
    return len(candle_store().read(series, start=filter_.start, end=filter_.end))


def _summed(filter_: SignalFilter, counts: Counter[tuple[int, int, int]], candles: int) -> dict[str, Any]:
    by_kind, by_direction, by_status = Counter[str](), Counter[str](), Counter[str]()
    for (kind, direction, status), count in counts.items():
        by_kind[Kind(kind).name] += count
        by_direction[str(direction)] += count
        by_status[STATUS_TEXT[status]] += count
    return {
        "symbol": filter_.symbol,
        "timeframe": filter_.timeframe.value if filter_.timeframe is not None else None,
        "scale": filter_.scale,
        "candles": candles,
        "total": counts.total(),
        "by_kind": {kind.name: by_kind[kind.name] for kind in Kind},
        "by_direction": {"1": by_direction["1"], "-1": by_direction["-1"]},
        "by_status": {status: by_status[status] for status in STATUS_TEXT},
        "per_1000_candles": {
            kind.name: round(1000 * by_kind[kind.name] / candles, 3) if candles else None for kind in Kind
        },
    }


def _newest(filter_: SignalFilter, newest: dict[Kind, Found]) -> dict[str, Any]:
    kinds = [kind for kind in Kind if kind in newest]
    rows = told([newest[kind] for kind in kinds], filter_)
    return {
        kind.name: {
            "id": row.id,
            "symbol": row.symbol,
            "timeframe": row.timeframe.value,
            "direction": row.direction,
            "confirm_time": iso(row.confirm_time),
            "confirmed_at": iso(row.confirmed_at),
            "status": row.status,
        }
        for kind, row in zip(kinds, rows, strict=True)
    }
