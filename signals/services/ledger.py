"""The ledger: each signal is published once, and what a rebuild no longer finds is marked and stays."""

from datetime import datetime
from itertools import chain
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from markets.series import SeriesKey
from signals.log import SignalRow
from signals.log.rows import SCALE_NAMES
from signals.log.told import told_mark
from signals.models import PublishedSignal
from signals.selectors.ledger import NATURAL_KEY, as_published, ledger, natural_key
from signals.selectors.logs import signal_log
from signals.services.tracking import Facts, move_told_mark


def enter_signals(facts: Facts, *, now: datetime, late: bool, latency_ms: float | None = None) -> list[SignalRow]:
    """Enter signals into the ledger; return those that were not in it, in the log's order.

    Once they were told, ``note_told`` says so; until then a restart comes back to them.

    Parameters
    ----------
    facts
        From a ``Tracker``. Kinds that are not in ``INDICATORS`` are left out.
    now
        The moment they are published, our clock.
    late
        Whether they were found while catching up.
    latency_ms
        From the exchange's closing frame to now; None where that has no meaning.
    """
    rows = [row for row in facts.signals if row.kind in settings.ENV.indicators]
    entered: set[tuple[Any, ...]] = set()
    if rows:
        shared = (connection.ops.adapt_datetimefield_value(now), None if late else latency_ms, late, facts.revision)
        digests = dict(zip(SCALE_NAMES, facts.digests, strict=True))
        values = [(*_told(row), *shared, row.detector_version, digests[row.scale]) for row in rows]
        # Two processes may meet here over one series: what both enter is new to exactly one.
        with transaction.atomic(), connection.cursor() as cursor:
            for part in (values[at : at + _ROWS] for at in range(0, len(values), _ROWS)):
                cursor.execute(_ENTER % ", ".join([_ROW] * len(part)), list(chain.from_iterable(part)))
                entered.update(cursor.fetchall())
    return [row for row in rows if natural_key(row) in entered]


def note_told(facts: Facts) -> None:
    """Note that what ``facts`` tell was entered and told."""
    told = told_mark(facts.root, facts.series) if facts.signals and facts.root is not None else None
    if told is not None:
        move_told_mark(facts, told)


# One statement, because the ORM needs three and ten times as long, while every browser waits for what it tells.
_COLUMNS = (
    "symbol", "timeframe", "scale", "kind", "direction", "event_time", "ref_time", "confirm_time", "closed_at", "level",
    "top", "bottom", "strength", "range_pos", "tag",
    "published_at", "latency_ms", "is_late", "revision", "detector_version", "params_digest",
)  # fmt: skip
_ROW = f"({', '.join(['%s'] * len(_COLUMNS))})"
_ENTER = (
    f"INSERT INTO {PublishedSignal._meta.db_table} ({', '.join(_COLUMNS)}) VALUES %s"  # noqa: S608 - our own names
    f" ON CONFLICT DO NOTHING RETURNING {', '.join(NATURAL_KEY)}"
)
_ROWS = 500


def _told(row: SignalRow) -> tuple[Any, ...]:
    return (
        row.symbol, row.timeframe.value, row.scale, row.kind, row.direction, row.event_time, row.ref_time,
        row.confirm_time, row.confirmed_at, row.level, row.top, row.bottom, row.strength, row.range_pos, row.tag,
    )  # fmt: skip


def mark_revised(series: SeriesKey, *, now: datetime) -> int:
    """Mark published signals that the current log no longer holds as they were published; return how many changed.

    What a person was shown stays in the ledger; the mark says that the exchange has since changed its candles. It is
    taken back where the log holds the signal again, as after candles that a damaged file had cost are there anew.
    """
    view = signal_log(settings.DATA_ROOT).view(series)
    if view is None:
        return 0
    rows = list(
        ledger(series).filter(
            confirm_time__lte=view.through,
            revision__lt=view.generation.revision,
            detector_version=view.version,
            params_digest__in=view.generation.digests,
        )
    )
    if not rows:
        return 0
    oldest = min(row.confirm_time for row in rows)
    held = {as_published(row) for month in view.signals_after(oldest - 1) for row in view.told(month, slice(None))}
    gone = [row.pk for row in rows if row.revised_at is None and as_published(row) not in held]
    back = [row.pk for row in rows if row.revised_at is not None and as_published(row) in held]
    changed = PublishedSignal.objects.filter(pk__in=gone).update(revised_at=now)
    return changed + PublishedSignal.objects.filter(pk__in=back).update(revised_at=None)
