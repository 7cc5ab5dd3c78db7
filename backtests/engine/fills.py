"""The walk: one pass over the candles that opens, watches and closes positions (docs/assumptions.md#fills).

The order of work at one open time is part of the rules: what leaves at the open, market entries, limit fills,
then the inside of the bar, then the marks at its close.
"""

from typing import Any

from backtests.engine.coasting import coast
from backtests.engine.layout import NEVER, Book, Reason, Resolution, code
from backtests.engine.positions import (
    attempt_entry,
    is_reached,
    leave_at_market,
    leave_at_target,
    leave_piece,
    leave_undecided,
    note_extremes,
    take_partial,
    write_trade,
)
from signals.engine.compiled import entry, part

_STOP, _TIME_STOP, _OPPOSITE = code(Reason.STOP), code(Reason.TIME_STOP), code(Reason.OPPOSITE)
_END_OF_DATA = code(Reason.END_OF_DATA)
_BAR, _LTF = code(Resolution.BAR), code(Resolution.LTF)

# What one (finer) bar says about a position: it goes on, it is closed, stop and target are both in it, or
# (the fill bar of a limit) the target is in it, perhaps before the fill.
_OPEN, _CLOSED, _CONFLICT, _UNPROVEN = 0, 1, 2, 3


@entry
def walk(book: Book) -> int:
    """Walk the candles of all pairs in time order; return how many steps of the account were made.

    ``book`` is changed in place: trades, outcomes and equity are written, ``account`` says how many. The walk
    ends early when a close leaves no equity (``account.is_ruined``).
    """
    account = book.account[0]
    while True:
        if len(book.pairs) == 1 and account.positions <= 1:
            coast(book)
        now = _next_time(book)
        if now == NEVER:
            break
        if account.positions > 0:
            _leave_at_open(book, now)
        _enter(book, now)
        if account.positions > 0:
            _live_inside(book, now)
        _mark(book, now)
        account.step += 1
        if account.equity <= 0.0:
            account.is_ruined = 1
            break
    _leave_at_end(book)
    return account.step


@part
def _next_time(book: Book) -> int:
    now = NEVER
    for p in range(len(book.pairs)):
        pair = book.pairs[p]
        if pair.at < pair.end:
            now = min(now, book.open_time[pair.at])
    return now


@part
def _has_candle(book: Book, pair: Any, now: int) -> bool:
    return pair.at < pair.end and book.open_time[pair.at] == now


@part
def _mirrored(book: Book, i: int, side: int) -> tuple[float, float, float]:
    """Return open, high and low of bar ``i`` as a long sees them."""
    if side > 0:
        return book.open[i], book.high[i], book.low[i]
    return -book.open[i], -book.low[i], -book.high[i]


@part
def _mirrored_child(book: Book, i: int, side: int) -> tuple[float, float, float]:
    if side > 0:
        return book.child_open[i], book.child_high[i], book.child_low[i]
    return -book.child_open[i], -book.child_low[i], -book.child_high[i]


@part
def _leave_at_open(book: Book, now: int) -> None:
    """Close what the open decides: gaps, then time stops, then exits on an opposite signal."""
    account, rules = book.account[0], book.rules[0]
    for k in range(account.positions):
        position = book.positions[k]
        pair = book.pairs[position.pair]
        if not _has_candle(book, pair, now):
            continue
        i, side = pair.at, position.side
        where = (i, now, _BAR)
        opening = _mirrored(book, i, side)[0]
        if _judge_open(book, position, opening, where):
            continue
        if rules.max_bars > 0 and i - position.entry_idx >= rules.max_bars:
            leave_at_market(book, position, opening, _TIME_STOP, where)
        elif rules.exit_on_opposite and book.triggers[i - 1] & (2 if side > 0 else 1):
            leave_at_market(book, position, opening, _OPPOSITE, where)
    _forget_closed(book)


@part
def _judge_open(book: Book, position: Any, opening: float, where: tuple[int, int, int]) -> bool:
    """Apply the gap rules to an open; say whether the position is closed by it."""
    if opening <= position.stop:
        leave_at_market(book, position, opening, _STOP, where)
        return True
    if is_reached(book, position.target, opening):
        leave_at_target(book, position, where)
        return True
    if is_reached(book, position.partial, opening):
        take_partial(book, position)
    return False


@part
def _enter(book: Book, now: int) -> None:
    account = book.account[0]
    while account.event < len(book.events) and book.events[account.event].time <= now:
        event = book.events[account.event]
        book.outcomes[event.order] = attempt_entry(book, event)
        account.event += 1


@part
def _live_inside(book: Book, now: int) -> None:
    account = book.account[0]
    was_open = account.positions
    closed = 0
    for k in range(was_open):
        position = book.positions[k]
        pair = book.pairs[position.pair]
        if _has_candle(book, pair, now):
            _live_bar(book, position, pair.at, now)
            closed += position.left == 0.0
    if closed > 0:
        _forget_closed(book)


