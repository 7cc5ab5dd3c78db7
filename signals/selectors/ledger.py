"""Reads of the ledger: what was shown to people, and when."""

from django.db.models import QuerySet

from markets.series import SeriesKey
from signals.log import SignalRow
from signals.models import PublishedSignal


def ledger(series: SeriesKey) -> QuerySet[PublishedSignal]:
    """Return the published signals of a series, the newest first."""
    return PublishedSignal.objects.filter(symbol=series.symbol, timeframe=series.timeframe.value)


NATURAL_KEY = ("scale", "kind", "direction", "event_time", "ref_time")


def natural_key(row: SignalRow | PublishedSignal) -> tuple[str, str, int, int, int]:
    """Return what names a signal within its series, detector version and parameters."""
    return (row.scale, row.kind, row.direction, row.event_time, row.ref_time)


def as_published(row: SignalRow | PublishedSignal) -> tuple[object, ...]:
    """Return what a signal says, without its later life: equal for a ledger row and the log's row it tells."""
    return (
        *natural_key(row),
        row.confirm_time,
        row.level,
        row.top,
        row.bottom,
        row.strength,
        row.range_pos,
        row.tag,
    )
