"""What browsers and programs may say to the socket, and what a failure behind it costs them."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from markets.series import SeriesKey
from markets.services.pairs import ensure_series
from signals import consumers
from signals.push.hub import hub
from signals.push.messages import body
from signals.push.sender import Sender
from tests.signals.live.sockets import Client, Open, Socket, send

pytestmark = [pytest.mark.broker, pytest.mark.django_db(transaction=True)]


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
