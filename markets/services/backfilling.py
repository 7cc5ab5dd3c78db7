"""Fetching the candles a series lacks: the archive for what is old and long, REST for the rest.

A run may be killed anywhere: what was merged stays, and the next run asks only for what is still missing.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from django.conf import settings
from django.utils import timezone

from markets.candles import Candles, Gap, join
from markets.errors import ExchangeError, InvalidInputError
from markets.exchanges import SETTLE_MILLISECONDS, ArchiveFile, Exchange
from markets.models import ExchangeGap, Series
from markets.selectors import candle_store
from markets.series import SeriesKey
from markets.services.pairs import ensure_series
from markets.services.recording import record
from markets.store import Source

logger = logging.getLogger(__name__)

Report = Callable[[float, str], None]

PROOF_AFTER = timedelta(seconds=60)
_PAGE = 1000
_PAGES_A_COMMIT = 20
# Below this many candles a REST page or two is quicker than a file.
_ARCHIVE_WORTH = 2_000
_TOLD_FILES = 20


class BackfillSource(StrEnum):
    AUTO = "auto"
    ARCHIVE = "archive"
    REST = "rest"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a backfill will do: what is missing in ``start <= open_time < end``, and the files that serve it."""

    series: SeriesKey
    start: int
    end: int
    source: BackfillSource
    missing: tuple[Gap, ...]
    files: tuple[ArchiveFile, ...]
    notes: tuple[str, ...] = ()

    @property
    def candles(self) -> int:
        """How many candles are missing."""
        return sum(gap.count(self.series.timeframe) for gap in self.missing)


@dataclass(frozen=True, slots=True)
class Filled:
    """What a backfill did. ``gaps`` are still missing in its range.

    ``exchange_gaps`` are those of its range that the exchange itself has not, proven or suspected. ``notes`` say
    what was cut from the range, and ``left_out`` why files of the archive were not used.
    """

    added: int
    revised: int
    gaps: tuple[Gap, ...]
    exchange_gaps: tuple[Gap, ...]
    notes: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def plan_backfill(
    exchange: Exchange, series: SeriesKey, *, start: int | None, end: int | None, source: BackfillSource
) -> Plan:
    """Find out what is missing and where it comes from; asks the exchange for its clock and its first candle.

    Without ``start`` the range begins where the series' history is wanted, without ``end`` it ends now. A start
    before the listing and an end in the future are cut, with a note that says so.

    Raises
    ------
    InvalidInputError
        The end is not after the start, or the archive is asked of an exchange that has none.
    UnknownSymbolError
        The exchange has no such pair.
    """
    step = series.timeframe
    if start is not None and end is not None and start >= end:
        raise InvalidInputError("to must be after from", field="to")
    if source == BackfillSource.ARCHIVE and exchange.archive is None:
        raise InvalidInputError("source must be auto or rest: the testnet has no archive", field="source")
    now = exchange.server_time()
    row = ensure_series(series)
    notes = []
    listed = _first_available(exchange, row)
    first = step.ceil(start) if start is not None else wanted_start(row, now=now)
    last = step.floor(now - SETTLE_MILLISECONDS)
    if first < listed:
        notes.append(f"data starts at {_text(listed)}")
        first = listed
    if end is not None and end > now:
        notes.append(f"to is in the future; fetched up to now, {_text(last)}")
    last = min(last, step.ceil(end)) if end is not None else last
    missing = missing_ranges(row, first, last)
    files: list[ArchiveFile] = []
    if source != BackfillSource.REST and exchange.archive is not None:
        for gap in missing:
            if source == BackfillSource.ARCHIVE or gap.count(step) >= _ARCHIVE_WORTH:
                files += exchange.archive.plan(series, gap.start, gap.end, now)
    unique = tuple(dict.fromkeys(files))
    return Plan(series, first, last, source, tuple(missing), unique, tuple(notes))


def wanted_start(row: Series, *, now: int) -> int:
    """Return where a series' history is to begin: as set, else ``HISTORY_DAYS`` back and at least 1,000 candles."""
    step = row.key.timeframe
    if row.history_from is not None:
        return step.ceil(row.history_from)
    reach = max(settings.ENV.history_days * 86_400_000, 1_000 * step.milliseconds)
    return step.floor(now - reach)


def missing_ranges(row: Series, start: int, end: int) -> list[Gap]:
    """Return the runs of candles in ``start <= open_time < end`` that are neither stored nor proven absent."""
    coverage = candle_store().coverage(row.key)
    if coverage is None:
        holes = [Gap(start, end)]
    else:
        after = coverage.last + row.key.timeframe.milliseconds
        holes = [Gap(start, coverage.first), *coverage.gaps, Gap(max(after, start), end)]
    cut = (Gap(max(hole.start, start), min(hole.end, end)) for hole in holes)
    proven = [Gap(each.start, each.end) for each in row.exchange_gaps.filter(proven_at__isnull=False)]
    return [gap for gap in cut if gap.start < gap.end and not _is_inside(gap, proven)]


