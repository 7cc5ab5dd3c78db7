"""Compresses answers, all but downloads that are written while they are sent."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware


class CompressionMiddleware(GZipMiddleware):
    """Django's own, which makes each part of an asynchronous stream a gzip file of its own.

    Browsers read only the first of them, so a download would end after its first part.
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if response.streaming and getattr(response, "is_async", False):
            return response
        return super().process_response(request, response)
