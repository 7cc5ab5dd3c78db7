"""The market with the faults that change its candles: holes, delisting, and values that are revised later."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from markets.candles import FLOW_COLUMNS, PRICE_COLUMNS, BoolArray, Candles, join
from markets.replay.faults import Fault, Faults
from markets.replay.market import Listing, Market, Row
from markets.series import SeriesKey

_MINUTE = 60_000
_FIELDS = (*PRICE_COLUMNS, "volume")


@dataclass(frozen=True, slots=True)
class Revision:
    """What REST and the archive say of a candle from ``since`` (exchange time) on."""

    row: Row
    since: int


class ScriptedMarket:
    """A ``Market`` over the true one. ``now`` of a question says which revisions are known by then; without: all."""

    def __init__(self, market: Market, faults: Faults) -> None:
        self.truth = market
        self.name = market.name
        self._faults = faults
        self._revisions: dict[SeriesKey, dict[int, Revision]] = {}
        self.revisions_made = 0

    @property
    def listings(self) -> Mapping[str, Listing]:
        return self.truth.listings

    @property
    def edition(self) -> tuple[int, int]:
        """A value that changes whenever candles may have changed."""
        return self._faults.edition, self.revisions_made

    def revise(self, series: SeriesKey, row: Row, *, since: int) -> None:
        self._revisions.setdefault(series, {})[row.open_time] = Revision(row, since)
        self.revisions_made += 1

    def timeframes(self, symbol: str) -> tuple[str, ...]:
        return self.truth.timeframes(symbol)

    def first_time(self, series: SeriesKey) -> int | None:
        return self.truth.first_time(series)

    def candles(self, series: SeriesKey, start: int, end: int) -> Candles:
        """Return the candles with ``start <= open_time < end`` as they are in the end."""
        return self.told(series, self.truth.candles(series, start, end))

    def row(self, series: SeriesKey, open_time: int, *, now: int | None = None) -> Row | None:
        if any(first <= open_time <= last for first, last in self._gone(series)):
            return None
        revision = self._revisions.get(series, {}).get(open_time)
        if revision is not None and (now is None or revision.since <= now):
            return revision.row
        return self.truth.row(series, open_time)

    def newest_before(self, series: SeriesKey, end: int, count: int, *, now: int | None = None) -> Candles:
        parts: list[Candles] = []
        while count > 0:
            for first, last in self._gone(series):
                end = first if first < end <= last + 1 else end
            part = self.truth.newest_before(series, end, count)
            if not len(part):
                break
            end = int(part.open_time[0])
            parts.append(self.told(series, part, now=now))
            count -= len(parts[-1])
        return join(reversed(parts))

    def oldest_from(self, series: SeriesKey, start: int, end: int, count: int, *, now: int | None = None) -> Candles:
        parts: list[Candles] = []
        while count > 0:
            for first, last in self._gone(series):
                start = last + 1 if first <= start <= last else start
            part = self.truth.oldest_from(series, start, end, count)
            if not len(part):
                break
            start = int(part.open_time[-1]) + 1
            parts.append(self.told(series, part, now=now))
            count -= len(parts[-1])
        return join(parts)

    def forming(self, series: SeriesKey, now: int) -> Row | None:
        if any(start <= now < end for start, end in self._holes(series)):
            return None
        return self.truth.forming(series, now)

    def told(self, series: SeriesKey, candles: Candles, *, now: int | None = None) -> Candles:
        """Return ``candles`` without those in a hole, with the revisions known at ``now`` (None: all)."""
        gone = self._gone(series)
        if gone and len(candles):
            candles = candles.take(~_inside(candles, gone))
        revisions = {
            time: each.row for time, each in self._revisions.get(series, {}).items() if now is None or each.since <= now
        }
        return _revised(candles, revisions) if revisions and len(candles) else candles

    def is_halted(self, symbol: str, now: int) -> Fault | None:
        """Return the delisting that is in force at ``now``."""
        return next((each for each in self._faults if each.verb == "delist" and _is_of(each, symbol, now)), None)

    def _gone(self, series: SeriesKey) -> list[tuple[int, int]]:
        """Return first and last open time of the candles that lie wholly in a hole.

        A longer candle around a hole has traded before or after it.
        """
        step = series.timeframe.milliseconds
        return [(start, end - step) for start, end in self._holes(series) if end - step >= start]

    def _holes(self, series: SeriesKey) -> list[tuple[int, int]]:
        holes = []
        for fault in self._faults:
            if fault.verb not in ("hole", "delist") or fault.left == 0 or not fault.concerns(series):
                continue
            end = fault.end
            if end is None:
                end = 2**62 if fault.verb == "delist" else fault.begin + round(fault["minutes"] * _MINUTE)
            holes.append((fault.begin, end))
        return holes


def revised(row: Row, change: float, listing: Listing) -> Row:
    """Return ``row`` with another close: moved by the fraction ``change``, high and low around it, 1 % more volume."""
    close = round(row.close * (1 + change), listing.price_decimals)
    if close == row.close:
        close = round(row.close + 10**-listing.price_decimals, listing.price_decimals)
    return row._replace(
        close=close,
        high=max(row.high, close),
        low=min(row.low, close),
        volume=round(row.volume * 1.01, listing.step_decimals),
    )


def _is_of(fault: Fault, symbol: str, now: int) -> bool:
    return fault.symbol in (None, symbol) and fault.stands(now)


def _inside(candles: Candles, spans: list[tuple[int, int]]) -> BoolArray:
    inside = np.zeros(len(candles), np.bool_)
    for first, last in spans:
        inside |= (candles.open_time >= first) & (candles.open_time <= last)
    return inside


def _revised(candles: Candles, revisions: Mapping[int, Row]) -> Candles:
    at = np.flatnonzero(np.isin(candles.open_time, list(revisions)))
    if not len(at):
        return candles
    columns = {name: getattr(candles, name).copy() for name in _FIELDS}
    flow = {name: getattr(candles.flow, name).copy() for name in FLOW_COLUMNS}
    for index in at.tolist():
        row = revisions[int(candles.open_time[index])]
        for name in _FIELDS:
            columns[name][index] = getattr(row, name)
        for name in FLOW_COLUMNS:
            flow[name][index] = getattr(row, name)
    return replace(candles, **columns, flow=type(candles.flow)(**flow))  # type: ignore[misc]