def backfill(exchange: Exchange, plan: Plan, report: Report = lambda fraction, stage: None) -> Filled:
    """Do what ``plan`` says; ``report`` is told the fraction done and the stage, and may raise to stop."""
    tally = _Tally(plan, report)
    if plan.files and exchange.archive is not None:
        for file, candles in exchange.archive.fetch_all(plan.files, tally.leave_out):
            tally.files_done += 1
            if candles is not None:
                _merge(tally, candles.between(plan.start, plan.end), Source.ARCHIVE)
                tally.tell(f"archive: {file.name}")
    row = ensure_series(plan.series)
    if plan.source != BackfillSource.ARCHIVE:
        for gap in missing_ranges(row, plan.start, plan.end):
            for candles in _rest_pages(exchange, plan.series, gap):
                _merge(tally, candles, Source.REST)
                tally.tell("rest")
            note_exchange_gaps(row, gap)
    left = missing_ranges(row, plan.start, plan.end)
    noted = row.exchange_gaps.filter(start__lt=plan.end, end__gt=plan.start)
    known = tuple(Gap(each.start, each.end) for each in noted)
    report(1.0, "done")
    logger.info("backfilled", extra={"series": str(plan.series), "added": tally.added, "gaps": len(left)})
    return Filled(tally.added, tally.revised, tuple(left), known, plan.notes, tally.reasons())


def note_exchange_gaps(row: Series, asked: Gap) -> None:
    """Note what the exchange did not have of ``asked``, just after it was asked for all of it by REST.

    Noted once, a gap is suspected; noted again at least a minute later, it is proven and asked for no more.
    """
    now = timezone.now()
    for gap in missing_ranges(row, asked.start, asked.end):
        coverage = candle_store().coverage(row.key)
        if coverage is None or not coverage.first < gap.start or not gap.end <= coverage.last:
            continue  # nothing stored beyond it: the end of what there is, not a hole in it
        noted, is_new = ExchangeGap.objects.get_or_create(
            series=row, start=gap.start, end=gap.end, defaults={"first_read_at": now}
        )
        if not is_new and now - noted.first_read_at >= PROOF_AFTER:
            noted.proven_at = now
            noted.save(update_fields=["proven_at"])


@dataclass(slots=True)
class _Tally:
    plan: Plan
    report: Report
    added: int = 0
    revised: int = 0
    files_done: int = 0
    left_out: dict[ArchiveFile, str] = field(default_factory=dict)

    def leave_out(self, file: ArchiveFile, reason: str) -> None:
        self.left_out[file] = reason

    def reasons(self) -> tuple[str, ...]:
        """Return why files were left out, oldest first; beyond some, how many more there were."""
        told = [f"archive: {reason}" for _, reason in sorted(self.left_out.items(), key=_file_time)]
        more = len(told) - _TOLD_FILES
        return (*told[:_TOLD_FILES], f"archive: {more} more files were left out") if more > 0 else tuple(told)

    def tell(self, stage: str) -> None:
        of_all = max(1, self.plan.candles)
        by_files = self.files_done / len(self.plan.files) if self.plan.files else 0.0
        self.report(min(0.99, max(self.added / of_all, by_files * 0.95)), f"{stage}, {self.added:,} candles")


def _merge(tally: _Tally, candles: Candles, source: Source) -> None:
    if len(candles):
        merged = record(tally.plan.series, candles, source=source)
        tally.added += merged.added
        tally.revised += len(merged.revised)


def _rest_pages(exchange: Exchange, series: SeriesKey, gap: Gap) -> Iterator[Candles]:
    """Yield the candles of ``gap`` in commits of some pages. Moves on by time: pages may be short or hold holes."""
    at, pages = gap.start, []
    while at < gap.end:
        page = exchange.candles(series, start=at, end=gap.end, limit=_PAGE)
        if not len(page):
            break
        pages.append(page)
        at = int(page.open_time[-1]) + series.timeframe.milliseconds
        if len(pages) == _PAGES_A_COMMIT:
            yield join(pages)
            pages = []
    if pages:
        yield join(pages)


def _first_available(exchange: Exchange, row: Series) -> int:
    if row.first_available is None:
        first = exchange.candles(row.key, start=0, limit=1)
        if not len(first):
            raise ExchangeError(f"the exchange has no candles of {row.key}")
        row.first_available = int(first.open_time[0])
        row.save(update_fields=["first_available"])
    return row.first_available


def _file_time(item: tuple[ArchiveFile, str]) -> tuple[date, bool]:
    return item[0].first_day, not item[0].is_monthly


def _is_inside(gap: Gap, others: list[Gap]) -> bool:
    return any(other.start <= gap.start and gap.end <= other.end for other in others)


def _text(time: int) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
