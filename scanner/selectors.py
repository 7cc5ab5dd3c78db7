"""The volatility ranking over all stored pairs."""

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.core.cache import cache
from redis.exceptions import RedisError

from markets.errors import SmcError
from markets.selectors import candle_store, known_series
from markets.series import SeriesKey, Timeframe
from markets.store import Version
from scanner.engine.volatility import MEASURE_VERSION, Metric, Volatility, measure, needed

logger = logging.getLogger(__name__)

# Most of a measurement holds the interpreter: more readers than two only take it from each other.
_READERS = 2
# A ranking is made anew by the schedule every minute; one that is older than this is made on demand.
_FRESH_SECONDS = 90
# For longer it is kept for the next scan, which measures only pairs that have changed.
KEPT_SECONDS = 600


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


@dataclass(frozen=True, slots=True)
class Measured:
    """A pair's measures, and the version of its candles that they are of."""

    version: Version
    volatility: Volatility


@dataclass(frozen=True, slots=True)
class Scan:
    """All pairs of one timeframe, by symbol, before they are ranked; begun at ``made_at``, in seconds since 1970."""

    made_at: float
    measured: dict[str, Measured]
    skipped: list[Skipped]

    @property
    def is_fresh(self) -> bool:
        return 0 <= time.time() - self.made_at < _FRESH_SECONDS


Report = Callable[[float, str], None]


def _silent(fraction: float, stage: str) -> None:
    """Tell nobody."""


def scan(timeframe: Timeframe, report: Report = _silent, *, former: Scan | None = None) -> Scan:
    """Measure every stored pair now. One pair's failure is told and hides no other.

    A pair whose candles are as they were in the ``former`` scan is not measured again. ``report`` is told the
    fraction done and how many pairs.
    """
    series = [key for key in known_series() if key.timeframe == timeframe]
    known = former.measured if former is not None else {}
    found = Scan(time.time(), {}, [])
    for done, (key, outcome) in enumerate(_measure_all(series, known), start=1):
        report(done / len(series), f"{done} of {len(series)} pairs")
        if isinstance(outcome, Measured):
            found.measured[key.symbol] = outcome
        else:
            found.skipped.append(Skipped(key.symbol, outcome))
    return found


def _measure_all(keys: list[SeriesKey], known: dict[str, Measured]) -> Iterator[tuple[SeriesKey, Measured | str]]:
    # Reading and decoding Parquet let go of the interpreter, so one reader reads while the other measures.
    with ThreadPoolExecutor(_READERS) as readers:
        yield from zip(keys, readers.map(lambda key: _measure_one(key, known.get(key.symbol)), keys), strict=True)


def _measure_one(key: SeriesKey, former: Measured | None) -> Measured | str:
    try:
        version = candle_store().version(key)
        if former is not None and former.version == version:
            return former
        return Measured(version, measure(candle_store().newest(key, needed(key.timeframe)), key.timeframe))
    except SmcError as error:
        return str(error)
    except Exception as error:
        logger.exception("a pair could not be scanned", extra={"series": str(key)})
        return f"internal error: {type(error).__name__}"


def ranking(
    timeframe: Timeframe, *, metric: Metric = Metric.ATR, top: int | None = None, report: Report = _silent
) -> Ranking:
    """Return the pairs ordered by ``metric``, the ``top`` first ones or all; ``report`` as of ``scan``."""
    found = _recent(timeframe, report)
    volatilities = {symbol: each.volatility for symbol, each in found.measured.items()}
    ordered = sorted(volatilities.items(), key=lambda item: (-item[1].value(metric), item[0]))
    rows = tuple(Ranked(place, symbol, each) for place, (symbol, each) in enumerate(ordered, start=1))
    return Ranking(timeframe, metric, rows[:top], tuple(found.skipped))


def _recent(timeframe: Timeframe, report: Report) -> Scan:
    kept = kept_scan(timeframe)
    return kept if kept is not None and kept.is_fresh else _scan_once(timeframe, report, kept)


_scanned: dict[tuple[Path, Timeframe], Scan] = {}


def _scan_once(timeframe: Timeframe, report: Report, kept: Scan | None) -> Scan:
    """Measure the pairs that have changed since this process did so last, or since the ``kept`` scan."""
    name = candle_store().root, timeframe
    found = _scanned[name] = scan(timeframe, report, former=_scanned.get(name) or kept)
    return found


SKIPPED_SCANS = "scan:skipped"


def skipped_scans() -> int | None:
    """Return how many scheduled scans were left out because the one before still ran, over all workers.

    None before the first scan, and while the cache that holds the count is away.
    """
    count: int | None = cache.get(SKIPPED_SCANS)
    return count


def cache_key(timeframe: Timeframe) -> str:
    return f"scanned:{MEASURE_VERSION}:{timeframe.value}"


def kept_scan(timeframe: Timeframe) -> Scan | None:
    """Return the last scan on the schedule, however old, by whichever worker; None when there is none."""
    try:
        kept = cache.get(cache_key(timeframe))
    except (RedisError, OSError):
        return None
    return _unpacked(kept) if kept is not None else None


def pack(found: Scan) -> dict[str, Any]:
    """Turn a scan into what JSON can hold."""
    return asdict(found)


def _unpacked(kept: dict[str, Any]) -> Scan:
    """Read what ``pack`` wrote."""
    found = Scan(kept["made_at"], {}, [Skipped(**each) for each in kept["skipped"]])
    for symbol, each in kept["measured"].items():
        last, edit = each["version"]
        row = each["volatility"]
        medians = {Metric(name): value for name, value in row["vs_median"].items()}
        volatility = Volatility(**{**row, "vs_median": medians, "sparkline": tuple(row["sparkline"])})
        found.measured[symbol] = Measured((last, edit), volatility)
    return found
