"""What a socket is told from a channel's memory, and where it goes on."""

import asyncio

import orjson
import pytest

from signals.push.channels import KEPT
from signals.push.messages import body
from signals.push.rings import Reader, Ring


def ring_of(count: int, *, channel: str = "signals", first: int = 1) -> Ring:
    ring = Ring(channel, is_streamed=True)
    for number in range(first, first + count):
        ring.append(number, body(channel, "mark", {"n": number}))
    return ring


async def told(reader: Reader, limit: int = 1_000) -> list[tuple[str, int]]:
    texts = await asyncio.wait_for(reader.next_messages(limit), 1)
    return [(message["t"], message["seq"]) for message in map(orjson.loads, texts)]


async def test_a_reader_is_told_what_comes_after_it_came() -> None:
    ring, reader = ring_of(3), Reader()
    reader.follow(ring, since=None)
    ring.append(4, body("signals", "mark", {}))
    assert await told(reader) == [("mark", 4)]


async def test_a_reader_goes_on_after_the_number_it_saw_last() -> None:
    reader = Reader()
    reader.follow(ring_of(5), since=2)
    assert await told(reader) == [("mark", 3), ("mark", 4), ("mark", 5)]


@pytest.mark.parametrize("since", [0, 748, 1_250, 10**15])
async def test_a_number_that_is_not_kept_or_was_never_given_is_answered_by_reset(since: int) -> None:
    ring, reader = ring_of(KEPT + 50, first=700), Reader()
    reader.follow(ring, since=since)
    assert await told(reader) == [("reset", ring.last)]
    ring.append(ring.last + 1, body("signals", "mark", {}))
    assert await told(reader) == [("mark", ring.last)]


async def test_a_break_in_the_numbers_resets_whoever_stood_before_it() -> None:
    ring, reader = ring_of(3), Reader()
    reader.follow(ring, since=None)
    ring.append(9_000, body("signals", "mark", {}))
    assert await told(reader) == [("reset", 9_000)]


async def test_numbers_of_a_slow_reader_have_no_hole_and_signals_come_before_candles() -> None:
    signals, candles, reader = ring_of(3), ring_of(3, channel="k:BTCUSDT:1m"), Reader()
    reader.follow(candles, since=0)
    reader.follow(signals, since=0)
    texts = [orjson.loads(text) for text in await reader.next_messages(4)]
    texts += [orjson.loads(text) for text in await reader.next_messages(4)]
    assert [(text["ch"], text["seq"]) for text in texts] == [
        *(("signals", number) for number in (1, 2, 3)),
        *(("k:BTCUSDT:1m", number) for number in (1, 2, 3)),
    ]


async def test_a_reader_far_behind_in_candles_is_sent_to_fetch_them() -> None:
    ring, reader = ring_of(1, channel="k:BTCUSDT:1m"), Reader()
    reader.follow(ring, since=None)
    for number in range(2, 200):
        ring.append(number, body(ring.channel, "kline", {}))
    assert await told(reader) == [("reset", 199)]


async def test_what_a_reader_does_not_take_costs_no_memory_of_its_own() -> None:
    ring, reader = ring_of(1), Reader()
    reader.follow(ring, since=None)
    for number in range(2, 10 * KEPT):
        ring.append(number, body("signals", "mark", {}))
    assert reader.unsent == 0
    assert await told(reader) == [("reset", 10 * KEPT - 1)]
