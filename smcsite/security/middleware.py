"""What every request passes: an id, caps, limits, the gate before pages, and the headers of every answer."""

import logging
import re
from collections.abc import Callable
from urllib.parse import urlencode
from uuid import uuid4

from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect

from smcsite.logs import request_context
from smcsite.problems import BODY_BYTES, BODY_TOO_LARGE, refuse
from smcsite.security.addresses import client_ip, is_trusted_peer
from smcsite.security.credentials import SAFE_METHODS, find_credential, is_open, is_staff, presented_secret
from smcsite.security.limits import LimitReached, api_refusal, login_refusal, wrong_secret_refusal
from smcsite.security.origins import is_own_origin
from smcsite.security.sessions import is_session_over, note_use
from smcsite.store_watch import DOWN, store_watch

logger = logging.getLogger(__name__)

Answer = Callable[[HttpRequest], HttpResponseBase]

QUERY_BYTES = 4 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_PROXY_HEADERS = ("HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT")
_PUBLIC = ("/static/", "/health", "/healthz", "/favicon.ico", "/robots.txt")
_FOR_PROGRAMS_TOO = ("/docs", "/metrics")
_WRITES, _WORK = ("POST", "PUT", "PATCH"), ("/api/", "/web/")


def request_ids(get_response: Answer) -> Answer:
    """Give every request an id, the caller's own if it makes sense, and forget what no proxy vouches for."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        if not is_trusted_peer(request):
            for header in _PROXY_HEADERS:
                request.META.pop(header, None)
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        id_ = given if _REQUEST_ID.fullmatch(given) else uuid4().hex
        with request_context(id_):
            response = get_response(request)
            response["X-Request-ID"] = id_
            if response.status_code in (401, 403, 429):
                logger.warning(
                    "request refused",
                    extra={
                        "status": response.status_code, "method": request.method, "path": request.path[:200],
                        "address": client_ip(request),
                    },
                )  # fmt: skip
            return response

    return answer


def headers(get_response: Answer) -> Answer:
    """Set what every answer carries, whatever its status."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        response.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
        if not request.path.startswith("/static/"):
            # What one caller may see is not for a shared cache, and not for the back button after a logout.
            response.setdefault("Cache-Control", "private, no-cache")
        return response

    return answer


def caps(get_response: Answer) -> Answer:
    """Refuse what is too long before anything reads it."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        if len(request.META.get("QUERY_STRING", "")) > QUERY_BYTES:
            return refuse(request, 414, "the query is at most 4 KiB", code="query-too-long")
        length = request.META.get("CONTENT_LENGTH") or "0"
        if not length.isascii() or not length.isdigit():
            return refuse(request, 400, "Content-Length is not a number")
        if int(length) > BODY_BYTES:
            return refuse(request, 413, **BODY_TOO_LARGE)
        return get_response(request)

    return answer


def limits(get_response: Answer) -> Answer:
    """Count calls of the API, wrong secrets, and logins."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        refusal = _refusal(request)
        return get_response(request) if refusal is None else too_many(request, refusal)

    return answer


def _refusal(request: HttpRequest) -> LimitReached | None:
    is_wrong = not is_open() and presented_secret(request) is not None and find_credential(request) is None
    if is_wrong and (refusal := wrong_secret_refusal(request)) is not None:
        return refusal
    if request.path.startswith("/api/"):
        return api_refusal(request)
    if request.method == "POST" and request.path in (settings.LOGIN_URL, "/admin/login/"):
        return login_refusal(request)
    return None


def too_many(request: HttpRequest, refusal: LimitReached) -> HttpResponse:
    """Answer that a limit was reached, and when to come again."""
    if refusal.is_outage:
        detail = "logins cannot be counted just now; try again soon"
        return refuse(request, 503, detail, retry_after=refusal.retry_after)
    return refuse(
        request,
        429,
        f"at most {refusal.limit}; try again in {refusal.retry_after} s",
        retry_after=refusal.retry_after,
        code="rate-limited",
        error="rate_limited",
        limit=refusal.limit,
    )


def gate(get_response: Answer) -> Answer:
    """Let only staff see pages where a secret is set; the API asks its callers itself.

    Everything that is not named here is closed, so that a new page is not open by accident.
    """

    def answer(request: HttpRequest) -> HttpResponseBase:
        _end_old_session(request)
        if is_open() and _is_foreign_write(request):
            return refuse(request, 403, "a page of another site may change nothing here")
        if is_open() or is_let_in(request):
            return get_response(request)
        if request.user.is_authenticated:
            return refuse(request, 403, "this account may not see the pages: it is not one of the staff")
        if request.path.startswith(_FOR_PROGRAMS_TOO) and presented_secret(request) is not None:
            return refuse(request, 401, "the shared secret is wrong")
        return to_login(request)

    return answer


def is_let_in(request: HttpRequest) -> bool:
    """Say whether a request may reach its view, which for the API is where it is asked who it is."""
    path = request.path
    if path.startswith("/api/") or path in (settings.LOGIN_URL, "/admin/login/"):
        return True
    if any(path == each or (each.endswith("/") and path.startswith(each)) for each in _PUBLIC):
        return True
    if is_staff(request.user):
        return True
    return path.startswith(_FOR_PROGRAMS_TOO) and find_credential(request) is not None


def _is_foreign_write(request: HttpRequest) -> bool:
    """Say whether a page of another site asks for a change, which browsers let it do where no session is needed."""
    origin = request.headers.get("Origin")
    if origin is None or request.method in SAFE_METHODS or origin in settings.ENV.cors_allowed_origins:
        return False
    return not is_own_origin(origin, is_secure=request.is_secure(), host=request.get_host())


def to_login(request: HttpRequest) -> HttpResponse:
    """Lead to the login and back; a part of a page leads the whole page there."""
    if request.path == "/metrics":
        return refuse(request, 401, "send a valid X-Shared-Secret header")
    is_part = request.headers.get("HX-Request") == "true"
    back = request.headers.get("HX-Current-URL", "").partition("://")[2].partition("/")[2] if is_part else ""
    target = f"/{back}" if back else request.get_full_path()
    url = f"{settings.LOGIN_URL}?{urlencode({'next': target})}"
    if is_part:
        return HttpResponse(status=204, headers={"HX-Redirect": url})
    return HttpResponseRedirect(url)


def _end_old_session(request: HttpRequest) -> None:
    """End a session that was idle for 12 hours or has lasted 7 days."""
    session = request.session
    if not session.session_key or not request.user.is_authenticated:
        return
    if is_session_over(session):
        logout(request)
    else:
        note_use(session)


def full_disk(get_response: Answer) -> Answer:
    """Take no new work while the disk is full: reading goes on."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        if request.method in _WRITES and request.path.startswith(_WORK) and store_watch().check().status == DOWN:
            return refuse(request, 503, "the disk is full: nothing new is taken", retry_after=30, code="store-full")
        return get_response(request)

    return answer
