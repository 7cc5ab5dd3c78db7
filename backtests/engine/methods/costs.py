"""Sensitivity to costs: the same run with fees and slippage that are a multiple of those asked for."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from backtests.engine.bench import Bench, read_metric
from backtests.engine.methods.method import Options, Piece
from backtests.engine.methods.sweep import grid_of, varied
from backtests.engine.spec import BacktestSpec

MULTIPLES = (0.0, 0.5, 1.0, 2.0, 3.0)
_HIGHEST_BPS = 1_000.0


class Costs:
    """A grid of fee and slippage multiples. A piece is one multiple of the fees."""

    name: ClassVar[str] = "costs"
    meaning: ClassVar[str] = "the run with none, half, double and triple the fees and the slippage"
    option_names: ClassVar[tuple[str, ...]] = ("metric",)

    def read(self, spec: BacktestSpec, options: Mapping[str, Any]) -> Options:
        return {"metric": read_metric(options)}

    def plan(self, spec: BacktestSpec, options: Options) -> list[Piece]:
        return [{"fees": multiple, "others": list(MULTIPLES)} for multiple in MULTIPLES]

    def runs(self, spec: BacktestSpec, options: Options) -> int:
        return len(MULTIPLES) ** 2

    def work(self, bench: Bench, spec: BacktestSpec, piece: Piece) -> dict[str, Any]:
        return {"cells": [bench.trial(at_costs(spec, fees=piece["fees"], slippage=each)) for each in piece["others"]]}

    def combine(
        self, spec: BacktestSpec, options: Options, pieces: Sequence[Piece], results: Sequence[dict[str, Any] | None]
    ) -> dict[str, Any]:
        axes = {"fees": list(MULTIPLES), "slippage": list(MULTIPLES)}
        return {"axes": axes, "metric": options["metric"], "grid": grid_of(options, pieces, results)["grid"]}


def at_costs(spec: BacktestSpec, *, fees: float, slippage: float) -> BacktestSpec:
    """Return the specification with its costs multiplied."""
    return varied(spec, multiplied(spec, fees=fees, slippage=slippage))


def multiplied(spec: BacktestSpec, *, fees: float, slippage: float) -> dict[str, float]:
    """Return the parameters of costs by name, each a multiple of what ``spec`` says, up to what they may be."""
    multiples = {"taker_fee_bps": fees, "maker_fee_bps": fees, "slippage_bps": slippage, "spread_bps": slippage}
    return {name: min(_HIGHEST_BPS, getattr(spec, name) * each) for name, each in multiples.items()}
