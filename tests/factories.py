"""Typed makers of test data: candles that look real, candles that are nasty, and the shared real ones."""

import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from markets.candles import Candle, Candles
from markets.series import Timeframe

SHARED_DATA = Path(os.environ.get("SMC_SHARED_DATA", Path(__file__).resolve().parent.parent.parent / "shared" / "data"))


def shared_file(name: str) -> Path:
    """Return a file of the shared data, or skip the test where they are not at hand."""
    path = SHARED_DATA / name
    if not path.exists():
        pytest.skip(f"the shared data are not here: {name} (set SMC_SHARED_DATA)")
    return path


def real_candles(name: str) -> Candles:
    table = pq.ParquetFile(shared_file(f"candles/{name}.parquet")).read()
    columns = [table[column].to_numpy().astype(np.float64) for column in ("open", "high", "low", "close", "volume")]
    return Candles(table["open_time"].to_numpy().astype(np.int64), *columns)


def walk(
    seed: int, n: int, *, timeframe: Timeframe = Timeframe.M1, start: int = 1_700_000_040_000, tick: float = 0.01
) -> Candles:
    """Return a random walk around 100 on a grid of ``tick``."""
    rng = np.random.default_rng(seed)
    inner = rng.normal(0, 0.3, (n, 4)).cumsum(axis=1)
    closes = 100 + np.concatenate([[0.0], inner[:, -1].cumsum()])
    path = np.hstack([closes[:-1, None], closes[:-1, None] + inner])
    path = np.maximum(np.round(path / tick), 1) * tick
    times = timeframe.ceil(start) + np.arange(n, dtype=np.int64) * timeframe.milliseconds
    return Candles(times, path[:, 0], path.max(axis=1), path.min(axis=1), path[:, -1], rng.uniform(1, 9, n).round(3))


def nasty_walk(seed: int, n: int) -> Candles:
    """Return a walk on a coarse grid, with ties, flat stretches, zero-range candles, jumps and missing candles."""
    rng = np.random.default_rng(seed)
    rows, price, time = [], 50.0, 1_700_000_040_000
    flat_left = 0
    for _ in range(n):
        time += 60_000 * (1 if rng.random() > 0.03 else int(rng.integers(2, 9)))
        if flat_left == 0 and rng.random() < 0.04:
            flat_left = int(rng.integers(1, 7))
        if flat_left:
            flat_left -= 1
            rows.append(Candle(time, price, price, price, price, 0.0))
            continue
        if rng.random() < 0.1:
            price = max(5.0, price + float(rng.integers(-4, 5)))
        moves = np.maximum(price + rng.integers(-3, 4, 4).cumsum() * 0.5, 1.0)
        low, high = min(price, *moves), max(price, *moves)
        rows.append(Candle(time, price, high, low, float(moves[-1]), float(rng.integers(0, 5))))
        price = float(moves[-1])
    return Candles.of(rows)
