"""Reads of backtests: what a run would read, its rows, and its published report."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from backtests.engine.bands import Resampling, bands
from backtests.engine.glossary import TERMS
from backtests.engine.market import Filters, Market
from backtests.engine.methods import Method, Options, estimate
from backtests.engine.run import open_markets
from backtests.engine.spec import ENGINE_VERSION, BacktestSpec
from backtests.models import Analysis, Backtest
from backtests.reports import TRADES, ReportShelf, read_columns
from markets.candles import Candles
from markets.errors import ConflictError, NoCandlesError, TooLargeError
from markets.models import JobState, Pair
from markets.moments import iso
from markets.selectors import candle_store
from markets.series import SeriesKey, Timeframe
from markets.store import digest_of
from signals.engine import DETECTOR_VERSION

# What a request may ask to be run while it waits, and what a job may be asked for, candles of all pairs together.
MAX_CANDLES_NOW = 200_000
MAX_CANDLES = 1_000_000
# So many times as many may be read for it, candles before the range and finer ones included: a million are 120 MB.
_READ_SHARE = 8
_JOB_HINT = "; POST /api/v1/backtests/ runs it as a job"


@cache
def report_shelf() -> ReportShelf:
    """Return this process's shelf of reports, in the folders of the settings."""
    return ReportShelf(settings.DATA_ROOT, settings.REPORTS_ROOT)


def backtests() -> QuerySet[Backtest]:
    """Return the runs that were asked for as jobs, newest first; their results are read one by one."""
    return Backtest.objects.filter(is_quick=False).select_related("owner")


def all_backtests() -> QuerySet[Backtest]:
    """Return every run, those made while a request waited included."""
    return Backtest.objects.select_related("owner")


def analyses() -> QuerySet[Analysis]:
    """Return sweeps and the other analyses, newest first."""
    return Analysis.objects.select_related("owner")


@dataclass(frozen=True, slots=True)
class _Stretch:
    """What a run trades of a stored series that begins at ``first``; UTC ms, ``end`` is exclusive."""

    timeframe: Timeframe
    first: int
    start: int
    end: int

    @property
    def traded(self) -> int:
        return self._candles_from(self.start)

    @property
    def read(self) -> int:
        return self._candles_from(self.first)

    def _candles_from(self, start: int) -> int:
        """Return how many candles open from ``start`` on; neither it nor the end need be an open time."""
        return (self.timeframe.ceil(self.end) - self.timeframe.ceil(start)) // self.timeframe.milliseconds


def _stretches(spec: BacktestSpec) -> list[_Stretch]:
    """Return the stretch of each pair; raise ``NoCandlesError`` where nothing is stored in the range."""
    step, found = spec.timeframe.milliseconds, []
    for symbol in spec.symbols:
        coverage = candle_store().coverage(SeriesKey(symbol, spec.timeframe))
        if coverage is None:
            raise NoCandlesError(f"nothing is stored of {symbol} {spec.timeframe.value}", field="symbol")
        start = max(coverage.first, spec.start if spec.start is not None else coverage.first)
        end = min(coverage.last + step, spec.end if spec.end is not None else coverage.last + step)
        stretch = _Stretch(spec.timeframe, coverage.first, start, end)
        if stretch.traded <= 0:
            raise NoCandlesError(
                f"{symbol} {spec.timeframe.value} has no candles in the range", field="from" if spec.start else "to"
            )
        found.append(stretch)
    return found


def settle(spec: BacktestSpec, *, cap: int) -> BacktestSpec:
    """Return the specification with the range that is stored for it, so that later candles cannot change a run.

    Raises ``NoCandlesError`` where nothing is stored, ``TooLargeError`` where there is more than ``cap``.
    """
    stretches = _stretches(spec)
    count = sum(each.traded for each in stretches)
    if count > cap:
        hint = _JOB_HINT if count <= MAX_CANDLES else ""
        raise TooLargeError(f"{count:,} candles are more than the {cap:,} allowed here{hint}", field="to")
    finer = spec.timeframe.milliseconds // spec.detail.milliseconds if spec.detail is not None else 0
    read, most = sum(each.read for each in stretches) + finer * count, _READ_SHARE * cap
    if read > most:
        hint = _JOB_HINT if read <= _READ_SHARE * MAX_CANDLES else ""
        raise TooLargeError(
            f"{read:,} candles would be read, from the first stored one on, more than the {most:,} allowed here{hint}",
            field="symbol",
        )
    return spec.within(min(each.start for each in stretches), max(each.end for each in stretches))


# Measured on one core of a small server: a run's own, a candle whose signals are found, a candle that is traded.
_RUN_SECONDS, _READ_SECONDS, _TRADE_SECONDS = 0.03, 7e-7, 7e-7


