"""Rows of several sources put together: each open time once, and which of two values stays."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from markets.candles import COLUMNS, FLOW_COLUMNS, BoolArray, Candle, Candles, Flow, join


class Source(StrEnum):
    """Where candles come from. What was read from the exchange when it was final corrects what is stored."""

    STREAM = "stream"
    REST = "rest"
    ARCHIVE = "archive"
    FILE = "file"

    @property
    def corrects(self) -> bool:
        return self in {Source.REST, Source.ARCHIVE}


class Revised(NamedTuple):
    """A stored closed candle that got other values."""

    open_time: int
    before: Candle
    after: Candle


@dataclass(frozen=True, slots=True, eq=False)
class Combined:
    """``candles`` is what is to be stored, and ``is_new`` says whether that differs from what was.

    ``first_change`` is the open time of the first candle added or revised.
    """

    candles: Candles
    added: int = 0
    unchanged: int = 0
    revised: tuple[Revised, ...] = ()
    first_change: int | None = None
    is_new: bool = False


def combine(stored: Candles, new: Candles, *, corrects: bool) -> Combined:
    """Put ``new`` beside ``stored``. Of equal times the stored candle stays, unless the new one ``corrects`` it.

    What the exchange tells beside the prices is filled in where it was not known; that is no change of the candle.
    """
    if not len(stored) or new.open_time[0] > stored.open_time[-1]:
        return Combined(join((stored, new)), added=len(new), first_change=int(new.open_time[0]), is_new=True)
    at = np.searchsorted(stored.open_time, new.open_time)
    is_stored = np.isin(new.open_time, stored.open_time)
    met = at[is_stored]
    differs = np.zeros(len(new), np.bool_)
    differs[is_stored] = _differ(stored.take(met), new.take(is_stored))
    taken = ~is_stored | (differs & corrects)
    tells_more = np.zeros(len(new), np.bool_)
    tells_more[is_stored] = ~differs[is_stored] & _tells_more(stored.take(met), new.take(is_stored))
    revised = taken & is_stored
    chosen = taken | tells_more
    if not chosen.any():
        return Combined(stored, unchanged=len(new))
    stays = np.ones(len(stored), np.bool_)
    stays[at[chosen & is_stored]] = False
    return Combined(
        in_order(stored.take(stays), new.take(chosen)),
        added=int((~is_stored).sum()),
        unchanged=int((is_stored & ~revised).sum()),
        revised=tuple(
            Revised(after.open_time, before, after)
            for before, after in zip(stored.take(at[revised]), new.take(revised), strict=True)
        ),
        first_change=int(new.open_time[taken][0]) if taken.any() else None,
        is_new=True,
    )


def union(parts: Iterable[Candles]) -> Candles:
    """Return the candles of ``parts`` in time order, each open time once; of equal ones that of the earlier part."""
    kept = [part for part in parts if len(part)]
    if not kept:
        return Candles.empty()
    by_time = sorted(kept, key=lambda part: int(part.open_time[0]))
    if all(before.open_time[-1] < after.open_time[0] for before, after in pairwise(by_time)):
        return join(by_time)
    whole = kept[0]
    for part in kept[1:]:
        whole = in_order(whole, part.take(~np.isin(part.open_time, whole.open_time)))
    return whole


def in_order(one: Candles, other: Candles) -> Candles:
    """Return both in time order; they have no time in common."""
    if not len(one) or not len(other) or one.open_time[-1] < other.open_time[0]:
        return join((one, other))
    order = np.argsort(np.concatenate([one.open_time, other.open_time]), kind="stable")
    flow = None
    if one.flow is not None or other.flow is not None:
        flows = [each.flow if each.flow is not None else Flow.unknown(len(each)) for each in (one, other)]
        flow = Flow(*(np.concatenate([getattr(each, name) for each in flows])[order] for name in FLOW_COLUMNS))
    columns = (np.concatenate([getattr(one, name), getattr(other, name)])[order] for name in COLUMNS)
    return Candles(*columns, flow=flow)


def _differ(one: Candles, other: Candles) -> BoolArray:
    found = np.zeros(len(one), np.bool_)
    for name in COLUMNS[1:]:
        found |= getattr(one, name) != getattr(other, name)
    return found


def _tells_more(stored: Candles, new: Candles) -> BoolArray:
    if new.flow is None:
        return np.zeros(len(new), np.bool_)
    known = np.isfinite(new.flow.quote_volume)
    return known if stored.flow is None else known & ~np.isfinite(stored.flow.quote_volume)
