"""The way from the stream's thread to its reader: closed candles in order, of forming ones the newest."""

import threading
import time
from collections import deque

from markets.exchanges import CandleUpdate, Connected, StreamEvent
from markets.series import SeriesKey

# About 30 MB. A reader this far behind is better served by REST.
LASTING_LIMIT = 50_000


class EventQueue:
    """A queue that cannot grow without bound and loses nothing that matters.

    A forming candle replaces the one of its series that still waits; ``Connected`` and closed candles keep their
    order and come first. Should more than ``LASTING_LIMIT`` wait, the candles among them are taken out and their
    series are told as ``Connected``: the reader then asks REST for what it did not get.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._lasting: deque[StreamEvent] = deque()
        self._forming: dict[SeriesKey, CandleUpdate] = {}

    def __len__(self) -> int:
        return len(self._lasting) + len(self._forming)

    def put(self, event: StreamEvent) -> None:
        with self._changed:
            if isinstance(event, Connected):
                self._lasting.append(event)
            elif event.is_closed:
                waiting = self._forming.get(event.series)
                if waiting is not None and waiting.candle.open_time <= event.candle.open_time:
                    del self._forming[event.series]
                self._lasting.append(event)
                if len(self._lasting) > LASTING_LIMIT:
                    self._give_up_candles()
            else:
                self._forming[event.series] = event
            self._changed.notify()

    def get(self, timeout_seconds: float) -> StreamEvent | None:
        """Return the next event, or None when none came in time."""
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while True:
                if self._lasting:
                    return self._lasting.popleft()
                if self._forming:
                    return self._forming.pop(next(iter(self._forming)))
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)

    def _give_up_candles(self) -> None:
        series: set[SeriesKey] = set()
        for event in self._lasting:
            series |= event.series if isinstance(event, Connected) else {event.series}
        self._lasting.clear()
        self._lasting.append(Connected(frozenset(series)))
