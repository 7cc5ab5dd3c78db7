"""The null benchmark: is a run better than as many entries at random bars, with the same sides and stops?"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from backtests.engine.bench import Bench, headlines
from backtests.engine.methods.method import SEED, Options, Piece, WholeOption
from backtests.engine.null import trade_at_random
from backtests.engine.spec import BacktestSpec
from backtests.engine.strategies import Random
from markets.errors import InvalidInputError

DRAWS = WholeOption("draws", default=500, low=20, high=5_000)
_DRAWS_A_PIECE = 25
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Null:
    """Some hundred random runs. A piece is some of them."""

    name: ClassVar[str] = "null"
    meaning: ClassVar[str] = (
        "compares a run with entries at random bars, as many, on the same sides, with the same stops"
    )
    option_names: ClassVar[tuple[str, ...]] = ("draws", "seed")

    def read(self, spec: BacktestSpec, options: Mapping[str, Any]) -> Options:
        if isinstance(spec.strategy, Random):
            raise InvalidInputError("random is the benchmark itself; name the strategy to compare", field="strategy")
        return {
            "draws": DRAWS.read(options),
            "seed": SEED.read(options),
        }

    def plan(self, spec: BacktestSpec, options: Options) -> list[Piece]:
        draws, seed = options["draws"], options["seed"]
        return [
            {"first": seed + at, "count": min(_DRAWS_A_PIECE, draws - at)} for at in range(0, draws, _DRAWS_A_PIECE)
        ]

    def runs(self, spec: BacktestSpec, options: Options) -> int:
        # A draw takes some tries to have enough entries.
        return 3 * int(options["draws"])

    def work(self, bench: Bench, spec: BacktestSpec, piece: Piece) -> dict[str, Any]:
        compared = bench.trade(spec)
        markets = bench.markets(spec)
        drawn = []
        for k in range(piece["count"]):
            bench.check()
            drawn.append(headlines(trade_at_random(markets, compared, spec, seed=piece["first"] + k), spec))
        return {
            "actual": headlines(compared, spec),
            "expectancy_r": [each["expectancy_r"] for each in drawn],
            "return_pct": [each["return_pct"] for each in drawn],
        }

    def combine(
        self, spec: BacktestSpec, options: Options, pieces: Sequence[Piece], results: Sequence[dict[str, Any] | None]
    ) -> dict[str, Any]:
        done = [result for result in results if result is not None]
        if not done:
            return {"draws": 0, "actual": None, "metrics": {}}
        actual = done[0]["actual"]
        metrics = {}
        for name in ("expectancy_r", "return_pct"):
            drawn = np.array([value for result in done for value in result[name] if value is not None], np.float64)
            if actual[name] is not None and len(drawn):
                metrics[name] = against(drawn, actual[name])
        return {"draws": sum(len(result["return_pct"]) for result in done), "actual": actual, "metrics": metrics}


def against(drawn: "np.ndarray[Any, np.dtype[np.float64]]", actual: float) -> dict[str, Any]:
    """Return where ``actual`` lies among what chance brought; p counts the actual run as one of the draws."""
    above, below = int((drawn >= actual).sum()), int((drawn <= actual).sum())
    one_sided = (1 + above) / (1 + len(drawn))
    other = (1 + below) / (1 + len(drawn))
    return {
        "actual": actual,
        "mean": float(drawn.mean()),
        "std": float(drawn.std(ddof=1)) if len(drawn) > 1 else None,
        "quantiles": {
            f"{q:g}": float(value) for q, value in zip(_QUANTILES, np.quantile(drawn, _QUANTILES), strict=True)
        },
        "p_value": one_sided,
        "p_value_two_sided": min(1.0, 2 * min(one_sided, other)),
        "histogram": histogram(drawn),
    }


def histogram(drawn: "np.ndarray[Any, np.dtype[np.float64]]", *, bins: int = 30) -> dict[str, Any]:
    counts, edges = np.histogram(drawn, bins=bins)
    return {"counts": counts.tolist(), "edges": [float(edge) for edge in edges]}
