"""How candles get into the store: durable first, then the rows that tell what changed."""

import logging

from markets.candles import Candles
from markets.models import Revision
from markets.selectors import candle_store
from markets.series import SeriesKey
from markets.services.pairs import ensure_series
from markets.store import Merged, Source

logger = logging.getLogger(__name__)


def record(series: SeriesKey, candles: Candles, *, source: Source) -> Merged:
    """Store closed candles; they are durable when this returns. A changed closed candle leaves a ``Revision``."""
    merged = candle_store().merge(series, candles, source=source)
    if merged.revised:
        row = ensure_series(series)
        Revision.objects.bulk_create(
            Revision(
                series=row,
                open_time=each.open_time,
                before=list(each.before[1:]),
                after=list(each.after[1:]),
                source=source.value,
            )
            for each in merged.revised
        )
        logger.warning("closed candles revised", extra={"series": str(series), "count": len(merged.revised)})
    return merged
