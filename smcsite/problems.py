"""What goes wrong, as HTTP tells it: the one table of statuses, and ``application/problem+json`` (RFC 9457)."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template import TemplateDoesNotExist
from rest_framework.exceptions import (
    APIException,
    AuthenticationFailed,
    NotAuthenticated,
    Throttled,
    ValidationError,
)
from rest_framework.response import Response
from rest_framework.views import set_rollback

from markets.errors import (
    ConflictError,
    CorruptFileError,
    ExchangeError,
    ExchangeUnavailableError,
    InvalidInputError,
    JobCancelledError,
    NotFoundError,
    RateLimitedError,
    ServiceUnavailableError,
    SmcError,
    StoreError,
    TooLargeError,
    UnknownSymbolError,
    UnknownTimeframeError,
)
from smcsite.logs import request_id

logger = logging.getLogger(__name__)

PROBLEM = "application/problem+json"
RETRY_SECONDS = 5

BODY_BYTES = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
BODY_TOO_LARGE: dict[str, Any] = {
    "detail": f"the body is at most {BODY_BYTES // 1024} KiB", "code": "too-large", "title": "Too large"
}  # fmt: skip

# The first kind that fits decides, so narrow kinds stand before wide ones.
STATUS: dict[type[SmcError], int] = {
    UnknownSymbolError: 404,
    UnknownTimeframeError: 400,
    TooLargeError: 413,
    InvalidInputError: 422,
    NotFoundError: 404,
    ConflictError: 409,
    JobCancelledError: 409,
    CorruptFileError: 503,
    ExchangeUnavailableError: 503,
    ExchangeError: 503,
    StoreError: 503,
    ServiceUnavailableError: 503,
}


def status_of(error: SmcError) -> int:
    """Return the HTTP status of an error of ours."""
    return next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)


def problem(
    status: int, detail: str, *, code: str = "", title: str = "", errors: Mapping[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """Return a problem as the API tells it."""
    told: dict[str, Any] = {
        "type": f"/problems/{code or _slug(status)}",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        told["errors"] = errors
    return {**told, **more, "request_id": request_id()}


def _slug(status: int) -> str:
    return HTTPStatus(status).phrase.lower().replace(" ", "-")


def problem_of(error: SmcError) -> dict[str, Any]:
    """Return an error of ours as a problem."""
    field = getattr(error, "field", "")
    told = problem(
        status_of(error),
        str(error),
        code=error.code,
        title=error.title,
        errors={field: [str(error)]} if field else None,
    )
    if getattr(error, "near", None):
        told["near"] = error.near  # type: ignore[attr-defined]  # only some kinds have it
    return told


def retry_after_of(error: SmcError) -> int | None:
    if isinstance(error, RateLimitedError):
        return max(1, round(error.retry_after_seconds))
    return RETRY_SECONDS if status_of(error) == 503 else None


def as_ours(error: Exception) -> Exception:
    """Return what the database says when it is away, full or read-only as an error of ours; others as they are."""
    if not isinstance(error, OperationalError):
        return error
    # Its own words may name hosts and users.
    logger.error("the database refuses", extra={"error": str(error)})
    return ServiceUnavailableError("the database cannot be read or written just now")


def problem_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer what an API view raised; what this does not know is a mistake of ours and becomes a 500."""
    headers: dict[str, str] = {}
    error = as_ours(error)
    if isinstance(error, SmcError):
        told, retry = problem_of(error), retry_after_of(error)
        if status_of(error) == 500:
            return None
        if retry is not None:
            headers["Retry-After"] = str(retry)
            logger.warning("request refused", extra={"code": error.code, "detail": str(error)})
    else:
        known = _framework_error(error)
        if known is None:
            return None
        told, headers = known
    set_rollback()
    answer = Response(told, status=told["status"], headers=headers)
    renderer = getattr(context.get("request"), "accepted_renderer", None)
    if renderer is None or renderer.format == "json":
        answer.content_type = PROBLEM
    return answer


def _framework_error(error: Exception) -> tuple[dict[str, Any], dict[str, str]] | None:
    if isinstance(error, Http404):
        return problem(404, "there is nothing at this address"), {}
    if isinstance(error, RequestDataTooBig):
        return problem(413, **BODY_TOO_LARGE), {}
    if isinstance(error, PermissionDenied):
        return problem(403, str(error) or "this is not allowed"), {}
    if not isinstance(error, APIException):
        return None
    headers = {}
    challenge = getattr(error, "auth_header", None)
    if isinstance(error, NotAuthenticated | AuthenticationFailed) and challenge:
        headers["WWW-Authenticate"] = challenge
    wait = getattr(error, "wait", None)
    if isinstance(error, Throttled) and wait:
        headers["Retry-After"] = str(round(wait))
    if isinstance(error, ValidationError):
        errors = error.detail if isinstance(error.detail, dict) else {"body": error.detail}
        return problem(400, _first_text(errors), code="malformed", title="Malformed request", errors=errors), headers
    return problem(error.status_code, str(error.detail)), headers


def _first_text(errors: Any, path: str = "") -> str:
    """Return the first complaint with the field's name before it."""
    if isinstance(errors, dict):
        name, inner = next(iter(errors.items()))
        return _first_text(inner, f"{path}.{name}" if path else str(name))
    if isinstance(errors, list | tuple):
        return _first_text(errors[0], path) if errors else path
    return f"{path}: {errors}" if path else str(errors)


def is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/") or request.path in ("/health", "/healthz", "/metrics")


def refuse(
    request: HttpRequest, status: int, detail: str, *, retry_after: int | None = None, **more: Any
) -> HttpResponse:
    """Answer with an error outside any view, in the form the caller can use: a problem, a fragment, or a page."""
    if retry_after is not None:
        more["retry_after"] = retry_after
    if is_api(request):
        body = orjson.dumps(problem(status, detail, **more))
        answer = HttpResponse(body, status=status, content_type=PROBLEM)
    else:
        answer = _error_page(request, status, detail)
    if retry_after is not None:
        answer["Retry-After"] = str(retry_after)
    return answer


def _error_page(request: HttpRequest, status: int, detail: str) -> HttpResponse:
    context = {
        "status": status,
        "title": HTTPStatus(status).phrase,
        "detail": detail,
        "request_id": request_id(),
        "is_part": request.headers.get("HX-Request") == "true",
    }
    for template in (f"{status}.html", "error.html"):
        try:
            return render(request, template, context, status=status)
        except TemplateDoesNotExist:
            continue
        except Exception:
            # An error page that fails must not hide the error it was to tell.
            logger.exception("the error page failed", extra={"template": template})
            break
    text = f"{status} {HTTPStatus(status).phrase}: {detail} (request {request_id()})\n"
    return HttpResponse(text, status=status, content_type="text/plain; charset=utf-8")


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    if isinstance(exception, RequestDataTooBig):
        return refuse(request, 413, **BODY_TOO_LARGE)
    return refuse(request, 400, "the request cannot be understood")


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return refuse(request, 403, "this is not allowed")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    logger.warning("CSRF check failed", extra={"path": request.path, "reason": reason})
    return refuse(request, 403, "the form has expired or came from another site; load the page again")


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return refuse(request, 404, "there is nothing at this address")


def server_error(request: HttpRequest) -> HttpResponse:
    return refuse(request, 500, "something went wrong on our side; it has been logged under this request id")
