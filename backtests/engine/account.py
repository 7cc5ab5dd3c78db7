"""The walk as Python calls it: markets and orders in, trades and equity out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backtests.engine import fills
from backtests.engine.labels import Labels
from backtests.engine.layout import ACCOUNT, PAIR, POSITION, REJECTIONS, RULES, TRADE, Book, RecordArray, zeros
from backtests.engine.ledger import Equity, Trades
from backtests.engine.market import Market
from backtests.engine.orders import Orders, Window, schedule
from backtests.engine.spec import BacktestSpec
from markets.candles import COLUMNS, Candles, TimeArray
from signals.engine.kinds import KIND_TEXT
from signals.engine.table import IndexArray

# What a trade says of its signal; the last is of entries without one.
_KINDS = (*KIND_TEXT, "RANDOM")
_LONG, _SHORT = 1, 2
_NO_BYTE = np.empty(0, np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Walked:
    """What became of a run's orders. ``outcomes`` holds an ``Outcome`` an order, numbered over all pairs."""

    trades: Trades
    equity: Equity
    outcomes: NDArray[np.int8]

    @property
    def rejected(self) -> dict[str, int]:
        """How many orders were refused, by reason; reasons that did not occur are left out."""
        counts = {outcome.name.lower(): int((self.outcomes == outcome).sum()) for outcome in REJECTIONS}
        return {name: count for name, count in counts.items() if count}


def window_of(candles: Candles, spec: BacktestSpec) -> Window:
    """Return the part of ``candles`` that the specification trades."""
    times = candles.open_time
    start = spec.start if spec.start is not None else (int(times[0]) if len(times) else 0)
    first = int(np.searchsorted(times, start))
    end = len(times) if spec.end is None else int(np.searchsorted(times, spec.end))
    return Window(first, max(first, end), start)


def trade_orders(markets: Sequence[Market], orders: Sequence[Orders], spec: BacktestSpec) -> Walked:
    """Walk the candles of ``markets`` once, trying each pair's ``orders`` on one account."""
    windows = [window_of(market.candles, spec) for market in markets]
    wanted = [_of_direction(each, spec.direction) for each in orders]
    events, outcomes = schedule(markets, wanted, windows, spec.trail_atr)
    triggers = [_triggers(*pair) for pair in zip(markets, orders, strict=True)] if spec.exit_on_opposite else [_NO_BYTE]
    book = _book(markets, windows, spec, triggers=triggers, events=events, outcomes=outcomes)
    done = int(fills.walk(book))
    return Walked(_trades(markets, wanted, book), _equity(markets, windows, book, done), outcomes)


def _of_direction(orders: Orders, direction: str) -> Orders:
    if direction == "both":
        return orders
    return orders.take(orders.side == (1 if direction == "long" else -1))


def _times(markets: Sequence[Market], windows: Sequence[Window]) -> TimeArray:
    """Return the open times of the account's bars: those at which any pair has one."""
    times = [
        market.candles.open_time[window.first : window.end] for market, window in zip(markets, windows, strict=True)
    ]
    return times[0] if len(times) == 1 else np.unique(np.concatenate(times))


def _book(
    markets: Sequence[Market],
    windows: Sequence[Window],
    spec: BacktestSpec,
    *,
    triggers: Sequence[NDArray[np.uint8]],
    events: RecordArray,
    outcomes: NDArray[np.int8],
) -> Book:
    """Lay out the memory of a walk."""
    steps = len(_times(markets, windows))
    columns: dict[str, Any] = {
        name: _frozen([getattr(market.candles, name) for market in markets]) for name in COLUMNS[:5]
    }
    first_child, children = _children(markets, spec)
    all_triggers: Any = _frozen(triggers)
    rules, account = _rules(spec), zeros(1, ACCOUNT)
    account["cash"] = account["equity"] = spec.initial_capital
    return Book(
        rules=rules,
        account=account,
        pairs=_pairs(markets, windows),
        **columns,
        triggers=all_triggers,
        first_child=first_child,
        **children,
        events=events,
        positions=zeros(len(markets) * spec.max_positions, POSITION),
        trades=np.empty(len(events), TRADE),
        outcomes=outcomes,
        equity=np.empty(steps),
        adverse=np.empty(steps),
    )


