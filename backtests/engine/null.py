"""The null benchmark: entries at random bars, as many as a compared run made, with the same sides and stops."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backtests.engine.account import Walked, trade_orders, window_of
from backtests.engine.ledger import Trades
from backtests.engine.market import Market
from backtests.engine.orders import Orders
from backtests.engine.spec import BacktestSpec
from markets.candles import FloatArray
from signals.engine.table import IndexArray

# How many bars are drawn for each entry wanted, and how many more once those found too few free slots.
_FIRST, _DENSER = 4, 2.5


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Entries at random, shape (n,) each: pair, confirm bar, side, and distance of the stop in ATR."""

    pair: IndexArray
    bar: IndexArray
    side: IndexArray
    distance_atr: FloatArray

    def take(self, where: IndexArray) -> "Drawn":
        return Drawn(self.pair[where], self.bar[where], self.side[where], self.distance_atr[where])


def trade_at_random(markets: Sequence[Market], compared: Walked, spec: BacktestSpec, *, seed: int) -> Walked:
    """Trade at random bars: as many longs and as many shorts as ``compared`` entered.

    Bars are drawn without replacement from the window, each with the side and the stop distance in ATR of one of
    the compared trades. Entries that meet no free slot are lost, so ever more are drawn until enough found one;
    of those that did a random part is kept. Where even all bars are too few, all that found a slot are kept.
    """
    rng = np.random.default_rng(seed)
    drawn = _draw(markets, compared.trades, spec, rng)
    wanted = {side: int((compared.trades.rows["side"] == side).sum()) for side in (1, -1)}
    count = min(_FIRST * len(compared.trades), len(drawn.bar))
    while True:
        dense = _in_order(drawn.take(np.arange(count)))
        walked = trade_orders(markets, _orders(markets, dense), spec)
        entered = walked.trades.rows
        found = {side: entered["order"][entered["side"] == side] for side in (1, -1)}
        if count == len(drawn.bar) or all(len(found[side]) >= wanted[side] for side in (1, -1)):
            break
        count = min(len(drawn.bar), int(count * _DENSER) + 1)
    kept = np.sort(np.concatenate([rng.permutation(found[side])[: wanted[side]] for side in (1, -1)]))
    return trade_orders(markets, _orders(markets, dense.take(kept)), spec)


def _draw(markets: Sequence[Market], trades: Trades, spec: BacktestSpec, rng: np.random.Generator) -> Drawn:
    """Return every bar of the window in random order, each with the terms of a random trade."""
    windows = [window_of(market.candles, spec) for market in markets]
    # The last bar of a window has no bar after it to enter at.
    bars = [np.arange(window.first, max(window.first, window.end - 1)) for window in windows]
    pair, bar = np.concatenate([np.full(len(each), k) for k, each in enumerate(bars)]), np.concatenate(bars)
    shuffled = rng.permutation(len(bar)) if len(trades) else np.empty(0, np.int64)
    atr = np.where(trades.atr > 0, trades.atr, np.inf)
    distance_atr = np.abs(trades.rows["entry"] - trades.rows["stop"]) / atr
    terms = rng.integers(0, max(1, len(trades)), len(shuffled))
    return Drawn(pair[shuffled], bar[shuffled], trades.rows["side"][terms], distance_atr[terms])


def _in_order(drawn: Drawn) -> Drawn:
    """Return the entries by pair and bar, the order in which orders are numbered."""
    return drawn.take(np.lexsort((drawn.bar, drawn.pair)))


def _orders(markets: Sequence[Market], drawn: Drawn) -> list[Orders]:
    return [_orders_of(market, drawn.take(np.flatnonzero(drawn.pair == k))) for k, market in enumerate(markets)]


def _orders_of(market: Market, drawn: Drawn) -> Orders:
    count = len(drawn.bar)
    none: NDArray[np.float64] = np.full(count, np.nan)
    atr = market.atr(drawn.bar)
    return Orders(
        bar=drawn.bar,
        side=drawn.side,
        signal=np.full(count, -1, np.int64),
        score=np.zeros(count),
        limit=none,
        stop=none,
        distance=drawn.distance_atr * atr,
        last_bar=drawn.bar,
        atr=atr,
    )
