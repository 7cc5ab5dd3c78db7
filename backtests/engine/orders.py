"""Orders: what strategies ask for, and the moments at which the walk has to try them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backtests.engine.costs import round_mirrored_down
from backtests.engine.layout import EVENT, Outcome, RecordArray, zeros
from backtests.engine.market import Market
from markets.candles import BoolArray, FloatArray, TimeArray
from signals.engine.compiled import entry
from signals.engine.table import IndexArray

SideArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Orders:
    """The entries that a strategy asks for in one pair, shape (m,) each, one a signal.

    ``bar`` is the bar whose close makes the signal known, ``signal`` its number. ``limit`` is NaN for an order
    at the market. The stop is at ``stop``, or at ``distance`` from the fill where that is not NaN (quote currency).
    A limit lives through bar ``last_bar``. ``trail`` is the distance of one ATR.
    """

    bar: IndexArray
    side: SideArray
    signal: IndexArray
    score: FloatArray
    limit: FloatArray
    stop: FloatArray
    distance: FloatArray
    last_bar: IndexArray
    atr: FloatArray

    def __len__(self) -> int:
        return len(self.bar)

    def take(self, where: BoolArray | IndexArray) -> "Orders":
        return Orders(*(getattr(self, name)[where] for name in self.__slots__))


def orders_of(
    market: Market,
    signals: IndexArray,
    *,
    stop: FloatArray | None = None,
    stop_atr: float = math.nan,
    limit: FloatArray | None = None,
    last_bar: IndexArray | None = None,
) -> Orders:
    """Return one order for each of ``signals`` (numbers), in its direction, from its confirm bar.

    Its stop is at a price, or ``stop_atr`` times the ATR of that bar from the fill.
    """
    rows = market.table.rows
    bar = rows["confirm_idx"][signals].astype(np.int64)
    none, atr = np.full(len(bar), np.nan), market.atr(bar)
    return Orders(
        bar=bar,
        side=rows["direction"][signals].astype(np.int64),
        signal=signals,
        score=rows["strength"][signals],
        limit=none if limit is None else limit,
        stop=none if stop is None else stop,
        distance=stop_atr * atr,
        last_bar=bar if last_bar is None else last_bar,
        atr=atr,
    )


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a pair's candles that is traded, and that of its orders which may: bar indices, times in UTC ms."""

    first: int
    end: int
    start_time: int


def schedule(
    markets: Sequence[Market], orders: Sequence[Orders], windows: Sequence[Window], trail_atr: float
) -> tuple[RecordArray, NDArray[np.int8]]:
    """Turn orders into events in the order in which the walk tries them.

    Orders are numbered over all pairs. Returns the events, and an ``Outcome`` an order: what is known before the
    walk (expired, a hole where the entry bar should be, no bar left), and TAKEN for those to be tried.
    """
    parts: list[RecordArray] = []
    outcomes: list[NDArray[np.int8]] = []
    for pair, (market, wanted, window) in enumerate(zip(markets, orders, windows, strict=True)):
        part, outcome = _events(market, wanted, window)
        part["pair"] = pair
        part["order"] += sum(len(each) for each in outcomes)
        part["idx"] += sum(len(each.candles) for each in markets[:pair])
        part["trail"] = trail_atr * wanted.atr[outcome == Outcome.TAKEN]
        parts.append(part)
        outcomes.append(outcome)
    events, scores = np.concatenate(parts), np.concatenate([each.score for each in orders])
    known = np.concatenate(
        [
            market.candles.open_time[each.bar] + market.timeframe.milliseconds
            for market, each in zip(markets, orders, strict=True)
        ]
    )
    order = _in_order(events, known[events["order"]], scores[events["order"]])
    return events.take(order), np.concatenate(outcomes)


def _in_order(events: RecordArray, known: TimeArray, scores: FloatArray) -> IndexArray:
    """Return the order in which events are tried: by time, and at one time by the rules."""
    order = np.argsort(events["time"], kind="stable")
    time = events["time"][order]
    # Most have their moment to themselves, and a sort by six columns takes as long as the walk.
    with_next = time[1:] == time[:-1]
    shared = np.flatnonzero(np.append(with_next, False) | np.append(False, with_next))
    some = order[shared]
    # Pairs are in order of their symbols, orders within a pair in order of emission.
    columns = (events["order"], events["pair"], -scores, known, events["is_limit"], events["time"])
    order[shared] = some[np.lexsort([column[some] for column in columns])]
    return order


def _events(market: Market, orders: Orders, window: Window) -> tuple[RecordArray, NDArray[np.int8]]:
    times, step = market.candles.open_time, market.timeframe.milliseconds
    known = times[orders.bar] + step
    following = orders.bar + 1
    has_bar = following < window.end
    is_limit = ~np.isnan(orders.limit)
    is_there = has_bar & (times[np.minimum(following, len(times) - 1)] == known)

    limit, fill_bar = _limit_fills(market, orders, window)
    outcome = np.full(len(orders), Outcome.TAKEN, np.int8)
    outcome[~is_limit & ~is_there] = Outcome.DATA_GAP
    outcome[is_limit & (fill_bar < 0)] = Outcome.EXPIRED
    outcome[~has_bar | (known < window.start_time)] = Outcome.NOT_COUNTED

    taken = np.flatnonzero(outcome == Outcome.TAKEN)
    events = zeros(len(taken), EVENT)
    bar = np.where(is_limit, fill_bar, following)[taken]
    for name, values in (
        ("time", times[bar]), ("order", taken), ("idx", bar), ("side", orders.side[taken]),
        ("is_limit", is_limit[taken]), ("limit", limit[taken]), ("stop", orders.stop[taken]),
        ("distance", orders.distance[taken]),
    ):  # fmt: skip
        events[name] = values
    return events, outcome


def _limit_fills(market: Market, orders: Orders, window: Window) -> tuple[FloatArray, IndexArray]:
    """Return the limits on the pair's ticks, and the bar that first trades through each while it lives, else -1."""
    limit, bar = orders.limit.copy(), np.full(len(orders), -1, np.int64)
    waiting = np.flatnonzero(~np.isnan(limit))
    last = np.minimum(orders.last_bar, window.end - 1)
    candles = market.candles
    _find_fills(
        waiting, (orders.bar, last, orders.side), (candles.high, candles.low), market.filters.tick_size, (limit, bar)
    )
    return limit, bar


@entry
def _find_fills(
    waiting: Any, lives: tuple[Any, Any, Any], extremes: tuple[Any, Any], tick: float, found: tuple[Any, Any]
) -> None:
    confirm_bar, last_bar, sides = lives
    high, low = extremes
    limit, bar = found
    for k in waiting:
        side = sides[k]
        limit[k] = side * round_mirrored_down(side * limit[k], side, tick)
        for i in range(confirm_bar[k] + 1, last_bar[k] + 1):
            if (low[i] < limit[k]) if side > 0 else (high[i] > limit[k]):
                bar[k] = i
                break
