"""URLs of scanner: ``api`` below /api/v1/, ``pages`` below /web/."""

from django.urls import URLPattern, path

from scanner.api import VolatilityView

api: list[URLPattern] = [
    path("scan/volatility", VolatilityView.as_view(), name="api-volatility"),
]

pages: list[URLPattern] = []
