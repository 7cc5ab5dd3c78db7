"""The null benchmark: entries at random bars, as many as a compared run made, with the same sides and stops."""

from collections.abc import Callable, Sequence

import numpy as np

from backtests.engine.account import Walked, trade_orders, window_of
from backtests.engine.ledger import Trades
from backtests.engine.market import Market
from backtests.engine.orders import Orders
from backtests.engine.spec import BacktestSpec

_TRIES = 12


def trade_at_random(
    markets: Sequence[Market], compared: Walked, spec: BacktestSpec, *, seed: int
) -> tuple[Walked, list[Orders]]:
    """Trade at random bars until there are as many entries as in ``compared``.

    Bars are taken from one seeded permutation of the window's, the first so many of it; entries that find no free
    slot are lost, so the number of bars is sought by bisection. Each takes side and stop distance in ATR from a
    trade of the compared run. Returns the run and its orders.
    """
    draw = _drawer(markets, compared, spec, seed=seed)
    wanted, bars = len(compared.trades), sum(len(each) for each in draw(None))
    fewest, most = min(wanted, bars), bars
    best = draw(fewest)
    run = trade_orders(markets, best, spec)
    for _ in range(_TRIES):
        if len(run.trades) == wanted or most - fewest <= 1:
            break
        # The first guess already has most of the entries: grow in proportion before halving.
        middle = min(most - 1, max(fewest + 1, fewest * wanted // max(1, len(run.trades))))
        orders = draw(middle)
        trial = trade_orders(markets, orders, spec)
        fewest, most = (middle, most) if len(trial.trades) <= wanted else (fewest, middle)
        if abs(len(trial.trades) - wanted) <= abs(len(run.trades) - wanted):
            best, run = orders, trial
    return run, best


def _drawer(
    markets: Sequence[Market], compared: Walked, spec: BacktestSpec, *, seed: int
) -> Callable[[int | None], list[Orders]]:
    """Return what makes the orders of the first ``count`` bars of the permutation, each pair its own."""
    rng = np.random.default_rng(seed)
    windows = [window_of(market.candles, spec) for market in markets]
    pair = np.concatenate([np.full(max(0, w.end - w.first - 1), k) for k, w in enumerate(windows)])
    bar = np.concatenate([np.arange(w.first, max(w.first, w.end - 1)) for w in windows])
    shuffled = rng.permutation(len(bar))
    side, distance_atr = _terms(compared.trades)
    terms = rng.integers(0, max(1, len(side)), len(bar))

    def draw(count: int | None) -> list[Orders]:
        chosen = np.sort(shuffled[:count]) if len(side) else shuffled[:0]
        return [
            _orders_at(market, bar[ours], side[terms[ours]], distance_atr[terms[ours]])
            for market, ours in ((markets[k], chosen[pair[chosen] == k]) for k in range(len(markets)))
        ]

    return draw


def _terms(trades: Trades) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg] # two columns
    atr = np.where(trades.atr > 0, trades.atr, np.inf)
    return trades.rows["side"].copy(), np.abs(trades.rows["entry"] - trades.rows["stop"]) / atr


def _orders_at(market: Market, bar: np.ndarray, side: np.ndarray, distance_atr: np.ndarray) -> Orders:  # type: ignore[type-arg]
    none, atr = np.full(len(bar), np.nan), market.atr(bar)
    return Orders(
        bar=bar,
        side=side,
        signal=np.full(len(bar), -1, np.int64),
        score=np.zeros(len(bar)),
        limit=none,
        stop=none,
        distance=distance_atr * atr,
        last_bar=bar,
        atr=atr,
    )
