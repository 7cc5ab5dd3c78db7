"""What sockets hear of their channels, with a real Redis behind: all, in order and once, whatever is lost meanwhile."""

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from redis import Redis

from markets.models import Backfill, Job, JobState
from signals.push.channels import stream_key
from signals.push.hub import hub
from signals.push.sender import Sender
from tests.signals.live.sockets import Open, send, sent

pytestmark = [pytest.mark.broker, pytest.mark.django_db(transaction=True)]


async def test_a_message_reaches_every_socket_that_asked_for_its_channel(open_socket: Open, sender: Sender) -> None:
    clients = [await open_socket() for _ in range(3)]
    for client in clients:
        await client.subscribe("signals")
    send(sender, 1, 2)
    for client in clients:
        first, second = await client.hear(), await client.hear()
        assert (first["v"], first["ch"], first["t"], first["id"]) == (1, "signals", "signal", "s1")
        assert (second["id"], second["seq"]) == ("s2", first["seq"] + 1)


async def test_the_first_message_of_an_empty_channel_arrives_as_itself(open_socket: Open, sender: Sender) -> None:
    client = await open_socket()
    assert await client.subscribe("signals") == {"signals": 0}
    send(sender, 1)
    assert (await client.hear())["id"] == "s1"


async def test_ws_resume(open_socket: Open, sender: Sender) -> None:
    """A browser that slept gets what it missed, in order and once; one that slept too long is told to fetch."""
    client = await open_socket()
    await client.subscribe("signals")
    send(sender, 1)
    last = (await client.hear())["seq"]
    await client.socket.disconnect()
    send(sender, *range(2, 12))
    await sent(sender, 11)
    again = await open_socket()
    await again.subscribe("signals", since=last)
    missed = [await again.hear() for _ in range(10)]
    assert [message["id"] for message in missed] == [f"s{number}" for number in range(2, 12)]
    assert [message["seq"] for message in missed] == list(range(last + 1, last + 11))
    send(sender, *range(12, 800))
    await sent(sender, 799)
    late = await open_socket()
    newest = await late.subscribe("signals", since={"signals": last})
    reset = await late.hear()
    assert (reset["t"], reset["seq"]) == ("reset", newest["signals"])


async def test_ws_seq_resync(open_socket: Open, sender: Sender) -> None:
    """What the channel layer loses is found in the stream, and told in order and once."""
    client = await open_socket()
    await client.subscribe("signals")
    send(sender, 1)
    first = await client.hear()
    layer = hub()._layer
    await layer.group_discard("live.signals", hub()._name)
    send(sender, 2, 3, 4)
    await sent(sender, 4)
    await layer.group_add("live.signals", hub()._name)
    send(sender, 5)
    told = [await client.hear() for _ in range(4)]
    assert [(each["id"], each["seq"] - first["seq"]) for each in told] == [
        (f"s{number}", number - 1) for number in (2, 3, 4, 5)
    ]


async def test_the_last_message_is_not_lost_either(open_socket: Open, sender: Sender) -> None:
    client = await open_socket()
    await client.subscribe("signals")
    await hub()._layer.group_discard("live.signals", hub()._name)
    send(sender, 1)
    assert (await client.hear())["id"] == "s1"


async def test_a_reader_that_sleeps_delays_nobody_and_misses_nothing(open_socket: Open, sender: Sender) -> None:
    sleeper, reader = await open_socket(), await open_socket()
    for client in (sleeper, reader):
        await client.subscribe("signals")
    for batch in range(4):
        send(sender, *range(batch * 100, batch * 100 + 100))
        for number in range(batch * 100, batch * 100 + 100):
            assert (await reader.hear())["id"] == f"s{number}"
    assert [(await sleeper.hear())["id"] for _ in range(400)] == [f"s{number}" for number in range(400)]


async def test_redis_lost_and_come_back_empty_resets_those_who_listen(open_socket: Open, sender: Sender) -> None:
    client = await open_socket()
    await client.subscribe("signals")
    send(sender, 1)
    first = await client.hear()
    redis = Redis.from_url(settings.REDIS_URLS[1])
    redis.delete(stream_key("signals"))
    redis.close()
    send(sender, 2)
    reset = await client.hear()
    assert reset["t"] == "reset"
    assert reset["seq"] > first["seq"]
    send(sender, 3)
    assert (await client.hear())["id"] == "s3"


async def test_ws_redis_down(open_socket: Open, sender: Sender) -> None:
    """Connections to Redis that break cost nothing: what was sent meanwhile arrives, in order and once."""
    client = await open_socket()
    await client.subscribe("signals")
    send(sender, 1)
    assert (await client.hear())["id"] == "s1"
    redis = Redis.from_url(settings.REDIS_URLS[1])
    for kind in ("pubsub", "normal"):
        redis.client_kill_filter(_type=kind, skipme=True)
    redis.close()
    send(sender, 2, 3)
    assert [(await client.hear())["id"] for _ in range(2)] == ["s2", "s3"]
    await client.say(op="ping")
    assert (await client.hear("hb"))["v"] == 1
    send(sender, 4)
    assert (await client.hear())["id"] == "s4"


async def test_a_job_is_told_as_it_is_and_as_it_changes(open_socket: Open) -> None:
    job = await sync_to_async(Backfill.objects.create)(kind="backfill", symbol="BTCUSDT", timeframe="1m")
    client = await open_socket()
    await client.subscribe(f"job:{job.pk}")
    told = await client.hear("job")
    assert (told["id"], told["state"], told["ch"]) == (job.pk, "queued", f"job:{job.pk}")
    await sync_to_async(Job.objects.filter(pk=job.pk).update)(state=JobState.RUNNING, progress=0.5)
    running = await client.hear("job")
    assert (running["state"], running["progress"], running["seq"]) == ("running", 0.5, told["seq"] + 1)


async def test_the_status_is_told_at_once_and_silence_is_not_health(open_socket: Open) -> None:
    client = await open_socket()
    await client.subscribe("status")
    status = await client.hear("status")
    assert (status["state"], status["leader"]) == ("down", None)


async def test_a_state_whose_numbers_go_on_elsewhere_begins_with_a_reset(open_socket: Open) -> None:
    """Numbers of the status and of jobs are a web process's own; a client may have counted with another's."""
    client = await open_socket()
    await client.say(op="sub", ch=["status"], since=99_999_999_999_999)
    told = [await client.hear(), await client.hear()]
    assert [each["t"] for each in told] == ["reset", "status"]
    assert told[1]["seq"] == told[0]["seq"] + 1
