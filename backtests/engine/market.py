"""What a strategy sees of one pair: its candles, the signals found in them, and the ATR at any bar."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from markets.candles import Candles, FloatArray
from markets.series import Timeframe
from signals.engine import Detector, Params, SignalTable
from signals.engine.compiled import entry
from signals.engine.kinds import Kind
from signals.engine.table import IndexArray


@dataclass(frozen=True, slots=True)
class Filters:
    """The exchange's order sizes: price tick, quantity step, smallest order in quote currency; 0: no limit."""

    tick_size: float = 0.0
    step_size: float = 0.0
    min_notional: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """One pair as a backtest reads it.

    ``candles`` begin with the first stored one, however late the window of the run: the detector's warm-up.
    ``detail`` are candles of a lower timeframe that decide bars in which stop and target both lie.
    """

    symbol: str
    timeframe: Timeframe
    candles: Candles
    table: SignalTable
    atr_period: int
    filters: Filters = field(default=Filters())
    detail: Candles | None = None
    detail_timeframe: Timeframe | None = None
    _numbers: dict[tuple[int, ...], IndexArray] = field(default_factory=dict)

    def atr(self, bars: IndexArray) -> FloatArray:
        """Return the average true range at ``bars``, shape (m,), quote currency (docs/concepts.md)."""
        candles, found = self.candles, np.empty(len(bars))
        _atr_at(bars, (candles.high, candles.low, candles.close), self.atr_period, found)
        return found

    def rows(self, *kinds: int) -> IndexArray:
        """Return the numbers of the signals of ``kinds``, in emission order, shape (m,)."""
        if kinds not in self._numbers:
            is_wanted = np.zeros(1 + max(Kind), bool)
            is_wanted[list(kinds)] = True
            # Kept, for the runs of a sweep ask again and again.
            self._numbers[kinds] = np.flatnonzero(is_wanted[self.table.rows["kind"]])
        return self._numbers[kinds]


def detect(candles: Candles, params: Params) -> SignalTable:
    """Return every signal in ``candles``."""
    return Detector(params).run(candles).table


@entry
def _atr_at(bars: Any, prices: tuple[Any, Any, Any], period: int, found: Any) -> None:
    """Compute as the detector does: the last ``period`` true ranges, summed oldest to newest."""
    high, low, close = prices
    for k in range(len(bars)):
        last = bars[k]
        count = min(last + 1, period)
        total = 0.0
        for i in range(last + 1 - count, last + 1):
            true_range = high[i] - low[i]
            if i > 0:
                true_range = max(true_range, abs(high[i] - close[i - 1]), abs(low[i] - close[i - 1]))
            total += true_range
        found[k] = total / count
