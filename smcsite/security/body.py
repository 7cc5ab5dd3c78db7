"""The cap on bodies that no header announces: Django would keep a body sent in chunks whole before anyone looks."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from smcsite.security.middleware import BODY_BYTES

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
    problem = {
        "type": "/problems/too-large", "title": "Too large", "status": 413,
        "detail": "the body is at most 64 KiB", "request_id": "",
    }  # fmt: skip
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"connection", b"close"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"default-src 'none'"),
        (b"x-frame-options", b"DENY"),
        (b"referrer-policy", b"same-origin"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": orjson.dumps(problem)})
