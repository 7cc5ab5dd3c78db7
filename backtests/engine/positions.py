"""Positions: how an entry opens one, and how exits close it in pieces and turn it into a trade."""

from typing import Any

from backtests.engine.costs import (
    bought_at,
    risk_quantity,
    round_down,
    round_mirrored_down,
    round_mirrored_up,
    sold_at,
)
from backtests.engine.layout import Book, Outcome, Reason, Resolution, code
from signals.engine.compiled import part

_TAKEN, _MAX_CONCURRENT, _INVALID_SL = int(Outcome.TAKEN), int(Outcome.MAX_CONCURRENT), int(Outcome.INVALID_SL)
_NO_MARGIN, _MIN_NOTIONAL = int(Outcome.NO_MARGIN), int(Outcome.MIN_NOTIONAL)
_STOP, _TARGET = code(Reason.STOP), code(Reason.TARGET)
_FALLBACK = code(Resolution.FALLBACK)

# Less room than this share of the equity is none: what remains after rounding is not an order.
_NO_ROOM = 1e-9


@part
def attempt_entry(book: Book, event: Any) -> int:
    """Open the position that ``event`` asks for, or return why not (an ``Outcome``)."""
    account, rules, pair = book.account[0], book.rules[0], book.pairs[event.pair]
    if pair.positions >= rules.max_positions:
        return _MAX_CONCURRENT
    side = event.side
    reference = side * (event.limit if event.is_limit else book.open[event.idx])
    entry = reference if event.is_limit else bought_at(reference, side, rules.slip)
    stop = entry - event.distance if event.distance >= 0.0 else side * event.stop
    stop = round_mirrored_down(stop, side, pair.tick)
    risk = entry - stop
    if not risk > 0.0 or (side > 0 and stop <= 0.0):
        return _INVALID_SL
    entry_rate = rules.maker if event.is_limit else rules.taker
    fees = abs(entry) * entry_rate + abs(stop) * rules.taker
    quantity = risk_quantity(rules.risk_fraction * account.equity, risk, fees)
    room = rules.max_leverage * account.equity - _notional(book)
    if room <= _NO_ROOM * account.equity:
        return _NO_MARGIN
    quantity = round_down(min(quantity, room / abs(entry)), pair.step)
    if quantity <= 0.0 or quantity * abs(entry) < pair.min_notional:
        return _MIN_NOTIONAL

    position = book.positions[account.positions]
    account.positions += 1
    pair.positions += 1
    position.order, position.pair, position.side, position.is_limit = event.order, event.pair, side, event.is_limit
    position.entry_idx, position.entry_step = event.idx, account.step
    position.entry, position.stop, position.first_stop, position.risk = entry, stop, stop, risk
    position.trail, position.quantity, position.left = event.trail, quantity, quantity
    position.fees = quantity * abs(entry) * entry_rate
    position.slippage = quantity * abs(entry - reference)
    position.gross = position.exit_value = position.best = position.worst = position.forgone = 0.0
    position.is_ambiguous = 0
    account.cash -= position.fees
    _plan_exits(book, position, entry_rate)
    return _TAKEN


@part
def _notional(book: Book) -> float:
    total = 0.0
    for k in range(book.account[0].positions):
        total += book.positions[k].left * abs(book.positions[k].entry)
    return total


@part
def _plan_exits(book: Book, position: Any, entry_rate: float) -> None:
    """Set target, partial target and break-even of a new position; 0 where there is none."""
    rules, pair = book.rules[0], book.pairs[position.pair]
    side, entry, risk = position.side, position.entry, position.risk
    position.target = position.partial = position.partial_quantity = 0.0
    if rules.target_r > 0.0:
        position.target = round_mirrored_up(entry + rules.target_r * risk, side, pair.tick)
    if rules.partial_r > 0.0:
        position.partial = round_mirrored_up(entry + rules.partial_r * risk, side, pair.tick)
        piece = round_down(position.quantity * rules.partial_fraction, pair.step)
        # A piece too small to be an order is merged with the rest.
        if min(piece, position.quantity - piece) * abs(entry) >= pair.min_notional:
            position.partial_quantity = piece
    costs = (entry_rate + rules.taker + rules.slip) if rules.break_even_costs else 0.0
    position.break_even = entry * (1.0 + side * costs)
    # The stop never moves to a price that the market has not reached.
    position.break_even_trigger = max(entry + rules.break_even_r * risk, position.break_even)


