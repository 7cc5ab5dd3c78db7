"""The sweep: every combination of values of one or two parameters, and the best one that its neighbours confirm."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from backtests.engine.bench import Bench, better, read_metric
from backtests.engine.methods.method import Options, Piece, estimate
from backtests.engine.parameters import stored, unknown_name
from backtests.engine.spec import BacktestSpec, parameters_for
from markets.errors import InvalidInputError, TooLargeError

_MOST_AXES, MOST_SETTINGS = 2, 2_500
# The finer candles are read once for all runs.
FIXED = frozenset({"detail_timeframe"})


class Sweep:
    """A grid of runs. A piece is one row: a value of the first axis with all of the second."""

    name: ClassVar[str] = "sweep"
    meaning: ClassVar[str] = "runs every combination of values of one or two parameters"
    option_names: ClassVar[tuple[str, ...]] = ("axes", "metric")

    def read(self, spec: BacktestSpec, options: Mapping[str, Any]) -> Options:
        return {
            "axes": read_axes(spec, options.get("axes")),
            "metric": read_metric(options),
        }

    def plan(self, spec: BacktestSpec, options: Options) -> list[Piece]:
        (first, values), *rest = options["axes"].items()
        second, others = rest[0] if rest else ("", [None])
        return [{"axis": first, "value": value, "other": second, "others": others} for value in values]

    def runs(self, spec: BacktestSpec, options: Options) -> int:
        return int(np.prod([len(values) for values in options["axes"].values()]))

    def work(self, bench: Bench, spec: BacktestSpec, piece: Piece) -> dict[str, Any]:
        settings = [
            {piece["axis"]: piece["value"], **({piece["other"]: other} if piece["other"] else {})}
            for other in piece["others"]
        ]
        return {"cells": [bench.trial(varied(spec, setting)) for setting in settings]}

    def combine(
        self, spec: BacktestSpec, options: Options, pieces: Sequence[Piece], results: Sequence[dict[str, Any] | None]
    ) -> dict[str, Any]:
        return {"axes": options["axes"], "metric": options["metric"], **grid_of(options, pieces, results)}


def grid_of(options: Options, pieces: Sequence[Piece], results: Sequence[dict[str, Any] | None]) -> dict[str, Any]:
    """Return the grid, row by row, None where a cell is not done, and its best cells once any are."""
    width = len(pieces[0]["others"])
    grid = [result["cells"] if result is not None else [None] * width for result in results]
    metric = options["metric"]
    values = np.array([[_value(cell, metric) for cell in row] for row in grid], np.float64)
    return {"grid": grid, "best": _cell(values, metric, values), "robust_best": _cell(smoothed(values), metric, values)}


def _value(cell: dict[str, Any] | None, metric: str) -> float:
    value = None if cell is None else cell[metric]
    return np.nan if value is None else better(metric, value)


def _cell(judged: NDArray[np.float64], metric: str, values: NDArray[np.float64]) -> dict[str, Any] | None:
    if np.isnan(judged).all():
        return None
    # Neighbours may be judged alike, as all are in a narrow grid: then the better one itself.
    tied = np.where(judged == np.nanmax(judged), values, -np.inf)
    row, column = (int(each) for each in np.unravel_index(int(np.argmax(tied)), tied.shape))
    value = values[row, column]
    return {
        "row": row,
        "column": column,
        "value": None if np.isnan(value) else better(metric, float(value)),
        "judged": better(metric, float(judged[row, column])),
    }


def smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each cell the median of it and its neighbours, up to eight; cells without a value stay without.

    Not the mean: one lucky cell would lift all around it.
    """
    padded = np.pad(values, 1, constant_values=np.nan)
    rows, columns = values.shape
    around = np.stack([padded[i : i + rows, j : j + columns] for i, j in product(range(3), range(3))])
    found = np.full(values.shape, np.nan)
    known = ~np.isnan(values)
    found[known] = np.nanmedian(around[:, known], axis=0)
    return found


def read_axes(spec: BacktestSpec, axes: Any) -> dict[str, list[Any]]:
    """Return the axes with their values read by the parameters; raise ``InvalidInputError`` for bad ones."""
    if not isinstance(axes, Mapping) or not 1 <= len(axes) <= _MOST_AXES:
        raise InvalidInputError("axes must name one or two parameters, each with a list of values", field="axes")
    known = parameters_for(spec.strategy.name, compared=getattr(spec.strategy, "compared", None))
    _check_count(spec, axes)
    read: dict[str, list[Any]] = {}
    for name, values in axes.items():
        if name not in known:
            raise unknown_name("parameter", str(name), known)
        if name in FIXED:
            raise InvalidInputError(f"axes: {name} is the same for all runs; set it beside the axes", field="axes")
        if not isinstance(values, list) or not values:
            raise InvalidInputError(f"axes: {name} must have a list of values", field="axes")
        read[name] = [stored(known[name].read(value)) for value in values]
        if len({str(value) for value in read[name]}) < len(values):
            raise InvalidInputError(f"axes: {name} has a value twice", field="axes")
    # Values that are fine alone may not be together; better said now than when the cell is reached.
    for setting in settings_of(read):
        varied(spec, setting)
    return read


def _check_count(spec: BacktestSpec, axes: Mapping[str, Any]) -> None:
    count = math.prod(len(values) for values in axes.values() if isinstance(values, list))
    if count > MOST_SETTINGS:
        bars = ((spec.end or 0) - (spec.start or 0)) // spec.timeframe.milliseconds
        seconds = estimate(count, len(spec.symbols) * bars)["seconds"]
        raise TooLargeError(
            f"the axes make {count:,} settings, more than the {MOST_SETTINGS:,} allowed; they would take about "
            f"{seconds:,} s",
            field="axes",
        )


def settings_of(axes: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Return every combination, the last axis changing fastest."""
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def varied(spec: BacktestSpec, setting: Mapping[str, Any]) -> BacktestSpec:
    """Return the specification with some parameters changed."""
    return BacktestSpec.of({**spec.as_dict(), **setting})