def _frozen(parts: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
    """Return the parts as one read-only contiguous column: one compiled signature for every caller."""
    view = np.ascontiguousarray(parts[0] if len(parts) == 1 else np.concatenate(parts)).view()
    view.flags.writeable = False
    return view


def _rules(spec: BacktestSpec) -> RecordArray:
    rules = zeros(1, RULES)
    values = {
        "capital": spec.initial_capital,
        "risk_fraction": spec.risk_pct / 100.0,
        "taker": spec.taker_fee_bps / 10_000.0,
        "maker": spec.maker_fee_bps / 10_000.0,
        "slip": spec.slip,
        "partial_fraction": spec.partial_pct / 100.0,
        "children": spec.timeframe.milliseconds // spec.detail.milliseconds if spec.detail is not None else 0,
    }
    for name in RULES.names or ():
        rules[name] = values[name] if name in values else getattr(spec, name)
    return rules


def _pairs(markets: Sequence[Market], windows: Sequence[Window]) -> RecordArray:
    pairs, offset = zeros(len(markets), PAIR), 0
    for k, (market, window) in enumerate(zip(markets, windows, strict=True)):
        filters = market.filters
        pairs[k]["at"], pairs[k]["end"] = offset + window.first, offset + window.end
        pairs[k]["tick"], pairs[k]["step"] = filters.tick_size, filters.step_size
        pairs[k]["min_notional"] = filters.min_notional
        offset += len(market.candles)
    return pairs


def _triggers(market: Market, orders: Orders) -> NDArray[np.uint8]:
    """Return which directions the strategy signalled at each bar."""
    triggers = np.zeros(len(market.candles), np.uint8)
    triggers[orders.bar[orders.side > 0]] |= _LONG
    triggers[orders.bar[orders.side < 0]] |= _SHORT
    return triggers


def _children(markets: Sequence[Market], spec: BacktestSpec) -> tuple[NDArray[np.int64], dict[str, Any]]:
    """Return where each bar's finer candles begin, -1 unless all of them are stored, and those candles' columns."""
    details = [market.detail if market.detail is not None else Candles.empty() for market in markets]
    names = {"child_time": "open_time", "child_open": "open", "child_high": "high", "child_low": "low"}
    columns = {ours: _frozen([getattr(each, name) for each in details]) for ours, name in names.items()}
    if spec.detail is None:
        return np.empty(0, np.int64), columns
    finer, firsts, offset = spec.detail.milliseconds, [], 0
    for market, detail in zip(markets, details, strict=True):
        first, end = (
            np.searchsorted(detail.open_time, market.candles.open_time + shift)
            for shift in (0, spec.timeframe.milliseconds)
        )
        is_complete = end - first == spec.timeframe.milliseconds // finer
        firsts.append(np.where(is_complete, first + offset, -1))
        offset += len(detail)
    return np.concatenate(firsts).astype(np.int64), columns


def _trades(markets: Sequence[Market], orders: Sequence[Orders], book: Book) -> Trades:
    rows = book.trades[: int(book.account["trades"][0])]
    # In order of entry, and of several entries at one time in the order in which they were made.
    rank = np.empty(len(book.outcomes), np.int64)
    rank[book.events["order"]] = np.arange(len(book.events))
    rows = rows.take(np.argsort(rank[rows["order"]], kind="stable"))
    kinds = Labels.of(np.concatenate([_kinds(m, o) for m, o in zip(markets, orders, strict=True)]), _KINDS)
    times = np.concatenate([m.candles.open_time[o.bar] for m, o in zip(markets, orders, strict=True)])
    atr = np.concatenate([each.atr for each in orders])
    symbols = Labels.of(rows["pair"], [market.symbol for market in markets])
    number = rows["order"]
    return Trades(rows, kinds.take(number), times[number], atr[number], symbols)


def _kinds(market: Market, orders: Orders) -> IndexArray:
    """Return the place of each order's kind in ``_KINDS``."""
    kinds = np.full(len(orders), len(KIND_TEXT), np.int64)
    has_signal = orders.signal >= 0
    kinds[has_signal] = market.table.rows["kind"][orders.signal[has_signal]]
    return kinds


def _equity(markets: Sequence[Market], windows: Sequence[Window], book: Book, done: int) -> Equity:
    account, capital = book.account[0], float(book.rules["capital"][0])
    if done < len(book.equity):  # ruined: the account stays what the last close left of it
        book.equity[done:] = book.adverse[done:] = book.equity[done - 1]
    return Equity(_times(markets, windows), book.equity, book.adverse, capital, bool(account["is_ruined"]))
