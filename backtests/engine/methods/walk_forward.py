"""The walk-forward: settings are chosen on one stretch and judged on the next, which nobody had seen."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from backtests.engine.bench import Bench, better, headlines, read_metric
from backtests.engine.methods.method import Options, Piece, WholeOption
from backtests.engine.methods.sweep import read_axes, settings_of, varied
from backtests.engine.metrics import p_value
from backtests.engine.spec import BacktestSpec
from markets.errors import InvalidInputError

WINDOWS = WholeOption("windows", default=12, low=2, high=60)
# The in-sample stretch in lengths of an out-of-sample one.
IN_SAMPLE = WholeOption("in_sample", default=4, low=1, high=20)
MIN_TRADES = WholeOption("min_trades", default=10, low=1, high=10_000)


class WalkForward:
    """Rolling windows. A piece is one window: all settings in sample, the chosen one out of sample."""

    name: ClassVar[str] = "walk_forward"
    meaning: ClassVar[str] = "chooses settings on one stretch, judges them on the next, and rolls on"
    option_names: ClassVar[tuple[str, ...]] = ("axes", "metric", "windows", "in_sample", "min_trades")

    def read(self, spec: BacktestSpec, options: Mapping[str, Any]) -> Options:
        return {
            "axes": read_axes(spec, options.get("axes")),
            "metric": read_metric(options),
            "windows": WINDOWS.read(options),
            "in_sample": IN_SAMPLE.read(options),
            "min_trades": MIN_TRADES.read(options),
        }

    def plan(self, spec: BacktestSpec, options: Options) -> list[Piece]:
        start, end = spec.start or 0, spec.end or 0
        count, behind, bar = options["windows"], options["in_sample"], spec.timeframe.milliseconds
        length = (end - start) // (count + behind) // bar * bar
        if length < bar:
            raise InvalidInputError(f"the range is too short for {count} windows", field="windows")
        # The last window takes what the division left over.
        edges = [start + length * (behind + k) for k in range(count)] + [end]
        return [
            {
                "start": edges[k] - length * behind, "split": edges[k], "end": edges[k + 1], "axes": options["axes"],
                "metric": options["metric"], "min_trades": options["min_trades"],
            }
            for k in range(count)
        ]  # fmt: skip

    def runs(self, spec: BacktestSpec, options: Options) -> int:
        return options["windows"] * (len(settings_of(options["axes"])) + 1)

    def work(self, bench: Bench, spec: BacktestSpec, piece: Piece) -> dict[str, Any]:
        settings, metric = settings_of(piece["axes"]), piece["metric"]
        tried = [bench.trial(varied(spec, setting).within(piece["start"], piece["split"])) for setting in settings]
        scores = [_score(trial, metric, piece["min_trades"]) for trial in tried]
        window = {"start": piece["start"], "split": piece["split"], "end": piece["end"]}
        if not np.isfinite(scores).any():
            return {**window, "setting": None, "in_sample": None, "out_of_sample": None, "r": [], "net": []}
        chosen = int(np.nanargmax(scores))
        judged = varied(spec, settings[chosen]).within(piece["split"], piece["end"])
        walked = bench.trade(judged)
        closed = walked.trades.take(walked.trades.is_closed)
        return {
            **window,
            "setting": settings[chosen],
            "in_sample": tried[chosen],
            "out_of_sample": headlines(walked, judged),
            "r": closed.r.tolist(),
            "net": closed.net.tolist(),
        }

    def combine(
        self, spec: BacktestSpec, options: Options, pieces: Sequence[Piece], results: Sequence[dict[str, Any] | None]
    ) -> dict[str, Any]:
        windows = [
            {name: value for name, value in result.items() if name not in ("r", "net")} if result is not None else None
            for result in results
        ]
        judged = [result for result in results if result is not None and result["setting"] is not None]
        r = np.array([each for result in judged for each in result["r"]], np.float64)
        inside = [result["in_sample"]["expectancy_r"] for result in judged]
        inside = [each for each in inside if each is not None]
        mean_inside = float(np.mean(inside)) if inside else None
        mean_r = float(r.mean()) if len(r) else None
        growth = np.prod([1.0 + result["out_of_sample"]["return_pct"] / 100.0 for result in judged])
        return {
            "axes": options["axes"],
            "metric": options["metric"],
            "windows": windows,
            "out_of_sample": {
                "trades": len(r),
                "total_r": float(r.sum()),
                "expectancy_r": mean_r,
                "p_value": p_value(r),
                "win_rate": float((r > 0).mean()) if len(r) else None,
                # Each window's return on the capital that the one before left.
                "return_pct": 100.0 * float(growth - 1.0) if judged else None,
                "profitable_windows": sum(result["out_of_sample"]["net_profit"] > 0 for result in judged),
            },
            "in_sample_expectancy_r": mean_inside,
            # What was left of the promise; undefined where there was none.
            "efficiency": mean_r / mean_inside if mean_inside and mean_inside > 0 and mean_r is not None else None,
        }


def _score(trial: Mapping[str, float | int | None], metric: str, min_trades: int) -> float:
    """Return how good a setting was in sample; NaN where too few trades say nothing."""
    value = trial[metric]
    return np.nan if value is None or (trial["trades"] or 0) < min_trades else better(metric, value)
