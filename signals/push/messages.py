"""The messages of the socket as text, all but their head: version and number are put before it when it is sent."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from django.template.loader import get_template

from markets.candles import Candle
from markets.moments import iso
from markets.series import SeriesKey
from signals.push.channels import SIGNALS, candles_channel
from signals.serializers import signal_json
from signals.services import MarkRow, SignalRow

_ROW = "signals/_row.html"


def body(channel: str, kind: str, fields: Mapping[str, Any]) -> str:
    """Return a message without its head: ``"ch":…,"t":…,…}``."""
    return orjson.dumps({"ch": channel, "t": kind, **fields}, option=orjson.OPT_SERIALIZE_NUMPY).decode()[1:]


def with_head(sequence: int, rest: str) -> str:
    """Return the whole message. Messages that belong to no channel have the number 0."""
    return f'{{"v":1,"seq":{sequence},{rest}'


def signal_body(row: SignalRow, *, published_at: int, late: bool, tick_size: float) -> str:
    """Tell a published signal: the object of the REST API, when it was published, and the row pages show.

    ``tick_size`` is the pair's price step, 0 where it is unknown: prices in the row are written with its decimals.
    """
    told = {**signal_json(row), "published_at": iso(published_at), "late": late}
    context = {"signal": row, "late": late, "tick_size": tick_size}
    html = get_template(_ROW).render(context)
    return body(SIGNALS, "signal", {**told, "html": html})


def mark_body(row: MarkRow) -> str:
    """Tell that a published signal was mitigated, filled or invalidated."""
    return body(SIGNALS, "mark", mark_json(row))


def mark_json(row: MarkRow) -> dict[str, Any]:
    return {"id": row.signal_id, "mark": row.mark, "time": iso(row.time)}


def candle_body(
    series: SeriesKey,
    candle: Candle,
    *,
    is_closed: bool,
    signals: Sequence[SignalRow],
    marks: Sequence[MarkRow],
) -> str:
    """Tell a candle with what was found on it.

    Of a closed candle ``signals`` and ``marks`` are facts. Of a forming one they are what would be found if it closed
    as it stands: drawn as such, never announced.
    """
    fields = {
        "symbol": series.symbol,
        "timeframe": series.timeframe.value,
        "closed": is_closed,
        **candle._asdict(),
        "open_time": iso(candle.open_time),
        "signals": [signal_json(row) for row in signals],
        "marks": [mark_json(row) for row in marks],
    }
    return body(candles_channel(series), "kline", fields)


def reset_body(channel: str) -> str:
    """Tell that what was shown of a channel is to be fetched again."""
    return body(channel, "reset", {})
