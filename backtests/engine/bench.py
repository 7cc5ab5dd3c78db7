"""Many runs over the same candles: signals are found once for all settings that share a detector."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from backtests.engine.account import Walked
from backtests.engine.market import Filters, Market
from backtests.engine.metrics import equity_metrics, trade_metrics
from backtests.engine.run import open_markets, trade
from backtests.engine.spec import BacktestSpec
from markets.candles import Candles
from markets.errors import InvalidInputError
from markets.series import EARLIEST, LATEST

# What runs may be judged by: of these more is better, unless less is.
TARGETS = (
    "expectancy_r", "total_r", "sqn", "sharpe", "sortino", "calmar", "profit_factor", "return_pct", "net_profit",
    "win_rate", "max_drawdown_pct",
)  # fmt: skip
USUAL_TARGET = "expectancy_r"
_LESS_IS_BETTER = frozenset({"max_drawdown_pct", "max_drawdown_abs", "time_underwater", "ambiguous_share", "p_value"})
_TOLD = (*TARGETS, "trades", "final_equity", "p_value", "ambiguous_share")


def _go_on() -> None:
    """Let every run begin."""


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """Candles of some pairs, ready for any number of runs that end no later than they do.

    ``check`` is called before each run, and may raise to stop the work.
    """

    candles: Mapping[str, Candles]
    detail: Mapping[str, Candles] = field(default_factory=dict)
    filters: Mapping[str, Filters] = field(default_factory=dict)
    check: Callable[[], None] = _go_on
    _opened: dict[Any, list[Market]] = field(default_factory=dict)

    def markets(self, spec: BacktestSpec) -> list[Market]:
        """Return the pairs with their signals; those of one detector are kept, the last one's alone."""
        key = (spec.symbols, spec.timeframe, spec.detector, spec.tick_size, spec.step_size, spec.min_notional)
        if key not in self._opened:
            # A sweep goes through detectors one after the other; signals of all would fill the memory.
            self._opened.clear()
            # The run's end does not matter: what the detector finds later changes nothing that it found before.
            whole = spec.within(EARLIEST, LATEST)
            self._opened[key] = open_markets(whole, self.candles, detail=self.detail, filters=self.filters)
        return self._opened[key]

    def trade(self, spec: BacktestSpec) -> Walked:
        self.check()
        return trade(self.markets(spec), spec)

    def trial(self, spec: BacktestSpec) -> dict[str, float | int | None]:
        """Run a setting and return its headline metrics; None where one is undefined."""
        return headlines(self.trade(spec), spec)


def headlines(walked: Walked, spec: BacktestSpec) -> dict[str, float | int | None]:
    values = {
        **trade_metrics(walked.trades, seed=None).values,
        **equity_metrics(walked.equity, bar_ms=spec.timeframe.milliseconds).values,
    }
    return {name: values[name] for name in _TOLD}


def better(metric: str, value: float) -> float:
    """Return the value turned so that more is better."""
    return -value if metric in _LESS_IS_BETTER else value


def read_metric(options: Mapping[str, Any]) -> str:
    """Return the metric that the options of an analysis name, or the usual one."""
    metric = options.get("metric") or USUAL_TARGET
    if metric not in TARGETS:
        raise InvalidInputError(f"metric must be one of {', '.join(TARGETS)}, was {str(metric)[:60]!r}", field="metric")
    return metric
