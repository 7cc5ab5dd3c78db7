"""What the last leader entered into the ledger and was killed before it said it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from django.utils import timezone
from redis import Redis

from markets.errors import NotFoundError
from markets.moments import milliseconds, parse_time
from markets.selectors import tick_size
from markets.series import SeriesKey
from signals.engine import Kind
from signals.feed.wishes import Shard
from signals.log.rows import SignalId
from signals.models import PublishedSignal
from signals.push.channels import KEPT, SIGNALS, stream_key
from signals.push.messages import reset_body, signal_body
from signals.push.sender import Sender
from signals.selectors import signal

# Nobody waits for older ones: whoever opened a page since has them.
_MEMORY = timedelta(minutes=15)
_MOST_ROWS = 500


def make_amends(redis: "Redis", sender: Sender, shard: Shard) -> int:
    """Say what was entered and not said, and have every list fetched anew; return how many signals were said.

    The ledger is written before anything is said, so a leader that is killed between the two leaves a signal that
    pages would show only after a reload.
    """
    said, since = _said(redis)
    count = 0
    rows = PublishedSignal.objects.filter(published_at__gte=max(since, timezone.now() - _MEMORY))
    for row in rows.order_by("id")[:_MOST_ROWS]:
        name = _name(row)
        if name in said or not shard.has(SeriesKey.of(row.symbol, row.timeframe)):
            continue
        try:
            told = signal(name)
        except NotFoundError:
            continue  # revised meanwhile
        published_at, step = milliseconds(row.published_at), tick_size(row.symbol)
        sender.send(SIGNALS, signal_body(told, published_at=published_at, late=row.is_late, tick_size=step))
        count += 1
    sender.send(SIGNALS, reset_body(SIGNALS))
    return count


def _said(redis: "Redis") -> tuple[set[str], datetime]:
    """Return the ids of the signals that were said, as far as they are kept, and since when they are."""
    rows: Any = redis.xrange(stream_key(SIGNALS))
    messages = [orjson.loads(b"{" + fields[b"m"]) for _, fields in rows]
    signals = [message for message in messages if message["t"] == "signal"]
    if not signals:
        # Redis is new, or was lost: then all pages fetch anew, and what is a minute old was seen by nobody.
        return set(), timezone.now() - timedelta(minutes=1)
    if len(rows) < KEPT:
        since = timezone.now() - _MEMORY
    else:
        # Older ones were said and are not kept. Series say theirs side by side, so the edge is blurred: only the
        # newer half of what is kept says for certain what was not said.
        half = signals[: len(signals) // 2 + 1]
        since = datetime.fromtimestamp(max(parse_time(each["published_at"]) for each in half) / 1000, UTC)
    return {message["id"] for message in signals}, since


def _name(row: PublishedSignal) -> str:
    series = SeriesKey.of(row.symbol, row.timeframe)
    return str(SignalId(series, row.scale, Kind[row.kind], row.direction, row.event_time, row.ref_time))
