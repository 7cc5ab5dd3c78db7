"""What a reader that lags still gets of a stream."""

import pytest

from markets.candles import Candle
from markets.exchanges import CandleUpdate, Connected, StreamEvent, event_queue
from markets.exchanges.event_queue import EventQueue
from markets.series import SeriesKey
from tests.markets.exchanges.listening import BTC, ETH, MINUTE


def update(series: SeriesKey, minute: int, *, is_closed: bool) -> CandleUpdate:
    candle = Candle(minute * MINUTE, 1.0, 1.0, 1.0, 1.0, 1.0)
    return CandleUpdate(series, candle, is_closed, event_time=(minute + 1) * MINUTE, received_at=0.0)


def taken(queue: EventQueue) -> list[StreamEvent]:
    return list(iter(lambda: queue.get(0.0), None))


def test_of_forming_candles_the_newest_is_told_after_all_that_closed() -> None:
    queue = EventQueue()
    older, newer = update(BTC, 1, is_closed=False), update(BTC, 2, is_closed=False)
    closed = update(BTC, 1, is_closed=True)
    for event in (older, closed, newer, update(ETH, 1, is_closed=False), update(ETH, 1, is_closed=True)):
        queue.put(event)
    assert taken(queue) == [closed, update(ETH, 1, is_closed=True), newer]


def test_a_reader_that_lags_too_far_is_told_to_ask_for_what_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_queue, "LASTING_LIMIT", 3)
    queue = EventQueue()
    for minute in range(3):
        queue.put(update(BTC, minute, is_closed=True))
    queue.put(update(ETH, 3, is_closed=True))
    following = update(BTC, 4, is_closed=True)
    queue.put(following)
    assert taken(queue) == [Connected(frozenset({BTC, ETH})), following]
