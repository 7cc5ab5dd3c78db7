"""Who may open a socket, decided before it is accepted."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs

import orjson
from channels.auth import get_user
from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import get_user_model
from django.http.request import split_domain_port, validate_host

from smcsite.security.addresses import is_scope_secure, scope_ip
from smcsite.security.credentials import is_open, is_staff, keyring, scope_credential
from smcsite.security.limits import SOCKETS_OPEN, socket_refusal
from smcsite.security.origins import is_own_origin
from smcsite.security.sessions import is_session_over
from smcsite.security.tickets import redeem_ticket

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_PATH = "/ws/live/"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a socket is not opened: an HTTP status, and a sentence."""

    status: int
    title: str
    detail: str
    retry_after: int | None = None


class Doorkeeper:
    """Lets a socket pass to ``application`` when its path, host, origin and credentials are right.

    Browsers send cookies to sockets of any site, so a session counts only together with an origin of ours; and a name
    that an attacker points at this machine is an origin of ours only as long as any ``Host`` would do. A socket finds
    in its scope, as ``recheck``, how to ask whether the secret or the session that opened it still holds.
    """

    def __init__(self, application: Callable[..., Awaitable[None]]) -> None:
        self._application = application
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        refusal = _judge_address(scope, headers)
        if refusal is None and not is_open():
            caller = await _caller(scope, headers)
            refusal = await _judge_caller(scope, headers, caller) or self._judge_number(caller)
            if refusal is None:
                await self._admit(caller, scope, receive, send)
                return
        if refusal is None:
            await self._application(scope, receive, send)
        else:
            await _refuse(refusal, scope, receive, send)

    def _judge_number(self, caller: str) -> Refusal | None:
        if self._open[caller] < SOCKETS_OPEN:
            return None
        return Refusal(429, "Too many sockets", f"at most {SOCKETS_OPEN} open at once", retry_after=60)

    async def _admit(self, caller: str, scope: Scope, receive: Receive, send: Send) -> None:
        self._open[caller] += 1
        try:
            await self._application(scope, receive, send)
        finally:
            self._open[caller] -= 1
            if not self._open[caller]:
                del self._open[caller]


def _judge_address(scope: Scope, headers: dict[bytes, str]) -> Refusal | None:
    if scope["path"] != _PATH:
        return Refusal(404, "Not found", f"the only socket is {_PATH}")
    host = headers.get(b"host", "")
    if not validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS):
        return Refusal(400, "Unknown host", "the Host header names no host of this site")
    origin = headers.get(b"origin")
    if origin is not None and not is_own_origin(origin, is_secure=is_scope_secure(scope), host=host):
        return Refusal(403, "Foreign origin", "this page may not open a socket here")
    return None


async def _caller(scope: Scope, headers: dict[bytes, str]) -> str:
    """Return what a caller is known by: a secret, what a ticket stands for, or a person; empty for a stranger."""
    credential = scope_credential(scope["headers"])
    ticket = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("ticket")
    user = scope.get("user")
    if credential is not None:
        caller = f"key:{credential.id}"
    elif ticket and (holder := await database_sync_to_async(redeem_ticket)(ticket[0])) is not None:
        caller = holder
    elif b"origin" in headers and is_staff(user) and not await _is_over(scope.get("session")):
        scope["recheck"] = lambda: _is_still_staff(scope)
        return f"user:{user.pk}"  # type: ignore[union-attr]  # staff is a user
    else:
        return ""
    scope["recheck"] = lambda: _is_still_known(caller)
    return caller


async def _judge_caller(scope: Scope, headers: dict[bytes, str], caller: str) -> Refusal | None:
    has_wrong_secret = b"x-shared-secret" in headers and not caller
    over = await database_sync_to_async(socket_refusal)(scope_ip(scope), caller, has_wrong_secret=has_wrong_secret)
    if over is not None:
        detail = f"at most {over.limit}; try again in {over.retry_after} s"
        return Refusal(429, "Too many sockets", detail, retry_after=over.retry_after)
    return None if caller else Refusal(401, "Not signed in", "a socket needs X-Shared-Secret or a staff session")


async def _is_still_known(caller: str) -> bool:
    """Say whether a secret was not revoked, or whether a person is still of the staff."""
    kind, _, id_ = caller.partition(":")
    if kind == "key":
        return any(each.id == id_ for each in keyring().credentials)
    return is_staff(await get_user_model().objects.filter(pk=id_).afirst())


async def _is_still_staff(scope: Scope) -> bool:
    """Say whether the session that opened a socket has not ended, and its owner is still of the staff."""
    engine = import_module(settings.SESSION_ENGINE)
    session = engine.SessionStore(scope["session"].session_key)
    again: Any = {**scope, "session": session}
    return is_staff(await get_user(again)) and not await _is_over(session)


@database_sync_to_async
def _is_over(session: Any) -> bool:
    return session is not None and is_session_over(session)


async def _refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 4000 + refusal.status})
        return
    problem = {"type": "about:blank", "title": refusal.title, "status": refusal.status, "detail": refusal.detail}
    headers = [(b"content-type", b"application/problem+json"), (b"x-content-type-options", b"nosniff")]
    if refusal.retry_after is not None:
        headers.append((b"retry-after", str(refusal.retry_after).encode()))
    await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": orjson.dumps(problem)})
