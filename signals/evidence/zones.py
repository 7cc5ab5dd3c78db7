"""Do zones hold? Touched zones against random zones of equal width and distance."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from markets.candles import Candles, FloatArray
from signals.engine.compiled import entry
from signals.engine.layout import RecordArray
from signals.engine.table import IndexArray
from signals.evidence.nulls import wilson

# A zone that was not touched within so many candles is left out, as are its random twins.
REACH_BARS = 500
# A touched zone has held when no candle closed through it within so many candles of the touch.
HOLD_BARS = 24
_TWINS = 20


@dataclass(frozen=True, slots=True)
class HoldRate:
    """How often touched zones held, and how often random zones did; shares are fractions."""

    touched: int
    held: int
    rate: float | None
    ci_low: float | None
    ci_high: float | None
    random_rate: float | None


def hold_rate(
    candles: Candles, rows: RecordArray, atr: FloatArray, *, first: int = 0, rng: np.random.Generator
) -> HoldRate:
    """Compare the zones ``rows`` with twins: each moved to random candles, edges kept in ATR from the close.

    Zones and twins lie at or after the candle ``first``, and what becomes of them is stored in full.
    """
    confirm = rows["confirm_idx"].astype(np.int64)
    end = len(candles) - REACH_BARS - HOLD_BARS
    usable = (confirm >= first) & (confirm < end) & (atr[confirm] > 0)
    confirm, rows = confirm[usable], rows[usable]
    direction = rows["direction"].astype(np.int64)
    own = _outcomes(candles, confirm, direction, rows["top"].copy(), rows["bottom"].copy())
    if not len(confirm):
        return HoldRate(0, 0, None, None, None, None)
    twin_of = np.repeat(np.arange(len(confirm)), _TWINS)
    at = rng.integers(first, end, len(twin_of))
    scale = atr[at] / atr[confirm][twin_of]
    edges = [
        candles.close[at] + (rows[name][twin_of] - candles.close[confirm][twin_of]) * scale
        for name in ("top", "bottom")
    ]
    random = _outcomes(candles, at, direction[twin_of], *edges)
    touched, held = int((own >= 0).sum()), int((own == 1).sum())
    interval = wilson(held, touched)
    random_touched = int((random >= 0).sum())
    return HoldRate(
        touched,
        held,
        held / touched if touched else None,
        interval[0] if interval else None,
        interval[1] if interval else None,
        int((random == 1).sum()) / random_touched if random_touched else None,
    )


def _outcomes(
    candles: Candles, at: IndexArray, direction: IndexArray, top: FloatArray, bottom: FloatArray
) -> IndexArray:
    found = np.full(len(at), -1, np.int64)
    _watch((candles.high, candles.low, candles.close), (at, direction, top, bottom), found, REACH_BARS, HOLD_BARS)
    return found


@entry
def _watch(prices: Any, zones: Any, found: Any, reach: int, hold: int) -> None:
    """Say of each zone: -1 not touched in time, 1 held, 0 closed through."""
    high, low, close = prices
    at, direction, top, bottom = zones
    for i in range(len(at)):
        for t in range(at[i] + 1, at[i] + 1 + reach):
            is_touched = low[t] <= top[i] if direction[i] > 0 else high[t] >= bottom[i]
            if not is_touched:
                continue
            found[i] = 1
            for k in range(t, t + hold):
                is_through = close[k] < bottom[i] if direction[i] > 0 else close[k] > top[i]
                if is_through:
                    found[i] = 0
                    break
            break
