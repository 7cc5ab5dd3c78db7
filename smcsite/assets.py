"""Static files, answered whole: they are small, and an open file would be read by the event loop."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware  # type: ignore[import-untyped]  # it has no types


class AssetMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]
    """WhiteNoise, whose answers Django would otherwise read on the event loop, with a warning for each."""

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:
        found = static_file.get_response(request.method, request.META)
        body = b""
        if found.file is not None:
            with found.file as file:
                body = file.read()
        answer = HttpResponse(body, status=int(found.status))
        del answer["Content-Type"]  # Django's default; the file has its own
        for name, value in found.headers:
            answer[name] = value
        return answer
