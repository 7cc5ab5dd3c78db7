"""Who may open a socket, decided before it is accepted."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
from channels.auth import get_user
from channels.db import database_sync_to_async
from django.conf import settings
from django.http.request import split_domain_port, validate_host

from smcsite.security.addresses import is_scope_secure, scope_ip
from smcsite.security.credentials import is_open, is_staff, scope_credential
from smcsite.security.limits import socket_refusal
from smcsite.security.tickets import redeem_ticket

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_PATH = "/ws/live/"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a socket is not opened: an HTTP status, and a sentence."""

    status: int
    title: str
    detail: str


class Doorkeeper:
    """Lets a socket pass to ``application`` when its path, host, origin and credentials are right.

    Browsers send cookies to sockets of any site, so a session counts only together with an origin of ours; and a name
    that an attacker points at this machine is an origin of ours only as long as any ``Host`` would do. A socket that
    a session opened finds in its scope, as ``recheck``, how to ask whether that session still holds.
    """

    def __init__(self, application: Callable[..., Awaitable[None]]) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        refusal = _judge_address(scope, headers) or await _judge_caller(scope, headers)
        if refusal is None:
            await self._application(scope, receive, send)
        else:
            await _refuse(refusal, scope, receive, send)


def _judge_address(scope: Scope, headers: dict[bytes, str]) -> Refusal | None:
    if scope["path"] != _PATH:
        return Refusal(404, "Not found", f"the only socket is {_PATH}")
    host = headers.get(b"host", "")
    if not validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS):
        return Refusal(400, "Unknown host", "the Host header names no host of this site")
    origin = headers.get(b"origin")
    if origin is not None and not _is_ours(origin, is_secure=is_scope_secure(scope), host=host):
        return Refusal(403, "Foreign origin", "this page may not open a socket here")
    return None


async def _judge_caller(scope: Scope, headers: dict[bytes, str]) -> Refusal | None:
    if is_open():
        return None
    credential = scope_credential(scope["headers"])
    has_wrong_secret = b"x-shared-secret" in headers and credential is None
    over = await database_sync_to_async(socket_refusal)(scope_ip(scope), has_wrong_secret=has_wrong_secret)
    if over is not None:
        return Refusal(429, "Too many sockets", f"at most {over.limit}; try again in {over.retry_after} s")
    if credential is not None:
        return None
    ticket = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("ticket")
    if ticket and await database_sync_to_async(redeem_ticket)(ticket[0]) is not None:
        return None
    if b"origin" in headers and is_staff(scope.get("user")):
        scope["recheck"] = lambda: _is_still_staff(scope)
        return None
    return Refusal(401, "Not signed in", "a socket needs X-Shared-Secret or a staff session")


async def _is_still_staff(scope: Scope) -> bool:
    """Say whether the session that opened a socket has not ended, and its owner is still of the staff."""
    engine = import_module(settings.SESSION_ENGINE)
    session = engine.SessionStore(scope["session"].session_key)
    again: Any = {**scope, "session": session}
    return is_staff(await get_user(again))


def _is_ours(origin: str, *, is_secure: bool, host: str) -> bool:
    if origin in settings.ENV.csrf_trusted_origins:
        return True
    told = _address(origin)
    return told is not None and told == _address(f"{'https' if is_secure else 'http'}://{host}")


def _address(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of an origin; None for what is none, such as ``null``."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or parts.path or parts.query or parts.username is not None:
        return None
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]


async def _refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 4000 + refusal.status})
        return
    problem = {"type": "about:blank", "title": refusal.title, "status": refusal.status, "detail": refusal.detail}
    headers = [(b"content-type", b"application/problem+json")]
    await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": orjson.dumps(problem)})
