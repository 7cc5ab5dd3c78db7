"""Errors of ours that a page's view raised, as the designed page (or part of a page) with what to do next."""

from collections.abc import Callable

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from markets.errors import SmcError
from smcsite.logs import request_id
from smcsite.problems import as_ours, is_api, refuse, retry_after_of, status_of


class PageErrorMiddleware:
    """Turns ``SmcError`` into the answer people see; the API's own handler has done so before it gets here."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        is_of_database = isinstance(exception, OperationalError)
        exception = as_ours(exception)
        if not isinstance(exception, SmcError):
            return None
        status = status_of(exception)
        if status == 400:
            # To a person a timeframe that does not exist is an address that does not exist.
            status = 404
        if status == 500 or is_of_database or is_api(request):
            return refuse(request, status, str(exception), retry_after=retry_after_of(exception))
        context = {
            "status": status,
            "title": exception.title,
            "detail": str(exception),
            "near": getattr(exception, "near", []),
            "request_id": request_id(),
            "is_part": "HX-Request" in request.headers,
        }
        answer = render(request, "error.html", context, status=status)
        retry = retry_after_of(exception)
        if retry is not None:
            answer["Retry-After"] = str(retry)
        return answer
