"""Fills a folder of data: three pairs, six timeframes, a daylight saving night, backtests. Run as a module.

The candles are a seeded walk, so every test knows them to the last digit.
"""

import os

import numpy as np

from markets.candles import Candles, FloatArray

PAIRS = {"BTCUSDT": (60_000.0, 0.01), "ETHUSDT": (2_400.0, 0.01), "BNBUSDT": (550.0, 0.1)}
# 5m candles up to 2026-11-03 00:00 UTC: the autumn night of New York, 1 November, is among them.
LAST_TIME, COUNT, STEP = 1_793_664_000_000, 4_000, 300_000
TIMEFRAMES = ("5m", "15m", "30m", "1h", "4h", "1d")
RUNS = 3


def candles(symbol: str) -> Candles:
    """Return the 5m candles of a pair: trends, ranges, jumps."""
    price, tick = PAIRS[symbol]
    rng = np.random.default_rng(sum(map(ord, symbol)))
    drift = np.repeat(rng.normal(0, 0.0004, COUNT // 50), 50)
    steps = drift + rng.normal(0, 0.0016, COUNT) + (rng.random(COUNT) < 0.02) * rng.normal(0, 0.006, COUNT)
    closes = price * np.exp(np.concatenate([[0.0], steps.cumsum()]))
    spread = np.abs(rng.normal(0, 0.0009, (2, COUNT)))
    opened, closed = closes[:-1], closes[1:]
    high, low = np.maximum(opened, closed) * (1 + spread[0]), np.minimum(opened, closed) * (1 - spread[1])

    def grid(values: FloatArray) -> FloatArray:
        return np.asarray(np.round(np.round(values / tick) * tick, 8))

    times = LAST_TIME - (COUNT - 1 - np.arange(COUNT, dtype=np.int64)) * STEP
    volume = rng.uniform(5, 90, COUNT).round(3)
    return Candles(times, grid(opened), grid(high), grid(low), grid(closed), volume)


def longer(fine: Candles, step: int) -> Candles:
    """Return candles of a longer timeframe, without a first one that is not whole."""
    bucket = fine.open_time // step * step
    first = np.flatnonzero(np.r_[True, np.diff(bucket) > 0])
    last = np.r_[first[1:] - 1, len(fine) - 1]
    whole = slice(1 if fine.open_time[0] % step else 0, None)
    return Candles(
        bucket[first][whole],
        fine.open[first][whole],
        np.maximum.reduceat(fine.high, first)[whole],
        np.minimum.reduceat(fine.low, first)[whole],
        fine.close[last][whole],
        np.add.reduceat(fine.volume, first).round(3)[whole],
    )


def seed() -> None:
    from django.core.management import call_command

    from backtests.engine.spec import BacktestSpec
    from backtests.models import Backtest
    from backtests.services.running import run_now
    from markets.models import Pair
    from markets.selectors import candle_store
    from markets.series import SeriesKey, Timeframe
    from markets.services.pairs import ensure_series
    from markets.store import Source
    from signals.selectors import SignalFilter, summary

    call_command("migrate", verbosity=0)
    for symbol, (_, tick) in PAIRS.items():
        fine = candles(symbol)
        for name in TIMEFRAMES:
            series = SeriesKey(symbol, Timeframe(name))
            ensure_series(series, is_active=True)
            made = fine if name == "5m" else longer(fine, series.timeframe.milliseconds)
            candle_store().merge(series, made, source=Source.FILE)
        Pair.objects.filter(symbol=symbol).update(tick_size=tick, step_size=0.0001, status="TRADING")
    for values in ({}, {"stop_atr": "3"}, {"symbol": "ETHUSDT", "strategy": "sweep_reversal"})[:RUNS]:
        run_now(BacktestSpec.of({"symbol": "BTCUSDT", "timeframe": "5m", **values}))
    run_now(BacktestSpec.of({"symbol": "BTCUSDT", "timeframe": "1d"}))
    Backtest.objects.update(is_quick=False)
    summary(SignalFilter())  # finds the signals of every series, so that no page has to


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "smcsite.settings")
    import django

    django.setup()
    seed()
