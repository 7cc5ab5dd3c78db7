"""The volatility ranking over all stored pairs."""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.core.cache import cache
from redis.exceptions import RedisError

from markets.errors import SmcError
from markets.selectors import candle_store, known_series
from markets.series import SeriesKey, Timeframe
from scanner.engine.volatility import Metric, Volatility, measure, needed

logger = logging.getLogger(__name__)

# Most of a measurement holds the interpreter: more readers than two only take it from each other.
_READERS = 2
# A ranking is made anew by the schedule every minute; one that is older than this is made on demand.
FRESH_SECONDS = 90


@dataclass(frozen=True, slots=True)
class Ranked:
    """A pair's place in the ranking, 1 the most volatile."""

    rank: int
    symbol: str
    volatility: Volatility


@dataclass(frozen=True, slots=True)
class Skipped:
    """A pair that could not be ranked, and why."""

    symbol: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ranking:
    """All pairs of one timeframe by one measure, the most volatile first."""

    timeframe: Timeframe
    metric: Metric
    rows: tuple[Ranked, ...]
    skipped: tuple[Skipped, ...]


Scanned = tuple[dict[str, Volatility], list[Skipped]]  # by symbol
Report = Callable[[float, str], None]


def _silent(fraction: float, stage: str) -> None:
    """Tell nobody."""


def scan(timeframe: Timeframe, report: Report = _silent) -> Scanned:
    """Measure every stored pair now. One pair's failure is told and hides no other.

    ``report`` is told the fraction done and how many pairs.
    """
    series = [key for key in known_series() if key.timeframe == timeframe]
    measured, skipped = {}, []
    for done, (key, outcome) in enumerate(_measure_all(series), start=1):
        report(done / len(series), f"{done} of {len(series)} pairs")
        if isinstance(outcome, Volatility):
            measured[key.symbol] = outcome
        else:
            skipped.append(Skipped(key.symbol, outcome))
    return measured, skipped


def _measure_all(series: Iterable[SeriesKey]) -> Iterator[tuple[SeriesKey, Volatility | str]]:
    # Reading and decoding Parquet let go of the interpreter, so one reader reads while the other measures.
    keys = list(series)
    with ThreadPoolExecutor(_READERS) as readers:
        yield from zip(keys, readers.map(_measure_one, keys), strict=True)


def _measure_one(key: SeriesKey) -> Volatility | str:
    try:
        return measure(candle_store().newest(key, needed(key.timeframe)), key.timeframe)
    except SmcError as error:
        return str(error)
    except Exception as error:
        logger.exception("a pair could not be scanned", extra={"series": str(key)})
        return f"internal error: {type(error).__name__}"


def ranking(
    timeframe: Timeframe, *, metric: Metric = Metric.ATR, top: int | None = None, report: Report = _silent
) -> Ranking:
    """Return the pairs ordered by ``metric``, the ``top`` first ones or all; ``report`` as of ``scan``."""
    measured, skipped = _recent(timeframe, report)
    ordered = sorted(measured.items(), key=lambda item: (-item[1].value(metric), item[0]))
    rows = tuple(Ranked(place, symbol, each) for place, (symbol, each) in enumerate(ordered, start=1))
    return Ranking(timeframe, metric, rows[:top], tuple(skipped))


def _recent(timeframe: Timeframe, report: Report) -> Scanned:
    try:
        kept = cache.get(cache_key(timeframe))
    except (RedisError, OSError):
        kept = None
    return unpack(kept) if kept is not None else _scan_once(timeframe, report)


_scanned: dict[tuple[Path, Timeframe], tuple[list[Any], Scanned]] = {}


def _scan_once(timeframe: Timeframe, report: Report) -> Scanned:
    """Measure every pair when any has changed since this process did so last."""
    store = candle_store()
    state = [(key, store.version(key)) for key in known_series() if key.timeframe == timeframe]
    known = _scanned.get((store.root, timeframe))
    if known is None or known[0] != state:
        known = state, scan(timeframe, report)
        if not known[1][1]:  # what failed may do better without a change
            _scanned[store.root, timeframe] = known
    return known[1]


SKIPPED_SCANS = "scan:skipped"


def skipped_scans() -> int | None:
    """Return how many scheduled scans were left out because the one before still ran, over all workers.

    None before the first scan, and while the cache that holds the count is away.
    """
    count: int | None = cache.get(SKIPPED_SCANS)
    return count


def cache_key(timeframe: Timeframe) -> str:
    return f"scan:{timeframe.value}"


def pack(measured: dict[str, Volatility], skipped: list[Skipped]) -> dict[str, Any]:
    """Turn a scan into what JSON can hold."""
    return {
        "measured": {symbol: asdict(each) for symbol, each in measured.items()},
        "skipped": [[each.symbol, each.reason] for each in skipped],
    }


def unpack(kept: dict[str, Any]) -> Scanned:
    """Read what ``pack`` wrote."""
    measured = {}
    for symbol, row in kept["measured"].items():
        medians = {Metric(name): value for name, value in row["vs_median"].items()}
        measured[symbol] = Volatility(**{**row, "vs_median": medians, "sparkline": tuple(row["sparkline"])})
    return measured, [Skipped(*each) for each in kept["skipped"]]
