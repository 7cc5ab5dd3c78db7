"""What the channels of the socket are called, and what they are called inside."""

import re
from dataclasses import dataclass
from typing import Any

from channels.layers import get_channel_layer

from markets.errors import InvalidInputError, SmcError
from markets.series import SeriesKey

SIGNALS = "signals"
STATUS = "status"
# A channel keeps this many messages for those who come back.
KEPT = 500

_CANDLES = "k:"
_JOB = re.compile(r"job:([1-9][0-9]{0,17})", re.ASCII)


@dataclass(frozen=True, slots=True)
class ChannelName:
    """A channel: all signals, the stream's status, the candles of one series, or one job."""

    text: str
    series: SeriesKey | None = None
    job: int | None = None

    @property
    def is_streamed(self) -> bool:
        """Whether its messages are kept in a Redis stream; jobs and status are read from where they are kept."""
        return self.text == SIGNALS or self.series is not None


def candles_channel(series: SeriesKey) -> str:
    return f"{_CANDLES}{series}"


def is_candles(channel: str) -> bool:
    """Say whether a channel is one of candles: many, and of them only the newest matter."""
    return channel.startswith(_CANDLES)


def read_channel(text: object) -> ChannelName:
    """Read a channel's name as a client wrote it; raise ``InvalidInputError`` for what is none."""
    if isinstance(text, str):
        if text in (SIGNALS, STATUS):
            return ChannelName(text)
        job = _JOB.fullmatch(text)
        if job is not None:
            return ChannelName(text, job=int(job[1]))
        if is_candles(text):
            try:
                return ChannelName(text, series=SeriesKey.parse(text.removeprefix(_CANDLES)))
            except SmcError:
                pass
    raise InvalidInputError(f"unknown channel {str(text)[:60]!r}: signals, k:SYMBOL:TIMEFRAME, job:ID or status")


def group_of(channel: str) -> str:
    """Return the group of the channel layer that carries a channel (letters, digits and ``-_.`` only)."""
    return "live." + channel.replace(":", ".")


def stream_key(channel: str) -> str:
    """Return the key of the Redis stream that keeps a channel's last messages."""
    return f"smc:live:{channel}"


def channel_layer() -> Any:
    """Return the channel layer; its methods are made at run time, so its type says nothing."""
    return get_channel_layer()