@part
def _live_bar(book: Book, position: Any, i: int, now: int) -> None:
    """Take a position through the inside of bar ``i``, by its finer candles where the bar alone cannot decide."""
    prices = _mirrored(book, i, position.side)
    is_fill_bar = position.is_limit != 0 and i == position.entry_idx
    verdict = _judge_inside(book, position, prices, (i, now, _BAR), is_fill_bar)
    if verdict in (_OPEN, _CLOSED):
        return
    first = book.first_child[i] if len(book.first_child) > 0 else -1
    if first >= 0 and _walk_children(book, position, first, i, is_fill_bar):
        return
    if verdict == _CONFLICT:
        leave_undecided(book, position, prices[1], (i, now, _BAR))
    elif first < 0:
        note_extremes(position, position.entry, prices[2])


@part
def _judge_inside(
    book: Book, position: Any, prices: tuple[float, float, float], where: tuple[int, int, int], is_fill_bar: bool
) -> int:
    """Apply the rules to the inside of one bar of any timeframe: stop, levels, tightened stop."""
    opening, high, low = prices
    reaches = is_reached(book, position.target, high) or (
        position.partial_quantity > 0.0 and is_reached(book, position.partial, high)
    )
    if low <= position.stop:
        if reaches and opening > position.stop:
            return _CONFLICT
        leave_at_market(book, position, min(opening, position.stop), _STOP, where)
        return _CLOSED
    if is_fill_bar:
        # The bar's favourable extreme may have come before the fill.
        if not reaches:
            note_extremes(position, position.entry, low)
        return _UNPROVEN if reaches else _OPEN
    return _live_levels(book, position, (high, low), where)


@part
def _live_levels(book: Book, position: Any, extremes: tuple[float, float], where: tuple[int, int, int]) -> int:
    """Take the levels that a bar reaches without its stop, then tighten the stop and look at it again."""
    high, low = extremes
    if is_reached(book, position.target, high):
        leave_at_target(book, position, where)
        return _CLOSED
    if is_reached(book, position.partial, high):
        take_partial(book, position)
    _tighten(book, position, high)
    if low <= position.stop:
        leave_at_market(book, position, position.stop, _STOP, where)
        return _CLOSED
    note_extremes(position, high, low)
    return _OPEN


@part
def _tighten(book: Book, position: Any, high: float) -> None:
    """Raise the stop to break-even, and behind the bar's high; it never falls."""
    if book.rules[0].break_even_r > 0.0 and high >= position.break_even_trigger:
        position.stop = max(position.stop, position.break_even)
    if position.trail > 0.0:
        position.stop = max(position.stop, high - position.trail)


@part
def _walk_children(book: Book, position: Any, first: int, i: int, is_fill_bar: bool) -> bool:
    """Decide bar ``i`` by its finer candles, by the same rules; say whether the position was closed."""
    is_filled = not is_fill_bar
    for child in range(first, first + book.rules[0].children):
        prices = _mirrored_child(book, child, position.side)
        where = (i, book.child_time[child], _LTF)
        fills_here = not is_filled and prices[2] < position.entry
        if not is_filled and not fills_here:
            continue
        is_filled = True
        if not fills_here and _judge_open(book, position, prices[0], where):
            return True
        verdict = _judge_inside(book, position, prices, where, fills_here)
        if verdict == _CONFLICT:
            leave_undecided(book, position, prices[1], (i, book.open_time[i], _LTF))
            return True
        if verdict == _CLOSED:
            return True
        if verdict == _UNPROVEN:
            note_extremes(position, position.entry, prices[2])
    return False


@part
def _forget_closed(book: Book) -> None:
    """Let the open positions close ranks, in order of entry."""
    account = book.account[0]
    kept = 0
    for k in range(account.positions):
        if book.positions[k].left > 0.0:
            if kept < k:
                book.positions[kept] = book.positions[k]
            kept += 1
    account.positions = kept


@part
def _mark(book: Book, now: int) -> None:
    """Mark the account at the close and at the bars' adverse extremes, and move every pair on that has a bar."""
    account = book.account[0]
    equity = adverse = account.cash
    for k in range(account.positions):
        position = book.positions[k]
        pair, side = book.pairs[position.pair], position.side
        last = worst = side * pair.close
        if _has_candle(book, pair, now):
            last, worst = side * book.close[pair.at], _mirrored(book, pair.at, side)[2]
        equity += position.left * (last - position.entry)
        adverse += position.left * (worst - position.entry)
    account.equity = equity
    book.equity[account.step] = equity
    book.adverse[account.step] = adverse
    for p in range(len(book.pairs)):
        pair = book.pairs[p]
        if _has_candle(book, pair, now):
            pair.close = book.close[pair.at]
            pair.at += 1


@part
def _leave_at_end(book: Book) -> None:
    """Turn what is still open into trades at the last close, without costs, so that the sums meet the equity."""
    account = book.account[0]
    account.step -= 1
    for k in range(account.positions):
        position = book.positions[k]
        pair = book.pairs[position.pair]
        price = position.side * pair.close
        leave_piece(book, position, position.left, price, (price, 0.0))
        write_trade(book, position, price, _END_OF_DATA, (pair.at - 1, book.open_time[pair.at - 1], _BAR))
    account.step += 1
    account.positions = 0
