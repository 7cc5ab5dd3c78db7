"""The socket as browsers and programs meet it, with a real Redis behind."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import OperationalError
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from markets.models import Backfill, Job, JobState
from markets.series import SeriesKey
from markets.services.pairs import ensure_series
from signals import consumers
from signals.push.channels import stream_key
from signals.push.hub import hub
from signals.push.messages import body
from signals.push.sender import Sender
from signals.push.watching import WATCHED_SECONDS, note_watched, read_watched
from smcsite.asgi import application
from tests.signals.live.sockets import Socket

pytestmark = [pytest.mark.broker, pytest.mark.django_db(transaction=True)]

Open = Callable[..., Awaitable["Client"]]


class Client:
    """A socket under test."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket

    async def say(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def hear(self, kind: str | None = None, *, channel: str | None = None) -> dict[str, Any]:
        """Return the next message of a kind and channel; heartbeats are passed over unless asked for."""
        while True:
            message: dict[str, Any] = json.loads(await self.socket.text())
            if kind is None and message["t"] == "hb":
                continue
            if kind in (None, message["t"]) and channel in (None, message["ch"]):
                return message

    async def subscribe(self, *channels: str, since: Any = None) -> dict[str, int]:
        """Subscribe and return the newest number of each channel."""
        await self.say(op="sub", ch=list(channels), **({"since": since} if since is not None else {}))
        while True:
            beat = await self.hear("hb")
            if "seqs" in beat:
                numbers: dict[str, int] = beat["seqs"]
                return numbers


@pytest.fixture
async def open_socket() -> AsyncIterator[Open]:
    sockets: list[Socket] = []

    async def connect(*, origin: str | None = None, host: str = "localhost:8000") -> Client:
        headers = [(b"host", host.encode())] + ([(b"origin", origin.encode())] if origin else [])
        socket = Socket(application, headers)
        sockets.append(socket)
        assert await socket.connect() == 0
        return Client(socket)

    yield connect
    for socket in sockets:
        await socket.disconnect()
    await hub().close()


@pytest.fixture
def sender() -> Any:
    redis = Redis.from_url(settings.REDIS_URLS[1])
    redis.flushdb()
    sender = Sender(settings.REDIS_URLS[1], epoch=1, shard="1of1")
    sender.start()
    yield sender
    sender.close()
    redis.flushdb()
    redis.close()


def send(sender: Sender, *numbers: int) -> None:
    for number in numbers:
        sender.send("signals", body("signals", "signal", {"id": f"s{number}", "late": False}))


async def sent(sender: Sender, count: int) -> None:
    async with asyncio.timeout(5):
        while sender.sent < count:
            await asyncio.sleep(0.01)


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


async def test_the_stream_process_knows_which_candles_are_looked_at(open_socket: Open, sender: Sender) -> None:
    await sync_to_async(ensure_series)(SeriesKey.parse("BTCUSDT:1m"))
    client = await open_socket()
    await client.subscribe("signals", "k:BTCUSDT:1m")
    async with asyncio.timeout(5):
        while not sender.is_watched("k:BTCUSDT:1m"):
            await asyncio.sleep(0.01)
    assert not sender.is_watched("signals")
    assert not sender.is_watched("k:BTCUSDT:5m")


async def test_nobody_looks_at_candles_any_more_when_nobody_says_so(sender: Sender) -> None:
    redis = AsyncRedis.from_url(settings.REDIS_URLS[1])
    await note_watched(redis, ["k:BTCUSDT:1m", "k:BTCUSDT:5m"])
    assert await read_watched(redis) == {"k:BTCUSDT:1m", "k:BTCUSDT:5m"}
    assert await redis.ttl("smc:live:watched") <= WATCHED_SECONDS
    await redis.zadd("smc:live:watched", {"k:BTCUSDT:1m": 1})
    assert await read_watched(redis) == {"k:BTCUSDT:5m"}
    await redis.aclose()


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


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("not json", "invalid-input"),
        ("[]", "invalid-input"),
        ('{"op": "dance"}', "invalid-input"),
        ('{"op": "sub"}', "invalid-input"),
        ('{"op": "sub", "ch": []}', "invalid-input"),
        ('{"op": "sub", "ch": ["k:BTCUSDT:7m"]}', "invalid-input"),
        ('{"op": "sub", "ch": ["k:NOSUCH:1m"]}', "invalid-input"),
        ('{"op": "sub", "ch": ["job:999999"]}', "invalid-input"),
        ('{"op": "sub", "ch": ["job:-1"]}', "invalid-input"),
        ('{"op": "sub", "ch": [{"a": 1}]}', "invalid-input"),
        ('{"op": "sub", "ch": ["live.signals"]}', "invalid-input"),
        ('{"op": "sub", "ch": ["signals"], "since": "now"}', "invalid-input"),
        ('{"op": "sub", "ch": ["signals"], "since": -1}', "invalid-input"),
        ('{"op": "sub", "ch": ["signals"], "since": true}', "invalid-input"),
    ],
)
async def test_bad_messages_get_an_error_and_the_socket_goes_on(
    open_socket: Open, sender: Sender, text: str, code: str
) -> None:
    client = await open_socket()
    await client.socket.send(text)
    error = await client.hear()
    assert (error["t"], error["code"]) == ("error", code)
    assert error["detail"]
    await client.subscribe("signals")
    send(sender, 1)
    assert (await client.hear())["id"] == "s1"


