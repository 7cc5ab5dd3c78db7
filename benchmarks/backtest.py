"""How long backtests take: one long run, a sweep, a walk-forward. ``python benchmarks/backtest.py [--quick]``.

Beside backtesting.py and vectorbt where they are installed: same candles, and as rule the entries, stops and targets
of our own trades, given to each of them ready-made, so that only trading and measuring are timed.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from backtests.engine import fills
from backtests.engine.bench import Bench
from backtests.engine.market import Market
from backtests.engine.methods import METHODS
from backtests.engine.metrics import daily_returns
from backtests.engine.run import Result, open_market, run_markets, trade
from backtests.engine.spec import BacktestSpec
from backtests.reports import publish_folder, report_files
from benchmarks._timing import seconds_of
from markets.candles import Candles
from markets.series import Timeframe
from tests.factories import walk

YEAR_OF_QUARTERS = 35_040
# Some 23,000 trades in a million candles, of a risk that the account survives.
SETTING = {"swing_length": 12, "risk_pct": 0.01}


def market(count: int) -> Candles:
    """Return a geometric random walk of 1m candles that starts at 20,000, on a grid of 0.01."""
    rng = np.random.default_rng(1)
    moves = rng.normal(0.0, 0.0004, (count, 4)).cumsum(axis=1)
    opens = np.concatenate([[0.0], moves[:-1, -1].cumsum()])
    path = np.round(20_000.0 * np.exp(opens[:, None] + np.hstack([np.zeros((count, 1)), moves])), 2)
    times = np.arange(count, dtype=np.int64) * Timeframe.M1.milliseconds
    # Columns of their own, as the store gives them.
    first, last = path[:, 0].copy(), path[:, -1].copy()
    return Candles(times, first, path.max(axis=1), path.min(axis=1), last, rng.uniform(1.0, 9.0, count))


def show_run(candles: Candles) -> tuple[Result, float]:
    """Time one long run, in parts and whole."""
    spec = BacktestSpec.of({"symbol": "BTCUSDT", "timeframe": "1m", **SETTING})
    market = open_market(spec, "BTCUSDT", candles)
    result = run_markets([market], spec)
    print(f"  {len(candles):,} candles, {len(result.trades):,} trades of {spec.strategy.name}")
    print(f"  fills                               {1000 * seconds_of_walk(market, spec):8.1f} ms")
    print(f"  orders and fills                    {1000 * seconds_of(lambda: trade([market], spec)):8.1f} ms")

    def trade_and_measure() -> Result:
        return run_markets([market], spec)

    def report(found: Result) -> None:
        with tempfile.TemporaryDirectory() as folder:
            publish_folder(Path(folder) / "run", report_files(found))

    measured = seconds_of(trade_and_measure)
    print(f"  fills and metrics                   {1000 * measured:8.1f} ms")
    reported = seconds_of(lambda: report(trade_and_measure()))
    print(f"  fills, metrics, report files        {1000 * reported:8.1f} ms")
    whole = seconds_of(lambda: report(run_markets([open_market(spec, "BTCUSDT", candles)], spec)))
    print(f"  all that, and the signals anew      {1000 * whole:8.1f} ms")
    return result, measured


def seconds_of_walk(market: Market, spec: BacktestSpec) -> float:
    """Time the walk over the candles alone, without the orders before it and the columns after it."""
    taken = []
    walk = fills.walk

    def timed(book: Any) -> int:
        began = time.perf_counter()
        steps = walk(book)
        taken.append(time.perf_counter() - began)
        return steps

    with patch.object(fills, "walk", timed):
        for _ in range(7):
            trade([market], spec)
    return min(taken)


def show_method(name: str, options: dict[str, Any]) -> None:
    """Time an analysis of a year of 15m, piece by piece on one core."""
    candles = walk(2, YEAR_OF_QUARTERS, timeframe=Timeframe.M15)
    spec = BacktestSpec.of({"symbol": "BTCUSDT", "timeframe": "15m"})
    spec = spec.within(int(candles.open_time[0]), int(candles.open_time[-1]) + 1)
    method = METHODS[name]
    read = method.read(spec, options)
    pieces = method.plan(spec, read)
    bench = Bench({"BTCUSDT": candles})
    method.work(bench, spec, pieces[0])
    began = time.perf_counter()
    method.combine(spec, read, pieces, [method.work(bench, spec, piece) for piece in pieces])
    print(f"  {name:<14}{method.runs(spec, read):>6,} runs of {len(candles):,} candles "
          f"{time.perf_counter() - began:8.2f} s on one core")  # fmt: skip


def show_theirs(candles: Candles, result: Result, ours: float) -> None:
    """Time what others need for the same trades, and show what they make of our returns."""
    columns, equity = result.trades.columns(), result.equity
    held = np.concatenate([[equity.capital], equity.equity])
    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        np.savez(
            file,
            **{name: getattr(candles, name) for name in ("open_time", "open", "high", "low", "close", "volume")},
            at=np.searchsorted(candles.open_time, result.trades.signal_time),
            direction=result.trades.rows["side"],
            stop=np.asarray(columns["stop_price"], np.float64),
            target=np.asarray(columns["target_price"], np.float64),
            daily=daily_returns(equity),
            returns=np.diff(held) / held[:-1],
        )
        file.flush()
        for module, name in (("backtesting", "backtesting.py"), ("vectorbt", "vectorbt")):
            if importlib.util.find_spec(module) is None:
                print(f"  {name} is not installed: nothing to stand beside")
                continue
            told = _told_by(module, file.name)
            print(f"  {name:<16}{told['trades']:>8,} trades {told['seconds']:8.2f} s, ours {ours:.3f} s: "
                  f"{told['seconds'] / ours:,.0f} times")  # fmt: skip
        if importlib.util.find_spec("vectorbt") is not None:
            for measure, theirs in _told_by("measures", file.name).items():
                print(f"  {measure:<18} vectorbt {theirs:12.6f}, ours {result.metrics[measure]:12.6f}")


def _told_by(what: str, path: str) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).with_name("_their_backtests.py")), what, path]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{what} failed:\n{ended.stderr}")
    told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description="Times backtests.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the candles: a look, not a measurement")
    options = parser.parse_args()
    candles = market(100_000 if options.quick else 1_000_000)
    result, ours = show_run(candles)
    show_method("sweep", {"axes": {
        "stop_atr": np.linspace(0.5, 5.0, 10).tolist(), "target_r": np.linspace(0.5, 5.0, 10).tolist(),
    }})  # fmt: skip
    show_method("walk_forward", {"windows": 12, "axes": {
        "stop_atr": np.linspace(0.5, 5.0, 10).tolist(), "target_r": np.linspace(0.5, 5.0, 10).tolist(),
    }})  # fmt: skip
    show_theirs(candles, result, ours)


if __name__ == "__main__":
    main()