def cost_of(spec: BacktestSpec) -> dict[str, Any]:
    """Return how many candles a settled run trades, and about how many seconds of one core it takes.

    Signals are found from the first stored candle on, wherever the range begins.
    """
    stretches = _stretches(spec)
    traded, read = sum(each.traded for each in stretches), sum(each.read for each in stretches)
    seconds = _RUN_SECONDS + _READ_SECONDS * read + _TRADE_SECONDS * traded
    return {"runs": 1, "candles": traded, "seconds": round(seconds, 3)}


def cost_of_runs(method: Method, spec: BacktestSpec, options: Options) -> dict[str, Any]:
    """Return how many runs an analysis makes of a settled specification, and about how many seconds they take.

    Besides the runs there is one that finds the signals, which the others share.
    """
    alone = cost_of(spec)
    cost = estimate(method.runs(spec, options), alone["candles"])
    return {**cost, "seconds": math.ceil(alone["seconds"] + cost["seconds"])}


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """All that a run reads, held in memory: what is stored meanwhile cannot touch it."""

    spec: BacktestSpec
    candles: Mapping[str, Candles]
    detail: Mapping[str, Candles]
    filters: Mapping[str, Filters]
    digest: str

    @property
    def key(self) -> str:
        """Name the result before there is one: equal keys give equal reports."""
        sizes = {name: [each.tick_size, each.step_size, each.min_notional] for name, each in self.filters.items()}
        text = json.dumps([ENGINE_VERSION, DETECTOR_VERSION, self.digest, self.spec.as_dict(), sizes], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def markets(self) -> list[Market]:
        """Find the signals."""
        return open_markets(self.spec, self.candles, detail=self.detail, filters=self.filters)


def read_inputs(spec: BacktestSpec) -> Inputs:
    """Read what a settled specification needs, from the first stored candle on."""
    store, detail = candle_store(), {}
    candles = {
        symbol: store.read(SeriesKey(symbol, spec.timeframe), start=None, end=spec.end) for symbol in spec.symbols
    }
    if spec.detail is not None:
        detail = {
            symbol: store.read(SeriesKey(symbol, spec.detail), start=spec.start, end=spec.end)
            for symbol in spec.symbols
        }
    digests = [digest_of(each) for each in (*candles.values(), *detail.values())]
    digest = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    return Inputs(spec, candles, detail, known_filters(spec.symbols), digest)


def known_filters(symbols: tuple[str, ...]) -> dict[str, Filters]:
    """Return the order sizes that the exchange told of pairs."""
    rows = Pair.objects.filter(symbol__in=symbols)
    return {row.symbol: Filters(row.tick_size, row.step_size, row.min_notional) for row in rows}


def report_folder(run: Backtest) -> Path:
    """Return where the report of a run lies; raise ``ConflictError`` before the run is done."""
    if run.state != JobState.DONE:
        raise ConflictError(f"run {run.pk} is {run.state}: it has no results")
    return report_shelf().folder(run.pk)


def capital_of(run: Backtest) -> float:
    """Return what a run that is done began with, before its first candle; quote currency."""
    return float((run.result or {})["initial_capital"])


def bands_of(run: Backtest, *, resampling: str, draws: int, seed: int) -> dict[str, Any]:
    """Return the Monte Carlo bands of a run that is done; ``bands`` is None where its trades allow none.

    ``time`` is when the run itself had so many trades behind it, so that a chart can draw both.
    """
    columns = read_columns(report_folder(run), TRADES, ["exit_time", "net_pnl"])
    drawn = bands(
        columns["exit_time"],
        columns["net_pnl"],
        capital_of(run),
        draws=draws,
        seed=seed,
        resampling=Resampling(resampling),
    )
    ends = [run.start, *sorted(columns["exit_time"].tolist())]
    return {
        "id": run.pk,
        "resampling": resampling,
        "draws": draws,
        "seed": seed,
        "bands": {"time": [iso(ends[count]) for count in drawn.at], **drawn.as_json()} if drawn is not None else None,
    }


def compared(runs: Sequence[Backtest]) -> dict[str, Any]:
    """Return runs side by side: metrics, the parameters in which they differ, and whether the comparison is fair."""
    names = list(dict.fromkeys(name for run in runs for name in run.spec))
    specs = {name: [run.spec.get(name) for run in runs] for name in names}
    metrics = {name: [(run.result or {}).get(name) for run in runs] for name in TERMS}
    return {
        "ids": [run.pk for run in runs],
        "metrics": metrics,
        "differences": {name: values for name, values in specs.items() if len({str(value) for value in values}) > 1},
        "same_range": len({(run.start, run.end) for run in runs}) == 1,
        "same_candles": len({run.data_digest for run in runs}) == 1,
    }
