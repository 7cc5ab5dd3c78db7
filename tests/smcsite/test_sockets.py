"""Who may open the socket, for how long, how often, and how much it may say at once."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import User
from django.core.cache import caches
from django.test import Client
from uvicorn import Server
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from signals import consumers
from signals.push.hub import hub
from smcsite import sockets
from smcsite.asgi import application
from smcsite.security.credentials import keyring
from smcsite.security.limits import SOCKETS_OPEN
from smcsite.sockets import Doorkeeper
from smcsite.web import configuration
from tests.signals.live.sockets import Socket
from tests.smcsite.securing import READ_SECRET, SECRET, environment
from tests.waiting import eventually

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("secured")]

HOST = (b"host", b"localhost:8000")
RIGHT = (b"x-shared-secret", SECRET.encode())
OURS = (b"origin", b"http://localhost:8000")

Headers = list[tuple[bytes, bytes]]


async def _let_in(scope: Any, receive: Any, send: Any) -> None:
    """Accept a socket and hold it until it is left."""
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


DOOR = Doorkeeper(_let_in)


async def knock(
    headers: Headers, *, query: str = "", user: Any = None, path: str = "/ws/live/", door: Any = DOOR
) -> tuple[int, dict[str, str]]:
    """Ask to be let in; return 101, or the status and the headers of the refusal."""
    make: Any = ApplicationCommunicator  # it has no types
    talk = make(
        door,
        {
            "type": "websocket", "path": path, "query_string": query.encode(), "headers": [HOST, *headers],
            "client": ("127.0.0.1", 50_000), "extensions": {"websocket.http.response": {}},
            **({"user": user} if user is not None else {}),
        },
    )  # fmt: skip
    await talk.send_input({"type": "websocket.connect"})
    answer = await talk.receive_output(5)
    if answer["type"] == "websocket.accept":
        await talk.send_input({"type": "websocket.disconnect", "code": 1000})
        await talk.wait(5)
        return 101, {}
    return answer["status"], {name.decode(): value.decode() for name, value in answer["headers"]}


def ticket() -> str:
    headers = {"X-Shared-Secret": SECRET}
    answer = Client().post("/api/v1/socket-ticket", content_type="application/json", headers=headers)
    return str(answer.json()["ticket"])


STRANGERS: list[tuple[Headers, str]] = [
    ([], ""),
    ([(b"x-shared-secret", b"x" * 32)], ""),
    ([(b"x-shared-secret", b"")], ""),
    ([RIGHT, RIGHT], ""),
    ([(b"x-shared-secret", SECRET.encode() + b" ")], ""),
    ([(b"authorization", b"Bearer " + SECRET.encode())], ""),
    ([(b"sec-websocket-protocol", SECRET.encode())], ""),
    ([], f"secret={SECRET}"),
    ([], f"X-Shared-Secret={SECRET}"),
    ([], f"ticket={SECRET}"),
    ([OURS], ""),
    ([OURS, (b"cookie", b"session=0123456789abcdef0123456789abcdef")], ""),
]


async def test_a_stranger_opens_no_socket() -> None:
    """P19, S05, S09: the socket is a route like any other, and a query string is no place for a secret."""
    for headers, query in STRANGERS:
        caches["limits"].clear()
        assert (await knock(headers, query=query))[0] == 401, (headers, query)


async def test_there_is_no_other_socket() -> None:
    """P19: what the ASGI router gives to sockets has one door, and behind it one path."""
    for path in ("/", "/ws/", "/ws/live", "/ws/live/x", "/api/v1/status", "//ws/live/"):
        assert (await knock([RIGHT], path=path, door=application))[0] == 404, path


async def test_a_program_opens_a_socket_with_a_secret_that_may_read() -> None:
    for secret in (SECRET, READ_SECRET):
        assert (await knock([(b"x-shared-secret", secret.encode())]))[0] == 101


ORIGINS = {
    b"http://localhost:8000": 101,
    b"https://localhost:8000": 403,
    b"http://localhost": 403,
    b"http://localhost:9999": 403,
    b"http://app.localhost:8000": 403,
    b"http://localhost:8000.evil.example": 403,
    b"http://evil.example": 403,
    b"null": 403,
    b"": 403,
}


async def test_ws_origin_matrix() -> None:
    """S09: scheme, host and port must be ours, and that is looked at before any credential, even a right one."""
    staff = User(username="alice", is_staff=True, pk=7)
    for origin, status in ORIGINS.items():
        assert (await knock([RIGHT, (b"origin", origin)]))[0] == status, origin
        assert (await knock([(b"origin", origin)], user=staff))[0] == status, origin
    # Browsers always say where they come from; without that a session may be another site's doing.
    assert (await knock([], user=staff))[0] == 401


@pytest.mark.broker
@pytest.mark.parametrize(
    ("origin", "host"),
    [(None, "localhost:8000"), ("http://localhost:8000", "localhost:8000"), ("http://127.0.0.1", "127.0.0.1:80")],
)
async def test_without_a_secret_programs_and_our_own_pages_may_open_a_socket(origin: str | None, host: str) -> None:
    headers = [(b"host", host.encode())] + ([(b"origin", origin.encode())] if origin else [])
    with environment(shared_secret=""):
        socket = Socket(application, headers)
        assert await socket.connect() == 0
    await socket.disconnect()
    await hub().close()


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
async def test_without_a_secret_foreign_pages_are_refused_before_the_socket_is_open(
    origin: str, host: str, status: int
) -> None:
    headers = [(b"host", host.encode()), (b"origin", origin.encode())]
    with environment(shared_secret=""):
        assert await Socket(application, headers).connect() == 4000 + status


def test_ws_ticket_single_use() -> None:
    """S09: a ticket opens one socket; a wrong one none."""
    given = ticket()
    statuses = [async_to_sync(knock)([], query=f"ticket={each}")[0] for each in (given, given, given[:-1], "x" * 500)]
    assert statuses == [101, 401, 401, 401]


async def test_strangers_are_refused_more_briefly_after_ten_a_minute() -> None:
    """S23, S27: the socket is limited too, and says when to come again; who knows a secret is not locked out."""
    answers = [await knock([]) for _ in range(25)]
    refused = [headers for status, headers in answers if status == 429]
    assert {status for status, _ in answers} == {401, 429}
    assert len(refused) in range(5, 16)  # the minute may turn once
    assert all(1 <= int(headers["retry-after"]) <= 60 for headers in refused)
    assert (await knock([RIGHT]))[0] == 101


async def test_one_caller_has_so_many_sockets_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "SOCKETS_OPEN", 2)
    opened = [Socket(DOOR, [HOST, RIGHT]) for _ in range(2)]
    assert [await each.connect() for each in opened] == [0, 0]
    status, headers = await knock([RIGHT])
    assert (status, headers["retry-after"]) == (429, "60")
    assert (await knock([(b"x-shared-secret", READ_SECRET.encode())]))[0] == 101
    await opened[0].disconnect()
    assert (await knock([RIGHT]))[0] == 101
    await opened[1].disconnect()
    assert not DOOR._open
    assert SOCKETS_OPEN == 50


@pytest.mark.broker
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("end", ["logout", "disabled", "no longer staff", "idle for 13 hours"])
async def test_ws_closed_on_logout(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """S10: a socket does not outlive the session that opened it."""
    monkeypatch.setattr(consumers, "_RECHECK_SECONDS", 0.02)
    client = Client()
    user = await sync_to_async(User.objects.create_user)("alice", is_staff=True)
    await sync_to_async(client.force_login)(user)
    cookie = (b"cookie", f"session={client.cookies['session'].value}".encode())
    socket = Socket(application, [HOST, OURS, cookie])
    assert await socket.connect() == 0
    await socket.send('{"op": "ping"}')
    assert '"hb"' in await socket.text()
    if end == "logout":
        await sync_to_async(client.logout)()
    elif end == "idle for 13 hours":
        await sync_to_async(_leave_idle)(client)
    elif end == "disabled":
        await User.objects.filter(pk=user.pk).aupdate(is_active=False)
    else:
        await User.objects.filter(pk=user.pk).aupdate(is_staff=False)
    while (event := await socket.receive())["type"] == "websocket.send":
        pass
    assert (event["type"], event["code"]) == ("websocket.close", 4401)
    assert await Socket(application, [HOST, OURS, cookie]).connect() == 4401
    await hub().close()


def _leave_idle(client: Client) -> None:
    session = client.session
    session["seen"] = int(time.time()) - 13 * 3600
    session.save()


@pytest.mark.broker
@pytest.mark.django_db(transaction=True)
async def test_a_socket_ends_when_its_secret_is_revoked(monkeypatch: pytest.MonkeyPatch) -> None:
    """S03, S10."""
    monkeypatch.setattr(consumers, "_RECHECK_SECONDS", 0.02)
    socket = Socket(application, [HOST, RIGHT])
    assert await socket.connect() == 0
    keyring()._credentials = keyring()._credentials[1:]
    while (event := await socket.receive())["type"] == "websocket.send":
        pass
    assert (event["type"], event["code"]) == ("websocket.close", 4401)
    await hub().close()


@pytest.mark.broker
async def test_ws_group_injection() -> None:
    """S10: a client names channels of the contract; what a group is called inside is none of its business."""
    socket = Socket(application, [HOST, RIGHT])
    assert await socket.connect() == 0
    for name in ("live.signals", "smc.live.signals", "signals\n", "signals*", "k:*:1m", "job:1 OR 1", "job:0x1"):
        await socket.send(json.dumps({"op": "sub", "ch": [name]}))
        while (told := json.loads(await socket.text()))["t"] == "hb":
            pass
        assert told["t"] == "error", name
    assert not hub()._rings
    await socket.disconnect()
    await hub().close()


@pytest.fixture
def served() -> Iterator[tuple[str, list[Any]]]:
    """A socket that keeps what it hears, behind the server as it is configured for service."""
    heard: list[Any] = []

    async def keep(scope: Any, receive: Any, send: Any) -> None:
        if (await receive())["type"] != "websocket.connect":
            return
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            heard.append(event)

    server = Server(configuration(keep, host="127.0.0.1", port=0))
    thread = threading.Thread(target=server.run)
    thread.start()
    eventually(lambda: server.started)
    yield f"ws://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", heard
    server.should_exit = True
    thread.join()


def test_ws_frame_cap(served: tuple[str, list[Any]]) -> None:
    """S34: a frame of 20 MB ends its socket unread; one below the cap arrives."""
    url, heard = served
    with connect(url) as socket:
        socket.send("x" * 60_000)
        eventually(lambda: len(heard) == 1)
        # The head of such a frame is enough; what follows would only meet a closed door.
        socket.socket.sendall(bytes([0x82, 0xFF]) + (20_000_000).to_bytes(8, "big") + bytes(4))
        with pytest.raises(ConnectionClosed) as ended:
            socket.recv()
    assert ended.value.rcvd is not None
    assert ended.value.rcvd.code == 1009
    assert len(heard) == 1
