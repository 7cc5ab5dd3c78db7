"""The ledger: each signal is published once, and what a rebuild no longer finds is marked and stays."""

from datetime import datetime

from django.conf import settings
from django.db import connection, transaction

from markets.models import Series
from markets.series import SeriesKey
from signals.log import SignalRow
from signals.log.publication import publication
from signals.log.rows import SCALE_NAMES
from signals.models import PublishedSignal
from signals.selectors.ledger import as_published, natural_key
from signals.selectors.logs import signal_log
from signals.services.tracking import Facts, note_published


def publish(facts: Facts, *, now: datetime, late: bool, latency_ms: float | None = None) -> list[SignalRow]:
    """Enter signals into the ledger; return those that were not in it, in the log's order.

    Parameters
    ----------
    facts
        From a ``Tracker``. Kinds that are not in ``INDICATORS`` are left out.
    now
        The moment of publication, our clock.
    late
        Whether they were found while catching up.
    latency_ms
        From the exchange's closing frame to now; None where that has no meaning.
    """
    wanted = [row for row in facts.signals if row.kind in settings.ENV.indicators]
    new = _enter(facts, wanted, now=now, late=late, latency_ms=latency_ms) if wanted else []
    published = publication(facts.root, facts.series) if facts.signals and facts.root is not None else None
    if published is not None:
        note_published(facts, published)
    return new


def _enter(
    facts: Facts, rows: list[SignalRow], *, now: datetime, late: bool, latency_ms: float | None
) -> list[SignalRow]:
    digests = dict(zip(SCALE_NAMES, facts.digests, strict=True))
    with transaction.atomic():
        # Publishers of one series wait for each other, so that each signal is new to exactly one. SQLite has one
        # writer at a time from the transaction's beginning.
        if connection.features.has_select_for_update:
            list(_series_rows(facts.series).select_for_update())
        known = set(
            PublishedSignal.objects.filter(
                symbol=facts.series.symbol,
                timeframe=facts.series.timeframe.value,
                confirm_time__gte=rows[0].confirm_time - _MEMORY_OF_REVISIONS,
                detector_version=rows[0].detector_version,
                params_digest__in=facts.digests,
            ).values_list("scale", "kind", "direction", "event_time", "ref_time")
        )
        new = [row for row in rows if natural_key(row) not in known]
        PublishedSignal.objects.bulk_create(
            [
                PublishedSignal(
                    symbol=row.symbol,
                    timeframe=row.timeframe.value,
                    scale=row.scale,
                    kind=row.kind,
                    direction=row.direction,
                    event_time=row.event_time,
                    ref_time=row.ref_time,
                    confirm_time=row.confirm_time,
                    closed_at=row.confirmed_at,
                    level=row.level,
                    top=row.top,
                    bottom=row.bottom,
                    strength=row.strength,
                    range_pos=row.range_pos,
                    tag=row.tag,
                    published_at=now,
                    latency_ms=None if late else latency_ms,
                    is_late=late,
                    revision=facts.revision,
                    detector_version=row.detector_version,
                    params_digest=digests[row.scale],
                )
                for row in new
            ],
            batch_size=500,
            ignore_conflicts=True,
        )
    return new


# A rebuild may confirm a published signal (the same event and reference) at another candle; look this far back for it.
_MEMORY_OF_REVISIONS = 7 * 86_400_000


def _series_rows(series: SeriesKey):  # type: ignore[no-untyped-def]
    return Series.objects.filter(pair__symbol=series.symbol, timeframe=series.timeframe.value)


def mark_revised(series: SeriesKey, *, now: datetime) -> int:
    """Mark published signals that the current log no longer holds as they were published; return how many.

    What a person was shown stays in the ledger; the mark says that the exchange has since changed its candles.
    """
    view = signal_log(settings.DATA_ROOT).view(series)
    if view is None:
        return 0
    rows = list(
        PublishedSignal.objects.filter(
            symbol=series.symbol,
            timeframe=series.timeframe.value,
            revised_at=None,
            revision__lt=view.generation.revision,
            detector_version=view.version,
            params_digest__in=view.generation.digests,
        )
    )
    if not rows:
        return 0
    oldest = min(row.confirm_time for row in rows)
    held = {as_published(row) for month in view.signals_after(oldest - 1) for row in view.told(month, slice(None))}
    gone = [row.pk for row in rows if as_published(row) not in held]
    return PublishedSignal.objects.filter(pk__in=gone).update(revised_at=now)
