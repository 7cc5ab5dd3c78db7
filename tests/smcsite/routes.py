"""Every route of the URL configuration, so that a test over all routes knows tomorrow's too."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RoutePattern
from django.utils.regex_helper import normalize

UNSAFE = ("post", "put", "patch", "delete")
SAMPLES = {"symbol": "BTCUSDT", "timeframe": "15m", "job_id": "1", "number": "0", "signal_id": "x", "object_id": "1"}
PUBLIC = {"/health", "/healthz", "/login/", "/admin/login/"}


@dataclass(frozen=True, slots=True)
class Route:
    """A path that a view serves, with its parameters filled in."""

    path: str
    view: Any

    @property
    def is_api(self) -> bool:
        return self.path.startswith("/api/")

    @property
    def methods(self) -> set[str]:
        """The HTTP methods of a view of the REST framework; any other view may be asked by each, so by some of them."""
        view = getattr(self.view, "cls", None)
        return {name for name in ("get", *UNSAFE) if hasattr(view, name)} or {"get", "post", "delete"}


def routes() -> list[Route]:
    """Return every route, but one of each of the admin's views."""
    return sorted(set(_walk(get_resolver(), "/")), key=lambda route: route.path)


def _walk(resolver: URLResolver, prefix: str) -> Iterator[Route]:
    for entry in resolver.url_patterns:
        path = prefix + _filled(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from _walk(entry, path)
        elif isinstance(entry, URLPattern):
            yield Route(path, entry.callback)


def _filled(pattern: Any) -> str:
    if not isinstance(pattern, RoutePattern):
        text, names = normalize(pattern.regex.pattern)[0]
        return str(text % {name: SAMPLES.get(name, "x") for name in names})
    text = str(pattern)
    for name, converter in pattern.converters.items():
        sample = SAMPLES.get(name, "1" if "Int" in type(converter).__name__ else "x")
        for form in (f"<{name}>", *(f"<{kind}:{name}>" for kind in ("int", "str", "path", "slug"))):
            text = text.replace(form, sample)
    return text
