"""Sockets to the ASGI application without a server (channels.testing has one too, but wants daphne installed)."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.testing import ApplicationCommunicator

from signals.push.messages import body
from signals.push.sender import Sender

Open = Callable[[], Awaitable["Client"]]


class Socket:
    """Opens ``/ws/live/`` of ``application`` and says what a browser would."""

    def __init__(self, application: Any, headers: list[tuple[bytes, bytes]], *, path: str = "/ws/live/") -> None:
        path, _, query = path.partition("?")
        scope = {
            "type": "websocket", "path": path, "query_string": query.encode(), "headers": headers, "subprotocols": [],
            "scheme": "ws", "client": ("127.0.0.1", 50_000),
        }  # fmt: skip
        make: Any = ApplicationCommunicator  # it has no types
        self._talk = make(application, scope)

    async def connect(self) -> int:
        """Ask to be let in; return 0 when that is so, else the code of the refusal."""
        await self._talk.send_input({"type": "websocket.connect"})
        answer = await self._talk.receive_output(5)
        return 0 if answer["type"] == "websocket.accept" else int(answer["code"])

    async def send(self, text: str) -> None:
        await self._talk.send_input({"type": "websocket.receive", "text": text})

    async def receive(self, timeout_seconds: float = 5) -> dict[str, Any]:
        """Return the next event from the application."""
        event: dict[str, Any] = await self._talk.receive_output(timeout_seconds)
        return event

    async def text(self) -> str:
        """Return the next text."""
        event = await self.receive()
        assert event["type"] == "websocket.send", event
        return str(event["text"])

    async def disconnect(self) -> None:
        if not self._talk.future.done():
            await self._talk.send_input({"type": "websocket.disconnect", "code": 1000})
            await self._talk.wait(5)


class Client:
    """Who speaks and hears JSON by a socket."""

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


def send(sender: Sender, *numbers: int) -> None:
    for number in numbers:
        sender.send("signals", body("signals", "signal", {"id": f"s{number}", "late": False}))


async def sent(sender: Sender, count: int) -> None:
    async with asyncio.timeout(5):
        while sender.sent < count:
            await asyncio.sleep(0.01)
