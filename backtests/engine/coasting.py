"""Coasting: bars in which nothing can happen are passed in one tight loop, with the very results of the full walk."""

from typing import Any

from backtests.engine.layout import Book
from signals.engine.compiled import part


@part
def coast(book: Book) -> None:
    """Pass the bars up to the first in which a price or an order may matter; one pair, at most one position.

    What a passed bar leaves behind is its excursions and its marks. A bar that reaches anything is left to the full
    rules, its open included: an open lies within its bar, so none of its rules can be missed.
    """
    account, pair = book.account[0], book.pairs[0]
    until = pair.end
    if account.event < len(book.events):
        until = min(until, book.events[account.event].idx)
    if account.positions == 0:
        _coast_flat(book, account, pair, until)
    else:
        _coast_with(book, account, pair, until)


@part
def _coast_flat(book: Book, account: Any, pair: Any, until: int) -> None:
    first, cash = pair.at, account.cash
    for i in range(first, until):
        book.equity[account.step + i - first] = cash
        book.adverse[account.step + i - first] = cash
    if until > first:
        _arrive(book, account, pair, until, cash)


@part
def _coast_with(book: Book, account: Any, pair: Any, until: int) -> None:
    rules, position = book.rules[0], book.positions[0]
    if position.trail > 0.0:
        return
    if rules.max_bars > 0:
        until = min(until, position.entry_idx + rules.max_bars)
    side, entry, stop, left = position.side, position.entry, position.stop, position.left
    against = (2 if side > 0 else 1) if rules.exit_on_opposite else 0
    level = _nearest_level(rules, position)
    best, worst, cash = position.best, position.worst, account.cash
    first = i = pair.at
    equity = account.equity
    while i < until:
        high = book.high[i] if side > 0 else -book.low[i]
        low = book.low[i] if side > 0 else -book.high[i]
        marked = cash + left * (side * book.close[i] - entry)
        if low <= stop or high >= level or marked <= 0.0 or (against > 0 and book.triggers[i - 1] & against):
            break
        best, worst = max(best, high - entry), max(worst, entry - low)
        equity = marked
        book.equity[account.step + i - first] = marked
        book.adverse[account.step + i - first] = cash + left * (low - entry)
        i += 1
    if i > first:
        position.best, position.worst = best, worst
        _arrive(book, account, pair, i, equity)


@part
def _nearest_level(rules: Any, position: Any) -> float:
    """Return the lowest mirrored price above at which something may happen: a target, or the move to break-even."""
    level = position.target if position.target != 0.0 else 1e300
    if position.partial_quantity > 0.0:
        level = min(level, position.partial)
    if rules.break_even_r > 0.0 and position.stop < position.break_even:
        level = min(level, position.break_even_trigger)
    return level


@part
def _arrive(book: Book, account: Any, pair: Any, i: int, equity: float) -> None:
    account.step += i - pair.at
    account.equity = equity
    pair.close = book.close[i - 1]
    pair.at = i
