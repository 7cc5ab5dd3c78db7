"""Messages are numbered without a hole, kept, and sent by the leader only."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from redis import Redis

from signals.push.channels import KEPT, stream_key
from signals.push.messages import body, reset_body
from signals.push.sender import Sender
from tests.brokers import emptied
from tests.waiting import eventually

URL = settings.REDIS_URLS[1]
pytestmark = pytest.mark.broker


@pytest.fixture
def redis() -> Iterator["Redis"]:
    with emptied(URL) as client:
        yield client


def start(epoch: int = 1) -> Sender:
    sender = Sender(URL, epoch=epoch, shard="1of1")
    sender.start()
    return sender


def kept(redis: "Redis", channel: str) -> list[tuple[int, bytes]]:
    rows: Any = redis.xrange(stream_key(channel))
    return [(int(key.partition(b"-")[0]), fields[b"m"]) for key, fields in rows]


def test_messages_are_numbered_by_one_from_the_time_on(redis: "Redis") -> None:
    sender = start()
    for number in range(700):
        sender.send("signals", body("signals", "mark", {"n": number}))
    eventually(lambda: sender.sent == 700)
    sender.close()
    numbers = [sequence for sequence, _ in kept(redis, "signals")]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert KEPT <= len(numbers) < KEPT + 150
    assert abs(numbers[-1] - 700 - time.time() * 1000) < 60_000


def test_each_channel_has_numbers_of_its_own_however_they_come_together(redis: "Redis") -> None:
    sender = Sender(URL, epoch=1, shard="1of1")
    for number in range(60):
        sender.send(f"k:S{number % 3}:1m", f'"{number}"')
    sender.start()
    eventually(lambda: sender.sent == 60)
    sender.close()
    for channel in range(3):
        rows = kept(redis, f"k:S{channel}:1m")
        assert [text for _, text in rows] == [b'"%d"' % number for number in range(channel, 60, 3)]
        assert [sequence - rows[0][0] for sequence, _ in rows] == list(range(20))


def test_numbers_go_on_after_a_restart(redis: "Redis") -> None:
    for epoch in (1, 2, 3):
        sender = start(epoch)
        sender.send("signals", body("signals", "mark", {}))
        sender.close()
    numbers = [sequence for sequence, _ in kept(redis, "signals")]
    assert numbers == list(range(numbers[0], numbers[0] + 3))


def test_a_former_leader_publishes_nothing_once_the_next_has(redis: "Redis") -> None:
    former, leader = start(1), start(2)
    former.send("signals", body("signals", "mark", {"from": "former"}))
    eventually(lambda: former.sent == 1)
    leader.send("signals", body("signals", "mark", {"from": "leader"}))
    eventually(lambda: leader.sent == 1)
    former.send("signals", body("signals", "mark", {"from": "woken"}))
    eventually(lambda: former.is_fenced)
    leader.close()
    former.close()
    assert len(kept(redis, "signals")) == 2


def test_of_forming_candles_that_wait_the_newest_is_sent_and_none_after_the_closed_one(redis: "Redis") -> None:
    sender = Sender(URL, epoch=1, shard="1of1")
    for number in range(5):
        sender.send("k:A:1m", f'"forming{number}"', is_forming=True)
    sender.send("k:A:1m", '"closed"')
    sender.send("k:A:1m", '"next"', is_forming=True)
    sender.start()
    eventually(lambda: sender.sent == 2)
    sender.close()
    assert [text for _, text in kept(redis, "k:A:1m")] == [b'"closed"', b'"next"']


def test_a_message_whose_answer_was_lost_is_not_numbered_twice(redis: "Redis") -> None:
    sender = Sender(URL, epoch=5, shard="1of1")
    sender._numbered = 3
    redis.hset("smc:live:leader:1of1", mapping={"epoch": 5, "sent": 4})
    sender.send("signals", '"again"')
    sender.send("signals", '"new"')
    sender.start()
    eventually(lambda: sender.sent == 2)
    sender.close()
    assert [text for _, text in kept(redis, "signals")] == [b'"new"']


def test_candles_are_given_up_before_signals_when_redis_is_away_for_long() -> None:
    sender = Sender("redis://127.0.0.1:1/1", epoch=1, shard="1of1")
    sender.send("signals", "the signal")
    for number in range(25_000):
        sender.send(f"k:S{number % 3}:1m", "a candle")
    assert ("signals", "the signal") in sender._lasting
    assert sender.waiting <= 20_000


def test_who_reads_signals_of_which_old_ones_were_given_up_is_told_to_fetch_anew() -> None:
    sender = Sender("redis://127.0.0.1:1/1", epoch=1, shard="1of1")
    for number in range(20_001):
        sender.send("signals", f"signal {number}")
    assert sender._lasting[0] == ("signals", reset_body("signals"))
    assert sender._lasting[1] == ("signals", "signal 10001")
    assert sender._lasting[-1] == ("signals", "signal 20000")
