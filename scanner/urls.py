"""URLs of scanner: ``api`` below /api/v1/, ``pages`` below /web/."""

from django.urls import URLPattern, path

from scanner.api import VolatilityView
from scanner.views import scanner

api: list[URLPattern] = [
    path("scan/volatility", VolatilityView.as_view(), name="api-volatility"),
]

pages: list[URLPattern] = [
    path("scanner", scanner, name="scanner"),
]
