"""Who may open a socket, decided before it is accepted."""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

import orjson
from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.http.request import split_domain_port, validate_host

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_PATH = "/ws/live/"
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a socket is not opened: an HTTP status, and a sentence."""

    status: int
    title: str
    detail: str


class Doorkeeper:
    """Lets a socket pass to ``application`` when its path, host, origin and credentials are right.

    Browsers send cookies to sockets of any site, so a session counts only together with an origin of ours; and a name
    that an attacker points at this machine is an origin of ours only as long as any ``Host`` would do.
    """

    def __init__(self, application: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = await _judge(scope)
        if refusal is None:
            await self._application(scope, receive, send)
        else:
            await _refuse(refusal, scope, receive, send)


async def _judge(scope: Scope) -> Refusal | None:
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    if scope["path"] != _PATH:
        return Refusal(404, "Not found", f"the only socket is {_PATH}")
    host = headers.get(b"host", "")
    if not validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS):
        return Refusal(400, "Unknown host", "the Host header names no host of this site")
    origin = headers.get(b"origin")
    if origin is not None and not _is_ours(origin, scheme=scope.get("scheme", "ws"), host=host):
        return Refusal(403, "Foreign origin", "this page may not open a socket here")
    secrets = [secret for secret in settings.ENV.shared_secret.split(",") if secret]
    if not secrets or _knows_secret(headers.get(b"x-shared-secret", ""), secrets):
        return None
    if origin is not None and await _is_staff(headers.get(b"cookie", "")):
        return None
    return Refusal(401, "Not signed in", "a socket needs X-Shared-Secret or a staff session")


def _is_ours(origin: str, *, scheme: str, host: str) -> bool:
    if origin in settings.ENV.csrf_trusted_origins:
        return True
    secure = scheme in ("wss", "https")
    return _address(origin) == _address(f"{'https' if secure else 'http'}://{host}") is not None


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


def _knows_secret(given: str, secrets: list[str]) -> bool:
    # As bytes: text outside ASCII would raise instead of being wrong.
    return any(hmac.compare_digest(given.encode(), secret.encode()) for secret in secrets)


@database_sync_to_async
def _is_staff(cookies: str) -> bool:
    """Say whether the cookies name a session of an active member of the staff that has not ended."""
    try:
        morsel = SimpleCookie(cookies).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return False
    if morsel is None:
        return False
    session = SessionStore(morsel.value)
    if session.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return False
    user = get_user_model().objects.filter(pk=session.get(SESSION_KEY), is_active=True, is_staff=True).first()
    if user is None:
        return False
    # A changed password ends the sessions that began under the former one.
    return hmac.compare_digest(session.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash())


async def _refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 4000 + refusal.status})
        return
    problem = {"type": "about:blank", "title": refusal.title, "status": refusal.status, "detail": refusal.detail}
    headers = [(b"content-type", b"application/problem+json")]
    await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": orjson.dumps(problem)})
