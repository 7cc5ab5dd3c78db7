"""The cap on bodies that no header announces: Django would keep a body sent in chunks whole before anyone looks."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from smcsite.problems import BODY_BYTES, BODY_TOO_LARGE, PROBLEM, problem

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class BodyCap:
    """Ends a request with 413 once its body has grown over the cap, and hangs up."""

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            # To Django it looks as if the caller had gone, so it reads no further and answers nothing.
            return message if received <= BODY_BYTES else {"type": "http.disconnect"}

        async def unless_refused(message: Message) -> None:
            if received <= BODY_BYTES:
                await send(message)

        await self._application(scope, counted, unless_refused)
        if received > BODY_BYTES:
            await _refuse(send)


async def _refuse(send: Send) -> None:
    headers = [
        (b"content-type", PROBLEM.encode()),
        (b"connection", b"close"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"default-src 'none'"),
        (b"x-frame-options", b"DENY"),
        (b"referrer-policy", b"same-origin"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": orjson.dumps(problem(413, **BODY_TOO_LARGE))})
