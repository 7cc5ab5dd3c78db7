"""The markets that benchmarks run on, the same on every machine and in every run."""

import numpy as np

from markets.candles import Candles, FloatArray, TimeArray

MINUTE = 60_000
_START = 1_672_531_200_000  # 2023-01-01
_END = 1_767_225_600_000  # 2026-01-01


def walk(n: int, *, seed: int = 7) -> Candles:
    """Return minutes that behave like a crypto pair's: clustered volatility, prices on a grid of 0.01."""
    rng = np.random.default_rng(seed)
    scale = 4e-4 * np.exp(0.6 * np.sin(np.arange(n) / 700) + rng.normal(0, 0.3, n))
    close = np.round(30_000 * np.exp((rng.normal(0, 1, n) * scale).cumsum() % 0.8), 2)
    wicks = np.round(rng.exponential(0.5, (2, n)) * scale * close, 2)
    return _candles(_START + _steps(n, MINUTE), close, wicks, np.ones(n), first=close[0])


def plain_walk(n: int, *, start: int = _START, seed: int = 1) -> Candles:
    """Return minutes from ``start`` on whose prices wander off from 30,000, for what stores and sends candles."""
    rng = np.random.default_rng(seed)
    close = np.round(30_000 * np.exp(rng.normal(0, 5e-4, n).cumsum()), 2)
    wicks = np.round(rng.exponential(8, (2, n)), 2)
    return _candles(start + _steps(n, MINUTE), close, wicks, rng.exponential(12, n).round(5), first=30_000.0)


def swinging_walk(n: int, *, price: float, step: int, seed: int) -> Candles:
    """Return candles of ``step`` ms up to 2026 that swing around ``price``, so that pages show prices of that pair."""
    rng = np.random.default_rng(seed)
    close = np.round(price * np.exp(0.4 * np.sin(rng.normal(0, 1e-3 * (step / MINUTE) ** 0.5, n).cumsum())), 2)
    wicks = np.round(rng.exponential(4e-4, (2, n)) * price, 2)
    return _candles(_END - n * step + _steps(n, step), close, wicks, rng.exponential(12, n).round(5), first=close[0])


def _steps(n: int, step: int) -> TimeArray:
    return np.arange(n, dtype=np.int64) * step


def _candles(times: TimeArray, close: FloatArray, wicks: FloatArray, volume: FloatArray, *, first: float) -> Candles:
    """Return candles that open where the one before closed."""
    open_ = np.concatenate([[first], close[:-1]])
    high, low = np.maximum(open_, close) + wicks[0], np.minimum(open_, close) - wicks[1]
    return Candles(times, open_, high, low, close, volume)
