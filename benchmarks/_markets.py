"""The market that benchmarks of signals run on."""

import numpy as np

from markets.candles import Candles

MINUTE = 60_000


def walk(n: int, *, seed: int = 7) -> Candles:
    """Return minutes that behave like a crypto pair's: clustered volatility, prices on a grid of 0.01."""
    rng = np.random.default_rng(seed)
    scale = 4e-4 * np.exp(0.6 * np.sin(np.arange(n) / 700) + rng.normal(0, 0.3, n))
    close = np.round(30_000 * np.exp((rng.normal(0, 1, n) * scale).cumsum() % 0.8), 2)
    open_ = np.concatenate([close[:1], close[:-1]])
    wicks = np.round(rng.exponential(0.5, (2, n)) * scale * close, 2)
    high, low = np.maximum(open_, close) + wicks[0], np.minimum(open_, close) - wicks[1]
    times = 1_672_531_200_000 + np.arange(n, dtype=np.int64) * MINUTE
    return Candles(times, open_, high, low, close, np.ones(n))
