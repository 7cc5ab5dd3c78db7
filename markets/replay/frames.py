"""A frame of a kline stream before it is sent, while faults may still change it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from markets.replay.market import Row
from markets.replay.messages import kline_event
from markets.replay.streams import Payload
from markets.series import SeriesKey


@dataclass(frozen=True, slots=True)
class Frame:
    """What a series says. ``spoil`` is done to the finished text, wrapper and all."""

    series: SeriesKey
    row: Row
    event: Mapping[str, Any]
    is_closed: bool
    spoil: Callable[[bytes], bytes] = bytes

    @property
    def stream(self) -> str:
        return f"{self.series.symbol.lower()}@kline_{self.series.timeframe.value}"

    def with_kline(self, **fields: Any) -> "Frame":
        return replace(self, event={**self.event, "k": {**self.event["k"], **fields}})

    def payload(self) -> Payload:
        return Payload.of(self.stream, orjson.dumps(self.event), spoil=self.spoil)


def frame_of(series: SeriesKey, row: Row, *, event_time: int, is_closed: bool) -> Frame:
    event = kline_event(series, row, event_time=event_time, is_closed=is_closed)
    return Frame(series, row, event, is_closed)