async def test_of_several_channels_the_good_ones_are_followed(open_socket: Open, sender: Sender) -> None:
    client = await open_socket()
    await client.say(op="sub", ch=["k:NOSUCH:1m", "signals"])
    assert (await client.hear("error"))["ch"] == "k:NOSUCH:1m"
    assert "signals" in (await client.hear("hb"))["seqs"]
    send(sender, 1)
    assert (await client.hear("signal"))["id"] == "s1"


async def test_a_message_too_long_ends_the_socket_that_sent_it(open_socket: Open) -> None:
    client, other = await open_socket(), await open_socket()
    await client.socket.send(json.dumps({"op": "ping", "pad": "x" * 20_000}))
    assert (await client.hear("error"))["code"] == "too-large"
    closing = await client.socket.receive()
    assert (closing["type"], closing["code"]) == ("websocket.close", 1009)
    await other.say(op="ping")
    assert (await other.hear("hb"))["t"] == "hb"


async def test_too_many_messages_are_refused_and_then_end_the_socket(open_socket: Open) -> None:
    client = await open_socket()
    for _ in range(140):
        await client.say(op="unsub", ch=["signals"])
    assert (await client.hear("error"))["code"] == "too-many-messages"
    while (event := await client.socket.receive())["type"] == "websocket.send":
        pass
    assert (event["type"], event["code"]) == ("websocket.close", 1008)


async def test_a_series_of_the_database_can_be_followed_and_left(open_socket: Open, sender: Sender) -> None:
    await sync_to_async(ensure_series)(SeriesKey.parse("BTCUSDT:1m"))
    client = await open_socket()
    await client.subscribe("k:BTCUSDT:1m")
    sender.send("k:BTCUSDT:1m", body("k:BTCUSDT:1m", "kline", {"closed": True}))
    assert (await client.hear())["t"] == "kline"
    await client.say(op="unsub", ch=["k:BTCUSDT:1m"])
    await client.subscribe("signals")
    sender.send("k:BTCUSDT:1m", body("k:BTCUSDT:1m", "kline", {"closed": True}))
    send(sender, 1)
    assert (await client.hear())["t"] == "signal"
    assert "k:BTCUSDT:1m" not in hub()._rings


async def test_a_job_is_told_as_it_is_and_as_it_changes(open_socket: Open) -> None:
    from asgiref.sync import sync_to_async

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


async def test_a_database_that_fails_costs_an_answer_and_no_socket(
    open_socket: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await open_socket()
    with monkeypatch.context() as broken:
        broken.setattr("django.db.models.query.QuerySet.exists", _fail)
        await client.say(op="sub", ch=["job:1"])
        assert (await client.hear("error"))["code"] == "unavailable"
    await client.subscribe("status")
    assert (await client.hear("status"))["state"] == "down"


async def test_a_session_is_asked_for_again_after_a_moment_without_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "_RECHECK_SECONDS", 0.01)
    answers: list[Callable[[], bool]] = [_fail, lambda: True, _fail, lambda: False]

    async def recheck() -> bool:
        return answers.pop(0)()

    kind: Any = consumers.LiveConsumer

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await kind.as_asgi()({**scope, "recheck": recheck}, receive, send)

    socket = Socket(app, [(b"host", b"localhost:8000")])
    assert await socket.connect() == 0
    assert (await Client(socket).hear("error"))["code"] == "session-ended"
    assert await socket.receive() == {"type": "websocket.close", "code": 4401}
    await socket.disconnect()
    await hub().close()


async def test_a_socket_whose_work_failed_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "_read", _fail_otherwise)
    socket = Socket(consumers.LiveConsumer.as_asgi(), [(b"host", b"localhost:8000")])
    assert await socket.connect() == 0
    assert len(hub()._all) == 1
    await socket.send("{}")
    with pytest.raises(ZeroDivisionError):
        await socket.disconnect()
    assert not hub()._all
    await hub().close()


def _fail(*_: Any) -> bool:
    raise OperationalError("the database is away")


def _fail_otherwise(*_: Any) -> Any:
    raise ZeroDivisionError("a defect")


@pytest.mark.parametrize(
    ("origin", "host"),
    [(None, "localhost:8000"), ("http://localhost:8000", "localhost:8000"), ("http://127.0.0.1", "127.0.0.1:80")],
)
async def test_programs_and_our_own_pages_may_open_a_socket(open_socket: Open, origin: str | None, host: str) -> None:
    await open_socket(origin=origin, host=host)


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("http://localhost:9999", "localhost:8000", 403),
        ("https://localhost:8000", "localhost:8000", 403),
        ("http://evil.example", "localhost:8000", 403),
        ("http://evil.example:8000", "evil.example:8000", 400),
        ("null", "localhost:8000", 403),
        ("", "localhost:8000", 403),
        ("http://localhost:8000/x", "localhost:8000", 403),
        ("http://a@localhost:8000", "localhost:8000", 403),
        ("http://localhost:abc", "localhost:8000", 403),
    ],
)
async def test_foreign_pages_are_refused_before_the_socket_is_open(origin: str, host: str, status: int) -> None:
    headers = [(b"host", host.encode()), (b"origin", origin.encode())]
    assert await Socket(application, headers).connect() == 4000 + status


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
