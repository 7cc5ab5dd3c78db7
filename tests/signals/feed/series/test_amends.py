"""What was entered and not said is said by the next leader; what was said is not said again."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone
from redis import Redis

from signals.feed.amends import make_amends
from signals.feed.wishes import Shard
from signals.models import PublishedSignal
from signals.push.channels import stream_key
from signals.push.messages import body
from tests.brokers import emptied
from tests.signals.feed.series.rig import HISTORY, Rig, Said

pytestmark = [pytest.mark.django_db, pytest.mark.broker]


@pytest.fixture
def redis() -> Iterator["Redis"]:
    with emptied(settings.REDIS_URLS[1]) as client:
        yield client


def keep(redis: "Redis", messages: list[dict[str, Any]]) -> None:
    """Let messages lie in the stream as the sender leaves them."""
    for number, message in enumerate(messages, start=1):
        rest = body("signals", message["t"], {name: message[name] for name in message if name not in ("ch", "t")})
        redis.xadd(stream_key("signals"), {"m": rest}, id=f"{number}-0")


def test_what_was_not_said_is_said_once(rig: Rig, redis: "Redis") -> None:
    rig.live(*range(HISTORY, HISTORY + 60))
    told = rig.said.of("signal")
    assert len(told) > 10
    keep(redis, told[:-3])
    said = Said()
    assert make_amends(redis, said, Shard()) == 3  # type: ignore[arg-type]
    again = said.of("signal")
    assert [(each["id"], each["published_at"], each["late"]) for each in again] == [
        (each["id"], each["published_at"], each["late"]) for each in told[-3:]
    ]
    assert said.messages[-1]["t"] == "reset"


def test_what_was_said_long_ago_and_is_not_kept_is_not_said_again(rig: Rig, redis: "Redis") -> None:
    rig.live(*range(HISTORY, HISTORY + 60))
    told = rig.said.of("signal")
    # A fast machine enters all of them in one millisecond; long ago is a minute.
    first = PublishedSignal.objects.order_by("id").values_list("pk", flat=True)[:4]
    PublishedSignal.objects.filter(pk__in=list(first)).update(published_at=timezone.now() - timedelta(minutes=1))
    keep(redis, [*([{"t": "mark"}] * 500), *told[4:]])
    said = Said()
    assert make_amends(redis, said, Shard()) == 0  # type: ignore[arg-type]


def test_without_redis_memory_only_what_is_fresh_is_said(rig: Rig, redis: "Redis") -> None:
    rig.live(*range(HISTORY, HISTORY + 60))
    count = len(rig.ledger)
    PublishedSignal.objects.update(published_at=timezone.now() - timedelta(minutes=2))
    said = Said()
    assert make_amends(redis, said, Shard()) == 0  # type: ignore[arg-type]
    PublishedSignal.objects.update(published_at=timezone.now())
    assert make_amends(redis, said, Shard()) == count  # type: ignore[arg-type]