@part
def leave_piece(book: Book, position: Any, quantity: float, price: float, terms: tuple[float, float]) -> None:
    """Sell ``quantity`` at the mirrored fill ``price``; ``terms`` are the price before slippage and the fee rate."""
    reference, rate = terms
    gross = quantity * (price - position.entry)
    fee = quantity * abs(price) * rate
    position.gross += gross
    position.fees += fee
    position.slippage += quantity * abs(price - reference)
    position.exit_value += quantity * abs(price)
    position.left = 0.0 if quantity == position.left else position.left - quantity
    book.account[0].cash += gross - fee
    note_extremes(position, price, price)


@part
def note_extremes(position: Any, high: float, low: float) -> None:
    """Widen the excursions of a position by the mirrored prices that it has lived through."""
    position.best = max(position.best, high - position.entry)
    position.worst = max(position.worst, position.entry - low)


@part
def leave_at_market(book: Book, position: Any, price: float, reason: int, where: tuple[int, int, int]) -> None:
    """Close all that is left at ``price`` less slippage. ``where`` is the bar, the time, and the ``Resolution``."""
    rules = book.rules[0]
    fill = sold_at(price, position.side, rules.slip)
    leave_piece(book, position, position.left, fill, (price, rules.taker))
    write_trade(book, position, fill, reason, where)


@part
def is_reached(book: Book, level: float, price: float) -> bool:
    """Say whether a limit at ``level`` (0: none) fills: price goes through it, or with ``touch_fills`` reaches it."""
    return level != 0.0 and (price > level or (book.rules[0].touch_fills != 0 and price == level))


@part
def leave_at_target(book: Book, position: Any, where: tuple[int, int, int]) -> None:
    take_partial(book, position)
    leave_piece(book, position, position.left, position.target, (position.target, book.rules[0].maker))
    write_trade(book, position, position.target, _TARGET, where)


@part
def take_partial(book: Book, position: Any) -> None:
    """Close the partial quantity, unless that was done, at its own price."""
    if position.partial_quantity > 0.0:
        leave_piece(
            book, position, position.partial_quantity, position.partial, (position.partial, book.rules[0].maker)
        )
        position.partial_quantity = 0.0


@part
def leave_undecided(book: Book, position: Any, high: float, where: tuple[int, int, int]) -> None:
    """Stop a position whose bar reached stop and target without telling which came first.

    Notes what the optimistic answer would have brought beyond the stop's: every level within ``high`` taken
    first, net of fees.
    """
    rules = book.rules[0]
    fill = sold_at(position.stop, position.side, rules.slip)
    stopped = fill - abs(fill) * rules.taker
    left = position.left
    if position.partial_quantity > 0.0 and is_reached(book, position.partial, high):
        taken = position.partial - abs(position.partial) * rules.maker
        position.forgone += position.partial_quantity * (taken - stopped)
        left -= position.partial_quantity
    if is_reached(book, position.target, high):
        position.forgone += left * (position.target - abs(position.target) * rules.maker - stopped)
    position.is_ambiguous = 1
    leave_at_market(book, position, position.stop, _STOP, (where[0], where[1], _FALLBACK))


@part
def write_trade(book: Book, position: Any, price: float, reason: int, where: tuple[int, int, int]) -> None:
    """Append the trade of a position that has just been closed; ``price`` is the last mirrored fill."""
    account = book.account[0]
    trade = book.trades[account.trades]
    account.trades += 1
    book.pairs[position.pair].positions -= 1
    position.left = 0.0
    side = position.side
    trade.order, trade.pair, trade.side = position.order, position.pair, side
    trade.entry_idx, trade.entry_step, trade.exit_step = position.entry_idx, position.entry_step, account.step
    trade.exit_idx, trade.exit_time, trade.resolution = where
    trade.entry_time = book.open_time[position.entry_idx]
    trade.reason, trade.is_ambiguous, trade.forgone = reason, position.is_ambiguous, position.forgone
    trade.entry, trade.stop, trade.target = side * position.entry, side * position.first_stop, side * position.target
    trade.quantity, trade.gross, trade.fees = position.quantity, position.gross, position.fees
    trade.slippage, trade.net = position.slippage, position.gross - position.fees
    # In one piece the price is exact; in several it is their average by quantity.
    is_whole = position.exit_value == position.quantity * abs(price)
    trade.exit = abs(price) if is_whole else position.exit_value / position.quantity
    trade.risk = position.quantity * position.risk
    trade.mae, trade.mfe = position.worst / position.risk, position.best / position.risk
