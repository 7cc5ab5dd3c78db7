"""What a batch over all candles finds: what the live path must have found, no more and no less."""

from collections.abc import Collection, Iterable

from django.conf import settings

from markets.candles import Candles
from signals.engine import SCALES, Detector, scale_params
from signals.models import PublishedSignal

Found = set[tuple[str, str, int, int, int, int]]


def batch(candles: Candles, *, after: int, kinds: Collection[str] = settings.ENV.indicators) -> Found:
    """Return scale, kind, direction, event, reference and confirm time of the signals confirmed after a time."""
    found: Found = set()
    for scale in SCALES:
        table = Detector(scale_params(scale)).run(candles).table
        names = ("kind", "direction", "event_time", "ref_time", "confirm_time")
        for kind, *rest in zip(*(table.column(name).tolist() for name in names), strict=True):
            if kind in kinds and rest[-1] > after:
                found.add((scale, kind, *rest))
    return found


def entered(rows: Iterable[PublishedSignal]) -> Found:
    """Return the same of the ledger's rows."""
    return {(row.scale, row.kind, row.direction, row.event_time, row.ref_time, row.confirm_time) for row in rows}
