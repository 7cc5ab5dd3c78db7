"""Reads of the market: the store of this process, pairs, series and their coverage."""

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TypeVar

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import QuerySet

from markets.candles import Candles
from markets.errors import NotFoundError, UnknownSymbolError
from markets.models import LARGEST_ID, Backfill, ExchangeGap, Job, Pair, Series
from markets.series import SeriesKey, Timeframe
from markets.store import CandleStore, Coverage, Version

J = TypeVar("J", bound=Job)

Visitor = User | AnonymousUser


@cache
def candle_store() -> CandleStore:
    """Return this process's store of candles, in the data folder of the settings."""
    return CandleStore(settings.DATA_ROOT, cache_seconds=settings.ENV.cache_ttl)


_newest: dict[tuple[Path, SeriesKey, int], tuple[Version, Candles]] = {}


def newest_candles(series: SeriesKey, count: int) -> Candles:
    """Return the last few candles of a series, to look at: all who ask for the same get the same."""
    store = candle_store()
    # Pages ask for them again and again; they are read once for each state of the series.
    version, name = store.version(series), (store.root, series, count)
    known = _newest.get(name)
    if known is None or known[0] != version:
        known = _newest[name] = version, store.newest(series, count)
    return known[1]


def pairs() -> QuerySet[Pair]:
    """Return every pair with its series."""
    return Pair.objects.prefetch_related("series")


def active_series() -> list[SeriesKey]:
    """Return the series that are to be streamed and kept up to date."""
    return _keys(Series.objects.filter(is_active=True, pair__is_active=True))


def known_series() -> list[SeriesKey]:
    """Return every series with a row, streamed or not."""
    return _keys(Series.objects.all())


def _keys(rows: QuerySet[Series]) -> list[SeriesKey]:
    return sorted(SeriesKey.of(*names) for names in rows.values_list("pair__symbol", "timeframe"))


def require_pair(symbol: str) -> Pair:
    """Return the pair; raise ``UnknownSymbolError`` with near matches when there is none."""
    pair = Pair.objects.filter(symbol=symbol).first()
    if pair is None:
        raise UnknownSymbolError(symbol[:40], near=near_symbols(symbol))
    return pair


def tick_size(symbol: str) -> float:
    """Return a pair's price step in quote currency, 0 where it is not known."""
    return Pair.objects.filter(symbol=symbol).values_list("tick_size", flat=True).first() or 0.0


def held_from(series: SeriesKey) -> int | None:
    """Return the open time of a candle that the stream waits for; None where it waits for none."""
    rows = Series.objects.filter(pair__symbol=series.symbol, timeframe=series.timeframe.value)
    return rows.values_list("held_from", flat=True).first()


def near_symbols(text: str) -> list[str]:
    """Return up to five known symbols that look like ``text``."""
    known = list(Pair.objects.values_list("symbol", flat=True))
    wanted = text.upper()[:40]
    holding = [symbol for symbol in known if wanted and wanted in symbol]
    return list(dict.fromkeys([*holding, *get_close_matches(wanted, known, n=5, cutoff=0.5)]))[:5]


@dataclass(frozen=True, slots=True)
class SeriesCoverage:
    """What is stored of a series; ``coverage`` is None before its first candle."""

    series: SeriesKey
    coverage: Coverage | None

    @property
    def share(self) -> float:
        """How many of the candles between the first and the last are stored, a fraction."""
        if self.coverage is None:
            return 0.0
        step = self.series.timeframe.milliseconds
        return self.coverage.count / ((self.coverage.last - self.coverage.first) // step + 1)


def coverage_of(pair: Pair) -> list[SeriesCoverage]:
    """Return the coverage of each timeframe of a pair (from ``pairs``, so that its series are at hand)."""
    store = candle_store()
    keys = sorted((SeriesKey.of(pair.symbol, row.timeframe) for row in pair.series.all()), key=_length)
    return [SeriesCoverage(key, store.coverage(key)) for key in keys]


def _length(key: SeriesKey) -> int:
    return key.timeframe.minutes


def exchange_gaps(series: SeriesKey) -> QuerySet[ExchangeGap]:
    """Return what the exchange itself has not of a series, proven or suspected."""
    return ExchangeGap.objects.filter(series__pair__symbol=series.symbol, series__timeframe=series.timeframe.value)


def backfills() -> QuerySet[Backfill]:
    """Return the backfill jobs, newest first."""
    return Backfill.objects.select_related("owner")


def visible_jobs(user: Visitor, jobs: QuerySet[J]) -> QuerySet[J]:
    """Return the jobs this visitor may see: who is signed in without being staff sees only his own."""
    return jobs.filter(owner=user) if user.is_authenticated and not user.is_staff else jobs


def find_job(user: Visitor, jobs: QuerySet[J], job_id: int) -> J:
    """Return one job; raise ``NotFoundError`` when there is none that this visitor may see."""
    job = visible_jobs(user, jobs).filter(pk=job_id).first() if job_id <= LARGEST_ID else None
    if job is None:
        raise NotFoundError(f"there is no job {str(job_id)[:20]}")
    return job


def owner_of(user: Visitor) -> User | None:
    """Return whose a job is that this visitor asks for; None for one who is not signed in."""
    return user if user.is_authenticated else None


def timeframes_of(pair: Pair) -> list[Timeframe]:
    """Return the timeframes of a pair (from ``pairs``), shortest first."""
    return sorted((Timeframe(row.timeframe) for row in pair.series.all()), key=lambda each: each.minutes)
