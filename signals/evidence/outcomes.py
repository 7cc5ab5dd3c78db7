"""What followed each signal: returns, first passages, excursions.

Everything is counted from the open of the candle after the confirm candle, the first price at which a
reader of the signal could have traded.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markets.candles import Candles, FloatArray
from signals.engine.compiled import entry, part
from signals.engine.table import IndexArray

TARGETS = (1, 2, 3)
STOPPED, UNDECIDED = 0, -1

# A first passage that has not come within so many candles is undecided.
PASSAGE_BARS = 500


def average_true_ranges(candles: Candles, period: int) -> FloatArray:
    """Return ATR at each candle, shape (n,), quote currency: the plain mean of the last ``period`` true ranges.

    The engine's own measure (docs/concepts.md#average-true-range).
    """
    atr = np.empty(len(candles))
    _fill_atr(atr, candles.high, candles.low, candles.close, period)
    return atr


@entry
def _fill_atr(atr: Any, high: Any, low: Any, close: Any, period: int) -> None:
    for t in range(len(atr)):
        first = max(0, t - period + 1)
        total = 0.0
        for j in range(first, t + 1):
            reach = high[j] - low[j]
            if j > 0:
                reach = max(reach, abs(high[j] - close[j - 1]), abs(low[j] - close[j - 1]))
            total += reach
        atr[t] = total / (t + 1 - first)


def forward_returns(candles: Candles, atr: FloatArray, horizon: int) -> tuple[FloatArray, FloatArray]:
    """Return what a buyer at the next open has after ``horizon`` candles, in ATR and as a fraction.

    Shapes are (n - horizon,): element t is for a signal confirmed at candle t, whose last candle is
    t + horizon. Where ATR is 0 nothing moved, and the return is 0.
    """
    if len(candles) <= horizon:
        return np.empty(0), np.empty(0)
    bought = candles.open[1 : len(candles) - horizon + 1]
    gained = candles.close[horizon:] - bought
    width = atr[: len(gained)]
    in_atr = np.divide(gained, width, out=np.zeros_like(gained), where=width > 0)
    return in_atr, gained / bought


@dataclass(frozen=True, slots=True, eq=False)
class Passages:
    """How far each trade went before its stop: shape (n,), the largest of ``TARGETS`` reached, ``STOPPED`` when
    the stop came before the first, ``UNDECIDED`` when neither came in time. ``mae_r`` and ``mfe_r`` are the worst
    and best excursions over the horizon in R, both >= 0.
    """

    reached: IndexArray
    is_stopped: NDArray[np.bool_]
    mae_r: FloatArray
    mfe_r: FloatArray

    def rate(self, target: int) -> tuple[int, int]:
        """Return how many reached ``target`` R before -1 R, and of how many decided."""
        hit = int((self.reached >= target).sum())
        return hit, hit + int(((self.reached < target) & self.is_stopped).sum())


def first_passages(
    candles: Candles, at: IndexArray, direction: IndexArray, stop: FloatArray, *, horizon: int
) -> Passages:
    """Walk each trade from the open after its confirm candle to +1, +2, +3 R or -1 R, whichever comes first.

    Parameters
    ----------
    at
        Confirm candles, shape (n,).
    direction
        1 or -1, shape (n,).
    stop
        Stop prices, shape (n,), quote currency; R is their distance from the entry.
    horizon
        Candles over which the excursions are taken, be they more or fewer than decide the passage.

    Notes
    -----
    A candle that holds both the stop and a target counts as stopped: the order inside it is not known. A
    stop already behind the entry leaves the trade undecided.
    """
    reached = np.full(len(at), UNDECIDED, np.int64)
    is_stopped = np.zeros(len(at), np.bool_)
    mae, mfe = np.zeros(len(at)), np.zeros(len(at))
    prices = (candles.open, candles.high, candles.low)
    _walk(prices, (at, direction, stop), (reached, is_stopped, mae, mfe), horizon, PASSAGE_BARS)
    return Passages(reached, is_stopped, mae, mfe)


@entry
def _walk(prices: Any, trades: Any, found: Any, horizon: int, last: int) -> None:
    open_ = prices[0]
    at, direction, stop = trades
    for i in range(len(at)):
        first = at[i] + 1
        if first < len(open_) and direction[i] * (open_[first] - stop[i]) > 0.0:
            risk = direction[i] * (open_[first] - stop[i])
            _walk_one(prices, (first, direction[i], risk), found, i, (horizon, last))


@part
def _walk_one(prices: Any, trade: Any, found: Any, i: int, limits: tuple[int, int]) -> None:
    open_, high, low = prices
    first, direction, risk = trade
    reached, is_stopped, mae, mfe = found
    best, is_over = 0, False
    horizon, last = limits
    for t in range(first, min(first + max(horizon, last), len(open_))):
        is_inside = t < first + horizon
        is_over = is_over or t >= first + last
        if is_over and not is_inside:
            break
        gain = (high[t] - open_[first]) if direction > 0 else (open_[first] - low[t])
        loss = (open_[first] - low[t]) if direction > 0 else (high[t] - open_[first])
        if is_inside:
            mae[i] = max(mae[i], loss / risk)
            mfe[i] = max(mfe[i], gain / risk)
        if not is_over and loss >= risk:
            is_stopped[i] = is_over = True
        elif not is_over:
            while best < 3 and gain > (best + 1) * risk:
                best += 1
            is_over = best == 3
    reached[i] = best if best > 0 or is_stopped[i] else -1
